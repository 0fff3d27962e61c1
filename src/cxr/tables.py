"""Tables on the terminal: the one place that makes rich's, so that no cell is ever read as markup."""

from collections.abc import Sequence

from rich import box
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table as RichTable

from cxr.console import line
from cxr.text import visible_lines

_NARROW = 12  # columns that a name keeps while the numbers beside it stand whole


class Table(RichTable):
    """A table for rich: columns of names, which are folded where they are too wide, then columns of numbers.

    Args:
        headings: One a column; a line feed breaks a heading.
        names: How many of the first columns hold names.
        gap: Blanks between columns.
    """

    def __init__(self, headings: Sequence[str], names: int = 1, gap: int = 1) -> None:
        super().__init__(
            box=box.SIMPLE, padding=(0, gap, 0, 0), show_edge=False, pad_edge=False, header_style="bold"
        )
        for place, heading in enumerate(headings):
            is_name = place < names
            self.add_column(visible_lines(heading), justify="left" if is_name else "right", overflow="fold",
                            no_wrap=not is_name)  # fmt: skip

    def add(self, cells: Sequence[str], style: str = "", end_section: bool = False) -> None:
        """Add a row of text; what is n/a is dim."""
        row = (line(cell, style="dim" if cell == "n/a" else style) for cell in cells)
        self.add_row(*row, end_section=end_section)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """On a terminal too narrow for the numbers these are folded too, as rich would cut them off."""
        numbers = [column for column in self.columns if column.no_wrap]
        names = len(self.columns) - len(numbers)
        widths = [self._measure_column(console, options, column).maximum for column in numbers]
        if sum(widths) + names * _NARROW > options.max_width:
            for column in numbers:
                column.no_wrap = False
        return super().__rich_console__(console, options)
