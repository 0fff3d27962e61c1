"""What commands say on the terminal: messages and progress go to stderr, results to stdout."""

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

err = Console(stderr=True, highlight=False, soft_wrap=True)


def say(message: str) -> None:
    """Print one line of information to stderr."""
    err.print(message, markup=False)


def warn(message: str) -> None:
    """Print one warning to stderr."""
    err.print(f"warning: {message}", markup=False, style="yellow")


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:,.0f} images/s" if task.speed else "", style="cyan")


def progress(extra: str = "") -> Progress:
    """A progress bar over images with rate and time left; `extra` is a format for more fields of the task."""
    columns = [TextColumn("{task.description}"), BarColumn(24), MofNCompleteColumn(), _Rate(), TimeRemainingColumn()]
    return Progress(*columns, *([TextColumn(extra)] if extra else []), console=err, transient=True)
