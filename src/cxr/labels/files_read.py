"""Which tables and lists are read while a dataset is listed, so that a run can note their checksums."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

_files: ContextVar[list[Path] | None] = ContextVar("files", default=None)


def note_file(path: Path) -> None:
    """Called by whatever reads a table or a list."""
    files = _files.get()
    if files is not None and path not in files:
        files.append(path)


@contextmanager
def noting_files() -> Iterator[list[Path]]:
    """The list of files, in the order in which the body reads them."""
    files: list[Path] = []
    token = _files.set(files)
    try:
        yield files
    finally:
        _files.reset(token)
