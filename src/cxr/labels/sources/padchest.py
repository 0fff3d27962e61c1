"""PadChest: one row an image, its radiographic findings as a list of words in one cell.

160,861 rows (91,728 PA, 49,579 lateral, 14,346 AP_horizontal, 4,559 AP, 630 COSTAL) of 109,931 studies of
67,625 patients; 50,616 rows say `normal`.

Labels: words for 24 % of the rows come from physicians who read the reports (MethodLabel `Physician`), for
the others from a recurrent network trained on those (`RNN_model`); the row column `labelled_by` keeps which.
A cell is 1 when a word of TERMS (below) is in the list and 0 when none is. `unchanged`, `exclude` and
`suboptimal study` say that the list is not whole, so beside them a finding that is not named is blank. Every
cell is blank where Labels is `nan` (103 rows) or holds no other word. data.blank=negative counts blank cells
as negative, data.blank=masked leaves them out.

TERMS follows the groups of torchxrayvision's PC_Dataset where those name a finding alike, except that a
pseudonodule is no nodule, subcutaneous emphysema no emphysema, pericardial effusion no (pleural) Effusion,
and masses outside the lung no Mass; and that Support Devices holds tubes, catheters and valves too, as in
CheXpert.

Known faults: the first column has no name; words have blanks around them, are empty or doubled; a few image
files are truncated (data.unreadable=skip); Projection is EXCLUDE or UNK in 19 rows; 6 rows lack the year of
birth. Age is the study's year minus the year of birth.

Files expected in data.root:
    PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv, plain or gzipped
    0/ ... 54/ with 16-bit PNGs as ImageDir says, or the PNGs beside the table

Citation: Bustos et al. "PadChest: A large chest x-ray image dataset with multi-label annotated reports."
Medical Image Analysis 66, 2020.
"""

import re
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd

from cxr.config.schema import Data
from cxr.errors import CxrError
from cxr.fields.cells import is_blank
from cxr.fields.identity import normalise_ids, normalise_images
from cxr.findings import NO_FINDING, name_key
from cxr.labels.classes import count_words, split_words
from cxr.labels.columns import account
from cxr.labels.lookup import first_existing
from cxr.labels.problems import shorten_problems
from cxr.labels.reading import (
    add_files,
    make_rows,
    pick_columns,
    read_label_table,
    read_patients,
    root_folder,
    split_column,
)
from cxr.labels.sheet import Sheet
from cxr.labels.table import Float, LabelTable

_LIST = re.compile(r"""\[\s*(?:(?:'[^']*'|"[^"]*")\s*(?:,\s*)?)*\]""")

TABLE = "PADCHEST_chest_x_ray_images_labels_*.csv"
IMAGE, FOLDER, PATIENT, LABELS = "ImageID", "ImageDir", "PatientID", "Labels"
BIRTH, DATE = "PatientBirth", "StudyDate_DICOM"
COLUMNS = {
    "sex": "PatientSex_DICOM",
    "study_id": "StudyID",
    "labelled_by": "MethodLabel",
    "patient_id": PATIENT,
    "view": "Projection",
}
KNOWN = (IMAGE, FOLDER, LABELS, BIRTH, DATE, *COLUMNS.values())

_PATTERNS = (
    "infiltrates", "interstitial pattern", "ground glass pattern", "reticular interstitial pattern",
    "reticulonodular interstitial pattern", "alveolar pattern", "consolidation", "air bronchogram",
)  # fmt: skip
_TUBES = (
    "NSG tube", "endotracheal tube", "tracheostomy tube", "chest drain tube",
    "ventriculoperitoneal drain tube", "gastrostomy tube", "nephrostomy tube", "double J stent",
)  # fmt: skip
_PACERS = ("pacemaker", "single chamber device", "dual chamber device", "electrical device", "dai")
_CATHETERS = (
    "catheter", "central venous catheter", "central venous catheter via jugular vein",
    "central venous catheter via subclavian vein", "central venous catheter via umbilical vein",
    "reservoir central venous catheter",
)  # fmt: skip
_VALVES = ("artificial heart valve", "artificial mitral heart valve", "artificial aortic heart valve")

