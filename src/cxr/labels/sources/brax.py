"""BRAX: one row an image, a column an observation of CheXpert, in master_spreadsheet_update.csv.

40,967 images of 24,959 studies of 19,351 patients.

Labels: from Portuguese reports by an adaptation of the CheXpert labeler: 1 present, 0 absent, -1 uncertain,
blank not mentioned.

Known faults: about a quarter of the rows name no view; ages are groups of five years, the oldest `85 or
more`, read as 85; twelve images are thin strips rather than radiographs.

Files expected in data.root:
    master_spreadsheet_update.csv, plain or gzipped (PatientID, PngPath, 14 observations)
    images/id_.../Study_.../Series_.../image-....png as PngPath says, else DICOM files as DicomPath says

Citation: Reis et al. "BRAX, Brazilian labeled chest x-ray dataset." Scientific Data 9, 487, 2022.
"""

from pathlib import Path

from cxr.config.schema import Data
from cxr.fields.identity import normalise_images
from cxr.findings import CHEXPERT_14
from cxr.labels.columns import account
from cxr.labels.lookup import first_existing
from cxr.labels.reading import (
    add_files,
    find_observations,
    make_rows,
    pick_columns,
    read_cells,
    read_label_table,
    read_patients,
    root_folder,
    split_column,
)
from cxr.labels.sheet import Sheet
from cxr.labels.table import LabelTable

TABLE, PATIENT, PNG, DICOM = "master_spreadsheet_update.csv", "PatientID", "PngPath", "DicomPath"
COLUMNS = {
    "patient_id": PATIENT,
    "study_id": "AccessionNumber",
    "sex": "PatientSex",
    "view": "ViewPosition",
    "age": "PatientAge",
}


def read(data: Data) -> LabelTable:
    """Every row of the spreadsheet, with its PNG or else its DICOM file (empty when neither is there).

    Raises:
        CxrError: No folder, no spreadsheet, a column or a patient missing, a cell that is no label, a doubled
        image.
    """
    root = root_folder(data, TABLE)
    sheet = read_label_table(root, data.csv, "BRAX", [TABLE], "images/")
    sheet = sheet.spelled((PNG, DICOM, *COLUMNS.values(), *CHEXPERT_14))
    sheet.require([PNG, PATIENT, *CHEXPERT_14], f"data.csv must be BRAX's table, {TABLE}")
    read_patients(sheet, PATIENT)  # refuses rows without one
    table = parse(sheet, root)
    paths = [normalise_images(sheet.column(name)) for name in (PNG, DICOM) if name in sheet.header]
    return add_files(table, first_existing(root, paths), split_column(sheet, data))


def parse(sheet: Sheet, root: Path) -> LabelTable:
    """The table of a CSV in BRAX's form, with the observations that it has; no image is looked for."""
    named = {"image": PNG} | pick_columns(sheet, COLUMNS)
    columns = {name: sheet.column(column) for name, column in named.items()}
    if "age" in columns:
        # `85 or more`
        columns["age"] = [age.removesuffix(" or more") for age in columns["age"]]
    labels = find_observations(sheet)
    why = {DICOM: "the file, where there is no PNG"}
    uses = account(sheet, named, labels, why, "not read by data.source=brax")
    raw = read_cells(sheet, list(labels.values()))
    return LabelTable("brax", root, make_rows(columns), tuple(labels), raw, columns=uses, where=sheet.where)
