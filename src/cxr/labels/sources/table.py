"""Any CSV with an image column, a patient column and label columns: data.columns and data.findings say which.

Labels: as the file says them, see `cxr.fields.cells`. Without data.findings every column whose cells are all
labels is a finding, see `cxr.labels.choose`; `y_Mass` is the finding Mass. With data.columns.labels one
column holds classes or lists of findings instead. Rows of one image are joined, see `cxr.labels.duplicates`.

Files expected: data.csv (plain or gzipped), below data.root or at an absolute path; images where its image
column says, relative to data.root, see `cxr.labels.lookup`. In a table of studies, without an image column,
the images are the files of the folder that the study column names. View, sex and age of DICOM files without
such a column come from their headers, a millisecond a file each time the table is read. A column named by
data.split_column holds train, val or test.

Ids are text, so `0012` and `12` are two patients, see `cxr.fields.identity`.
"""

import math
import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cxr.config.schema import Columns, Data
from cxr.errors import CxrError
from cxr.fields.identity import normalise, normalise_ids, normalise_images
from cxr.images.dicom.header import Header, read_header
from cxr.labels.columns import account, find_column
from cxr.labels.label_columns import read_label_columns
from cxr.labels.lookup import IMAGE_SUFFIXES, Index, find_files, list_folder
from cxr.labels.problems import count_more
from cxr.labels.reading import find_csv, make_rows, read_patients, root_folder, slashes, split_column
from cxr.labels.recognise import name_reader
from cxr.labels.sheet import Sheet, read_sheet
from cxr.labels.table import ROW_COLUMNS, LabelTable

Rows = npt.NDArray[np.intp]

_KINDS = {
    "image": "image",
    "patient": "patient_id",
    "study": "study_id",
    "view": "view",
    "sex": "sex",
    "age": "age",
}
"""The row column of each key of data.columns."""
_USUAL = Columns()
"""data.columns as long as nobody sets them: then columns of other usual names are looked for, too."""
_IN_HEADERS = ("view", "sex", "age")
_NO_HEADER = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
"""Any other file may be DICOM, which often has no suffix."""


def read(data: Data, exact: bool = True) -> LabelTable:
    """Every row of data.csv, or every image of its studies, with its file (empty when not there).

    Unless `exact`, columns are taken that mean any of data.findings, whatever they are called.

    Raises:
        CxrError: No folder or table, no such column, a patient missing, a cell that is no label.
    """
    root = root_folder(data, "the images that data.csv names")
    if data.csv is None:
        problem = "data.csv: a table source needs its CSV"
        raise CxrError(problem, "set data.csv, relative to data.root or absolute")
    sheet = read_sheet(find_csv(root, data.csv))
    named = _name_columns(sheet, data.columns, data.split_column, root)
    kept = {name: name for name in data.columns.others if name not in ROW_COLUMNS}
    split = {"split": data.split_column} if data.split_column in sheet.header else {}
    taken = {*named.values(), *data.columns.others, *split.values()}
    assert not isinstance(data.findings, str)  # the config expands nih14 and the like
    soft = data.soft_labels == "keep"
    labels = read_label_columns(
        sheet, taken, data.findings, data.columns.labels, soft, allow_missing=not exact
    )
    columns = {name: sheet.column(column) for name, column in (named | kept | split).items()}
    splits = split_column(sheet, data)
    if splits:
        columns["split"] = splits
    if "patient_id" in named:
        columns["patient_id"] = read_patients(sheet, named["patient_id"])
    # From here on a row is an image: a study's row of the table may be many of them
    columns, rows, notes = _locate(root, sheet, columns)
    columns |= _read_headers(root, columns["path"], [name for name in _IN_HEADERS if name not in columns])
    columns.setdefault("patient_id", columns["image"])  # without patients each image counts as one
    others = {f"kept ({name})": name for name in kept}
    return LabelTable(
        "table",
        root,
        make_rows(columns),
        labels.findings,
        labels.raw[rows],
        columns=account(sheet, named | split | others, labels.columns, labels.why, "not used"),
        notes=(*labels.notes, *notes),
        names_patients="patient_id" in named,
        where=lambda row: sheet.where(int(rows[row])),
    )


def _name_columns(sheet: Sheet, asked: Columns, split: str, root: Path) -> dict[str, str]:
    """The file's column of each kind of row column: as data.columns says, else one of a usual name."""
    wanted: dict[str, str | None] = {key: getattr(asked, key) for key in _KINDS}
    named: dict[str, str] = {}
    for key, column in wanted.items():
        if column and normalise(column) in sheet.header:
            named[_KINDS[key]] = normalise(column)
    for key, kind in _KINDS.items():
        if wanted[key] != getattr(_USUAL, key):
            continue  # the user names it, or says that there is none
        # another column may name other patients, which is refused
        if kind not in named or kind == "patient_id":
            # a column that is something already is nothing else
            others = {column for other, column in named.items() if other != kind}
            found = find_column(sheet, kind, {*others, *asked.others, split, asked.labels or ""})
            if found:
                named.setdefault(kind, found)
    if "image" not in named and wanted["image"] == _USUAL.image:
        named |= _image_by_patient(sheet, named, root)
    missing = {key: column for key, column in wanted.items() if column and _KINDS[key] not in named}
    if "image" in missing and "study_id" in named:
        del missing["image"]  # a table of studies
    if asked.labels and asked.labels not in sheet.header:
        missing["labels"] = asked.labels
    missing_others = [name for name in asked.others if name not in sheet.header]
    if missing or missing_others:
        raise _missing_columns(sheet, missing, missing_others)
    return named


