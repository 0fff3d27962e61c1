"""Which files below a folder are images: by their content, as one file is read, or by their name.

`cxr predict FOLDER` and `cxr check` look for files by this one rule. Links are followed once all that is really there
was seen, so that a file has its own name; what was seen is not looked at again, so no circle is endless.
"""

import os
import stat
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from cxr.images.kinds import FIRST_BYTES, SUFFIXES, is_overlay, may_be_image

What = Literal["image", "other", "again", "above", "overlay", "folder", "unreadable"]
Identity = tuple[int, int]
"""Device and number of a file or folder."""

# where the content cannot be read, these are taken for no image
_OTHER_SUFFIXES = frozenset(
    ".txt .csv .tsv .json .jsonl .yaml .yml .xml .html .htm .md .rst .log .py .sh .ipynb .pdf .doc .docx .xls .xlsx "
    ".zip .gz .tgz .tar .bz2 .xz .zst .7z .npy .npz .pt .pth .safetensors .ckpt .h5 .hdf5 .pkl .db .sqlite "
    ".parquet".split()
)


class Found(NamedTuple):
    """A file or folder, what it is, and why it cannot be read where it is `unreadable`."""

    path: Path
    what: What
    reason: str = ""


def find_images(
    folder: Path, seen: set[Identity] | None = None, overlays: Path | None = None
) -> Iterator[Found]:
    """Everything below a folder that is no folder, in the order of the names, what links lead to last.

    Args:
        folder: Where to begin.
        seen: What was found before, which is found `again`; what is found now is added.
        overlays: A folder that is left out, unless it is where to begin.
    """
    seen, above = set() if seen is None else seen, _above(folder)
    left_out = _identity(overlays) if overlays else None
    todo = deque([folder])
    while todo:
        start = todo.popleft()
        try:
            facts = start.stat()
        except OSError as error:
            yield _unreadable(start, error)
            continue
        identity = (facts.st_dev, facts.st_ino)
        if identity in above:
            yield Found(start, "above")
        elif identity in seen:
            yield Found(start, "again")
        elif identity == left_out and start is not folder:
            yield Found(start, "folder")
        elif stat.S_ISDIR(facts.st_mode):
            yield from _walk(start, seen, todo, left_out)
        else:
            seen.add(identity)
            yield _look_at(start, facts.st_mode)


def _above(folder: Path) -> set[Identity]:
    """The folders that a folder is in: a link to one of them leads in a circle."""
    try:
        return {
            (facts.st_dev, facts.st_ino) for facts in (above.stat() for above in folder.resolve().parents)
        }
    except OSError:
        return set()


def _identity(path: Path) -> Identity | None:
    try:
        facts = path.stat()
    except OSError:
        return None
    return facts.st_dev, facts.st_ino


def _walk(start: Path, seen: set[Identity], links: deque[Path], left_out: Identity | None) -> Iterator[Found]:
    """The files that are really below a folder; links are put aside."""
    stack = [start]  # not recursive, as folders may be nested a thousand deep
    while stack:
        path = stack.pop()
        try:
            facts = path.lstat() if path is not start else path.stat()
            identity = (facts.st_dev, facts.st_ino)
            if stat.S_ISLNK(facts.st_mode):
                links.append(path)
            elif identity in seen:
                yield Found(path, "again")
            elif identity == left_out and path is not start:
                yield Found(path, "folder")
            elif stat.S_ISDIR(facts.st_mode):
                seen.add(identity)
                stack += [path / name for name in sorted(os.listdir(path), reverse=True)]
            else:
                seen.add(identity)
                yield _look_at(path, facts.st_mode)
        except OSError as error:
            yield _unreadable(path, error)


def _look_at(path: Path, mode: int) -> Found:
    try:
        return Found(path, _what_is(path, mode))
    except OSError as error:
        return _unreadable(path, error)


def is_image(path: Path, mode: int) -> bool:
    """Whether a file is one by its name or its first bytes; pipes, devices and sockets are by their names alone.

    Raises:
        OSError: Its first bytes cannot be read.
    """
    return _what_is(path, mode) == "image"


def _what_is(path: Path, mode: int) -> What:
    if not stat.S_ISREG(mode):
        return "image" if path.suffix.lower() in SUFFIXES else "other"
    with path.open("rb") as file:
        data = file.read(FIRST_BYTES)
    if is_overlay(data):
        return "overlay"
    return "image" if may_be_image(data, path) else "other"


def _unreadable(path: Path, error: OSError) -> Found:
    if path.suffix.lower() in _OTHER_SUFFIXES:
        return Found(path, "other")
    return Found(path, "unreadable", error.strerror or "cannot be read")
