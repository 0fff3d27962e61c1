"""Names of findings, their synonyms, and the groups that archives label."""

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


def canonical(name: str) -> str:
    """The one spelling of a finding's name that tables and reports use."""
    stripped = name.strip()
    return SYNONYMS.get(stripped, stripped)
