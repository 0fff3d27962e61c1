"""VinDr-CXR: a row a reader and image in the training table, a row an image in the test table.

15,000 training images, each read by three of 17 radiologists apart from each other; 3,000 test images, read by five to
a consensus. All are frontal.

Labels: 27 findings and `No finding`, by radiologists who saw the images. A cell is 1 when more than half of the image's
readers say so, 0 when none does, and -1 (uncertain) in between; the test table has one row an image, so 1 and 0 only.

Known faults: the archive names no patients, so each image counts as a patient of its own, and images of one patient may
be in two splits or counted as independent; it names no view, and sex and age only inside some of the DICOM files. The
tables spell one column `Other diseases` and `Other disease`.

Files expected in data.root:
    annotations/image_labels_train.csv (image_id, rad_id, findings) and annotations/image_labels_test.csv
    train/<image_id>.dicom and test/<image_id>.dicom, or .dcm, .png, .jpg

Citation: Nguyen et al. "VinDr-CXR: An open dataset of chest X-rays with radiologist's annotations." Scientific Data 9,
2022.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from cxr.config import Data
from cxr.data.findings import canonical
from cxr.data.labels import Float, LabelTable
from cxr.data.sources.files import (
    Sheet,
    check_unique,
    find_table,
    list_folder,
    make_rows,
    read_cells,
    read_sheet,
    root_folder,
)
from cxr.errors import CxrError

IMAGE, READER = "image_id", "rad_id"
FOLDS = ("train", "test")
SUFFIXES = (".dicom", ".dcm", ".png", ".jpg", ".jpeg")
SPELLINGS = {"Other disease": "Other diseases"}


def read(data: Data) -> LabelTable:
    """Every image of the label tables, with its file (empty when not there); its split is its table's.

    Raises:
        CxrError: No folder or table, a column missing, a cell that is not 1 or 0, an image in both tables or read twice
            by one reader.
    """
    root = root_folder(data, "annotations/, train/ and test/")
    if data.split == "column":
        raise CxrError("data.split: the tables of VinDr-CXR have no split column", "use official, random or lists")
    tables = [parse(read_sheet(path), root) for path in _find_tables(root, data.csv)]
    findings = tuple(dict.fromkeys(name for table in tables for name in table.findings))
    raw = np.concatenate([_spread(table, findings) for table in tables])
    rows = pd.concat([table.rows for table in tables], ignore_index=True)
    twice = rows["image"][rows["image"].duplicated()]
    if len(twice):
        raise CxrError(f"{root}: image {twice.iloc[0]} is in two of its tables", "keep each image in one table")
    files = _find_images(root)
    rows["path"] = pd.Series([files.get(image, "") for image in rows["image"]], dtype=str)
    return LabelTable("vindr", root, rows, findings, raw)


def parse(sheet: Sheet, root: Path) -> LabelTable:
    """The table of a CSV in VinDr-CXR's form, without looking for images; its split is told by its name."""
    sheet.require([IMAGE], "a label table of VinDr-CXR has a row an image, or an image and reader")
    names = [name for name in sheet.header if name not in (IMAGE, READER)]
    if not names:
        raise CxrError(f"{sheet.path}: no column of a finding", "every column but image_id and rad_id is a finding")
    own = sheet.column(IMAGE)
    readers = sheet.column(READER) if READER in sheet.header else None
    check_unique(sheet, [f"{one} by {who}" for one, who in zip(own, readers, strict=True)] if readers else own)
    codes, images = pd.factorize(np.array(own, dtype=object))
    split = next((fold for fold in FOLDS if fold in sheet.path.name), "")
    columns = {"image": list(images), "patient_id": list(images), "split": [split] * len(images)}
    findings = tuple(canonical(SPELLINGS.get(name, name)) for name in names)
    return LabelTable("vindr", root, make_rows(columns), findings, _vote(sheet, names, codes))


def _vote(sheet: Sheet, names: Sequence[str], codes: npt.NDArray[np.intp]) -> Float:
    """[images, C] cells from those of their readers: 1 by majority, 0 by all, -1 in between, nan where none spoke."""
    cells = read_cells(sheet, names)
    if (cells == -1).any():
        row, column = np.argwhere(cells == -1)[0]
        raise CxrError(f"{sheet.where(row)}: {names[column]} is -1", "a reader's cell in VinDr-CXR is 1 or 0")
    votes = pd.DataFrame(cells).groupby(codes)
    present, said = votes.sum().to_numpy(), votes.count().to_numpy()
    voted = np.where(present > said / 2, 1, np.where(present == 0, 0, -1))
    return np.where(said == 0, np.nan, voted).astype(np.float32)


def _spread(table: LabelTable, findings: Sequence[str]) -> Float:
    raw = np.full((len(table), len(findings)), np.nan, np.float32)
    raw[:, [findings.index(name) for name in table.findings]] = table.raw
    return raw


def _find_tables(root: Path, csv: Path | None) -> list[Path]:
    if csv is not None:
        return [path for path in [find_table(root, csv, "")] if path]
    patterns = [f"{folder}image_labels_{fold}.csv" for fold in FOLDS for folder in ("annotations/", "")]
    paths = [path for path in (find_table(root, None, pattern) for pattern in patterns) if path]
    if not paths:
        hint = "data.root must be the folder that holds annotations/image_labels_train.csv, or set data.csv"
        raise CxrError(f"{root}: no label table of VinDr-CXR", f"looked for {', '.join(patterns)}; {hint}")
    return paths


def _find_images(root: Path) -> dict[str, str]:
    """Path below root of every image file in train/, test/ and root, by its name without suffix, first found."""
    files: dict[str, str] = {}
    for below in (*(f"{fold}/" for fold in FOLDS), ""):
        names = list_folder(root / below)
        for suffix in SUFFIXES:
            for name in names:
                if name.lower().endswith(suffix):
                    files.setdefault(name[: -len(suffix)], below + name)
    return files
