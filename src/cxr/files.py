"""Writing files so that a kill, a crash or a full disk leaves the old file or the new file, never half."""

import errno
import itertools
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from cxr.errors import CxrError
from cxr.replace import refuse_kept
from cxr.system import O_CLOEXEC, O_NOFOLLOW, O_NONBLOCK, lock_file

_FULL_BYTES = 1 << 20
_MAX_STEM_BYTES = 200  # of a temporary file's name; most file systems allow 255
_ABANDONED_SECONDS = 24 * 60 * 60
_REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.ENOENT,
            errno.ENAMETOOLONG, errno.ELOOP)  # fmt: skip


def write_atomically(path: Path, write: Callable[[Path], None], private: bool = False) -> None:
    """Let `write` fill a temporary file beside `path`, then flush it to the disk and rename it.

    Args:
        path: The file; one that is there is replaced and passes its permissions on.
        write: Fills the temporary file, which exists already and is empty.
        private: Whether nobody but the owner may read the file (mode 0600), whatever was there before.

    Raises:
        CxrError: The disk is full, the folder cannot be written, or the running command reads the file that
            is there; `path` is as it was.
    """
    refuse_kept(path)
    with explain_os_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with _temporary(path, private) as temporary:
            _write(write, temporary)
            # 1. the bytes, 2. the name, 3. the folder's entry: after a power cut there is the old file or
            # the new one
            sync(temporary)
            os.replace(temporary, path)
            sync(path.parent)


def write_new_bytes(path: Path, data: bytes) -> bool:
    """Write a file atomically where there is none; False, and nothing is changed, where there is one.

    Raises:
        CxrError: The disk is full or the folder cannot be written.
    """
    with explain_os_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with _temporary(path, private=False) as temporary:
            temporary.write_bytes(data)
            sync(temporary)
            try:
                os.link(temporary, path)  # unlike a rename it fails where another process was faster
            except FileExistsError:
                return False
            except OSError:  # a file system without hard links
                if os.path.lexists(path):
                    return False
                os.replace(temporary, path)
            sync(path.parent)
    return True


@contextmanager
def _temporary(path: Path, private: bool) -> Iterator[Path]:
    """An empty file beside `path`, locked for as long as it is written; it is gone afterwards.

    The lock tells a file that is being written, here or on another machine, from what a killed process left.
    """
    temporary, descriptor = _create_locked(path, 0o600 if private else 0o666)
    try:
        if not private:
            with suppress(OSError):  # nothing to replace; a file system without permissions
                os.fchmod(descriptor, path.stat().st_mode & 0o777)
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)
        os.close(descriptor)


def _create_locked(path: Path, mode: int) -> tuple[Path, int]:
    """(a new file beside `path`, its descriptor, which holds the lock)."""
    stem = os.fsdecode(os.fsencode(path.name)[:_MAX_STEM_BYTES])
    for number in itertools.count():
        temporary = path.with_name(f".{stem}{f'.{number}' if number else ''}.{os.getpid()}.tmp")
        try:
            descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | O_CLOEXEC, mode)
        except FileExistsError:  # a thread's, another machine's, or left by a killed process of this number
            continue
        with suppress(OSError):  # a file system without locks
            lock_file(descriptor, wait=True)
        if os.fstat(descriptor).st_nlink:  # else it was cleared away between its creation and its lock
            return temporary, descriptor
        os.close(descriptor)
    raise AssertionError("counting never ends")


@contextmanager
def only_one(lock: Path, problem: str) -> Iterator[None]:
    """Hold a lock file while the body runs, and remove it then; a process that dies releases it.

    Raises:
        CxrError: `problem`, when another process holds it.
    """
    with explain_os_errors(lock):
        file = _hold(lock, problem)
    with file:
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)


def _hold(lock: Path, problem: str) -> IO[str]:
    """The open lock file, locked; closing it releases the lock."""
    while True:
        file = lock.open("w")
        try:
            lock_file(file.fileno(), wait=False)
        except BlockingIOError:
            file.close()
            raise CxrError(problem, "wait until it has finished") from None
        except OSError:  # a file system without locks
            return file
        if os.fstat(file.fileno()).st_nlink:
            return file
        file.close()  # its holder has removed it in the meantime, and a third process may hold a new one


_TEMPORARY = re.compile(r"^\..*\.(\d+)\.tmp$")


def is_leftover(path: Path) -> bool:
    """Whether a file is called as a temporary file of ours."""
    return bool(_TEMPORARY.search(path.name))


def clear_leftovers(folder: Path) -> None:
    """Remove the temporary files that killed processes left in a folder and in its direct subfolders."""
    for path in (*folder.glob(".*.tmp"), *folder.glob("*/.*.tmp")):
        owner = _TEMPORARY.search(path.name)
        is_elsewhere = path.parent != folder and path.parent.is_symlink()
        if owner and not is_elsewhere and _is_abandoned(path, int(owner[1])):
            path.unlink(missing_ok=True)


def _is_abandoned(path: Path, process: int) -> bool:
    """Whether nobody is writing a temporary file of ours: its lock is free, and its process has ended."""
    try:
        descriptor = os.open(path, os.O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)
    except OSError:
        return False
    try:
        written = os.fstat(descriptor).st_mtime
        lock_file(descriptor, wait=False)
    except BlockingIOError:  # it is being written, here or on another machine that shares the disk
        return False
    except OSError:  # no locks here: a process of another machine may be writing it
        return time.time() - written > _ABANDONED_SECONDS and not _was_alive(process, written)
    finally:
        os.close(descriptor)
    return not _was_alive(process, written)


def _was_alive(process: int, then: float) -> bool:
    """Whether the process of this number that runs here ran then already; numbers are used again."""
    try:
        # the fields after the name, which stands in brackets and may hold anything
        # a number is given to another process later: whether this one began before the file was written
        # decides
        fields = Path("/proc", str(process), "stat").read_text(errors="replace").rpartition(")")[2].split()
        lines = Path("/proc/stat").read_text().splitlines()
        boot = next(int(line.removeprefix("btime ")) for line in lines if line.startswith("btime "))
    except (OSError, StopIteration):
        return False
    began = boot + int(fields[19]) / os.sysconf("SC_CLK_TCK")  # field 22 of the line, in ticks since the boot
    return began <= then + 1  # the boot's time is in whole seconds


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


def write_text(path: Path, text: str, private: bool = False) -> None:
    """Write a UTF-8 text file atomically; a private one may be read by its owner alone.

    Bytes of file names that are no UTF-8 are written as escapes.
    """
    write_bytes(path, text.encode(errors="backslashreplace"), private)


def write_bytes(path: Path, data: bytes, private: bool = False) -> None:
    """Write a file atomically; a private one may be read by its owner alone."""

    def write(temporary: Path) -> None:
        temporary.write_bytes(data)

    write_atomically(path, write, private)


def sync(path: Path) -> None:
    """Flush a file, or the names in a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def explain_os_errors(path: Path) -> Iterator[None]:
    """Turn a full disk, a refused or a failed write into a CxrError that names `path`."""
    try:
        yield
    except OSError as error:
        if error.errno is None:  # a library's own error under this name
            raise
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            hint = "free some space or choose another folder; files written before are intact"
            raise CxrError(f"{path}: the disk is full", hint) from None
        hint = "choose a folder you may write to" if error.errno in _REFUSED else "check the disk"
        raise CxrError(f"{path}: cannot be written: {error.strerror}", hint) from None
