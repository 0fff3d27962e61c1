"""The error that a user can correct, its kinds for files, and what ends a command that was told to stop."""

import errno
import os
from collections.abc import Sequence
from pathlib import Path

from cxr.text import MAX_LETTERS, shorten, visible

_MAX_PROBLEMS = 100


class CxrError(Exception):
    """A mistake that the user can correct: `error: WHERE: WHAT` lines and one `hint: DO`, exit status 2.

    Args:
        problems: A `WHERE: WHAT` text, or several when several mistakes are known at once.
        hint: What to do about it, as a command or a setting where there is one.
    """

    def __init__(self, problems: str | Sequence[str], hint: str) -> None:
        self.problems: tuple[str, ...] = (problems,) if isinstance(problems, str) else tuple(problems)
        self.hint = hint
        super().__init__("\n".join(self.problems))
        self.add_note(f"hint: {hint}")  # where Python code calls cxr, its traceback ends with the hint

    def render(self) -> str:
        """The text for the terminal: `error:` lines, then `hint:`, each on one line whatever it quotes."""
        lines = [f"error: {problem}" for problem in self.problems[:_MAX_PROBLEMS]]
        num_left_out = len(self.problems) - _MAX_PROBLEMS
        if num_left_out > 0:
            lines.append(f"error: and {num_left_out:,} more")
        return "\n".join(visible(shorten(line, MAX_LETTERS)) for line in [*lines, f"hint: {self.hint}"])


class OneProcessError(CxrError):
    """An error of one process of several; the others may have met another, so each prints its error."""


class UnreadableImageError(CxrError):
    """A file that is no whole image of a kind that is read; `reason` is the text without the path."""

    def __init__(self, path: Path | str, reason: str) -> None:
        self.reason = reason
        hint = "download or export the file again, or data.unreadable=skip to leave it out"
        super().__init__(f"{path}: {reason}", hint)


class MissingImageError(UnreadableImageError):
    """There is no such file."""


class NoImageError(UnreadableImageError):
    """A whole file of a kind that we read, which holds no image: a DICOM report, say."""


class UnavailableFileError(CxrError):
    """A file that could not be read for a reason outside it: no permission, no memory, a failing disk.

    It says nothing about what the file holds, so it is never recorded as damage; the command stops and can be
    run again.

    Args:
        path: The file.
        error: The system's error.
    """

    def __init__(self, path: Path | str, error: OSError | MemoryError) -> None:
        number = errno.ENOMEM if isinstance(error, MemoryError) else error.errno or errno.EIO
        self.is_denied = number in (errno.EACCES, errno.EPERM)
        self.reason = f"cannot be read: {os.strerror(number)}"
        super().__init__(f"{path}: {self.reason}", _HINTS.get(number, _TRY_AGAIN))


_RESUME = "then run the same command again: it resumes"
_TRY_AGAIN = f"check the disk and the network, {_RESUME}"
_HINTS = {
    errno.EACCES: f"make the file and its folders readable for you, {_RESUME}",
    errno.EPERM: f"make the file and its folders readable for you, {_RESUME}",
    errno.ENOMEM: f"end other programs, or store.workers=1, {_RESUME}",
    errno.EMFILE: f"ulimit -n 4096, or store.workers=1, {_RESUME}",
    errno.ENFILE: f"end other programs, or store.workers=1, {_RESUME}",
}
# the name leads to no file
_WRONG_NAME = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG)
_FAILING_DISK = (errno.EIO, errno.ESTALE, errno.ETIMEDOUT)
_MACHINE_IS_FULL = (errno.ENOMEM, errno.EMFILE, errno.ENFILE)


def is_system_error(error: BaseException) -> bool:
    """Whether reading failed for lack of memory or by the system, and not by what the file holds."""
    if isinstance(error, OSError):  # libraries raise it without a number for damaged content
        return error.errno is not None and error.errno not in _WRONG_NAME
    return isinstance(error, MemoryError)


def system_hint(error: MemoryError | OSError) -> str:
    """What to do where memory or open files ran out or a disk fails; empty for all other errors."""
    if isinstance(error, MemoryError):
        return _HINTS[errno.ENOMEM]
    if error.errno in _FAILING_DISK:
        return _TRY_AGAIN
    return _HINTS[error.errno] if error.errno in _MACHINE_IS_FULL else ""


class Interrupted(BaseException):
    """A signal ends the command; like KeyboardInterrupt it is no error that anything should handle.

    Args:
        number: The signal's number; the exit status is 128 more.
        saved: Whether what was done so far is on the disk, so that the work can be resumed.
    """

    def __init__(self, number: int, saved: bool = False) -> None:
        self.number, self.saved = number, saved
        self.is_reported = False  # whether the user was told how to resume
        super().__init__(number)
