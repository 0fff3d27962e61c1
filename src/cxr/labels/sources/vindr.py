"""VinDr-CXR: a row per reader and image in the training table, a row per image in the test table.

Kaggle's train.csv of the same images has a row per box and reader, with the finding in class_name; it is
read, too.

15,000 training images, each read independently by three of 17 radiologists; 3,000 test images, read by five
to a consensus. All are frontal.

Labels: 27 findings and `No finding`, by radiologists who saw the images. A cell is 1 when more than half of
the image's readers say so, 0 when none does, and -1 (uncertain) in between; the test table has one row an
image, so 1 and 0 only.

Known faults: the dataset names no patients, so each image counts as a patient, and images of one patient may
be in two splits or counted as independent; it names no view, and sex and age only inside some of the DICOM
files. The tables spell one column `Other diseases` and `Other disease`.

Files expected in data.root:
    annotations/image_labels_train.csv (image_id, rad_id, findings) and annotations/image_labels_test.csv
    or train.csv of Kaggle (image_id, class_name, rad_id, boxes)
    train/<image_id>.dicom and test/<image_id>.dicom, or .dcm, .png, .jpg

Citation: Nguyen et al. "VinDr-CXR: An open dataset of chest X-rays with radiologist's annotations."
Scientific Data 9, 2022.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from cxr.config.schema import Data
from cxr.errors import CxrError
from cxr.fields.identity import normalise, normalise_images
from cxr.findings import canonical
from cxr.labels.columns import account
from cxr.labels.lookup import list_folder
from cxr.labels.reading import add_files, find_csv, find_table, make_rows, read_cells, root_folder
from cxr.labels.sheet import Sheet, read_sheet
from cxr.labels.table import Float, LabelTable

IMAGE, READER, CLASS = "image_id", "rad_id", "class_name"
BOX_COLUMNS = {
    "class_id": "the number of class_name",
    "x_min": "a box",
    "y_min": "a box",
    "x_max": "a box",
    "y_max": "a box",
}
SPLITS = ("train", "test")
SUFFIXES = (".dicom", ".dcm", ".png", ".jpg", ".jpeg")
SPELLINGS = {"Other disease": "Other diseases"}


def read(data: Data) -> LabelTable:
    """Every image of the label tables, with its file (empty when not there); its split is its table's.

    Raises:
        CxrError: No folder or table, a column missing, a cell that is not 1 or 0, an image in both tables or
            read twice by one reader.
    """
    root = root_folder(data, "annotations/, train/ and test/")
    if data.split == "column":
        problem = "data.split: the tables of VinDr-CXR have no split column"
        raise CxrError(problem, "use official, random or lists")
    tables = [parse(read_sheet(path), root) for path in _find_tables(root, data.csv)]
    findings = tuple(dict.fromkeys(name for table in tables for name in table.findings))
    raw = np.concatenate([_spread(table, findings) for table in tables])
    rows = pd.concat([table.rows for table in tables], ignore_index=True)
    # an image in both tables would be in two splits
    doubled = rows["image"][rows["image"].duplicated()]
    if len(doubled):
        problem = f"{root}: image {doubled.iloc[0]} is in two of its tables"
        raise CxrError(problem, "keep each image in one table")
    files = _find_images(root)
    paths = [files.get(image, "") for image in rows["image"]]
    return add_files(replace(tables[0], rows=rows, findings=findings, raw=raw), paths, list(rows["split"]))


def parse(sheet: Sheet, root: Path) -> LabelTable:
    """The table of a CSV in VinDr-CXR's form, without looking for images; its split is told by its name."""
    sheet = sheet.spelled((IMAGE, READER, CLASS))
    sheet.require([IMAGE], "a label table of VinDr-CXR has a row per image, or per image and reader")
    images = normalise_images(sheet.column(IMAGE))
    if "" in images:
        problem = f"{sheet.where(images.index(''))}: no image name"
        raise CxrError(problem, "every row needs the name of its image")
    has_readers, has_boxes = READER in sheet.header, CLASS in sheet.header
    readers = [normalise(cell) for cell in sheet.column(READER)] if has_readers else None
    read_votes = _read_boxes if has_boxes else _read_votes
    names, votes = read_votes(sheet, images, readers)
    findings = {canonical(SPELLINGS.get(name, name)): name for name in names}
    if len(findings) < len(names):
        raise CxrError(f"{sheet.path}: two columns or classes name one finding", f"it has {', '.join(names)}")
    # [N] the image of each reader's row, and the images in the order of their first rows
    codes, voted = pd.factorize(votes.index.get_level_values(0))
    raw = _vote(votes.to_numpy(np.float32), codes)
    split = next((split for split in SPLITS if split in sheet.path.name), "")
    # without patients each image counts as a patient
    rows = make_rows({"image": list(voted), "patient_id": list(voted), "split": [split] * len(voted)})
    named = {"image": IMAGE} | ({"reader": READER} if has_readers else {})
    labels = {f"list of {len(findings)}": CLASS} if has_boxes else findings
    uses = account(sheet, named, labels, BOX_COLUMNS, "not read by data.source=vindr")
    return LabelTable("vindr", root, rows, tuple(findings), raw, columns=uses, names_patients=False)


