"""What the readers of datasets share: finding folders and tables, reading cells, patients and rows."""

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
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
from cxr.findings import CHEXPERT_14, canonical
from cxr.labels.lookup import list_folder
from cxr.labels.problems import count_more
from cxr.labels.sheet import Sheet, read_sheet
from cxr.labels.splits import PATIENT_HINT, SPLIT_WORDS
from cxr.labels.table import ROW_COLUMNS, Float, LabelTable
from cxr.paths import check_listable, exists, is_folder

_PUBLISHED = ("nih", "chexpert", "mimic", "padchest", "vindr", "brax")
_AS_TEXT = "export the table again with this column as text"


def root_folder(data: Data, holds: str) -> Path:
    """data.root, once it is known to be a folder; `holds` names the file to look for in the hint."""
    if not is_folder(data.root):
        problem = "is a file" if exists(data.root) else "no such folder"
        where = f"; cxr download {data.source} tells where to get it" if data.source in _PUBLISHED else ""
        raise CxrError(f"{data.root}: {problem}", f"data.root must be the folder that holds {holds}{where}")
    check_listable(data.root)
    return data.root


def find_table(root: Path, csv: Path | None, *patterns: str) -> Path | None:
    """data.csv where it is set, else the first file in root that the patterns name, plain before gzipped.

    Raises:
        CxrError: data.csv is set and not there.
    """
    if csv is not None:
        return find_csv(root, csv)
    for pattern in patterns:
        for ending in ("", ".gz"):
            # sorted, as a file system lists files in any order: the same table on every machine
            paths = sorted(root.glob(pattern + ending))
            if paths:
                return paths[0]
    return None


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


def read_label_table(
    root: Path, csv: Path | None, dataset: str, patterns: Sequence[str], beside: str
) -> Sheet:
    """The only label table of a dataset: data.csv, else the first file in root that the patterns name.

    Args:
        root: Folder of the dataset.
        csv: data.csv.
        dataset: Its name, for the error.
        patterns: Names of the file, plain or gzipped.
        beside: What data.root holds beside it, for the error.

    Raises:
        CxrError: No such file, or not a CSV file.
    """
    path = find_table(root, csv, *patterns)
    if path is None:
        hint = f"looked for {', '.join(patterns)}, plain or gzipped; "
        hint += f"data.root must be the folder that holds it and {beside}, or set data.csv"
        raise CxrError(f"{root}: no label table of {dataset}", hint)
    return read_sheet(path)


def pick_columns(sheet: Sheet, columns: Mapping[str, str]) -> dict[str, str]:
    """The row columns whose column the file has, such as {"view": "ViewPosition"}."""
    return {name: column for name, column in columns.items() if column in sheet.header}


def find_observations(sheet: Sheet) -> dict[str, str]:
    """The file's column of each of CheXpert's 14 observations that it has, in CheXpert's order."""
    columns = {canonical(column): column for column in sheet.header}
    return {finding: columns[finding] for finding in CHEXPERT_14 if finding in columns}


def index_rows(sheet: Sheet, name: str) -> dict[str, int]:
    """The row of each value of a column.

    Raises:
        CxrError: A value is on two lines, or empty.
    """
    values = normalise_ids(sheet.column(name))
    check_filled(sheet, name, values, "every row needs one; download the table again")
    rows = {value: row for row, value in enumerate(values)}  # the last row of each
    if len(rows) < len(values):
        first = next(row for row, value in enumerate(values) if rows[value] != row)
        last_line = sheet.lines[rows[values[first]]]
        problem = f"{sheet.where(first)}: {name} {values[first]} is there twice (again on line {last_line})"
        raise CxrError(problem, "keep one of the rows, or download the table again")
    return rows


def map_distinct(values: Sequence[str], read: Callable[[str], float]) -> npt.NDArray[np.float64]:
    """[N] `read` of each value, called once for each distinct one."""
    # a million rows have few distinct ages
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
    # mistakes of all columns before the error: a user mends them at once
    raw = np.empty((len(sheet), len(columns)), dtype=np.float32)
    problems, hints = [], [LABEL_HINT]
    for index, name in enumerate(columns):
        column = read_column(sheet.numbers(name))
        raw[:, index] = column.values
        if column.wrong is not None:
            cell = sheet.column(name)[column.wrong]
            problems.append(f"{sheet.where(column.wrong)}: {name} is {cell!r}, no label")
        elif column.soft is not None and not soft:
            cell = sheet.column(name)[column.soft].strip()
            problems.append(f"{sheet.where(column.soft)}: {name} is {cell!r}, a soft label")
            hints.append(SOFT_HINT)
    if problems:
        raise CxrError(problems, "; ".join(dict.fromkeys(hints)))
    return raw


