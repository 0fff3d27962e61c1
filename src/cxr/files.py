"""Writing files so that a kill, a crash or a full disk leaves the old file or the new one, never half of one."""

import errno
import fcntl
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from cxr.errors import CxrError

_FULL_BYTES = 1 << 20
_REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.ENOENT,
            errno.ENAMETOOLONG, errno.ELOOP)  # fmt: skip


def write_atomically(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a temporary file beside `path`, then flush it to the disk and rename it.

    Raises:
        CxrError: The disk is full or the folder cannot be written; `path` is as it was.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with explain_os_errors(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _write(write, temporary)
            _sync(temporary)
            os.replace(temporary, path)
            _sync(path.parent)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def only_one(lock: Path, problem: str) -> Iterator[None]:
    """Hold a lock file while the body runs, and remove it after; a process that dies lets go of it.

    Raises:
        CxrError: `problem`, when another process holds it.
    """
    with explain_os_errors(lock):
        file = lock.open("w")
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CxrError(problem, "wait until it has finished") from None
        except OSError:
            pass  # a file system without locks
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)


def clear_leftovers(folder: Path) -> None:
    """Remove the temporary files that killed processes left in a folder; those of living ones stay."""
    for path in folder.glob(".*.tmp"):
        owner = re.search(r"\.(\d+)\.tmp$", path.name)
        if owner and not Path("/proc", owner[1]).exists():
            path.unlink(missing_ok=True)


def _write(write: Callable[[Path], None], temporary: Path) -> None:
    """Call `write`; torch and safetensors hide a full disk in errors of their own, so the disk is asked."""
    try:
        write(temporary)
    except OSError:
        raise
    except Exception as error:
        if f"os error {errno.ENOSPC}" in str(error) or shutil.disk_usage(temporary.parent).free < _FULL_BYTES:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error
        raise


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file atomically; bytes of file names that are no UTF-8 are written as escapes."""
    write_bytes(path, text.encode(errors="backslashreplace"))


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file atomically."""

    def write(temporary: Path) -> None:
        temporary.write_bytes(data)

    write_atomically(path, write)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def explain_os_errors(path: Path) -> Iterator[None]:
    """Turn a full disk or a refused write into a CxrError that names `path`."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            hint = "free some space or choose another folder; files written before are intact"
            raise CxrError(f"{path}: the disk is full", hint) from None
        if error.errno in _REFUSED:
            raise CxrError(f"{path}: cannot be written: {error.strerror}", "choose a folder you may write to") from None
        raise
