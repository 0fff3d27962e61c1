"""The error of a file that gives no weights; names from a file in messages (imports no torch)."""

from collections.abc import Sequence

from cxr import text as text_of_others
from cxr.errors import CxrError
from cxr.text import shorten

_AGAIN = "download or copy it again, and compare its size with that of the original"


class WeightsError(Exception):
    """A file that gives no weights: the reasons, without its path, and a hint what to do."""

    def __init__(self, reasons: str | Sequence[str], hint: str = _AGAIN) -> None:
        self.reasons: tuple[str, ...] = (reasons,) if isinstance(reasons, str) else tuple(reasons)
        self.hint = hint
        super().__init__("; ".join(self.reasons))

    def at(self, where: str) -> CxrError:
        """The error for the user."""
        return CxrError([f"{where}: {reason}" for reason in self.reasons], self.hint)


def visible(text: str, columns: int = 80) -> str:
    """A name from a file for a message: no control characters, and shortened in the middle if it is long."""
    return shorten(text_of_others.visible(text[:10_000]), columns)


def shorten_list(problems: Sequence[str], more: str) -> list[str]:
    """The first three problems, and how many more there are, such as `and 5 more tensors`."""
    rest = len(problems) - 3
    return [*problems[:3], *([f"and {rest} {more}"] if rest > 0 else [])]
