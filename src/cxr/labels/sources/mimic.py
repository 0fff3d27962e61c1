"""MIMIC-CXR-JPG: one row an image in the metadata table, its labels and its split in further tables.

Version 2.0.0: 377,110 images of 227,835 studies of 65,379 patients; train 368,960, validate 2,991, test 5,159
images.

Labels: data.labeler says whether the CheXpert labeler or NegBio read the reports: 1 present, 0 absent, -1
uncertain, blank not mentioned. Labels belong to a study, so each of its images carries them, the lateral one
too. data.csv names another table with a column study_id, such as the radiologists' labels of the test
studies.

Known faults: some studies have no row of labels; their images stay, all cells blank, which
data.blank=negative counts as negative. Some images name no view. Dates are shifted, by the same days for all
images of a patient.

Age and sex are not in these tables. They come from patients.csv or patients.csv.gz of MIMIC-IV (subject_id,
gender, anchor_age, anchor_year) where it lies beside them: age is anchor_age + the study's year -
anchor_year.

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
from cxr.findings import CHEXPERT_14
from cxr.labels.columns import ColumnUse, account
from cxr.labels.lookup import existing
from cxr.labels.reading import (
    find_observations,
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

IMAGE, PATIENT, STUDY = "dicom_id", "subject_id", "study_id"
VIEW, DATE, SPLIT = "ViewPosition", "StudyDate", "split"
KNOWN = (IMAGE, PATIENT, STUDY, VIEW, DATE, SPLIT)
SPLITS = {"train": "train", "validate": "val", "test": "test"}
SEX, ANCHOR_AGE, ANCHOR_YEAR = "gender", "anchor_age", "anchor_year"
NOT_READ = "not read by data.source=mimic"


def read(data: Data) -> LabelTable:
    """Every row of the metadata table, with its file (empty if not there), its study's labels and its split.

    Raises:
        CxrError: No folder, a table, a column or a patient missing, a cell that is no label, a doubled image
            or study, a split that is not train, validate or test.
    """
    root = root_folder(data, "mimic-cxr-2.0.0-metadata.csv and files/")
    metadata, labels, splits = _find_tables(root, data)
    metadata.require([IMAGE, PATIENT, STUDY], "the metadata table of MIMIC-CXR-JPG has them")
    images = normalise_images(metadata.column(IMAGE))
    studies = normalise_ids(metadata.column(STUDY))
    patients = read_patients(metadata, PATIENT)
    columns = {"image": images, "patient_id": patients, "study_id": studies}
    # files/p10/p10000032/s50414267/<dicom_id>.jpg
    top = "files/" if (root / "files").is_dir() else ""
    keys = zip(patients, studies, images, strict=True)
    # the folders of a file are told by its ids, so nothing has to be listed
    paths = [f"{top}p{patient[:2]}/p{patient}/s{study}/{image}.jpg" for patient, study, image in keys]
    columns["path"] = existing(root, paths)
    if VIEW in metadata.header:
        columns["view"] = metadata.column(VIEW)
    columns |= _read_people(root, metadata)
    listed = _read_splits(splits) if splits else {}
    columns["split"] = split_column(metadata, data) or [listed.get(image, "") for image in images]
    findings, raw, label_uses = _read_labels(labels, studies)
    known = set(images)
    # names of the split's list without a row here: the split is recognised with them
    absent = tuple((image, split) for image, split in listed.items() if image not in known)
    named = {"image": IMAGE, "patient_id": PATIENT, "study_id": STUDY, "view": VIEW}
    uses = account(metadata, named, {}, {DATE: "for the age"}, NOT_READ)
    uses += tuple(use for use in label_uses if use.use.startswith("finding") or use.why)
    rows = make_rows(columns)
    return LabelTable("mimic", root, rows, findings, raw, absent, columns=uses, where=metadata.where)


def _find_tables(root: Path, data: Data) -> tuple[Sheet, Sheet, Sheet | None]:
    """The tables of metadata, labels and split; every one that is missing is named."""
    names = ("metadata", data.labeler, "split")
    paths = {
        name: find_table(root, data.csv if name == data.labeler else None, f"mimic-cxr-*-{name}.csv")
        for name in names
    }
    # the split's table is needed for its own split alone
    needed = names if data.split == "official" else names[:2]
    problems = [f"{root}: no mimic-cxr-*-{name}.csv or .csv.gz" for name in needed if paths[name] is None]
    if problems:
        hint = "data.root must be the folder of MIMIC-CXR-JPG that holds its tables and files/"
        raise CxrError(problems, f"{hint}; without the split's table use data.split=random, lists or column")
    metadata, labels, split = (read_sheet(path).spelled(KNOWN) if path else None for path in paths.values())
    assert metadata and labels
    return metadata, labels, split


def _read_labels(sheet: Sheet, studies: list[str]) -> tuple[tuple[str, ...], Float, tuple[ColumnUse, ...]]:
    """(the C findings of the table, [N, C] the cells of each image's study, the use of the table's columns).

    An image whose study has no row is blank throughout.
    """
    sheet.require([STUDY], "a label table of MIMIC-CXR has a row a study")
    labels = find_observations(sheet)
    if not labels:
        hint = f"observations are {', '.join(CHEXPERT_14)}"
        raise CxrError(f"{sheet.path}: no column of an observation", hint)
    rows = index_rows(sheet, STUDY)
    cells = read_cells(sheet, list(labels.values()))
    blank = np.full((1, len(labels)), np.nan, np.float32)
    cells = np.vstack([cells, blank])  # row -1 is that of a study without labels
    raw = cells[[rows.get(study, -1) for study in studies]]
    uses = account(sheet, {"patient_id": PATIENT, "study_id": STUDY}, labels, {}, NOT_READ)
    return tuple(labels), raw, uses


def _read_splits(sheet: Sheet) -> dict[str, str]:
    """train, val or test by image."""
    sheet.require([IMAGE, SPLIT], "the split table of MIMIC-CXR-JPG has them")
    rows, words = index_rows(sheet, IMAGE), sheet.column(SPLIT)
    for row, word in enumerate(words):
        if word not in SPLITS:
            raise CxrError(f"{sheet.where(row)}: split is {word!r}", f"splits are {', '.join(SPLITS)}")
    return {image: SPLITS[words[row]] for image, row in rows.items()}


def _read_people(root: Path, metadata: Sheet) -> dict[str, list[str]]:
    """Columns sex and age of each image, empty for patients not in patients.csv; none without that table."""
    path = find_table(root, None, "patients.csv")
    if path is None or DATE not in metadata.header:
        return {}
    sheet = read_sheet(path)
    columns = (PATIENT, SEX, ANCHOR_AGE, ANCHOR_YEAR)
    sheet.require(columns, "patients.csv is MIMIC-IV's table of patients; move any other file away")
    row_of = index_rows(sheet, PATIENT)
    known_sexes, anchor_ages, anchor_years = (sheet.column(name) for name in (SEX, ANCHOR_AGE, ANCHOR_YEAR))
    sexes, ages = [], []
    patients = normalise_ids(metadata.column(PATIENT))
    for patient, date in zip(patients, metadata.column(DATE), strict=True):
        row = row_of.get(patient)
        if row is None:
            sexes.append("")
            ages.append("")
        else:
            sexes.append(known_sexes[row])
            ages.append(_age(anchor_ages[row], anchor_years[row], date[:4]))
    return {"sex": sexes, "age": ages}


def _age(anchor_age: str, anchor_year: str, year: str) -> str:
    """The age in a year, from that in another year; empty where any of them is no number."""
    if not (anchor_age.isdecimal() and anchor_year.isdecimal() and year.isdecimal()):
        return ""
    return str(int(anchor_age) + int(year) - int(anchor_year))
