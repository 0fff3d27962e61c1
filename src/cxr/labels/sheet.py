"""A CSV file as text with its line numbers, whichever separator and encoding it was saved with."""

import codecs
import csv
import gzip
import io
import itertools
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from cxr.console import say
from cxr.csv_files import csv_text
from cxr.errors import CxrError
from cxr.fields.identity import normalise
from cxr.labels.files_read import note_file
from cxr.paths import refuse_pipe

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}
_DECIMAL_COMMA = re.compile(r"\s*[-+]?\d*,\d+([eE][-+]?\d+)?\s*")
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)  # that of UTF-32 begins as UTF-16's does
_OTHER_FILES = ((b"PK\x03\x04", "an Excel or zip file"), (b"\xd0\xcf\x11\xe0", "an old Excel file"),
                (b"PAR1", "a Parquet file"), (b"%PDF", "a PDF file"))  # fmt: skip
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0e-\x1f]")  # no table of text holds these
_REPLACED = "\N{REPLACEMENT CHARACTER}"
_ASCII = _REPLACED + "".join(map(chr, range(128)))
_SNIFFED = 1 << 16  # bytes in which NULs tell UTF-16 without a mark
_LINES_TRIED = 20  # in which every separator is counted
_SAVE_AGAIN = "save it as comma-separated text in UTF-8, or download it again"


@dataclass(frozen=True)
class Sheet:
    """A CSV file as text: nothing is read as a number, and nothing, not even `NA`, as missing.

    It is no DataFrame: pandas fills and shifts rows of another length in silence, renames columns without a
    name or of an equal one, and readers want a column as a list of str, which is what this holds.

    Attributes:
        path: The file.
        header: Names of the columns.
        lines: The file's line number of each row; blank lines are no rows.
        cells: All cells, row after row.
        separator: What stands between two cells.
    """

    path: Path
    header: tuple[str, ...]
    lines: list[int]
    cells: list[str]
    separator: str = ","

    def __len__(self) -> int:
        return len(self.lines)

    def __str__(self) -> str:
        return str(self.path)

    def column(self, name: str) -> list[str]:
        """The cells of a column that the header has."""
        return self.cells[self.header.index(name) :: len(self.header)]

    def numbers(self, name: str) -> list[str]:
        """The cells of a column of numbers; `0,83` is `0.83` where commas do not separate cells."""
        cells = self.column(name)
        if self.separator == ",":
            return cells
        return [cell.replace(",", ".") if _DECIMAL_COMMA.fullmatch(cell) else cell for cell in cells]

    def spelled(self, names: Sequence[str]) -> "Sheet":
        """The sheet with these names of columns where the file has them in other case, blanks or signs."""
        # a column that is there by its very name is not renamed
        missing = {column_key(name): name for name in names if name not in self.header}
        return replace(self, header=tuple(missing.pop(column_key(name), name) for name in self.header))

    def where(self, row: int) -> str:
        """FILE:LINE of a row, for errors."""
        return f"{self.path}:{self.lines[row]}"

    def require(self, names: Sequence[str], hint: str) -> None:
        """Refuse a header without these columns."""
        problems = [f"{self.path}: no column {name!r}" for name in names if name not in self.header]
        if problems:
            raise CxrError(problems, f"{hint}; its columns are {', '.join(self.header)}")


def column_key(name: str) -> str:
    """What two spellings of a column's name share: letters and digits, without case."""
    return "".join(letter for letter in name.casefold() if letter.isalnum())


def read_sheet(path: Path) -> Sheet:
    """A CSV file's text, plain or gzipped.

    The separator is the comma, semicolon or tab that divides all lines alike; the encoding UTF-8, UTF-16, or
    else Windows-1252 (Latin-1), which a line on stderr says.

    Raises:
        CxrError: No file, not readable as CSV, a row of another length than the header, no rows.
    """
    refuse_pipe(path)
    note_file(path)
    try:
        sheet = _parse(path, decode_text(path, _read_bytes(path)))
    except FileNotFoundError:
        raise CxrError(f"{path}: no such file", "check the path of the CSV file") from None
    except (csv.Error, EOFError, zlib.error, gzip.BadGzipFile, UnicodeDecodeError) as error:
        raise CxrError(f"{path}: not a readable CSV file ({error})", _SAVE_AGAIN) from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        problem = getattr(error, "strerror", None) or str(error)
        raise CxrError(f"{path}: {problem}", "check that it is a file and that you may read it") from None
    if not sheet.lines:
        hint = "the file is empty or has only a header; download or export it again"
        raise CxrError(f"{path}: no rows", hint)
    return sheet


def open_sheet(table: "Path | Sheet") -> Sheet:
    """The sheet itself, or that of a file, see `read_sheet`."""
    return table if isinstance(table, Sheet) else read_sheet(table)


def sheet_of_frame(frame: pd.DataFrame, name: str) -> Sheet:
    """The cells of a DataFrame as its CSV file would have them, without the index.

    Args:
        frame: The table; nan is an empty cell.
        name: Stands for the file in messages, where line 1 is the header and line 2 the first row.

    Raises:
        CxrError: A column's name is there twice, or no rows.
    """
    sheet = _parse(Path(name), csv_text(frame), ",")
    if not sheet.lines:
        raise CxrError(f"{name}: no rows", "give a DataFrame with a row per image")
    return sheet


def _read_bytes(path: Path) -> bytes:
    """The bytes of a table, gunzipped where they are gzipped, whatever the file is called."""
    with path.open("rb") as file:
        start = file.read(4)
    for mark, kind in _OTHER_FILES:
        if start.startswith(mark):
            hint = "save the table as CSV (comma-separated, UTF-8)"
            raise CxrError(f"{path}: is {kind}, not a CSV file", hint)
    data = path.read_bytes()
    return gzip.decompress(data) if start.startswith(b"\x1f\x8b") else data


