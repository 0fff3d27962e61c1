"""The one error a user can mend."""

from collections.abc import Sequence
from pathlib import Path

from cxr.text import MOST_LETTERS, shorten, visible

_MOST_PROBLEMS = 100


class CxrError(Exception):
    """A mistake the user can mend: printed as `error: WHERE: WHAT` lines and one `hint: DO`, exit status 2.

    Args:
        problems: One `WHERE: WHAT` text, or several when several mistakes are known at once.
        hint: What to do about it, as a command or a setting where there is one.
    """

    def __init__(self, problems: str | Sequence[str], hint: str) -> None:
        self.problems: tuple[str, ...] = (problems,) if isinstance(problems, str) else tuple(problems)
        self.hint = hint
        super().__init__("\n".join(self.problems))

    def render(self) -> str:
        """The text for the terminal, `error:` lines first, `hint:` last, each on one line whatever it quotes."""
        lines = [f"error: {problem}" for problem in self.problems[:_MOST_PROBLEMS]]
        rest = len(self.problems) - _MOST_PROBLEMS
        lines += [f"error: and {rest:,} more"] if rest > 0 else []
        return "\n".join(visible(shorten(line, MOST_LETTERS)) for line in [*lines, f"hint: {self.hint}"])


class UnreadableImageError(CxrError):
    """A file that is no whole image of a kind we read; `reason` is the text without the path."""

    def __init__(self, path: Path | str, reason: str) -> None:
        self.reason = reason
        hint = "download or export the file again, or data.unreadable=skip to go on without it"
        super().__init__(f"{path}: {reason}", hint)


class NoImageError(UnreadableImageError):
    """A whole file of a kind that we read, which holds no image: a DICOM report, say."""