def read_patients(sheet: Sheet, name: str) -> list[str]:
    """The patient of each row, by `normalise_ids`.

    Raises:
        CxrError: A row without a patient, or ids that a spreadsheet has rounded, so that patients share one.
    """
    for problem, hint in find_rounded_ids(sheet, [name]):
        raise CxrError(problem, hint)
    patients = normalise_ids(sheet.column(name))
    check_filled(sheet, f"patient in {name}", patients, PATIENT_HINT)
    return patients


def find_rounded_ids(sheet: Sheet, names: Sequence[str]) -> list[tuple[str, str]]:
    """(`WHERE: WHAT`, hint) of each column of ids that a spreadsheet has rounded, so that some are equal."""
    problems = []
    for name in names:
        cells = sheet.column(name)
        row = find_rounded(cells)
        if row is not None:
            cell = cells[row].strip()
            problem = f"{sheet.where(row)}: {name} is {cell!r}, a rounded number that several may share"
            problems.append((problem, _AS_TEXT))
    return problems


def slashes(paths: Sequence[str]) -> list[str]:
    """The paths with forward slashes, whichever system wrote them."""
    return [path.replace("\\", "/") for path in paths]


def make_rows(columns: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    """ROW_COLUMNS, then the others; what a source lacks is empty, an unknown age nan.

    Every id is normalised and every view, sex and age read here, so that all sources do it alike.

    Raises:
        CxrError: Ids that a spreadsheet has rounded.
    """
    empty = [""] * len(columns["image"])
    text = {name: columns.get(name, empty) for name in dict.fromkeys([*ROW_COLUMNS, *columns])}
    # a rounded id, as 1.2E+08, would be one patient for many, and a leak between splits
    for name in ("image", "patient_id", "study_id"):
        row = find_rounded(text[name])
        if row is not None:
            kind, cell = name.removesuffix("_id"), text[name][row].strip()
            problem = f"{kind} {cell!r} in row {row + 1} is a rounded number that several may share"
            raise CxrError(problem, _AS_TEXT)
    text["image"] = normalise_images(text["image"])
    text["patient_id"] = normalise_ids(text["patient_id"])
    text["study_id"] = normalise_ids(text["study_id"])
    text["view"] = read_views(text["view"])
    text["sex"] = [read_sex(word) for word in text["sex"]]
    rows = pd.DataFrame({name: pd.Series(list(cells), dtype=str) for name, cells in text.items()})
    return rows.assign(age=map_distinct(text["age"], read_age))


def check_filled(sheet: Sheet, name: str, values: Sequence[str], hint: str) -> None:
    """Refuse empty values, naming the first line that has one."""
    empty = [row for row, value in enumerate(values) if not value.strip()]
    if empty:
        raise CxrError(f"{sheet.where(empty[0])}: no {name}{count_more(len(empty))}", hint)


def add_files(table: LabelTable, paths: Sequence[str], splits: Sequence[str] = ()) -> LabelTable:
    """The table with the file of each row below root, and with its split, or none."""
    rows = table.rows.assign(
        path=pd.Series(paths, dtype=str), split=pd.Series(splits or [""] * len(table), dtype=str)
    )
    return replace(table, rows=rows)


def split_column(sheet: Sheet, data: Data) -> list[str]:
    """The split of each row by data.split_column under split=column, nothing under any other split."""
    if data.split != "column":
        return []
    sheet.require([data.split_column], "data.split_column names the column that holds train, val or test")
    return read_splits(sheet.column(data.split_column))


def read_splits(cells: Sequence[str]) -> list[str]:
    """train, val or test per cell, empty for a blank one; other words, refused by `assign`, unchanged."""
    meaning = {}
    # each distinct word once
    for cell in set(cells):
        word = normalise(cell)
        meaning[cell] = "" if is_blank(word) else SPLIT_WORDS.get(word.casefold(), word)
    return [meaning[cell] for cell in cells]
