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

from cxr.config.schema import Data
from cxr.errors import CxrError
from cxr.fields.identity import normalise_images
from cxr.findings import CHEXPERT_14, canonical
from cxr.labels.columns import account
from cxr.labels.lookup import existing
from cxr.labels.reading import find_table, make_rows, read_cells, read_patients, root_folder, split_column
from cxr.labels.sheet import Sheet, read_sheet
from cxr.labels.table import LabelTable

TABLE, PATIENT, PNG, DICOM = "master_spreadsheet_update.csv", "PatientID", "PngPath", "DicomPath"
COLUMNS = {PATIENT: "patient_id", "AccessionNumber": "study_id", "PatientSex": "sex"}
KNOWN = (PNG, DICOM, *COLUMNS, "ViewPosition", "PatientAge")


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
    sheet = read_sheet(path).spelled((*KNOWN, *CHEXPERT_14))
    sheet.require([PNG, PATIENT, *CHEXPERT_14], f"data.csv must be BRAX's table, {TABLE}")
    read_patients(sheet, PATIENT, "a patient's images must stay in one split; fill in the patient")
    table = parse(sheet, root)
    table.rows["path"] = pd.Series(_find_images(sheet, root), dtype=str)
    table.rows["split"] = pd.Series(split_column(sheet, data) or [""] * len(sheet), dtype=str)
    return table


def parse(sheet: Sheet, root: Path) -> LabelTable:
    """The table of a CSV in BRAX's form, without looking for images, labels of the observations that it has."""
    named = {"image": PNG} | {name: own for own, name in COLUMNS.items() if own in sheet.header}
    named |= {
        name: own for name, own in (("view", "ViewPosition"), ("age", "PatientAge")) if own in sheet.header
    }
    columns = {name: sheet.column(own) for name, own in named.items()}
    if "age" in columns:
        columns["age"] = [age.removesuffix(" or more") for age in columns["age"]]
    every = {canonical(name): name for name in sheet.header}
    labels = {name: every[name] for name in CHEXPERT_14 if name in every}
    uses = account(
        sheet, named, labels, {DICOM: "the file, where there is no PNG"}, "not read by data.source=brax"
    )
    cells = read_cells(sheet, list(labels.values()))
    return LabelTable("brax", root, make_rows(columns), tuple(labels), cells, columns=uses, where=sheet.where)


def _find_images(sheet: Sheet, root: Path) -> list[str]:
    found = existing(root, normalise_images(sheet.column(PNG)))
    if DICOM not in sheet.header:
        return found
    lost = [row for row, path in enumerate(found) if not path]
    dicom = normalise_images(sheet.column(DICOM))
    for row, path in zip(lost, existing(root, [dicom[row] for row in lost]), strict=True):
        found[row] = path
    return found
