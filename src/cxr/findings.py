"""Names of findings, how two names are compared, and the groups that datasets label."""

import re
import unicodedata
from collections.abc import Sequence
from functools import cache

NO_FINDING = "No Finding"

NIH_14 = (
    "Atelectasis", "Cardiomegaly", "Effusion", "Infiltration", "Mass", "Nodule", "Pneumonia", "Pneumothorax",
    "Consolidation", "Edema", "Emphysema", "Fibrosis", "Pleural_Thickening", "Hernia",
)  # fmt: skip
"""The 14 findings of ChestX-ray14, in the order of the CheXNet paper's Table 2."""

CHEXPERT_14 = (
    "No Finding", "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion", "Edema",
    "Consolidation", "Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion", "Pleural Other",
    "Fracture", "Support Devices",
)  # fmt: skip
"""The 14 observations of CheXpert, in the order of its train.csv."""

CHEXPERT_5 = ("Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Pleural Effusion")
"""The competition findings of CheXpert (Irvin et al. 2019)."""

OTHERS = (
    "Aortic Atheromatosis", "Aortic Elongation", "Aortic enlargement", "Air Trapping", "Bronchiectasis",
    "COPD", "COPD Signs", "COVID-19", "Calcification", "Chronic Changes", "Clavicle fracture",
    "Costophrenic Angle Blunting", "Enlarged PA", "Fibrotic Band", "Flattened Diaphragm", "Granuloma",
    "Heart Insufficiency", "Hemidiaphragm Elevation", "Hilar Enlargement", "Hypoexpansion", "ILD", "Kyphosis",
    "Lung cavity", "Lung cyst", "Lung tumor", "Mediastinal shift", "Nodule/Mass", "Pulmonary fibrosis",
    "Pseudonodule", "Rib fracture", "Scoliosis", "Tuberculosis", "Tube", "Vertebral Degenerative Changes",
    "Viral Pneumonia", "Bacterial Pneumonia", "Volume Loss", "Other diseases", "Other lesion",
)  # fmt: skip
"""Further findings that PadChest, VinDr-CXR and other public datasets label, as these spell them."""

GROUPS = {"nih14": NIH_14, "chexpert14": CHEXPERT_14, "chexpert5": CHEXPERT_5}
"""Words that `data.findings` accepts in place of a list."""

SYNONYMS = {"Normal": "No Finding", "No Findings": "No Finding", "Healthy": "No Finding"}
"""Other words for a finding, beside other spellings of its name."""

CONCEPTS = {"Pleural Effusion": "Effusion", "Pulmonary Fibrosis": "Fibrosis"}
"""Names of different datasets for the same finding: CheXpert's effusion, VinDr-CXR's fibrosis.

Not merged, because they ask a reader of the image different questions:
    Infiltration (ChestX-ray14) is neither Consolidation (narrower) nor Lung Opacity (broader);
    Nodule and Mass (ChestX-ray14) are not Lung Lesion (CheXpert), which holds both and more;
    Pleural_Thickening (ChestX-ray14) is not Pleural Other (CheXpert), which holds it among others;
    Cardiomegaly is not Enlarged Cardiomediastinum; Fibrosis, Emphysema and Hernia are ChestX-ray14's alone.
"""

TOGETHER = {"Lung Opacity": ("Pneumonia", "Infiltration", "Consolidation"), "Nodule/Mass": ("Nodule", "Mass")}
"""Findings that a dataset may know under several narrower names, any of which then counts."""


def name_key(name: str) -> str:
    """A name without case and without the blanks, hyphens and underscores between its words, for comparing.

    Signs at the ends stay, so `PICC+` and `PICC-` are two names.
    """
    # NFC: the same letter may be one code or a letter and its accent
    return _BETWEEN.sub("", unicodedata.normalize("NFC", name).strip().casefold())


@cache
def canonical(name: str) -> str:
    """The spelling of a known finding that tables and reports use; any other name unchanged, trimmed."""
    return _KNOWN.get(name_key(name), " ".join(unicodedata.normalize("NFC", name).split()))


def is_known(name: str) -> bool:
    """Whether the name is that of a finding which public datasets label."""
    return name_key(name) in _KNOWN


@cache
def concept(name: str) -> str:
    """What a finding's name means, the same for all spellings and all datasets that label it."""
    key = name_key(canonical(name))
    meant = _CONCEPT_KEYS.get(key, key)
    return _KNOWN.get(meant, meant)


def find(name: str, names: Sequence[str]) -> str | None:
    """The name among `names` that means the finding: itself, another spelling, or one of the same concept."""
    if name in names:
        return name
    key = name_key(canonical(name))
    # a spelling goes before a concept: CheXpert's `Pleural Effusion` is itself where both names are there
    spelled = next((other for other in names if name_key(canonical(other)) == key), None)
    return spelled or next((other for other in names if concept(other) == concept(name)), None)


def find_spelling(name: str, names: Sequence[str]) -> str | None:
    """The one of `names` that is the same name, whatever its spelling."""
    key = name_key(canonical(name))
    return (
        name if name in names else next((other for other in names if name_key(canonical(other)) == key), None)
    )


_BETWEEN = re.compile(r"(?<=[^\W_])[\s_\N{HYPHEN}\N{NON-BREAKING HYPHEN}-]+(?=[^\W_])")
_KNOWN = {name_key(name): name for name in (*OTHERS, *CHEXPERT_14, *NIH_14)}
_KNOWN |= {name_key(name): meant for name, meant in SYNONYMS.items()}
_CONCEPT_KEYS = {name_key(name): name_key(meant) for name, meant in CONCEPTS.items()}
