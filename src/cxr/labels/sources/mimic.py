"""MIMIC-CXR-JPG: one row an image in the metadata table, its labels and its place in the split in tables of their own.

Version 2.0.0: 377,110 images of 227,835 studies of 65,379 patients; train 368,960, validate 2,991, test 5,159 images.

Labels: data.labeler says whether the CheXpert labeler or NegBio read the reports: 1 present, 0 absent, -1 uncertain,
blank not mentioned. Labels belong to a study, so each of its images carries them, the lateral one too. data.csv names
another table with a column study_id, such as the radiologists' labels of the test studies.

Known faults: some studies have no row of labels; their images stay, all cells blank, which data.blank=negative counts
as negative. Some images name no view. Dates are shifted, by the same days for all images of a patient.

Age and sex are not in these tables. Where patients.csv or patients.csv.gz of MIMIC-IV (subject_id, gender, anchor_age,
anchor_year) lies beside them they come from it: age is anchor_age + the study's year - anchor_year.

Files expected in data.root, with any version number, plain or gzipped:
    mimic-cxr-2.0.0-metadata.csv (dicom_id, subject_id, study_id, ViewPosition, StudyDate)
    mimic-cxr-2.0.0-chexpert.csv or mimic-cxr-2.0.0-negbio.csv (study_id and 14 observations)
    mimic-cxr-2.0.0-split.csv (dicom_id, split), for split=official
    files/p10/p10000032/s50414267/<dicom_id>.jpg and so on, with or without the folder files

Citation: Johnson et al. "MIMIC-CXR-JPG, a large publicly available database of labeled chest radiographs."
arXiv:1901.07042, 2019.
"""

from pathlib import Path

import numpy as np

from cxr.config.schema import Data
from cxr.errors import CxrError
from cxr.fields.identity import normalise_ids, normalise_images
from cxr.findings import CHEXPERT_14, canonical
from cxr.labels.columns import ColumnUse, account
from cxr.labels.lookup import existing
from cxr.labels.reading import (
    find_table,
    index_rows,
    make_rows,
    read_cells,
    read_patients,
    root_folder,
    split_column,
)
from cxr.labels.sheet import Sheet, read_sheet
from cxr.labels.table import Float, LabelTable

IMAGE, PATIENT, STUDY, VIEW, DATE = "dicom_id", "subject_id", "study_id", "ViewPosition", "StudyDate"
KNOWN = (IMAGE, PATIENT, STUDY, VIEW, DATE, "split")
SPLITS = {"train": "train", "validate": "val", "test": "test"}
PATIENTS = (PATIENT, "gender", "anchor_age", "anchor_year")


def read(data: Data) -> LabelTable:
    """Every row of the metadata table, with its file (empty when not there), its study's labels and its split.

    Raises:
        CxrError: No folder, a table, a column or a patient missing, a cell that is no label, a doubled image or study,
            a split that is not train, validate or test.
    """
    root = root_folder(data, "mimic-cxr-2.0.0-metadata.csv and files/")
    metadata, labels, splits = _find_tables(root, data)
    metadata.require([IMAGE, PATIENT, STUDY], "the metadata table of MIMIC-CXR-JPG has them")
    images, studies = normalise_images(metadata.column(IMAGE)), normalise_ids(metadata.column(STUDY))
    patients = read_patients(
        metadata, PATIENT, "a patient's images must stay in one split; fill in the patient"
    )
    columns = {"image": images, "patient_id": patients, "study_id": studies}
    columns["path"] = existing(root, _paths(root, columns))
    if VIEW in metadata.header:
        columns["view"] = metadata.column(VIEW)
    columns |= _read_patients(root, metadata)
    listed = _read_splits(splits) if splits else {}
    columns["split"] = split_column(metadata, data) or [listed.get(image, "") for image in images]
    findings, raw, label_uses = _read_labels(labels, studies)
    known = set(images)
    absent = tuple((image, split) for image, split in listed.items() if image not in known)
    own = {"image": IMAGE, "patient_id": PATIENT, "study_id": STUDY, "view": VIEW}
    uses = account(metadata, own, {}, {DATE: "for the age"}, "not read by data.source=mimic")
    uses += tuple(use for use in label_uses if use.use.startswith("finding") or use.why)
    return LabelTable(
        "mimic", root, make_rows(columns), findings, raw, absent, columns=uses, where=metadata.where
    )


