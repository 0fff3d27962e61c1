"""What commands print: messages and progress go to stderr, results to stdout.

Only this file makes rich's consoles and lines, and only report/terminal.py rich's tables; a test checks both.
None of them reads markup, and all make text visible (text.py) before rich measures it.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.text import Text

from cxr.text import visible, visible_lines

if TYPE_CHECKING:
    from rich.progress import Progress, Task

_PIPED_WIDTH = 100  # a file or a pipe has no width of its own; rich would take 80


class _Screen(Console):
    """A console that reads no markup; strings and rich's own lines are made visible here too."""

    def __init__(self, stderr: bool) -> None:
        super().__init__(stderr=stderr, markup=False, emoji=False, highlight=False)
        if not self.is_terminal and "COLUMNS" not in os.environ:
            self.width = _PIPED_WIDTH

    @property
    def file(self) -> IO[str]:
        """Where colours may go: below the guard (streams.py), and below the proxy of a progress bar."""
        file = super().file
        # rich may wrap a wrapped file again
        while hasattr(file, "rich_proxied_file"):
            file = file.rich_proxied_file
        return file

    @file.setter
    def file(self, new_file: IO[str]) -> None:
        self._file = new_file

    def print(self, *objects: object, **options: object) -> None:
        super().print(*map(_make_visible, objects), **options)  # type: ignore[arg-type]


def _make_visible(printed: object) -> object:
    if isinstance(printed, str):
        return visible_lines(printed)
    # a text with nothing hidden keeps the styles of its parts
    if isinstance(printed, Text) and visible_lines(printed.plain) != printed.plain:
        return Text(visible_lines(printed.plain), style=printed.style)
    return printed


def out() -> Console:
    """Where a command's result goes: stdout, as wide as the terminal, or 100 columns in a file or a pipe."""
    return _Screen(stderr=False)


err: Console = _Screen(stderr=True)
_listeners: list[Callable[[str], None]] = []


@contextmanager
def listening(listener: Callable[[str], None]) -> Iterator[None]:
    """Call `listener` with each line that `say` and `warn` print while the body runs."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


def say(message: str) -> None:
    """Print one line of information to stderr."""
    _print(message)


def warn(message: str) -> None:
    """Print one warning to stderr."""
    _print(f"warning: {message}", "yellow")


def _print(message: str, style: str = "") -> None:
    err.print(line(message, style=style), soft_wrap=True)
    for listener in _listeners:
        listener(visible(message))


def line(*parts: str | tuple[str, str], style: str = "") -> Text:
    """One line for rich, of texts and of (text, style)."""
    pairs = [(part, "") if isinstance(part, str) else part for part in parts]
    return Text.assemble(*((visible(text), part_style) for text, part_style in pairs), style=style)


def stack(*parts: RenderableType) -> Group:
    """Lines and tables, one below the other; an empty string is an empty line."""
    return Group(*parts)


def count(number: int, noun: str) -> str:
    """As `1 image`, `1,200 images` or `2 studies`."""
    many = f"{noun[:-1]}ies" if noun.endswith("dy") else f"{noun}s"
    return f"{number:,} {noun if number == 1 else many}"


def progress(status: str = "") -> "Progress":
    """A progress bar in 80 columns over images, with rate and time left, or `status`, a format of fields."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )

    class Rate(ProgressColumn):
        def render(self, task: "Task") -> Text:
            return Text(f"{task.speed:,.0f} images/s" if task.speed else "", style="cyan")

    class Words(TextColumn):
        def render(self, task: "Task") -> Text:
            return line(self.text_format.format(task=task))

    # 80 columns in all: a status takes the room of the bar
    columns = [Words("{task.description}"), BarColumn(10 if status else 24), MofNCompleteColumn(), Rate()]
    last = Words(status) if status else TimeRemainingColumn()
    return Progress(*columns, last, console=err, transient=True, disable=not err.is_terminal)


def byte_progress() -> "Progress":
    """A progress bar over the bytes of a file, with rate and time left."""
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    name = TextColumn("{task.description}", markup=False)
    columns = [name, BarColumn(24), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn()]
    return Progress(*columns, console=err, transient=True, disable=not err.is_terminal)
