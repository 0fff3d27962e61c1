"""CheXpert: one row an image, a column an observation, in train.csv, valid.csv and sometimes test.csv.

Training: 223,414 images (191,027 frontal, 32,387 lateral) of 64,540 patients; validation: 234 images of 200 patients;
test: 668 images of 500 patients (labels released later).

Labels: training cells come from the reports by the CheXpert labeler (NLP): 1 present, 0 absent, -1 uncertain, blank not
mentioned. Validation and test cells are the consensus of radiologists who saw the images: 1 and 0 only.

Known faults: one training row has sex `Unknown`; 17 frontal rows have the view `LL` or `RL`; `No Finding` and `Support
Devices` can both be 1; Kaggle copies name the folders and the leading part of `Path` differently.

Files expected in data.root, in one of data.root/CheXpert-v1.0*, or in both:
    train.csv, valid.csv, test.csv or test_labels.csv (any of them may be absent; test may lack sex, age and view)
    train/patient00001/study1/view1_frontal.jpg and so on

In full resolution it is handed out in four parts, whose folders may stay as they were unpacked; data.root holds them:
    CheXpert-v1.0 batch 1 (validate & csv)/train.csv, valid.csv and valid/patient64541/...
    CheXpert-v1.0 batch 2 (train 1)/patient00001/study1/view1_frontal.jpg and so on; batches 3 and 4 alike

Citation: Irvin et al. "CheXpert: A large chest radiograph dataset with uncertainty labels and expert comparison."
AAAI 2019.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from cxr.config import Data
from cxr.data.findings import CHEXPERT_14, canonical
from cxr.data.labels import LabelTable
from cxr.data.sources.files import (
    Sheet,
    check_filled,
    check_unique,
    existing,
    make_rows,
    read_cells,
    read_sheet,
    root_folder,
    slashes,
    split_column,
)
from cxr.errors import CxrError

PATH = "Path"
CSV_NAMES = {"train": ("train.csv",), "val": ("valid.csv",), "test": ("test.csv", "test_labels.csv")}
FOLDERS = {"train": "train", "valid": "val", "test": "test"}
BATCHES = "CheXpert-v1.0 batch *"
COLUMNS = {"age": "Age", "sex": "Sex"}


def read(data: Data) -> LabelTable:
    """Every row of the archive's tables: train, val and test as its files, or as the paths of data.csv, say.

    Raises:
        CxrError: No folder, no table, a column or a patient missing, a cell that is no label, a doubled image.
    """
    root = root_folder(data, "train.csv and train/")
    folder, sheets = _find_sheets(root, data.csv)
    tables = [_read_sheet(sheet, split, folder, data) for split, sheet in sheets]
    rows = pd.concat([table.rows for table in tables], ignore_index=True)
    twice = rows["image"][rows["image"].duplicated()]
    if len(twice):
        raise CxrError(f"{folder}: image {twice.iloc[0]} is in two of its tables", "keep each image in one table")
    return LabelTable("chexpert", folder, rows, CHEXPERT_14, np.concatenate([table.raw for table in tables]))


def parse(sheet: Sheet, root: Path) -> LabelTable:
    """The table of a CSV in CheXpert's form, without looking for images, labels of the observations that it has.

    `rows.image` is `Path` from the folder train, valid or test on, so that it is the same with and without a leading
    `CheXpert-v1.0-small/`. Patient and study come from it; view is AP, PA or lateral.
    """
    images = [_strip(path) for path in slashes(sheet.column(PATH))]
    check_unique(sheet, images)
    columns = {"image": images} | {n: sheet.column(c) for n, c in COLUMNS.items() if c in sheet.header}
    patients = [re.search(r"(?:^|/)(patient\d+)(?:/(study\d+))?", image) for image in images]
    columns["patient_id"] = [match[1] if match else "" for match in patients]
    columns["study_id"] = [f"{match[1]}/{match[2]}" if match and match[2] else "" for match in patients]
    columns["view"] = _views(sheet, images)
    labels = {canonical(name): name for name in sheet.header}
    findings = tuple(name for name in CHEXPERT_14 if name in labels)
    return LabelTable("chexpert", root, make_rows(columns), findings, read_cells(sheet, [labels[n] for n in findings]))


def _read_sheet(sheet: Sheet, split: str, folder: Path, data: Data) -> LabelTable:
    sheet.require([PATH], "data.csv must be a table of CheXpert, such as train.csv")
    table = parse(sheet, folder)
    lacking = [name for name in CHEXPERT_14 if name not in table.findings]
    if lacking:
        raise CxrError([f"{sheet.path}: no column {name!r}" for name in lacking], "CheXpert's tables have all 14")
    images, patients = list(table.rows["image"]), list(table.rows["patient_id"])
    check_filled(sheet, "patient (patient00001/) in Path", patients, "read other archives with data.source=table")
    own = [split or FOLDERS.get(image.split("/", 1)[0], "") for image in images]
    table.rows["split"] = pd.Series(split_column(sheet, data) or own, dtype=str)
    table.rows["path"] = pd.Series(_find_images(folder, images, slashes(sheet.column(PATH))), dtype=str)
    return table


def _find_images(folder: Path, images: Sequence[str], paths: Sequence[str]) -> list[str]:
    """Paths below the folder: without the leading folder name, as written, or in the batches of the full resolution."""
    batches = [batch.name for batch in sorted(folder.glob(BATCHES))]
    places = [images, paths]
    places += [[f"{batch}/{image}" for image in images] for batch in batches if _has_images(folder / batch)]
    places += [[f"{batch}/{image.partition('/')[2]}" for image in images] for batch in batches]
    found = [""] * len(images)
    for place in places:
        lost = [row for row, path in enumerate(found) if not path]
        for row, path in zip(lost, existing(folder, [place[row] for row in lost]), strict=True):
            found[row] = path
    return found


def _has_images(folder: Path) -> bool:
    return any((folder / name).is_dir() for name in FOLDERS)


def _find_sheets(root: Path, csv: Path | None) -> tuple[Path, list[tuple[str, Sheet]]]:
    """The archive's folder and its tables by split; data.csv stands alone, its splits (``) told by its paths."""
    batches = root.parent if root.match(BATCHES) else root  # either may be given as data.root
    folders = [root, *sorted(root.glob("CheXpert-v1.0*"))]
    if csv is not None:
        if not (root / csv).exists():
            raise CxrError(f"data.csv: no file {root / csv}", "data.csv is relative to data.root, or an absolute path")
        folder = next((f for f in folders if _has_images(f)), root)
        return batches if folder.match(BATCHES) else folder, [("", read_sheet(root / csv))]
    for folder in folders:
        found = {split: _first(folder, names) for split, names in CSV_NAMES.items()}
        sheets = [(split, read_sheet(path)) for split, path in found.items() if path]
        if sheets:
            return batches if folder.match(BATCHES) else folder, sheets
    raise CxrError(
        f"{root}: no table of CheXpert",
        f"looked for {', '.join(name for names in CSV_NAMES.values() for name in names)} there and in CheXpert-v1.0*/; "
        "data.root must be the folder that holds train.csv, or set data.csv",
    )


def _first(folder: Path, names: Sequence[str]) -> Path | None:
    paths = [folder / (name + end) for name in names for end in ("", ".gz")]
    return next((path for path in paths if path.exists()), None)


def _strip(path: str) -> str:
    parts = path.split("/")
    start = next((place for place, part in enumerate(parts) if part in FOLDERS), 0)
    return "/".join(parts[start:])


def _views(sheet: Sheet, images: Sequence[str]) -> list[str]:
    if "Frontal/Lateral" not in sheet.header:
        return ["lateral" if "lateral" in image.rsplit("/", 1)[-1].lower() else "" for image in images]
    directions = sheet.column("AP/PA") if "AP/PA" in sheet.header else [""] * len(images)
    sides = sheet.column("Frontal/Lateral")
    return ["lateral" if side == "Lateral" else view for side, view in zip(sides, directions, strict=True)]