def _read_votes(sheet: Sheet, images: list[str], readers: list[str] | None) -> tuple[list[str], pd.DataFrame]:
    """(columns of findings, their cells by image and reader) of a table with a column a finding."""
    names = [name for name in sheet.header if name not in (IMAGE, READER)]
    if not names:
        problem = f"{sheet.path}: no column of a finding"
        raise CxrError(problem, "every column but image_id and rad_id is a finding")
    keys = list(zip(images, readers or images, strict=True))
    first: dict[tuple[str, str], int] = {}
    for row, key in enumerate(keys):
        if first.setdefault(key, row) != row:
            by = f" by reader {key[1]}" if readers else ""
            problem = f"image {key[0]}{by} is there twice (first on line {sheet.lines[first[key]]})"
            hint = "a reader has one row for each image; delete the other rows"
            raise CxrError(f"{sheet.where(row)}: {problem}", hint)
    cells = read_cells(sheet, names)
    if (cells == -1).any():
        row, column = np.argwhere(cells == -1)[0]
        raise CxrError(f"{sheet.where(row)}: {names[column]} is -1", "a reader's cell in VinDr-CXR is 1 or 0")
    return names, pd.DataFrame(cells, index=pd.MultiIndex.from_tuples(keys))


def _read_boxes(sheet: Sheet, images: list[str], readers: list[str] | None) -> tuple[list[str], pd.DataFrame]:
    """(classes, 1 where a reader has drawn a box of the class or called it, else 0, by image and reader)."""
    classes = [normalise(cell) for cell in sheet.column(CLASS)]
    if "" in classes:
        problem = f"{sheet.where(classes.index(''))}: no {CLASS}"
        hint = "every row of Kaggle's train.csv of VinDr-CXR names a class, `No finding` among them"
        raise CxrError(problem, hint)
    boxes = pd.DataFrame({"image": images, "reader": readers or images, "class": classes, "vote": 1.0})
    # a row per image and reader, a column per class
    votes = boxes.pivot_table(
        index=["image", "reader"], columns="class", values="vote", aggfunc="max", fill_value=0.0
    )
    order = pd.MultiIndex.from_frame(boxes[["image", "reader"]].drop_duplicates())  # as the table has them
    return [str(name) for name in votes.columns], votes.reindex(order)


def _vote(cells: Float, codes: npt.NDArray[np.intp]) -> Float:
    """[images, C] from the readers' cells [N, C]: 1 by majority, 0 by all, -1 between, nan if all blank."""
    by_image = pd.DataFrame(cells).groupby(codes)
    # [images, C] readers who see the finding, and readers who say anything: sum and count skip nan
    num_present, num_votes = by_image.sum().to_numpy(), by_image.count().to_numpy()
    # more than half: of three readers two, of two both
    voted = np.where(num_present > num_votes / 2, 1, np.where(num_present == 0, 0, -1))
    return np.where(num_votes == 0, np.nan, voted).astype(np.float32)


def _spread(table: LabelTable, findings: Sequence[str]) -> Float:
    """[N, C] the table's cells in the columns of all findings, blank for those that it lacks."""
    raw = np.full((len(table), len(findings)), np.nan, np.float32)
    raw[:, [findings.index(name) for name in table.findings]] = table.raw
    return raw


def _find_tables(root: Path, csv: Path | None) -> list[Path]:
    if csv is not None:
        return [find_csv(root, csv)]
    patterns = [f"{folder}image_labels_{split}.csv" for split in SPLITS for folder in ("annotations/", "")]
    patterns += ["train.csv"]  # Kaggle's, whose test table has no labels
    paths = [path for path in (find_table(root, None, pattern) for pattern in patterns) if path]
    if len(paths) > 1 and paths[-1].name.startswith("train.csv"):
        paths.pop()  # the same readings as the dataset's other tables
    if not paths:
        hint = f"looked for {', '.join(patterns)}; "
        hint += "data.root must be the folder that holds annotations/image_labels_train.csv, or set data.csv"
        raise CxrError(f"{root}: no label table of VinDr-CXR", hint)
    return paths


def _find_images(root: Path) -> dict[str, str]:
    """By name without suffix the first path below root of every image file in train/, test/ and root."""
    files: dict[str, str] = {}
    for below in ("train/", "test/", ""):
        names = list_folder(root / below)
        for suffix in SUFFIXES:  # where an image has files of two kinds, the first suffix is read
            for name in names:
                if name.lower().endswith(suffix):
                    files.setdefault(normalise(name[: -len(suffix)]), below + name)
    return files
