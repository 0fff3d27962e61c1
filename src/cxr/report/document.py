"""The document model: what a report says, as plain values that every writer shows alike.

Builders (evaluation.py, compare.py, readers.py, cxr.check.document and others) make documents; terminal.py,
markdown.py and html.py write them. Nothing else makes markup, and numbers become text here alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeGuard

DIGITS = 3
"""Digits of a metric behind the point."""


@dataclass(frozen=True)
class Estimate:
    """A metric, as `0.812* (0.780-0.840), note` or, signed, `+0.012 (-0.003 to +0.027)`.

    Attributes:
        value: None or nan is undefined and shown as n/a.
        low: Lower end of its 95 % interval; None or nan where there is none.
        high: Upper end.
        signed: With its sign, as differences are.
        mark: Directly behind the number, such as `*` for an optimistic one.
        note: Behind the interval.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    digits: int = DIGITS
    signed: bool = False
    mark: str = ""
    note: str = ""


Cell = str | int | float | Estimate | None
"""A cell of a table: text as it is, a count, a metric, or None, which is undefined."""

Style = Literal["plain", "soft", "strong", "good", "bad", "note"]


@dataclass(frozen=True)
class Text:
    """A paragraph, or a line on the terminal; `label` stands before it in bold."""

    text: str
    style: Style = "plain"
    label: str = ""


@dataclass(frozen=True)
class Items:
    """A list.

    Attributes:
        items: A line each.
        title: What is listed, for those who cannot see the list's colour.
        style: `note` and `bad` are framed in a colour, `soft` is small print.
        notes: What to say of each item, or nothing.
        links: Where each item leads to, or nothing.
    """

    items: tuple[str, ...]
    title: str = ""
    style: Style = "plain"
    notes: tuple[str, ...] = ()
    links: tuple[str, ...] = ()


@dataclass(frozen=True)
class Table:
    """A table with a row of headings; the first cell of a row names it.

    Attributes:
        title: The caption.
        columns: Headings; a line feed breaks one on the terminal.
        rows: Cells, as many in each row as there are columns.
        align: A letter for each column: `l` for text, which is folded where it is too wide, `r` for numbers.
        notes: Small print below the table.
        bold: Places of the rows that stand out.
        num_summary: How many of the last rows sum up the others; they stand out too.
        shades: From 0 to 1 for each cell but the first of a row, a matrix [rows][columns - 1]; or nothing.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    align: str
    notes: tuple[str, ...] = ()
    bold: tuple[int, ...] = ()
    num_summary: int = 0
    shades: tuple[tuple[float, ...], ...] = ()

    @property
    def num_plain(self) -> int:
        """Rows above the summary."""
        return len(self.rows) - self.num_summary

    def is_bold(self, place: int) -> bool:
        """Whether a row stands out."""
        return place >= self.num_plain or place in self.bold


@dataclass(frozen=True)
class KeyNumbers:
    """The few numbers that a reader wants first, as (label, number)."""

    numbers: tuple[tuple[str, Cell], ...]


@dataclass(frozen=True)
class Figure:
    """A plot.

    Attributes:
        name: Of its files, `figures/NAME.svg`, `.pdf` and `.png`.
        title: What is shown.
        alt: The same in words.
        svg: The drawing.
        png: The same as pixels; empty where no file is wanted.
        is_wide: Whether it is scrolled rather than shrunk on a narrow screen.
        caption: How to read it, behind the title.
        pdf: The same for printing; empty where no file is wanted.
        millimetres: Width on paper; 0 where it is not made for paper.
    """

    name: str
    title: str
    alt: str
    svg: bytes
    png: bytes = b""
    is_wide: bool = False
    caption: str = ""
    pdf: bytes = b""
    millimetres: float = 0


@dataclass(frozen=True)
class Thumbnail:
    """A small image: JPEG data, the file's name, and what to say of it."""

    jpeg: bytes
    name: str
    caption: str


@dataclass(frozen=True)
class Gallery:
    """Thumbnails side by side; `title` says what each one is, wide ones are pairs of images."""

    title: str
    thumbnails: tuple[Thumbnail, ...]
    is_wide: bool = False


@dataclass(frozen=True)
class Code:
    """Text that keeps its lines."""

    text: str


@dataclass(frozen=True)
class Section:
    """Parts below a heading; a folded one is opened by the reader of the page, unless `is_open`."""

    title: str
    parts: "tuple[Part, ...]"
    is_folded: bool = False
    is_open: bool = False


Part = Text | Items | Table | KeyNumbers | Figure | Gallery | Code | Section


@dataclass(frozen=True)
class Document:
    """A page; every writer adds the disclaimer.

    Attributes:
        title: The heading.
        parts: What stands on it.
        facts: (name, value) pairs below the heading, such as the model, the dataset and the date.
    """

    title: str
    parts: tuple[Part, ...]
    facts: tuple[tuple[str, str], ...] = ()


def format_number(cell: Cell) -> str:
    """A cell without its interval: counts with commas, metrics with their digits, n/a where undefined."""
    if isinstance(cell, str):
        return cell
    if isinstance(cell, int):
        return f"{cell:,}"
    # a bare float is a metric without an interval
    estimate = cell if isinstance(cell, Estimate) else Estimate(cell)
    if not _is_defined(estimate.value):
        return "n/a"
    # a format's `+` writes a minus too
    sign = "+" if estimate.signed else ""
    return f"{estimate.value:{sign}.{estimate.digits}f}{estimate.mark}"


def format_interval(cell: Cell) -> str:
    """The interval of a cell, as `0.780-0.840` or `-0.003 to +0.027`; empty where there is none."""
    if not isinstance(cell, Estimate) or not _is_defined(cell.low) or not _is_defined(cell.high):
        return ""
    if cell.signed:
        return f"{cell.low:+.{cell.digits}f} to {cell.high:+.{cell.digits}f}"
    dash = "-" if cell.low >= 0 else " to "  # -0.121-0.179 would be hard to read
    return f"{cell.low:.{cell.digits}f}{dash}{cell.high:.{cell.digits}f}"


def format_note(cell: Cell) -> str:
    """What stands behind the interval of a cell, with its comma; empty where there is nothing."""
    return f", {cell.note}" if isinstance(cell, Estimate) and cell.note else ""


def format_cell(cell: Cell) -> str:
    """A cell on one line."""
    interval = format_interval(cell)
    return format_number(cell) + (f" ({interval})" if interval else "") + format_note(cell)


def two_columns(title: str, pairs: Sequence[tuple[str, Cell]], columns: tuple[str, str] = ("", "")) -> Table:
    """A table of (name, value)."""
    return Table(title, columns, tuple(pairs), "ll")


def on_one_line(table: Table) -> Table:
    """The table with headings of one line, for pages."""
    return replace(table, columns=tuple(heading.replace("\n", " ").strip() for heading in table.columns))


def _is_defined(value: float | None) -> TypeGuard[float]:
    return value is not None and value == value  # nan differs from itself
