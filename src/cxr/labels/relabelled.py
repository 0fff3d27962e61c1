"""Radiologists' labels of part of ChestX-ray14, whose own labels a program read from reports.

Google's labels (Majkowska et al. 2020): 4,376 images of 1,695 patients, `YES` or `NO` for each of four
findings, adjudicated by a panel of radiologists. torchxrayvision carries them as
`google2019_nih-chest-xray-labels.csv.gz`. The table repeats ChestX-ray14's column `Finding Labels`, which is
not read here. Its `Set Id` says which images Google tuned on (val) or tested on (test) and is no split of
ours. The images are enriched: half have an airspace opacity.

RSNA's boxes (Shih et al. 2019): one row a box or, without one, one row with a `Target` of 0; 26,684 images in
Kaggle's `stage_2_train_labels.csv`, which calls its images by `patientId`. What was marked is lung opacity
suspicious for pneumonia, so an image without a box may show other opacities.
"""

from pathlib import Path

from cxr.fields.identity import normalise_ids
from cxr.labels.columns import find_column
from cxr.labels.reading import make_rows, read_cells
from cxr.labels.sheet import Sheet, column_key
from cxr.labels.sources.nih import FOLLOW_UP
from cxr.labels.table import LabelTable

GOOGLE = {
    "Fracture": ("fracture",),
    "Pneumothorax": ("pneumothorax",),
    "Lung Opacity": ("airspaceopacity",),
    "Nodule/Mass": ("noduleormass", "nodulemass"),
}
"""Findings by the keys of their columns, called as torchxrayvision calls them."""
_RSNA = {"x", "y", "width", "height", "target"}
OPACITY = "Lung Opacity"
"""What RSNA's boxes mark."""


def is_google(sheet: Sheet) -> bool:
    """Whether a table has an image column and the columns of all four findings."""
    return find_column(sheet, "image") is not None and all(_find(sheet, keys) for keys in GOOGLE.values())


def parse_google(sheet: Sheet, root: Path) -> LabelTable:
    """Google's labels; no image is looked for."""
    columns = _read_rows(sheet, ("image", "patient_id", "view", "sex", "age"))
    # counts the visits of each patient, as in NIH's
    if FOLLOW_UP in sheet.header and "patient_id" in columns:
        # visits are counted for each patient, so the patient is part of a study's name
        pairs = zip(columns["patient_id"], normalise_ids(sheet.column(FOLLOW_UP)), strict=True)
        columns["study_id"] = [f"{patient}/{visit}" for patient, visit in pairs]
    raw = read_cells(sheet, [_find(sheet, keys) for keys in GOOGLE.values()])
    note = (
        "labels are those of radiologists (Majkowska et al. 2020); Airspace opacity is read as Lung Opacity, "
        "and Finding Labels is not read"
    )
    return LabelTable(
        "google", root, make_rows(columns), tuple(GOOGLE), raw, notes=(note,), where=sheet.where
    )


def is_rsna(sheet: Sheet) -> bool:
    """Whether a table has the columns of RSNA's boxes and names its images, or patients in their place."""
    return {column_key(name) for name in sheet.header} >= _RSNA and _image_column(sheet) is not None


def parse_rsna(sheet: Sheet, root: Path) -> LabelTable:
    """RSNA's boxes as labels: whether an image has a box. Its rows are equal, and count as one later."""
    columns = {"image": sheet.column(_image_column(sheet) or "")}
    raw = read_cells(sheet, [_find(sheet, ("target",))])
    note = "labels say whether radiologists marked a lung opacity suspicious for pneumonia (Shih et al. 2019)"
    return LabelTable("rsna", root, make_rows(columns), (OPACITY,), raw, notes=(note,), where=sheet.where)


def _image_column(sheet: Sheet) -> str | None:
    return find_column(sheet, "image") or find_column(sheet, "patient_id")


def _read_rows(sheet: Sheet, kinds: tuple[str, ...]) -> dict[str, list[str]]:
    """The cells of the columns of these kinds, as far as they are there."""
    named = {kind: find_column(sheet, kind) for kind in kinds}
    return {kind: list(sheet.column(column)) for kind, column in named.items() if column}


def _find(sheet: Sheet, keys: tuple[str, ...]) -> str:
    """The first column of such a name; empty where there is none."""
    return next((name for name in sheet.header if column_key(name) in keys), "")