TERMS: dict[str, tuple[str, ...]] = {
    "Atelectasis": (
        "atelectasis", "laminar atelectasis", "lobar atelectasis", "segmental atelectasis",
        "atelectasis basal", "total atelectasis", "round atelectasis",
    ),
    "Cardiomegaly": ("cardiomegaly",),
    "Effusion": ("pleural effusion", "loculated pleural effusion", "loculated fissural effusion"),
    "Infiltration": _PATTERNS,
    "Mass": ("mass", "pulmonary mass"),
    "Nodule": ("nodule", "multiple nodules"),
    "Pneumonia": ("pneumonia", "atypical pneumonia"),
    "Pneumothorax": ("pneumothorax", "hydropneumothorax"),
    "Consolidation": ("consolidation", "air bronchogram"),
    "Edema": ("pulmonary edema",),
    "Emphysema": ("emphysema",),
    "Fibrosis": ("pulmonary fibrosis",),
    "Pleural_Thickening": ("pleural thickening", "apical pleural thickening", "calcified pleural thickening"),
    "Hernia": ("hiatal hernia",),
    "Fracture": (
        "fracture", "rib fracture", "callus rib fracture", "clavicle fracture", "humeral fracture",
        "vertebral fracture",
    ),
    "Granuloma": ("granuloma", "calcified granuloma"),
    "Flattened Diaphragm": ("flattened diaphragm",),
    "Bronchiectasis": ("bronchiectasis",),
    "Aortic Elongation": (
        "aortic elongation", "supra aortic elongation", "ascendent aortic elongation",
        "descendent aortic elongation",
    ),
    "Scoliosis": ("scoliosis",),
    "Hilar Enlargement": (
        "hilar enlargement", "vascular hilar enlargement", "adenopathy", "calcified adenopathy",
        "calcified mediastinal adenopathy", "pulmonary artery enlargement",
    ),
    "Tuberculosis": ("tuberculosis", "tuberculosis sequelae"),
    "Air Trapping": ("air trapping",),
    "Costophrenic Angle Blunting": ("costophrenic angle blunting",),
    "Aortic Atheromatosis": ("aortic atheromatosis",),
    "Hemidiaphragm Elevation": ("hemidiaphragm elevation",),
    "Support Devices": (*_PACERS, *_TUBES, *_CATHETERS, *_VALVES),
    "Tube": _TUBES,
    "Enlarged Cardiomediastinum": ("mediastinal enlargement", "superior mediastinal enlargement"),
    "COPD Signs": ("COPD signs",),
    "Kyphosis": ("kyphosis",),
    "Chronic Changes": ("chronic changes",),
    "Vertebral Degenerative Changes": ("vertebral degenerative changes",),
    "Fibrotic Band": ("fibrotic band",),
    "Heart Insufficiency": ("heart insufficiency",),
    "Volume Loss": ("volume loss",),
    "Pseudonodule": ("pseudonodule",),
    "Hypoexpansion": ("hypoexpansion", "hypoexpansion basal"),
    NO_FINDING: ("normal",),
}  # fmt: skip
"""PadChest's words of each finding: ChestX-ray14's 14, further ones of torchxrayvision, and frequent ones."""

PARTIAL = frozenset({"unchanged", "exclude", "suboptimal study"})
"""Words beside which a finding that the list does not name is blank rather than absent."""

FINDINGS = tuple(TERMS)
_PARTIAL_KEYS = frozenset(map(name_key, PARTIAL))


def _map_words() -> dict[str, list[int]]:
    """The columns of `raw` that each word, by `name_key`, is a label of; a word may name several findings."""
    columns: dict[str, list[int]] = {}
    for column, words in enumerate(TERMS.values()):
        for word in words:
            columns.setdefault(name_key(word), []).append(column)
    return columns


_COLUMNS_OF = _map_words()


