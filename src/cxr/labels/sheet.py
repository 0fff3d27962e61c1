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

from cxr.console import say
from cxr.errors import CxrError
from cxr.fields.identity import normalise
from cxr.paths import refuse_pipe

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}
_DECIMAL_COMMA = re.compile(r"\s*[-+]?\d*,\d+([eE][-+]?\d+)?\s*")
_MARKS = (
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


@dataclass(frozen=True)
class Sheet:
    """A CSV file as text: nothing is read as a number, and nothing, not even `NA`, as missing.

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
        """The sheet with these names of columns where the file spells them with other case, blanks or signs."""
        missing = {column_key(name): name for name in names if name not in self.header}
        return replace(self, header=tuple(missing.pop(column_key(name), name) for name in self.header))

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


def column_key(name: str) -> str:
    """What two spellings of a column's name share: letters and digits, without case."""
    return "".join(letter for letter in name.casefold() if letter.isalnum())


def read_sheet(path: Path) -> Sheet:
    """A CSV file's text, plain or gzipped.

    The separator is the comma, semicolon or tab that divides all lines alike; the encoding UTF-8, UTF-16, or else
    Windows-1252 (Latin-1), which a line on stderr says.

    Raises:
        CxrError: No file, not readable as CSV, a row of another length than the header, no rows.
    """
    refuse_pipe(path)
    try:
        sheet = _parse(path, decode_text(path, _read_bytes(path)))
    except FileNotFoundError:
        raise CxrError(f"{path}: no such file", "check the path of the CSV file") from None
    except (csv.Error, EOFError, zlib.error, gzip.BadGzipFile, UnicodeDecodeError) as problem:
        hint = "save it as comma-separated text in UTF-8, or download it again"
        raise CxrError(f"{path}: not a readable CSV file ({problem})", hint) from None
    except (OSError, ValueError) as problem:  # ValueError: a NUL in the path
        what = getattr(problem, "strerror", None) or str(problem)
        raise CxrError(f"{path}: {what}", "check that it is a file and that you may read it") from None
    if not sheet.lines:
        raise CxrError(
            f"{path}: no rows", "the file is empty or has only a header; download or export it again"
        )
    return sheet


def _read_bytes(path: Path) -> bytes:
    """The bytes of a table, gunzipped where they are gzipped, whatever the file is called."""
    with path.open("rb") as file:
        start = file.read(4)
    for mark, kind in _OTHER_FILES:
        if start.startswith(mark):
            raise CxrError(
                f"{path}: is {kind}, not a CSV file", "save the table as CSV (comma-separated, UTF-8)"
            )
    return gzip.decompress(path.read_bytes()) if start.startswith(b"\x1f\x8b") else path.read_bytes()


def decode_text(path: Path, data: bytes, kind: str = "CSV file") -> str:
    """The text of a table or a list, by its byte order mark, else by what it can be."""
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return data.decode(encoding)
    if b"\0" in data[:_SNIFFED]:
        even, odd = data[:_SNIFFED:2].count(0), data[1:_SNIFFED:2].count(0)
        if max(even, odd) * 4 > min(len(data), _SNIFFED):  # every second byte of English UTF-16 is NUL
            return data.decode("utf-16-be" if even > odd else "utf-16-le")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as problem:
        line = data.count(b"\n", 0, problem.start) + 1
        text = data.decode("cp1252", errors="replace")
        damaged = set(data.decode("utf-8", errors="replace")) - set(
            _ASCII
        )  # UTF-8 elsewhere: no other encoding
        if damaged or _REPLACED in text or _CONTROLS.search(text):  # or bytes that no Windows text holds
            what = f"{path}:{line}: not a readable {kind} (byte 0x{data[problem.start]:02x} is not UTF-8)"
            raise CxrError(what, "save it as comma-separated text in UTF-8, or download it again") from None
        say(f"{path}:{line}: not UTF-8, read as Windows-1252 (Latin-1)")
        return text


def _parse(path: Path, text: str) -> Sheet:
    lines: list[int] = []
    cells: list[str] = []  # one flat list: 112,120 lists of cells would keep the garbage collector busy
    stated = re.match(r'"?sep=([,;\t])"?\r?\n', text)  # a line for Excel before the header
    separator = stated[1] if stated else _find_separator(text)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=separator)
    if stated:
        next(reader)
    header = tuple(normalise(name) for name in next((row for row in reader if any(row)), []))
    _check_header(path, header, text)
    has_spare = len(header) > 2 and not header[-1]  # a separator too many at the end of the header
    for row in reader:
        if has_spare and len(row) == len(header) - 1:
            row.append("")
        if len(row) == len(header):
            lines.append(reader.line_num)
            cells.extend(row)
        elif len(row) > len(header) and not any(cell.strip() for cell in row[len(header) :]):
            lines.append(reader.line_num)  # a separator too many at the end of the row
            cells.extend(row[: len(header)])
        elif row:
            raise _length_error(path, reader.line_num, len(row), len(header), separator)
    return Sheet(path, header, lines, cells, separator)


def _find_separator(text: str) -> str:
    """What separates the cells: of those that divide the first lines into as many as the header the one of most cells.

    Where none does, the one outside quotes that is most frequent in the header; commas go before others.
    """
    lines = [re.sub(r'"[^"]*"', "", line) for line in itertools.islice(_header_lines(text), 1 + _LINES_TRIED)]
    header, *rows = lines or [""]
    counts = {sign: {line.count(sign) for line in rows} or {header.count(sign)} for sign in SEPARATORS}
    even = [sign for sign, each in counts.items()
            if len(each) == 1 and header.count(sign) - min(each) in (0, 1) and min(each) > 0]  # fmt: skip
    return max(even or SEPARATORS, key=header.count)


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
    what = (
        f"{path}:{line}: {found} cells where the header has {wanted} (separated by {SEPARATORS[separator]})"
    )
    if found < wanted:
        hint = "the file may be cut off: download or export it again"
    else:
        hint = f"put cells that hold {SEPARATORS[separator]} in quotes, or export the table again"
    return CxrError(what, hint)


def _check_header(path: Path, header: tuple[str, ...], text: str) -> None:
    if any("\0" in name for name in header):  # csv takes it, and numpy forgets it at the end of a name
        what = f"{path}:1: a column's name holds a NUL character"
        raise CxrError(what, "save it as comma-separated text in UTF-8, or download it again")
    twice = sorted({name for name in header if name and header.count(name) > 1})
    if twice:
        raise CxrError(
            [f"{path}:1: column {name!r} is there twice" for name in twice], "rename or delete one of them"
        )
    first = next(_header_lines(text), "").strip()
    for name, word in (("|", "bars"), (" ", "blanks")):
        if len(header) == 1 and first.count(name) > 1:
            what = f"{path}:1: one column only, {header[0][:60]!r}: its cells seem to be separated by {word}"
            raise CxrError(what, "save it as comma-separated text with a line of column names first")
