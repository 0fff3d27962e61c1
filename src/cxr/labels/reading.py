"""What the readers of datasets share: folders and tables found, label cells, patients, ages and sexes read."""

import difflib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from cxr.config.schema import Data
from cxr.errors import CxrError
from cxr.fields.cells import LABEL_HINT, SOFT_HINT, is_blank, read_column
from cxr.fields.identity import find_rounded, normalise, normalise_ids, normalise_images
from cxr.fields.people import read_age, read_sex
from cxr.fields.views import read_views
from cxr.labels.lookup import list_folder
from cxr.labels.sheet import Sheet
from cxr.labels.splits import SPLIT_WORDS
from cxr.labels.table import ROW_COLUMNS, Float
from cxr.paths import check_listable, exists, is_folder

NAMED = 5  # names that an error lists before it only counts


def root_folder(data: Data, holds: str) -> Path:
    """data.root, once it is known to be a folder; `holds` names the file to look for in the hint."""
    if not is_folder(data.root):
        what = "is a file" if exists(data.root) else "no such folder"
        raise CxrError(f"{data.root}: {what}", f"data.root must be the folder that holds {holds}")
    check_listable(data.root)
    return data.root


def find_table(root: Path, csv: Path | None, pattern: str) -> Path | None:
    """data.csv where it is set, else the first file in root that the pattern names, plain before gzipped.

    Raises:
        CxrError: data.csv is set and not there.
    """
    if csv is None:
        return next((path for end in ("", ".gz") for path in sorted(root.glob(pattern + end))), None)
    return find_csv(root, csv)


def find_csv(root: Path, csv: Path) -> Path:
    """data.csv below data.root, or at its absolute path.

    Raises:
        CxrError: It is not there, with the nearest name that is.
    """
    path = root / csv
    if exists(path):
        return path
    close = difflib.get_close_matches(path.name, list_folder(path.parent), n=1, cutoff=0.5)
    like = f"; there is {path.parent / close[0]}" if close else ""
    hint = "data.csv is relative to data.root, or an absolute path"
    raise CxrError(f"data.csv: no file {path}{like}", hint)


def index_rows(sheet: Sheet, name: str) -> dict[str, int]:
    """The row of each value of a column.

    Raises:
        CxrError: A value is on two lines, or empty.
    """
    values = normalise_ids(sheet.column(name))
    check_filled(sheet, name, values, "every row needs one; download the table again")
    rows = dict(zip(values, range(len(values)), strict=True))
    if len(rows) < len(values):
        last = next(row for row, value in enumerate(values) if rows[value] != row)
        what = f"{name} {values[last]} is there twice (again on line {sheet.lines[rows[values[last]]]})"
        raise CxrError(f"{sheet.where(last)}: {what}", "keep one of the rows, or download the table again")
    return rows


def map_distinct(values: Sequence[str], read: Callable[[str], float]) -> npt.NDArray[np.float64]:
    """`read` of each value, called once for each distinct one."""
    codes, words = pd.factorize(np.array(values, dtype=object))
    return np.array([read(str(word)) for word in words], dtype=np.float64)[codes]


def read_cells(sheet: Sheet, columns: Sequence[str], soft: bool = False) -> Float:
    """[N, C] cells of label columns, as the file says them.

    Args:
        sheet: The table.
        columns: C of its columns.
        soft: Whether numbers between 0 and 1 are labels too.

    Raises:
        CxrError: The first cell of each column that is no label.
    """
    raw = np.empty((len(sheet), len(columns)), dtype=np.float32)
    problems, hints = [], [LABEL_HINT]
    for place, name in enumerate(columns):
        column = read_column(sheet.numbers(name))
        raw[:, place] = column.values
        if column.wrong is not None:
            problems.append(
                f"{sheet.where(column.wrong)}: {name} is {sheet.column(name)[column.wrong]!r}, no label"
            )
        elif column.soft is not None and not soft:
            cell = sheet.column(name)[column.soft].strip()
            problems.append(f"{sheet.where(column.soft)}: {name} is {cell!r}, a soft label")
            hints.append(SOFT_HINT)
    if problems:
        raise CxrError(problems, "; ".join(dict.fromkeys(hints)))
    return raw


def read_patients(sheet: Sheet, name: str, hint: str) -> list[str]:
    """The patient of each row, by `normalise_ids`.

    Raises:
        CxrError: A row without a patient, or ids that a spreadsheet has rounded, so that patients share one.
    """
    cells = sheet.column(name)
    rounded = find_rounded(cells)
    if rounded is not None:
        what = f"{sheet.where(rounded)}: {name} is {cells[rounded].strip()!r}, a rounded number that patients may share"
        raise CxrError(what, "export the table again with this column as text")
    patients = normalise_ids(cells)
    check_filled(sheet, f"patient in {name}", patients, hint)
    return patients


def slashes(paths: Sequence[str]) -> list[str]:
    """The paths with forward slashes, whichever system wrote them."""
    return [path.replace("\\", "/") for path in paths]


def make_rows(columns: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    """ROW_COLUMNS, then the others; what a source lacks is empty, an unknown age nan.

    Every id is normalised and every view, sex and age read here, so that all sources do it alike.
    """
    empty = [""] * len(columns["image"])
    text = {name: columns.get(name, empty) for name in dict.fromkeys([*ROW_COLUMNS, *columns])}
    for name in ("image", "patient_id", "study_id"):
        _refuse_rounded(text[name], name.removesuffix("_id"))
    text["image"] = normalise_images(text["image"])
    text |= {name: normalise_ids(text[name]) for name in ("patient_id", "study_id")}
    text["view"] = read_views(text["view"])
    text["sex"] = [read_sex(word) for word in text["sex"]]
    rows = pd.DataFrame({name: pd.Series(list(cells), dtype=str) for name, cells in text.items()})
    return rows.assign(age=map_distinct(text["age"], read_age))


def _refuse_rounded(cells: Sequence[str], kind: str) -> None:
    row = find_rounded(cells)
    if row is not None:
        what = f"{kind} {cells[row].strip()!r} in row {row + 1} is a rounded number that several may share"
        raise CxrError(what, "export the table again with this column as text")


def check_filled(sheet: Sheet, name: str, values: Sequence[str], hint: str) -> None:
    """Refuse empty values, naming the first line that has one."""
    empty = [row for row, value in enumerate(values) if not value.strip()]
    if empty:
        more = f" (and {len(empty) - 1:,} more rows)" if len(empty) > 1 else ""
        raise CxrError(f"{sheet.where(empty[0])}: no {name}{more}", hint)


def split_column(sheet: Sheet, data: Data) -> list[str] | None:
    """The values of data.split_column under split=column, None under any other split."""
    if data.split != "column":
        return None
    sheet.require([data.split_column], "data.split_column names the column that holds train, val or test")
    return read_splits(sheet.column(data.split_column))


def read_splits(cells: Sequence[str]) -> list[str]:
    """train, val or test for each cell, empty for a blank one; another word as it is, which `splits.assign` refuses."""
    words = {cell: normalise(cell) for cell in set(cells)}
    meant = {
        cell: "" if is_blank(word) else SPLIT_WORDS.get(word.casefold(), word) for cell, word in words.items()
    }
    return [meant[cell] for cell in cells]