def read(data: Data) -> LabelTable:
    """Every row of the label table, with its file (empty when not there).

    Raises:
        CxrError: No folder, no label table, a column or a patient missing, a doubled image, Labels that are
        no list.
    """
    root = root_folder(data, f"{TABLE} and the folders 0 to 54")
    sheet = read_label_table(root, data.csv, "PadChest", [TABLE], "the folders 0 to 54").spelled(KNOWN)
    sheet.require([IMAGE, PATIENT, LABELS], "data.csv must be PadChest's table")
    read_patients(sheet, PATIENT)  # refuses rows without one
    table = parse(sheet, root)
    # in the folder that ImageDir names, else beside the table
    images = normalise_images(sheet.column(IMAGE))
    # without the column of folders all files lie beside the table
    candidates = [images]
    if FOLDER in sheet.header:
        folders = normalise_ids(sheet.column(FOLDER))
        below = [f"{folder}/{image}" for folder, image in zip(folders, images, strict=True)]
        candidates = [below, images]
    return add_files(table, first_existing(root, candidates), split_column(sheet, data))


def parse(sheet: Sheet, root: Path) -> LabelTable:
    """The table of a CSV in PadChest's form, without looking for images; only image and labels are needed."""
    named = {"image": IMAGE} | pick_columns(sheet, COLUMNS)
    columns = {name: sheet.column(column) for name, column in named.items()}
    if BIRTH in sheet.header and DATE in sheet.header:
        named["age"] = BIRTH
        dates = zip(sheet.column(BIRTH), sheet.column(DATE), strict=True)
        columns["age"] = [_age(birth, date) for birth, date in dates]
    labels = {f"list of {len(FINDINGS)}": LABELS}
    why = {DATE: "read with the year of birth"}
    uses = account(sheet, named, labels, why, "not read by data.source=padchest")
    raw, notes = _read_findings(sheet)
    rows = make_rows(columns)
    return LabelTable("padchest", root, rows, FINDINGS, raw, columns=uses, notes=notes, where=sheet.where)


def _read_findings(sheet: Sheet) -> tuple[Float, tuple[str, ...]]:
    """(cells [N, C], a note on words that are none of TERMS)."""
    # each distinct list of words is read once
    codes, cells = pd.factorize(np.array(sheet.column(LABELS), dtype=object))  # 28,809 distinct in 160,861
    num_rows = np.bincount(codes)
    raw = np.full((len(cells), len(FINDINGS)), np.nan, dtype=np.float32)
    problems = []
    unknown = Counter[str]()  # rows of each word that is no finding here
    for index, cell in enumerate(cells):
        words = read_words(str(cell))
        if words is None:
            row = int(np.flatnonzero(codes == index)[0])
            problems.append(f"{sheet.where(row)}: {LABELS} is {cell[:60]!r}")
            continue
        # `unchanged` and the like are no findings: they say that the list is not whole
        findings = words - _PARTIAL_KEYS
        if findings:  # else nothing is said, and the row stays blank
            # the list is whole: what it does not name is absent; else it stays blank
            if findings == words:
                raw[index] = 0
            raw[index, [column for word in findings for column in _COLUMNS_OF.get(word, ())]] = 1
            unknown.update(dict.fromkeys(findings - _COLUMNS_OF.keys(), int(num_rows[index])))
    if problems:
        shown = shorten_problems(problems, str(sheet.path), "such lists")
        raise CxrError(shown, "a list of words is like ['pleural effusion', 'cardiomegaly']")
    note = f"words in {LABELS} that are no finding here, blanks left out: {count_words(unknown)}"
    return raw[codes], (note,) if unknown else ()


def read_words(cell: str) -> frozenset[str] | None:
    """Keys of the words of `['pneumonia', ' pneumonia', '']`, none for `nan`; None if it is no such list."""
    if is_blank(cell):
        return frozenset()
    if not _LIST.fullmatch(cell.strip()):
        return None
    return frozenset(name_key(" ".join(word.split())) for word in split_words(cell))


def _age(birth: str, date: str) -> str:
    """The year of a date such as 20140915 minus that of birth, as 1930.0; empty where either is missing."""
    birth, year = birth.strip().removesuffix(".0"), date[:4]
    return str(int(year) - int(birth)) if birth.isdecimal() and year.isdecimal() else ""
