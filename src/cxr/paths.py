"""Paths that users give: what is there, or a CxrError where the operating system does not tell.

`Path.is_dir` and the like raise the system's error about a folder that may not be entered, a name that is too
long or a NUL in it, and some versions of Python answer no instead. These functions raise the error that a
user can correct.
"""

import errno
import os
import stat
from pathlib import Path

from cxr.errors import CxrError, system_hint

_FULL = (errno.ENOSPC, errno.EDQUOT)
_BUGS = (errno.ENOENT, errno.EEXIST, errno.EINVAL, errno.EBADF)  # the program asked for the wrong thing


def is_folder(path: Path) -> bool:
    """Whether there is a folder.

    Raises:
        CxrError: That cannot be known: a folder above may not be entered, the name is too long, links lead in
        a circle.
    """
    return stat.S_ISDIR(_mode(path))


def is_file(path: Path) -> bool:
    """Whether there is a file, as `is_folder`; neither a pipe nor a device is one."""
    return stat.S_ISREG(_mode(path))


def exists(path: Path) -> bool:
    """Whether there is anything, as `is_folder`."""
    return _mode(path) != 0


def check_listable(folder: Path) -> None:
    """Refuse a folder whose files may not be listed; `Path.glob` would find nothing in it.

    Raises:
        CxrError: What the operating system says.
    """
    try:
        os.scandir(folder).close()
    except OSError as error:
        raise explain(error, folder) from None


def refuse_pipe(path: Path) -> None:
    """Refuse a pipe or a device, which might be read for ever.

    Raises:
        CxrError: As `is_folder`, or that it is one.
    """
    mode = _mode(path)
    if mode and not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise CxrError(f"{path}: is a pipe or a device", "write its output into a file, and name that file")


def _mode(path: Path) -> int:
    """The bits that say what a path is, 0 where nothing is there."""
    try:
        return os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return 0
    except OSError as error:
        raise explain(error, path) from None
    except ValueError as error:  # a NUL, or half a surrogate pair
        raise CxrError(f"{path}: is not a valid path: {error}", "check the path") from None


def explain(error: OSError, where: Path | str) -> CxrError:
    """The CxrError for an error of the operating system."""
    if error.errno in _FULL:
        hint = "free some space or choose another folder; files written before are intact"
        return CxrError(f"{where}: the disk is full", hint)
    hint = system_hint(error) or "check the path, and that you may read or write there"
    return CxrError(f"{where}: {error.strerror or error}", hint)


def explain_unexpected(error: MemoryError | OSError) -> CxrError | None:
    """The same for an unexpected error; None where it may be a bug, which needs its traceback."""
    if isinstance(error, MemoryError):
        return CxrError("cxr: not enough memory", system_hint(error))
    name = error.filename
    if error.errno == errno.ENOENT and name is None:  # only the call for the current folder gives no name
        return CxrError(".: the current folder no longer exists", "change to a folder that exists")
    if error.errno is None or error.errno in _BUGS:
        return None
    is_full = error.errno in _FULL
    if isinstance(name, str | bytes | Path):
        return explain(error, os.fsdecode(name))
    if is_full or system_hint(error) or name is not None:  # an open file's number may stand for its name
        return explain(error, "writing a file" if is_full else "cxr")
    return None
