"""The one error a user can mend, and what ends a command that was told to stop."""

import errno
import os
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


class OneProcessError(CxrError):
    """What one process of several has met, and not all alike, so that each says its own."""


class UnreadableImageError(CxrError):
    """A file that is no whole image of a kind we read; `reason` is the text without the path."""

    def __init__(self, path: Path | str, reason: str) -> None:
        self.reason = reason
        hint = "download or export the file again, or data.unreadable=skip to go on without it"
        super().__init__(f"{path}: {reason}", hint)


class NoImageError(UnreadableImageError):
    """A whole file of a kind that we read, which holds no image: a DICOM report, say."""


class UnavailableFileError(CxrError):
    """A file that could not be read for a reason outside it: no permission, no memory, a failing disk or network.

    It says nothing of what the file holds, so it is never recorded as damage; the command stops and can be repeated.

    Args:
        path: The file.
        error: What the system said.
    """

    def __init__(self, path: Path | str, error: OSError | MemoryError) -> None:
        number = errno.ENOMEM if isinstance(error, MemoryError) else error.errno or errno.EIO
        self.is_denied = number in (errno.EACCES, errno.EPERM)
        self.reason = f"cannot be read: {os.strerror(number)}"
        super().__init__(f"{path}: {self.reason}", _AVAILABLE.get(number, _TRY_AGAIN))


_TRY_AGAIN = "see whether the disk or the network is well, then give the same command again: it goes on"
_AVAILABLE = {
    errno.EACCES: "make the file and its folders readable for you, then give the same command again: it goes on",
    errno.EPERM: "make the file and its folders readable for you, then give the same command again: it goes on",
    errno.ENOMEM: "end other programs, or store.workers=1, then give the same command again: it goes on",
    errno.EMFILE: "ulimit -n 4096, or store.workers=1, then give the same command again: it goes on",
    errno.ENFILE: "end other programs, or store.workers=1, then give the same command again: it goes on",
}
_ABOUT_THE_NAME = (
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.ELOOP,
    errno.ENAMETOOLONG,
)  # it leads to no file


def is_system_error(error: BaseException) -> bool:
    """Whether reading failed for want of memory or by an error of the system, and not by what the file holds."""
    if isinstance(error, OSError):  # libraries raise it without a number for damaged content
        return error.errno is not None and error.errno not in _ABOUT_THE_NAME
    return isinstance(error, MemoryError)


def system_hint(error: MemoryError | OSError) -> str:
    """What to do where memory or open files ran out or a disk fails, in which the program has no part; else empty."""
    if isinstance(error, MemoryError):
        return _AVAILABLE[errno.ENOMEM]
    if error.errno in (errno.EIO, errno.ESTALE, errno.ETIMEDOUT):
        return _TRY_AGAIN
    return _AVAILABLE[error.errno] if error.errno in (errno.ENOMEM, errno.EMFILE, errno.ENFILE) else ""


class Interrupted(BaseException):
    """A signal ends the command; like KeyboardInterrupt it is no error that anything should handle.

    Args:
        number: The signal's number; the exit status is 128 more.
        saved: Whether what was done so far is on the disk and the same work can go on from there.
    """

    def __init__(self, number: int, saved: bool = False) -> None:
        self.number, self.saved = number, saved
        self.said = False  # whether the user was told how to go on
        super().__init__(number)
