"""CSV files read as text with their line numbers, and image files found with as few file-system calls as possible."""

import csv
import gzip
import math
import os
import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from cxr.config import Data
from cxr.data.labels import ROW_COLUMNS, Float
from cxr.errors import CxrError
from cxr.paths import check_listable, exists, is_folder, refuse_endless

OLDEST = 120.0
"""Ages above it are typing errors of the archive (ChestX-ray14 of 2017 has 411) and count as unknown."""

YEARS = {"": 1.0, "Y": 1.0, "M": 1 / 12, "W": 7 / 365.25, "D": 1 / 365.25}
NAMED = 5  # names that an error lists before it only counts


@dataclass(frozen=True)
class Sheet:
    """A CSV file as text: nothing is read as a number, and nothing, not even `NA`, as missing.

    Attributes:
        path: The file.
        header: Names of the columns.
        lines: The file's line number of each row; blank lines are no rows.
        cells: All cells, row after row.
    """

    path: Path
    header: tuple[str, ...]
    lines: list[int]
    cells: list[str]

    def __len__(self) -> int:
        return len(self.lines)

    def column(self, name: str) -> list[str]:
        """The cells of a column that the header has."""
        return self.cells[self.header.index(name) :: len(self.header)]

    def where(self, row: int) -> str:
        """FILE:LINE of a row, for errors."""
        return f"{self.path}:{self.lines[row]}"

    def require(self, names: Sequence[str], hint: str) -> None:
        """Refuse a header without these columns."""
        missing = [name for name in names if name not in self.header]
        if missing:
            raise CxrError(
                [f"{self.path}: no column {name!r}" for name in missing],
                f"{hint}; its columns are {', '.join(self.header)}",
            )


def read_sheet(path: Path) -> Sheet:
    """A CSV file's text, plain or gzipped, UTF-8 with or without a byte order mark, with any line ends.

    Raises:
        CxrError: No file, not readable as CSV, a row of another length than the header, no rows.
    """
    refuse_endless(path)
    try:
        sheet = _parse(path)
    except FileNotFoundError:
        raise CxrError(f"{path}: no such file", "check the path of the CSV file") from None
    except (UnicodeDecodeError, csv.Error, EOFError, zlib.error, gzip.BadGzipFile) as problem:
        hint = "save it as comma-separated text in UTF-8, or download it again"
        raise CxrError(f"{path}: not a readable CSV file ({problem})", hint) from None
    except OSError as problem:
        hint = "check that it is a file and that you may read it"
        raise CxrError(f"{path}: {problem.strerror or problem}", hint) from None
    if not sheet.lines:
        raise CxrError(f"{path}: no rows", "the file is empty or has only a header; download or export it again")
    return sheet


def _parse(path: Path) -> Sheet:
    opener = gzip.open if path.suffix == ".gz" else open
    lines: list[int] = []
    cells: list[str] = []  # one flat list: 112,120 lists of cells would keep the garbage collector busy
    with opener(path, "rt", encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, strict=True)
        header = tuple(name.strip() for name in next(reader, []))
        _check_header(path, header)
        for row in reader:
            if len(row) == len(header):
                lines.append(reader.line_num)
                cells.extend(row)
            elif row:
                what = f"{len(row)} cells where the header has {len(header)}"
                raise CxrError(f"{path}:{reader.line_num}: {what}", "the file is cut off or damaged; download it again")
    return Sheet(path, header, lines, cells)


def _check_header(path: Path, header: tuple[str, ...]) -> None:
    if any("\0" in name for name in header):  # csv takes it, and numpy forgets it at the end of a name
        what = f"{path}:1: a column's name holds a NUL character"
        raise CxrError(what, "save it as comma-separated text in UTF-8, or download it again")
    twice = sorted({name for name in header if name and header.count(name) > 1})
    if twice:
        raise CxrError([f"{path}:1: column {name!r} is there twice" for name in twice], "rename or delete one of them")


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
    if not exists(root / csv):
        raise CxrError(f"data.csv: no file {root / csv}", "data.csv is relative to data.root, or an absolute path")
    return root / csv


def index_rows(sheet: Sheet, name: str) -> dict[str, int]:
    """The row of each value of a column.

    Raises:
        CxrError: A value is on two lines, or empty.
    """
    values = sheet.column(name)
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


def read_cell(word: str) -> float | None:
    """A label cell's 1, 0, -1 or nan (blank); None when it says anything else."""
    word = word.strip()
    if not word:
        return math.nan
    try:
        value = float(word)
    except ValueError:
        return None
    return value if value in (1, 0, -1) or math.isnan(value) else None


