"""Datasets that nobody may download for you: where each is, and what its publisher asks for first."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Elsewhere:
    """A dataset behind a registration.

    Attributes:
        title: Its name.
        page: Where it is published.
        how: What its publisher asks for before a download.
        check: The command that looks at it once it is on the disk.
    """

    title: str
    page: str
    how: str
    check: str


_PHYSIONET = "a PhysioNet account with credentials, its training course, and the dataset's data use agreement"

DATASETS = {
    "chexpert": Elsewhere(
        "CheXpert",
        "https://stanfordmlgroup.github.io/competitions/chexpert/",
        "a registration with Stanford and its research use agreement",
        "cxr check chexpert_densenet121 data.root=FOLDER",
    ),
    "mimic": Elsewhere(
        "MIMIC-CXR-JPG",
        "https://physionet.org/content/mimic-cxr-jpg/",
        _PHYSIONET,
        "cxr check mimic_densenet121 data.root=FOLDER",
    ),
    "padchest": Elsewhere(
        "PadChest",
        "https://bimcv.cipf.es/bimcv-projects/padchest/",
        "a request to BIMCV and its terms of use",
        "cxr check padchest_densenet121 data.root=FOLDER",
    ),
    "vindr": Elsewhere(
        "VinDr-CXR",
        "https://physionet.org/content/vindr-cxr/",
        _PHYSIONET,
        "cxr init my.yaml --images FOLDER",
    ),
    "brax": Elsewhere(
        "BRAX", "https://physionet.org/content/brax/", _PHYSIONET, "cxr init my.yaml --images FOLDER"
    ),
    "rsna": Elsewhere(
        "RSNA Pneumonia Detection Challenge",
        "https://www.kaggle.com/c/rsna-pneumonia-detection-challenge",
        "a Kaggle account and the rules of the challenge",
        "cxr init my.yaml --csv stage_2_train_labels.csv --images stage_2_train_images",
    ),
}
"""By the name that `cxr download` takes."""
