"""CheXpert: one row an image, a column an observation, in train.csv, valid.csv and sometimes test.csv.

Training: 223,414 images (191,027 frontal, 32,387 lateral) of 64,540 patients; validation: 234 images of 200
patients; test: 668 images of 500 patients (labels released later).

Labels: training cells come from the reports by the CheXpert labeler (NLP): 1 present, 0 absent, -1 uncertain,
blank not mentioned. Validation and test cells are the consensus of radiologists who saw the images: 1 and 0
only.

Known faults: one training row has sex `Unknown`; 17 frontal rows have the view `LL` or `RL`, and here none;
`No Finding` and `Support Devices` can both be 1; Kaggle copies name the folders and the leading part of
`Path` differently.

Files expected in data.root, in one of data.root/CheXpert-v1.0*, or in both:
    train.csv, valid.csv, test.csv or test_labels.csv (any may be absent; test may lack sex, age and view)
    train/patient00001/study1/view1_frontal.jpg and so on

In full resolution it is published in four parts, whose folders may stay as they were unpacked in data.root:
    CheXpert-v1.0 batch 1 (validate & csv)/train.csv, valid.csv and valid/patient64541/...
    CheXpert-v1.0 batch 2 (train 1)/patient00001/study1/view1_frontal.jpg and so on; batches 3 and 4 alike

Citation: Irvin et al. "CheXpert: A large chest radiograph dataset with uncertainty labels and expert
comparison." AAAI 2019.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from cxr.config.schema import Data
from cxr.errors import CxrError
from cxr.fields.identity import normalise_images
from cxr.fields.views import LATERAL, read_views
from cxr.findings import CHEXPERT_14
from cxr.labels.columns import account
from cxr.labels.lookup import first_existing
from cxr.labels.reading import (
    add_files,
    check_filled,
    find_csv,
    find_observations,
    find_table,
    make_rows,
    pick_columns,
    read_cells,
    root_folder,
    slashes,
    split_column,
)
from cxr.labels.sheet import Sheet, read_sheet
from cxr.labels.table import LabelTable

PATH, SIDE, DIRECTION = "Path", "Frontal/Lateral", "AP/PA"
TABLES = {"train": ("train.csv",), "val": ("valid.csv",), "test": ("test.csv", "test_labels.csv")}
FOLDERS = {"train": "train", "valid": "val", "test": "test"}
BATCHES = "CheXpert-v1.0 batch *"


def read(data: Data) -> LabelTable:
    """Every row of the dataset's tables: train, val and test as its files, or as the paths of data.csv, say.

    Raises:
        CxrError: No folder, no table, a column or a patient missing, a cell that is no label, a doubled
        image.
    """
    root = root_folder(data, "train.csv and train/")
    folder, sheets = _find_sheets(root, data.csv)
    tables = [_read_sheet(sheet, split, folder, data) for split, sheet in sheets]
    rows = pd.concat([table.rows for table in tables], ignore_index=True)
    raw = np.concatenate([table.raw for table in tables])
    # the file and line of each joined row, for errors
    lines = [sheet.where(row) for _, sheet in sheets for row in range(len(sheet))]
    return replace(tables[0], root=folder, rows=rows, findings=CHEXPERT_14, raw=raw, where=lines.__getitem__)


def parse(sheet: Sheet, root: Path) -> LabelTable:
    """The table of a CSV in CheXpert's form, with the observations that it has; no image is looked for.

    `rows.image` is `Path` from the folder train, valid or test on, so that it is the same with and without a
    leading `CheXpert-v1.0-small/`. Patient and study come from it; view is AP, PA or lateral.
    """
    images = [_strip(path) for path in normalise_images(sheet.column(PATH))]
    about = pick_columns(sheet, {"age": "Age", "sex": "Sex"})
    columns = {"image": images} | {name: sheet.column(column) for name, column in about.items()}
    matches = [re.search(r"(?:^|/)(patient\d+)(?:/(study\d+))?", image) for image in images]
    columns["patient_id"] = [match[1] if match else "" for match in matches]
    # studies are counted for each patient, so the patient is part of their name
    columns["study_id"] = [f"{match[1]}/{match[2]}" if match and match[2] else "" for match in matches]
    columns["view"] = _read_views(sheet, images)
    labels = find_observations(sheet)
    named = {"image": PATH, "view": SIDE} | about
    why = {DIRECTION: f"read with {SIDE}"}
    uses = account(sheet, named, labels, why, "not read by data.source=chexpert")
    raw = read_cells(sheet, list(labels.values()))
    rows = make_rows(columns)
    return LabelTable("chexpert", root, rows, tuple(labels), raw, columns=uses, where=sheet.where)


def _read_sheet(sheet: Sheet, split: str, folder: Path, data: Data) -> LabelTable:
    """One of the tables, with its files; an empty `split` is told by the path of each image."""
    sheet.require([PATH], "data.csv must be a table of CheXpert, such as train.csv")
    table = parse(sheet, folder)
    missing = [name for name in CHEXPERT_14 if name not in table.findings]
    if missing:
        problems = [f"{sheet.path}: no column {name!r}" for name in missing]
        raise CxrError(problems, "CheXpert's tables have all 14")
    images, patients = list(table.rows["image"]), list(table.rows["patient_id"])
    hint = "read other datasets with data.source=table"
    check_filled(sheet, "patient (patient00001/) in Path", patients, hint)
    splits = split_column(sheet, data)
    if not splits:
        splits = [split or FOLDERS.get(image.split("/", 1)[0], "") for image in images]
    return add_files(table, _find_images(folder, images, slashes(sheet.column(PATH))), splits)


def _find_images(folder: Path, images: Sequence[str], paths: Sequence[str]) -> list[str]:
    """Paths below the folder: without the leading folder, as written, or in batches of full resolution."""
    batches = [batch.name for batch in sorted(folder.glob(BATCHES))]
    # most copies first: what is found by an earlier form is not looked for by a later one
    candidates = [images, paths]
    for batch in batches:
        if _has_images(folder / batch):
            candidates.append([f"{batch}/{image}" for image in images])
    for batch in batches:  # of the training images, whose folder train/ is left out there
        candidates.append([f"{batch}/{image.partition('/')[2]}" for image in images])
    return first_existing(folder, candidates)


def _has_images(folder: Path) -> bool:
    return any((folder / name).is_dir() for name in FOLDERS)


def _find_sheets(root: Path, csv: Path | None) -> tuple[Path, list[tuple[str, Sheet]]]:
    """The dataset's folder and its tables by split; data.csv is one table, with the empty split."""
    batches = root.parent if root.match(BATCHES) else root  # either may be given as data.root
    folders = [root, *sorted(root.glob("CheXpert-v1.0*"))]
    if csv is not None:
        path = find_csv(root, csv)
        folder = next((folder for folder in folders if _has_images(folder)), root)
        return batches if folder.match(BATCHES) else folder, [("", read_sheet(path))]
    for folder in folders:
        paths = {split: find_table(folder, None, *names) for split, names in TABLES.items()}
        sheets = [(split, read_sheet(path)) for split, path in paths.items() if path]
        if sheets:
            return batches if folder.match(BATCHES) else folder, sheets
    names = ", ".join(name for names in TABLES.values() for name in names)
    hint = f"looked for {names} there and in CheXpert-v1.0*/; "
    hint += "data.root must be the folder that holds train.csv, or set data.csv"
    raise CxrError(f"{root}: no table of CheXpert", hint)


def _strip(path: str) -> str:
    """The path from the folder train, valid or test on, whole where there is none."""
    parts = path.split("/")
    # copies name the folders above train and valid differently: names begin below them
    start = next((index for index, part in enumerate(parts) if part in FOLDERS), 0)
    return "/".join(parts[start:])


def _read_views(sheet: Sheet, images: Sequence[str]) -> list[str]:
    if SIDE not in sheet.header:  # as in the table of test: view1_frontal.jpg, view2_lateral.jpg
        return [LATERAL if "lateral" in image.rsplit("/", 1)[-1].lower() else "" for image in images]
    directions = sheet.column(DIRECTION) if DIRECTION in sheet.header else [""] * len(images)
    views = []
    for side, direction in zip(read_views(sheet.column(SIDE)), read_views(directions), strict=True):
        if side == LATERAL:
            views.append(LATERAL)
        else:  # a frontal image whose direction is LL or RL contradicts itself: its view is unknown
            views.append(direction if direction in ("AP", "PA") else "")
    return views