def _image_by_patient(sheet: Sheet, named: Mapping[str, str], root: Path) -> dict[str, str]:
    """The patient's column also as the image's, where files are called by patients, as in RSNA's data."""
    column = named.get("patient_id")
    if not column or "study_id" in named:
        return {}
    # each patient once, in the order of the table
    patients = [name for name in dict.fromkeys(normalise_ids(sheet.column(column))) if name]
    paths, _ = find_files(root, patients[:50])  # enough to tell
    return {"image": column} if any(paths) else {}


def _missing_columns(sheet: Sheet, missing: Mapping[str, str], others: Sequence[str]) -> CxrError:
    keys = [*missing.items(), *(("others", name) for name in others)]
    problems = [f"{sheet.path}: no column {column!r} (data.columns.{key})" for key, column in keys]
    hint = f"set data.columns to columns that the file has: {', '.join(sheet.header)}"
    if "patient" in missing:
        hint += (
            "; the patient is needed to keep all images of a patient in one split; data.columns.patient=null "
        )
        hint += "says that the table names none: each image then counts as a patient"
    reader = name_reader(sheet.header)
    return CxrError(problems, f"{reader}; or {hint}" if reader else hint)


def _locate(
    root: Path, sheet: Sheet, columns: dict[str, list[str]]
) -> tuple[dict[str, list[str]], Rows, list[str]]:
    """(columns with each image's file, the table's row of each image, notes); of studies, all images."""
    if "image" in columns:
        rows = np.arange(len(sheet))
        columns = columns | {"image": slashes(columns["image"])}
    else:
        images, rows = _images_of_studies(root, sheet, columns["study_id"])
        columns = {name: [cells[row] for row in rows] for name, cells in columns.items()} | {"image": images}
    paths, notes = _find_files(root, columns["image"])
    return columns | {"path": paths}, rows, notes


def _find_files(root: Path, images: Sequence[str]) -> tuple[list[str], list[str]]:
    """As `find_files`, by the names as they are compared, where `12.0` is `12`, and then as they are."""
    compared = normalise_images(images)
    # no name may be a number such as 12.0
    if compared == images or not any("." in name or "," in name for name in images):
        return find_files(root, images)
    paths, notes = find_files(root, compared)
    lost = [row for row, path in enumerate(paths) if not path and compared[row] != images[row]]
    if lost:
        found, more = find_files(root, [images[row] for row in lost])
        for row, path in zip(lost, found, strict=True):
            paths[row] = path
        notes = [*notes, *more]
    return paths, notes


def _images_of_studies(root: Path, sheet: Sheet, studies: Sequence[str]) -> tuple[list[str], Rows]:
    """(image files in the folders that the studies name, row of the table of each)."""
    images, rows, empty = [], [], []
    for row, (study, compared) in enumerate(zip(slashes(studies), normalise_ids(studies), strict=True)):
        # the name as it stands, then as ids are compared
        names = _images_below(root, normalise(study)) or _images_below(root, compared)
        images += names
        rows += [row] * len(names)
        if not names:
            empty.append(row)
    if empty:
        problem = f"study {studies[empty[0]].strip()!r} has no folder of images below {root}"
        hint = "a table without an image column names folders of images in its study column; "
        hint += f"else set data.columns.image; its columns are {', '.join(sheet.header)}"
        raise CxrError(f"{sheet.where(empty[0])}: {problem}{count_more(len(empty), '')}", hint)
    return images, np.array(rows, np.intp)


def _images_below(root: Path, folder: str) -> list[str]:
    """The images in a folder, else in the folders of series below it, relative to root."""
    if not folder:
        return []
    names = sorted(name for name in list_folder(root / folder) if _may_be_image(name))
    if not names:
        names = [name for name in Index.of(root / folder).paths if _may_be_image(os.path.basename(name))]
    return [f"{folder}/{name}" for name in names]


def _may_be_image(name: str) -> bool:
    ending = os.path.splitext(name)[1].lower()
    if name.startswith("."):
        return False
    # the parts of a UID, which DICOM files are called by, are no ending
    return ending in IMAGE_SUFFIXES or not ending or ending[1:].isdigit()


def _read_headers(root: Path, paths: Sequence[str], names: Collection[str]) -> dict[str, list[str]]:
    """The columns `names` as DICOM headers say them, empty for other files; none that names the patient."""
    has_header = [bool(path) and not path.lower().endswith(_NO_HEADER) for path in paths]
    if not names or not any(has_header):
        return {}
    headers = [
        read_header(root / path) if may_be_dicom else Header()
        for path, may_be_dicom in zip(paths, has_header, strict=True)
    ]
    return {name: [_as_cell(getattr(header, name)) for header in headers] for name in names}


def _as_cell(value: str | float) -> str:
    """A value of a header as a table would say it; an unknown age (nan) is empty."""
    if isinstance(value, str):
        return value
    return "" if math.isnan(value) else f"{value:.6f}"
