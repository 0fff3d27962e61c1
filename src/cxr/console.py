"""What commands say on the terminal: messages and progress go to stderr, results to stdout."""

import os
from typing import TYPE_CHECKING

from rich.console import Console

if TYPE_CHECKING:
    from rich.progress import Progress, Task

_PIPED_WIDTH = 100  # a file or a pipe has no width of its own; rich would take 80


def _console(stderr: bool) -> Console:
    console = Console(stderr=stderr, highlight=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = _PIPED_WIDTH
    return console


def out() -> Console:
    """Where a command's result goes: stdout, as wide as the terminal, or 100 columns in a file or a pipe."""
    return _console(stderr=False)


err = _console(stderr=True)


def say(message: str) -> None:
    """Print one line of information to stderr."""
    err.print(message, markup=False, soft_wrap=True)


def warn(message: str) -> None:
    """Print one warning to stderr."""
    err.print(f"warning: {message}", markup=False, style="yellow", soft_wrap=True)


def count(number: int, what: str) -> str:
    """As `1 image` or `1,200 images`."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def progress(extra: str = "") -> "Progress":
    """A progress bar over images with rate and time left; `extra` is a format for more fields of the task."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: "Task") -> Text:
            return Text(f"{task.speed:,.0f} images/s" if task.speed else "", style="cyan")

    columns = [TextColumn("{task.description}"), BarColumn(24), MofNCompleteColumn(), Rate(), TimeRemainingColumn()]
    return Progress(
        *columns, *([TextColumn(extra)] if extra else []), console=err, transient=True, disable=not err.is_terminal
    )
