"""What the text of a paper cites: the datasets, networks and methods that a run used."""

from collections.abc import Iterable

CLAIM = "tejani2024"
TRIPOD = "collins2024"

REFERENCES = {
    CLAIM: "Tejani AS, Klontzas ME, Gatti AA, et al. Checklist for Artificial Intelligence in Medical "
    "Imaging (CLAIM): 2024 Update. Radiol Artif Intell 2024;6(4):e240300. doi:10.1148/ryai.240300",
    TRIPOD: "Collins GS, Moons KGM, Dhiman P, et al. TRIPOD+AI statement: updated guidance for reporting "
    "clinical prediction models that use regression or machine learning methods. BMJ 2024;385:e078378. "
    "doi:10.1136/bmj-2023-078378",
    "wang2017": "Wang X, Peng Y, Lu L, et al. ChestX-ray8: Hospital-scale chest X-ray database and "
    "benchmarks on weakly-supervised classification and localization of common thorax diseases. CVPR 2017.",
    "irvin2019": "Irvin J, Rajpurkar P, Ko M, et al. CheXpert: A large chest radiograph dataset with "
    "uncertainty labels and expert comparison. AAAI 2019.",
    "johnson2019": "Johnson AEW, Pollard TJ, Berkowitz SJ, et al. MIMIC-CXR, a de-identified publicly "
    "available database of chest radiographs with free-text reports. Sci Data 2019;6:317.",
    "bustos2020": "Bustos A, Pertusa A, Salinas JM, de la Iglesia-Vaya M. PadChest: A large chest x-ray "
    "image dataset with multi-label annotated reports. Med Image Anal 2020;66:101797.",
    "nguyen2022": "Nguyen HQ, Lam K, Le LT, et al. VinDr-CXR: An open dataset of chest X-rays with "
    "radiologist's annotations. Sci Data 2022;9:429.",
    "reis2022": "Reis EP, de Paiva JPQ, da Silva MCB, et al. BRAX, Brazilian labeled chest x-ray dataset. "
    "Sci Data 2022;9:487.",
    "cohen2022": "Cohen JP, Viviano JD, Bertin P, et al. TorchXRayVision: A library of chest X-ray datasets "
    "and models. MIDL 2022.",
    "huang2017": "Huang G, Liu Z, van der Maaten L, Weinberger KQ. Densely connected convolutional networks. "
    "CVPR 2017.",
    "he2016": "He K, Zhang X, Ren S, Sun J. Deep residual learning for image recognition. CVPR 2016.",
    "deng2009": "Deng J, Dong W, Socher R, et al. ImageNet: A large-scale hierarchical image database. "
    "CVPR 2009.",
    "rajpurkar2017": "Rajpurkar P, Irvin J, Zhu K, et al. CheXNet: Radiologist-level pneumonia detection on "
    "chest X-rays with deep learning. arXiv:1711.05225, 2017.",
    "loshchilov2019": "Loshchilov I, Hutter F. Decoupled weight decay regularization. ICLR 2019.",
    "kingma2015": "Kingma DP, Ba J. Adam: A method for stochastic optimization. ICLR 2015.",
    "platt1999": "Platt J. Probabilistic outputs for support vector machines and comparisons to regularized "
    "likelihood methods. Advances in Large Margin Classifiers 1999.",
    "efron1979": "Efron B. Bootstrap methods: another look at the jackknife. Ann Stat 1979;7:1-26.",
    "pepe2003": "Pepe MS. The statistical evaluation of medical tests for classification and prediction. "
    "Oxford University Press 2003.",
    "kish1965": "Kish L. Survey sampling. Wiley 1965.",
    "delong1988": "DeLong ER, DeLong DM, Clarke-Pearson DL. Comparing the areas under two or more correlated "
    "receiver operating characteristic curves: a nonparametric approach. Biometrics 1988;44:837-845.",
}  # fmt: skip

OF_SOURCE = {
    "nih": "wang2017",
    "chexpert": "irvin2019",
    "mimic": "johnson2019",
    "padchest": "bustos2020",
    "vindr": "nguyen2022",
    "brax": "reis2022",
}
"""Readers of published datasets; of the others the run does not know what to cite."""
NAMES = {
    "nih": "ChestX-ray14",
    "chexpert": "CheXpert",
    "mimic": "MIMIC-CXR",
    "padchest": "PadChest",
    "vindr": "VinDr-CXR",
    "brax": "BRAX",
    "phantom": "a generated dataset (phantom)",
    "table": "a table of the author's",
    "folder": "folders of the author's",
    "torchxrayvision": "a dataset class of torchxrayvision",
}
LABELS = {
    "nih": "mined from radiology reports by text processing; no one looked at the images",
    "chexpert": "mined from radiology reports by the CheXpert labeller, except in its validation and test "
    "sets, which radiologists labelled",
    "mimic": "mined from radiology reports by a labeller (data.labeler)",
    "padchest": "from radiology reports, 27 % of them read by physicians and the rest by a network",
    "vindr": "by radiologists who read the images",
    "brax": "mined from radiology reports by a labeller for Portuguese",
    "phantom": "drawn with the images, so that they are right by construction",
}
"""How the labels of a published dataset were made, as its authors say."""


def cite(*keys: str) -> str:
    """As ` [wang2017; huang2017]`; empty for none."""
    return f" [{'; '.join(keys)}]" if keys else ""


def listed(texts: Iterable[str]) -> list[tuple[str, str]]:
    """(key, reference) of each citation in the texts, in the order of the first mention."""
    together = " ".join(texts)
    found = [(together.find(key), key) for key in REFERENCES if key in together]
    return [(key, REFERENCES[key]) for _, key in sorted(found)]
