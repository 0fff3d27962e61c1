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

from cxr.data.kinds import FIRST_BYTES, SUFFIXES, may_be_image

What = Literal["image", "other", "again", "unreadable"]

# no image, whatever is inside: a look at a hundred thousand of them would take longer than the images
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


def find_images(folder: Path) -> Iterator[Found]:
    """Everything below a folder that is no folder, in the order of the names, what links lead to last."""
    seen = _above(folder)  # device and number of each file and folder
    todo = deque([folder])
    while todo:
        start = todo.popleft()
        try:
            facts = start.stat()
        except OSError as error:
            yield _unreadable(start, error)
            continue
        if (facts.st_dev, facts.st_ino) in seen:
            yield Found(start, "again")
        elif stat.S_ISDIR(facts.st_mode):
            yield from _walk(start, seen, todo)
        else:
            seen.add((facts.st_dev, facts.st_ino))
            yield _look_at(start, facts.st_mode)


def _above(folder: Path) -> set[tuple[int, int]]:
    """The folders that a folder is in: a link to one of them leads in a circle."""
    try:
        return {(facts.st_dev, facts.st_ino) for facts in (above.stat() for above in folder.resolve().parents)}
    except OSError:
        return set()


def _walk(start: Path, seen: set[tuple[int, int]], links: deque[Path]) -> Iterator[Found]:
    """The files that are really below a folder; links are put aside."""
    stack = [start]  # not recursive, as folders may be nested a thousand deep
    while stack:
        path = stack.pop()
        try:
            facts = path.lstat() if path is not start else path.stat()
            if stat.S_ISLNK(facts.st_mode):
                links.append(path)
            elif (facts.st_dev, facts.st_ino) in seen:
                yield Found(path, "again")
            elif stat.S_ISDIR(facts.st_mode):
                seen.add((facts.st_dev, facts.st_ino))
                stack += [path / name for name in sorted(os.listdir(path), reverse=True)]
            else:
                seen.add((facts.st_dev, facts.st_ino))
                yield _look_at(path, facts.st_mode)
        except OSError as error:
            yield _unreadable(path, error)


def _look_at(path: Path, mode: int) -> Found:
    try:
        return Found(path, "image" if is_image(path, mode) else "other")
    except OSError as error:
        return _unreadable(path, error)


def is_image(path: Path, mode: int) -> bool:
    """Whether a file is one by its name or its first bytes; pipes, devices and sockets are by their names alone.

    Raises:
        OSError: Its first bytes are needed and cannot be read.
    """
    suffix = path.suffix.lower()
    if not stat.S_ISREG(mode) or (suffix in SUFFIXES and not path.name.startswith("._")):
        return suffix in SUFFIXES
    if suffix in _OTHER_SUFFIXES:
        return False
    with path.open("rb") as file:
        return may_be_image(file.read(FIRST_BYTES), path)


def _unreadable(path: Path, error: OSError) -> Found:
    if path.suffix.lower() in _OTHER_SUFFIXES:
        return Found(path, "other")
    return Found(path, "unreadable", error.strerror or "cannot be read")