def _find_tables(root: Path, data: Data) -> tuple[Sheet, Sheet, Sheet | None]:
    """The tables of metadata, labels and split; every one that is lacking is named."""
    wanted = {"metadata": None, data.labeler: data.csv, "split": None}
    found = {name: find_table(root, csv, f"mimic-cxr-*-{name}.csv") for name, csv in wanted.items()}
    needed = [name for name in wanted if name != "split" or data.split == "official"]
    problems = [f"{root}: no mimic-cxr-*-{name}.csv or .csv.gz" for name in needed if found[name] is None]
    if problems:
        hint = "data.root must be the folder of MIMIC-CXR-JPG that holds its tables and files/"
        raise CxrError(problems, f"{hint}; without the split's table use data.split=random, lists or column")
    metadata, labels, split = (
        None if path is None else read_sheet(path).spelled(KNOWN) for path in found.values()
    )
    assert metadata and labels
    return metadata, labels, split


def _paths(root: Path, columns: dict[str, list[str]]) -> list[str]:
    top = "files/" if (root / "files").is_dir() else ""
    keys = zip(columns["patient_id"], columns["study_id"], columns["image"], strict=True)
    return [f"{top}p{patient[:2]}/p{patient}/s{study}/{image}.jpg" for patient, study, image in keys]


def _read_labels(sheet: Sheet, studies: list[str]) -> tuple[tuple[str, ...], Float, tuple[ColumnUse, ...]]:
    """(the findings that the table has, the cells of each image's study, nan where it has no row, the columns' use)."""
    sheet.require([STUDY], "a label table of MIMIC-CXR has a row a study")
    names = {canonical(name): name for name in sheet.header}
    findings = tuple(name for name in CHEXPERT_14 if name in names)
    if not findings:
        raise CxrError(
            f"{sheet.path}: no column of an observation", f"observations are {', '.join(CHEXPERT_14)}"
        )
    rows = index_rows(sheet, STUDY)
    cells = read_cells(sheet, [names[name] for name in findings])
    cells = np.vstack([cells, np.full((1, len(findings)), np.nan, np.float32)])  # the last row is of no study
    own = {"patient_id": PATIENT, "study_id": STUDY}
    uses = account(sheet, own, {name: names[name] for name in findings}, {}, "not read by data.source=mimic")
    return findings, cells[[rows.get(study, -1) for study in studies]], uses


def _read_splits(sheet: Sheet) -> dict[str, str]:
    """train, val or test by image."""
    sheet.require([IMAGE, "split"], "the split table of MIMIC-CXR-JPG has them")
    rows, words = index_rows(sheet, IMAGE), sheet.column("split")
    wrong = next((row for row, word in enumerate(words) if word not in SPLITS), None)
    if wrong is not None:
        raise CxrError(f"{sheet.where(wrong)}: split is {words[wrong]!r}", f"splits are {', '.join(SPLITS)}")
    return {image: SPLITS[words[row]] for image, row in rows.items()}


def _read_patients(root: Path, metadata: Sheet) -> dict[str, list[str]]:
    """Columns sex and age of each image, empty for patients that are not in patients.csv; none without that table."""
    path = find_table(root, None, "patients.csv")
    if path is None or DATE not in metadata.header:
        return {}
    sheet = read_sheet(path)
    sheet.require(PATIENTS, "patients.csv is MIMIC-IV's table of patients; move any other file away")
    keyed = zip(*(sheet.column(name) for name in PATIENTS[1:]), strict=True)
    about = dict(zip(index_rows(sheet, PATIENT), keyed, strict=True))
    here = [about.get(patient, ("", "", "")) for patient in normalise_ids(metadata.column(PATIENT))]
    years = [date[:4] for date in metadata.column(DATE)]
    ages = [_age(age, start, year) for (_, age, start), year in zip(here, years, strict=True)]
    return {"sex": [sex for sex, _, _ in here], "age": ages}


def _age(anchor_age: str, anchor_year: str, year: str) -> str:
    if not (anchor_age.isdecimal() and anchor_year.isdecimal() and year.isdecimal()):
        return ""
    return str(int(anchor_age) + int(year) - int(anchor_year))
