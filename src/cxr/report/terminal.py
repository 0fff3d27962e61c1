"""Documents on the terminal: the only file that makes rich's tables, so that no cell is read as markup."""

from rich import box
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.table import Table as RichTable

from cxr.console import line, stack
from cxr.report.document import Cell, Table, Text, format_cell, format_interval, format_note, format_number
from cxr.text import visible_lines, width

_MIN_NAME = 12  # columns of the screen that names keep where they are folded
_STYLES = {
    "plain": "",
    "soft": "italic",
    "strong": "bold",
    "good": "bold green",
    "bad": "red",
    "note": "yellow",
}


def render(*parts: Text | Table) -> RenderableType:
    """Lines and tables for rich, one below the other; an empty text is an empty line."""
    return stack(*(_FittingTable(part) if isinstance(part, Table) else _line(part) for part in parts))


def _line(text: Text) -> RenderableType:
    label = f"{text.label}: " if text.label else ""
    return line((label, "bold"), text.text, style=_STYLES[text.style])


_Lines = list[list[tuple[str, ...]]]
"""Rows of cells of lines."""


class _FittingTable:
    """A table that fits any screen and loses no letter.

    Where the screen is too narrow, columns move together and names are folded, then intervals move below
    their numbers, then numbers are folded.
    """

    def __init__(self, table: Table) -> None:
        self.table = table

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        table, num_gaps = self.table, len(self.table.columns) - 1
        # 1. one line a cell; names are folded by rich where the numbers leave too little room
        cells: _Lines = [[(format_cell(cell),) for cell in row] for row in table.rows]
        # columns of the screen: letters of East Asian scripts take two, so that len() would be wrong
        widths = _widths(table, cells)
        # rich puts a blank between columns; a second one only where there is room
        gap = 1 if sum(widths) + 2 * num_gaps <= options.max_width else 0
        # 2. where even folded names leave too little room, intervals move below their numbers
        if gap == 0 and _narrowest(table, cells) > options.max_width:
            cells = [[_stacked(cell) for cell in row] for row in table.rows]
        # 3. only a screen too narrow for that folds numbers, as rich would cut them off
        folds_numbers = _narrowest(table, cells) > options.max_width

        rich_table = RichTable(
            box=box.SIMPLE, padding=(0, gap, 0, 0), show_edge=False, pad_edge=False, header_style="bold"
        )
        for heading, side in zip(table.columns, table.align, strict=True):
            rich_table.add_column(
                visible_lines(heading),
                justify="left" if side == "l" else "right",
                overflow="fold",
                no_wrap=side == "r" and not folds_numbers,
            )
        for place, row in enumerate(cells):
            style = "bold" if table.is_bold(place) else ""
            stacks = [
                stack(*(line(text, style="dim" if text == "n/a" else style) for text in cell)) for cell in row
            ]
            rich_table.add_row(*stacks, end_section=place == table.num_plain - 1)
        yield rich_table


def _stacked(cell: Cell) -> tuple[str, ...]:
    """The lines of a cell whose interval stands below its number."""
    interval = format_interval(cell)
    if not interval:
        return (format_cell(cell),)
    return format_number(cell), f"({interval}){format_note(cell)}"


def _widths(table: Table, cells: _Lines) -> list[int]:
    """Columns of the screen that each column takes where nothing is folded."""
    widths = []
    for place, heading in enumerate(table.columns):
        texts = heading.split("\n")
        for row in cells:
            texts += row[place]
        widths.append(max(map(width, texts)))
    return widths


def _narrowest(table: Table, cells: _Lines) -> int:
    """Columns of the screen that the table takes where names are folded and columns stand close together."""
    widths = zip(_widths(table, cells), table.align, strict=True)
    # names may be folded down to 12 columns, numbers keep their width
    folded = [min(_MIN_NAME, num) if side == "l" else num for num, side in widths]
    return sum(folded) + len(folded) - 1
