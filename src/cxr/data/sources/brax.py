"""BRAX: one row an image, a column an observation of CheXpert, in master_spreadsheet_update.csv.

40,967 images of 24,959 studies of 19,351 patients.

Labels: from Portuguese reports by an adaptation of the CheXpert labeler: 1 present, 0 absent, -1 uncertain, blank not
mentioned.

Known faults: about a quarter of the rows name no view; ages are groups of five years, the oldest `85 or more`, read as
85; twelve images are thin strips rather than radiographs.

Files expected in data.root:
    master_spreadsheet_update.csv, plain or gzipped (PatientID, PngPath, 14 observations)
    images/id_.../Study_.../Series_.../image-....png as PngPath says, else DICOM files as DicomPath says

Citation: Reis et al. "BRAX, Brazilian labeled chest x-ray dataset." Scientific Data 9, 487, 2022.
"""

from pathlib import Path

import pandas as pd

from cxr.config import Data
from cxr.data.findings import CHEXPERT_14, canonical
from cxr.data.labels import LabelTable
from cxr.data.sources.files import (
    Sheet,
    check_filled,
    check_unique,
    existing,
    find_table,
    make_rows,
    read_cells,
    read_sheet,
    root_folder,
    slashes,
    split_column,
)
from cxr.errors import CxrError

TABLE, PATIENT, PNG, DICOM = "master_spreadsheet_update.csv", "PatientID", "PngPath", "DicomPath"
COLUMNS = {PATIENT: "patient_id", "AccessionNumber": "study_id", "PatientSex": "sex"}
VIEWS = {"L": "lateral", "LL": "lateral", "RL": "lateral", "LATERAL": "lateral"}


def read(data: Data) -> LabelTable:
    """Every row of the spreadsheet, with its PNG or else its DICOM file (empty when neither is there).

    Raises:
        CxrError: No folder, no spreadsheet, a column or a patient missing, a cell that is no label, a doubled image.
    """
    root = root_folder(data, TABLE)
    path = find_table(root, data.csv, TABLE)
    if path is None:
        hint = "data.root must be the folder that holds it and images/, or set data.csv"
        raise CxrError(f"{root}: no {TABLE}, plain or gzipped", hint)
    sheet = read_sheet(path)
    sheet.require([PNG, PATIENT, *CHEXPERT_14], f"data.csv must be BRAX's table, {TABLE}")
    why = "a patient's images must stay in one split; fill in the patient"
    check_filled(sheet, PATIENT, sheet.column(PATIENT), why)
    table = parse(sheet, root)
    table.rows["path"] = pd.Series(_find_images(sheet, root), dtype=str)
    table.rows["split"] = pd.Series(split_column(sheet, data) or [""] * len(sheet), dtype=str)
    return table


def parse(sheet: Sheet, root: Path) -> LabelTable:
    """The table of a CSV in BRAX's form, without looking for images, labels of the observations that it has."""
    images = slashes(sheet.column(PNG))
    check_unique(sheet, images)
    columns = {"image": images} | {name: sheet.column(own) for own, name in COLUMNS.items() if own in sheet.header}
    if "ViewPosition" in sheet.header:
        columns["view"] = [VIEWS.get(view, view) for view in sheet.column("ViewPosition")]
    if "PatientAge" in sheet.header:
        columns["age"] = [age.removesuffix(" or more") for age in sheet.column("PatientAge")]
    names = {canonical(name): name for name in sheet.header}
    findings = tuple(name for name in CHEXPERT_14 if name in names)
    return LabelTable("brax", root, make_rows(columns), findings, read_cells(sheet, [names[one] for one in findings]))


def _find_images(sheet: Sheet, root: Path) -> list[str]:
    found = existing(root, slashes(sheet.column(PNG)))
    if DICOM not in sheet.header:
        return found
    lost = [row for row, path in enumerate(found) if not path]
    dicom = slashes(sheet.column(DICOM))
    for row, path in zip(lost, existing(root, [dicom[row] for row in lost]), strict=True):
        found[row] = path
    return found