def read_cells(sheet: Sheet, columns: Sequence[str]) -> Float:
    """[N, C] cells of label columns, as the file says them.

    Raises:
        CxrError: The first cell of each column that is not 1, 0, -1 or blank.
    """
    raw = np.empty((len(sheet), len(columns)), dtype=np.float32)
    problems = []
    for place, name in enumerate(columns):
        codes, words = pd.factorize(np.array(sheet.column(name), dtype=object))
        values = [read_cell(str(word)) for word in words]
        if None in values:
            row = int(np.flatnonzero(codes == values.index(None))[0])
            problems.append(f"{sheet.where(row)}: {name} is {words[codes[row]]!r}")
            continue
        raw[:, place] = np.array(values, dtype=np.float32)[codes]
    if problems:
        raise CxrError(problems, "a label is 1 (present), 0 (absent), -1 (uncertain) or blank (not said)")
    return raw


def read_age(word: str) -> float:
    """Years in `58`, `058Y`, `011M` or `013D`; nan for anything else and above OLDEST."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d*)?)\s*([YMWD]?)\s*", word.upper())
    years = float(match[1]) * YEARS[match[2]] if match else math.nan
    return years if years <= OLDEST else math.nan


def read_sex(word: str) -> str:
    """`M`, `F` or empty, from M, Male, f, female and the like."""
    return {"M": "M", "MALE": "M", "F": "F", "FEMALE": "F"}.get(word.strip().upper(), "")


def slashes(paths: Sequence[str]) -> list[str]:
    """The paths with forward slashes, whichever system wrote them."""
    return [path.replace("\\", "/") for path in paths]


def make_rows(columns: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    """ROW_COLUMNS, then the others, ages and sexes read; what a source lacks is empty, an unknown age nan."""
    empty = [""] * len(columns["image"])
    text = {name: columns.get(name, empty) for name in dict.fromkeys([*ROW_COLUMNS, *columns])}
    text["sex"] = [read_sex(word) for word in text["sex"]]
    rows = pd.DataFrame({name: pd.Series(list(cells), dtype=str) for name, cells in text.items()})
    return rows.assign(age=map_distinct(text["age"], read_age))


def check_unique(sheet: Sheet, images: Sequence[str]) -> None:
    """Refuse an empty image name and a name on two lines."""
    first: dict[str, int] = {}
    problems = []
    for row, name in enumerate(images):
        if not name:
            problems.append(f"{sheet.where(row)}: no image name")
        elif first.setdefault(name, row) != row:
            problems.append(
                f"{sheet.where(row)}: image {name} is there twice (first on line {sheet.lines[first[name]]})"
            )
    if problems:
        more = [f"{sheet.path}: {len(problems) - NAMED:,} more such rows"] if len(problems) > NAMED else []
        raise CxrError([*problems[:NAMED], *more], "every row needs an image name of its own; delete the other rows")


def check_filled(sheet: Sheet, name: str, values: Sequence[str], hint: str) -> None:
    """Refuse empty values, naming the first lines that have them."""
    empty = [row for row, value in enumerate(values) if not value.strip()]
    if empty:
        more = f" (and {len(empty) - 1:,} more rows)" if len(empty) > 1 else ""
        raise CxrError(f"{sheet.where(empty[0])}: no {name}{more}", hint)


def existing(root: Path, paths: Sequence[str]) -> list[str]:
    """Each path that is below root, empty where there is no file.

    A folder is listed once for all its images; where nearly every image has a folder of its own, as in CheXpert, one
    question a file is cheaper.
    """
    folders = {os.path.dirname(path) for path in paths}
    if len(folders) > len(paths) // 4:
        return [path if os.path.isfile(os.path.join(root, path)) else "" for path in paths]
    there = {os.path.join(folder, name) for folder in folders for name in list_folder(root / folder)}
    return [path if path in there else "" for path in paths]


def list_folder(folder: Path) -> list[str]:
    """Names of the files in a folder, none when it is not there.

    Raises:
        CxrError: The folder may not be read.
    """
    try:
        with os.scandir(folder) as entries:
            return [entry.name for entry in entries if _is_file(entry)]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as problem:
        raise CxrError(f"{folder}: {problem.strerror or problem}", "check that you may read the folder") from None


def _is_file(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_file()
    except OSError:  # a link that leads round in a circle
        return False


def split_column(sheet: Sheet, data: Data) -> list[str] | None:
    """The values of data.split_column under split=column, None under any other split."""
    if data.split != "column":
        return None
    sheet.require([data.split_column], "data.split_column names the column that holds train, val or test")
    return [value.strip() for value in sheet.column(data.split_column)]
