"""Which files a command may replace: none that it reads, and another one only where it is asked to."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from cxr.errors import CxrError
from cxr.paths import exists

CHECKPOINTS = ("best.safetensors", "last.pt")
"""Of a run folder."""

_RENAME = "take another name with --out"
_kept: set[tuple[int, int]] = set()
"""(device, inode) of the files that the running command reads."""


@contextmanager
def keep(paths: Iterable[Path]) -> Iterator[None]:
    """Let no file be replaced that is named here, and no checkpoint of a run folder that is, meanwhile."""
    before = set(_kept)
    for path in paths:
        _kept.update(filter(None, map(_identify, (path, *(path / name for name in CHECKPOINTS)))))
    try:
        yield
    finally:
        _kept.clear()
        _kept.update(before)


def refuse_kept(path: Path) -> None:
    """Refuse to replace a file that the running command reads, whatever name it is called by.

    Raises:
        CxrError: It is one.
    """
    if _kept and _identify(path) in _kept:
        raise CxrError(f"{path}: is read by this command, and is not replaced", _RENAME)


def refuse_existing(path: Path, overwrite: bool, rename: str = _RENAME) -> None:
    """Refuse to write a file where one is already; checkpoints of runs are never replaced.

    Args:
        path: The file.
        overwrite: Whether it is to be replaced.
        rename: How another name is given to this command.

    Raises:
        CxrError: There is one, and it is not to be replaced or cannot be.
    """
    if not exists(path):
        return
    refuse_kept(path)
    if path.name in CHECKPOINTS:
        raise CxrError(f"{path}: has the name of a run's checkpoint, and is not replaced", rename)
    if not overwrite:
        raise CxrError(f"{path}: is there already", f"--overwrite replaces it; or {rename}")


def _identify(path: Path) -> tuple[int, int] | None:
    """(device, inode), the same for each name of a file; None for folders, and where nothing is."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):  # whoever reads it says why it cannot be read
        return None
    return None if os.path.isdir(path) else (found.st_dev, found.st_ino)
