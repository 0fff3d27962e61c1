"""Any CSV with an image column, a patient column and label columns: data.columns and data.findings say which.

Labels: as the file says them, cells of 1 (present), 0 (absent), -1 (uncertain) or blank (not said). Without
data.findings every column that holds nothing else is a finding; `y_Mass` is the finding Mass.

Files expected: data.csv (plain or gzipped), below data.root or at an absolute path; images where its image column says,
relative to data.root. View, sex and age of DICOM files without such a column come from their headers, a millisecond a
file each time the table is read. A column named by data.split_column holds train, val or test.

Ids are text, so `0012` and `12` are two patients.
"""

import difflib
import math
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from cxr.config import Data
from cxr.data.findings import canonical, find
from cxr.data.labels import ROW_COLUMNS, LabelTable
from cxr.data.sources.dicom_header import Header, read_header
from cxr.data.sources.files import (
    Sheet,
    check_filled,
    check_unique,
    existing,
    make_rows,
    read_cell,
    read_cells,
    read_sheet,
    root_folder,
    slashes,
    split_column,
)
from cxr.errors import CxrError

PLAIN = {
    "image": ("image", "Image Index", "Path", "filename"),
    "patient_id": ("patient_id", "Patient ID"),
    "view": ("view", "View Position"),
    "sex": ("sex", "Patient Sex", "Patient Gender", "Sex"),
    "age": ("age", "Patient Age", "Age"),
}
"""Names under which a plain label table may hold what is no finding."""

_IN_HEADERS = ("view", "sex", "age")
_NO_HEADER = (".png", ".jpg", ".jpeg", ".tif", ".tiff")  # any other file may be DICOM, which often has no suffix
_SLIPS = 0.1


def read(data: Data, exact: bool = True) -> LabelTable:
    """Every row of data.csv, with its file (empty when not there).

    Unless `exact`, columns are taken that mean any of data.findings, whatever they are called.

    Raises:
        CxrError: No folder or table, no such column, a patient missing, a cell that is no label, a doubled image.
    """
    root = root_folder(data, "the images that data.csv names")
    if data.csv is None:
        raise CxrError("data.csv: a table source needs its CSV", "set data.csv, relative to data.root or absolute")
    sheet = read_sheet(root / data.csv)
    named = _named_columns(sheet, data)
    columns = {name: sheet.column(column) for name, column in named.items()}
    columns |= {name: sheet.column(name) for name in data.columns.others if name not in ROW_COLUMNS}
    why = "a patient's images must stay in one split, so every row needs its patient"
    check_filled(sheet, f"patient in {named['patient_id']}", columns["patient_id"], why)
    columns["image"] = slashes(columns["image"])
    check_unique(sheet, columns["image"])
    columns["path"] = existing(root, columns["image"])
    columns |= _from_headers(root, columns["path"], [name for name in _IN_HEADERS if name not in columns])
    own = sheet.column(data.split_column) if data.split_column in sheet.header else [""] * len(sheet)
    columns["split"] = split_column(sheet, data) or own
    taken = {*named.values(), *data.columns.others, data.split_column}
    labels = _label_columns(sheet, taken, _wanted(sheet, taken, data.findings, exact))
    return LabelTable("table", root, make_rows(columns), tuple(labels), read_cells(sheet, list(labels.values())))


def parse_plain(sheet: Sheet, root: Path) -> LabelTable:
    """The table of a plain label CSV (columns named as in PLAIN), without looking for images."""
    named = {name: next((c for c in spellings if c in sheet.header), "") for name, spellings in PLAIN.items()}
    if not named["image"]:
        hint = f"name the image column {' or '.join(PLAIN['image'])}; its columns are {', '.join(sheet.header)}"
        raise CxrError(f"{sheet.path}: no image column", hint)
    columns = {name: sheet.column(column) for name, column in named.items() if column}
    columns["image"] = slashes(columns["image"])
    check_unique(sheet, columns["image"])
    labels = _label_columns(sheet, {name for names in PLAIN.values() for name in names}, None)
    return LabelTable("table", root, make_rows(columns), tuple(labels), read_cells(sheet, list(labels.values())))


