"""Names of findings, their synonyms, and the groups that archives label."""

from collections.abc import Sequence

NO_FINDING = "No Finding"

NIH_14 = (
    "Atelectasis", "Cardiomegaly", "Effusion", "Infiltration", "Mass", "Nodule", "Pneumonia", "Pneumothorax",
    "Consolidation", "Edema", "Emphysema", "Fibrosis", "Pleural_Thickening", "Hernia",
)  # fmt: skip
"""The 14 findings of ChestX-ray14, in the order of the CheXNet paper's Table 2."""

CHEXPERT_14 = (
    "No Finding", "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion", "Edema",
    "Consolidation", "Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion", "Pleural Other", "Fracture",
    "Support Devices",
)  # fmt: skip
"""The 14 observations of CheXpert, in the order of its train.csv."""

CHEXPERT_5 = ("Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Pleural Effusion")
"""The competition findings of CheXpert (Irvin et al. 2019)."""

GROUPS = {"nih14": NIH_14, "chexpert14": CHEXPERT_14, "chexpert5": CHEXPERT_5}
"""Words that `data.findings` accepts in place of a list."""

SYNONYMS = {
    "Pleural Thickening": "Pleural_Thickening",
    "Pleural thickening": "Pleural_Thickening",
    "Pleural_Effusion": "Pleural Effusion",
    "Pleural effusion": "Pleural Effusion",
    "No_Finding": "No Finding",
    "No finding": "No Finding",
    "Lung_Opacity": "Lung Opacity",
    "Lung_Lesion": "Lung Lesion",
    "Pleural_Other": "Pleural Other",
    "Support_Devices": "Support Devices",
    "Enlarged_Cardiomediastinum": "Enlarged Cardiomediastinum",
}
"""Other spellings of the same finding; a name maps to itself when it is not here."""

CONCEPTS = {"Pleural Effusion": "Effusion", "Pulmonary fibrosis": "Fibrosis"}
"""Names of different archives for one thing seen, beside spellings: CheXpert's effusion, VinDr-CXR's fibrosis.

Not merged, because they are not the same question to a reader of the image:
    Infiltration (ChestX-ray14) is neither Consolidation nor Lung Opacity, each of which is a narrower or a wider word;
    Nodule and Mass (ChestX-ray14) are not Lung Lesion (CheXpert), which holds both and more;
    Pleural_Thickening (ChestX-ray14) is not Pleural Other (CheXpert), which holds it among others;
    Cardiomegaly is not Enlarged Cardiomediastinum; Fibrosis, Emphysema and Hernia are ChestX-ray14's alone.
"""


def concept(name: str) -> str:
    """What a finding's name means, the same for all archives that label it."""
    return CONCEPTS.get(canonical(name), canonical(name))


def find(name: str, names: Sequence[str]) -> str | None:
    """The one of `names` that means the finding: itself if it is there, else the first of the same concept."""
    return name if name in names else next((other for other in names if concept(other) == concept(name)), None)


def canonical(name: str) -> str:
    """The one spelling of a finding's name that tables and reports use."""
    stripped = name.strip()
    return SYNONYMS.get(stripped, stripped)