def decode_text(path: Path, data: bytes, kind: str = "CSV file") -> str:
    """The text of a table or a list, by its byte order mark, else by the first encoding that fits."""
    # 1. a byte order mark says it
    for mark, encoding in _BYTE_ORDER_MARKS:
        if data.startswith(mark):
            return data.decode(encoding)
    # 2. UTF-16 without a mark: no other text holds NULs
    if b"\0" in data[:_SNIFFED]:
        num_even, num_odd = data[:_SNIFFED:2].count(0), data[1:_SNIFFED:2].count(0)
        # every second byte of English UTF-16 is NUL; a quarter of all will do
        if max(num_even, num_odd) * 4 > min(len(data), _SNIFFED):
            return data.decode("utf-16-be" if num_even > num_odd else "utf-16-le")
    try:
        # 3. UTF-8, which other bytes hardly ever are by chance; then Windows-1252
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        text = data.decode("cp1252", errors="replace")
        # No guess where the file is damaged UTF-8 (its other letters are UTF-8), or where it holds bytes that
        # mean nothing in Windows-1252.
        has_utf8 = not set(data.decode("utf-8", errors="replace")) <= set(_ASCII)
        if has_utf8 or _REPLACED in text or _CONTROLS.search(text):
            problem = f"not a readable {kind} (byte 0x{data[error.start]:02x} is not UTF-8)"
            raise CxrError(f"{path}:{line}: {problem}", _SAVE_AGAIN) from None
        say(f"{path}:{line}: not UTF-8, read as Windows-1252 (Latin-1)")
        return text


def _parse(path: Path, text: str, separator: str | None = None) -> Sheet:
    lines: list[int] = []
    cells: list[str] = []  # a flat list: 112,120 lists of cells would keep the garbage collector busy
    # 1. the separator: as Excel's first line states it, else as the lines show
    stated = None if separator else re.match(r'"?sep=([,;\t])"?\r?\n', text)  # for Excel, before the header
    separator = separator or (stated[1] if stated else _find_separator(text))
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=separator)
    if stated:
        next(reader)
    # 2. the header: the first line that is not blank
    header = tuple(normalise(name) for name in next((row for row in reader if any(row)), []))
    _check_header(path, header, text)
    # 3. the rows, each of as many cells as the header: a row of another length shows a file that was cut
    num_columns = len(header)
    has_spare = num_columns > 2 and not header[-1]  # a separator too many at the end of the header
    for row in reader:
        if not row:
            continue  # a blank line
        if has_spare and len(row) == num_columns - 1:
            row.append("")
        if len(row) > num_columns and not any(cell.strip() for cell in row[num_columns:]):
            row = row[:num_columns]  # separators too many at the end of the row
        if len(row) != num_columns:
            raise _length_error(path, reader.line_num, len(row), num_columns, separator)
        lines.append(reader.line_num)
        cells.extend(row)
    return Sheet(path, header, lines, cells, separator)


def _find_separator(text: str) -> str:
    """What separates the cells: comma, semicolon or tab.

    Of those that divide each of the first lines into as many cells as the header it is the most frequent in
    the header; where none does, the most frequent of all. Cells in quotes do not count, and a comma goes
    before others.
    """
    lines = [re.sub(r'"[^"]*"', "", line) for line in itertools.islice(_header_lines(text), 1 + _LINES_TRIED)]
    # cells in quotes are gone: what they hold separates nothing
    header, *rows = lines or [""]
    dividing = []
    for sign in SEPARATORS:
        # how often the rows have it: one number where it divides all of them alike
        num_signs = {line.count(sign) for line in rows} or {header.count(sign)}
        has_same_number = len(num_signs) == 1 and min(num_signs) > 0
        if has_same_number and header.count(sign) - min(num_signs) in (0, 1):  # a spare one ends the header
            dividing.append(sign)
    return max(dividing or SEPARATORS, key=header.count)


def _header_lines(text: str) -> Iterator[str]:
    """The first lines of the text that are not blank, those inside quotes taken together."""
    held = ""
    for line in io.StringIO(text[:_SNIFFED], newline=None):
        held += line
        if held.count('"') % 2 == 0:
            if held.strip():
                yield held
            held = ""


def _length_error(path: Path, line: int, found: int, wanted: int, separator: str) -> CxrError:
    sign = SEPARATORS[separator]
    if found < wanted:
        hint = "the file may be cut off: download or export it again"
    else:
        hint = f"put cells that hold {sign} in quotes, or export the table again"
    return CxrError(f"{path}:{line}: {found} cells where the header has {wanted} (separated by {sign})", hint)


def _check_header(path: Path, header: tuple[str, ...], text: str) -> None:
    if any("\0" in name for name in header):  # csv takes it, and numpy forgets it at the end of a name
        raise CxrError(f"{path}:1: a column's name holds a NUL character", _SAVE_AGAIN)
    doubled = sorted({name for name in header if name and header.count(name) > 1})
    if doubled:
        problems = [f"{path}:1: column {name!r} is there twice" for name in doubled]
        raise CxrError(problems, "rename or delete one of them")
    first = next(_header_lines(text), "").strip()
    # separators that are not read: told, and not guessed at
    for sign, word in (("|", "bars"), (" ", "blanks")):
        if len(header) == 1 and first.count(sign) > 1:
            problem = f"one column only, {header[0][:60]!r}: its cells seem to be separated by {word}"
            hint = "save it as comma-separated text with a line of column names first"
            raise CxrError(f"{path}:1: {problem}", hint)