def _named_columns(sheet: Sheet, data: Data) -> dict[str, str]:
    """The file's column of each kind of row column that data.columns names; all of them must be there."""
    chosen = data.columns.model_dump(exclude={"others"})
    kinds = {"patient": "patient_id", "study": "study_id"}
    named = [*chosen.items(), *(("others", column) for column in data.columns.others)]
    missing = {kind: column for kind, column in named if column and column not in sheet.header}
    why = "; the patient is needed to keep all images of a patient in one split" if "patient" in missing else ""
    if missing:
        raise CxrError(
            [f"{sheet.path}: no column {column!r} (data.columns.{kind})" for kind, column in missing.items()],
            f"set data.columns to columns that the file has: {', '.join(sheet.header)}{why}",
        )
    return {kinds.get(kind, kind): column for kind, column in chosen.items() if column}


def _from_headers(root: Path, paths: Sequence[str], names: Collection[str]) -> dict[str, list[str]]:
    """The columns `names` as DICOM headers say them, empty for other files; of the patient's identity nothing."""
    if not names or all(path.lower().endswith(_NO_HEADER) for path in paths if path):
        return {}
    has = [bool(path) and not path.lower().endswith(_NO_HEADER) for path in paths]
    headers = [read_header(root / path) if one else Header() for path, one in zip(paths, has, strict=True)]
    return {name: [_as_cell(getattr(header, name)) for header in headers] for name in names}


def _as_cell(value: str | float) -> str:
    return value if isinstance(value, str) else "" if math.isnan(value) else f"{value:.6f}"


def _wanted(sheet: Sheet, taken: Collection[str], findings: Sequence[str] | None, exact: bool) -> Sequence[str] | None:
    """The findings asked for, or unless `exact` the file's own names of those that it has."""
    if findings is None or exact:
        return findings
    names = [canonical(name.removeprefix("y_")) for name in sheet.header if name and name not in taken]
    own = [find(finding, names) for finding in findings]
    return tuple(dict.fromkeys(name for name in own if name is not None)) or findings


def _label_columns(sheet: Sheet, taken: Collection[str], findings: Sequence[str] | None) -> dict[str, str]:
    """The file's column of each finding: of those asked for, else of `y_` columns, else of all that hold labels."""
    others = [name for name in sheet.header if name and name not in taken and name not in ROW_COLUMNS]
    if findings is None:
        marked = [name for name in others if name.startswith("y_")]
        others = marked or [name for name in others if _holds_labels(sheet, name)]
    names = [canonical(name.removeprefix("y_")) for name in others]
    wanted = names if findings is None else findings
    twice = [name for name in dict.fromkeys(wanted) if names.count(name) > 1]
    if twice:
        raise CxrError([f"{sheet.path}: two columns for finding {name!r}" for name in twice], "rename one of them")
    if not names:
        raise CxrError(f"{sheet.path}: no label column", "a label column holds 1, 0, -1 or blank, and not blank alone")
    problems = [
        f"{sheet.path}: no column for finding {name!r}{_like(name, names)}" for name in set(wanted) - set(names)
    ]
    if problems:
        raise CxrError(sorted(problems), f"data.findings must be columns of the file, which has {', '.join(others)}")
    return {name: others[names.index(name)] for name in wanted}


def _like(name: str, names: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, names, n=1)
    return f"; did you mean {close[0]}?" if close else ""


def _holds_labels(sheet: Sheet, name: str) -> bool:
    """Whether a column is a finding's: every cell a label, and not all of them blank.

    Raises:
        CxrError: Nearly every filled cell is a label: a slip of the pen, for which no finding is dropped in silence.
    """
    codes, words = pd.factorize(np.array(sheet.column(name), dtype=object))
    filled = np.array([bool(str(word).strip()) for word in words])[codes]
    wrong = np.array([read_cell(str(word)) is None for word in words])[codes]
    if 0 < wrong.sum() <= _SLIPS * filled.sum():
        row = int(np.argmax(wrong))
        what = f"{sheet.where(row)}: {name} is {words[codes[row]]!r}, and a label in nearly every other row"
        raise CxrError(
            what, "a label is 1, 0, -1 or blank; if this is no finding, name the findings: data.findings=[...]"
        )
    return not wrong.any() and bool(filled.any())
