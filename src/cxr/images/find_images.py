"""Which files below a folder are images: by their content, as one file is read, or by their name.

`cxr predict FOLDER` and `cxr check` find files by this one rule. Links are followed after all that is really
there, so that a file is listed under its real name; what was seen is not walked again, so no circle of links
is endless.
"""

import os
import stat
from collections import deque
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from cxr.images.kinds import FIRST_BYTES, SUFFIXES, is_overlay, may_be_image

Kind = Literal["image", "other", "again", "above", "overlay", "folder", "unreadable"]
"""again: seen before; above: a folder that holds the searched one; folder: left out on request."""

Identity = tuple[int, int]
"""Device and number of a file or folder."""

# where the content cannot be read, files of these names are taken for no image
_OTHER_SUFFIXES = frozenset(
    ".txt .csv .tsv .json .jsonl .yaml .yml .xml .html .htm .md .rst .log .py .sh .ipynb .pdf .doc .docx "
    ".xls .xlsx .zip .gz .tgz .tar .bz2 .xz .zst .7z .npy .npz .pt .pth .safetensors .ckpt .h5 .hdf5 .pkl "
    ".db .sqlite .parquet".split()
)


class Found(NamedTuple):
    """A file or folder, what it is, and why it cannot be read where it is `unreadable`."""

    path: Path
    kind: Kind
    reason: str = ""


def find_images(
    folder: Path, seen: set[Identity] | None = None, left_out: Collection[Path] = ()
) -> Iterator[Found]:
    """Everything below a folder that is no folder, in the order of the names; what links lead to comes last.

    Args:
        folder: Where to begin.
        seen: What was found before, which is found `again`; what is found now is added.
        left_out: Folders that are left out, unless one is where to begin.
    """
    if seen is None:
        seen = set()
    above = _identify_parents(folder)
    identities = {identity for identity in map(_identify, left_out) if identity is not None}
    starts = deque([folder])  # _walk adds the links that it meets
    while starts:
        start = starts.popleft()
        try:
            facts = start.stat()
        except OSError as error:
            yield _unreadable(start, error)
            continue
        identity = facts.st_dev, facts.st_ino
        if identity in above:  # a link that leads in a circle
            yield Found(start, "above")
        elif identity in seen:
            yield Found(start, "again")
        elif identity in identities and start is not folder:
            yield Found(start, "folder")
        elif stat.S_ISDIR(facts.st_mode):
            yield from _walk(start, seen, starts, identities)
        else:
            seen.add(identity)
            yield _classify(start, facts.st_mode)


def _identify_parents(folder: Path) -> set[Identity]:
    """The folders that a folder is in; empty where they cannot be read."""
    try:
        all_facts = [parent.stat() for parent in folder.resolve().parents]
    except OSError:
        return set()
    return {(facts.st_dev, facts.st_ino) for facts in all_facts}


def _identify(path: Path) -> Identity | None:
    try:
        facts = path.stat()
    except OSError:
        return None
    return facts.st_dev, facts.st_ino


def _walk(
    start: Path, seen: set[Identity], links: deque[Path], left_out: Collection[Identity]
) -> Iterator[Found]:
    """The files that are really below a folder; links are added to `links`."""
    stack = [start]  # not recursive, as folders may be nested a thousand deep
    while stack:
        path = stack.pop()
        try:
            # a link as where to begin is followed; any other is put aside
            facts = path.stat() if path is start else path.lstat()
            identity = facts.st_dev, facts.st_ino
            if stat.S_ISLNK(facts.st_mode):
                links.append(path)
            elif identity in seen:
                yield Found(path, "again")
            elif identity in left_out and path is not start:
                yield Found(path, "folder")
            elif stat.S_ISDIR(facts.st_mode):
                seen.add(identity)
                names = sorted(os.listdir(path), reverse=True)  # the stack gives the last first
                stack += [path / name for name in names]
            else:
                seen.add(identity)
                yield _classify(path, facts.st_mode)
        except OSError as error:
            yield _unreadable(path, error)


def _classify(path: Path, mode: int) -> Found:
    try:
        return Found(path, _read_kind(path, mode))
    except OSError as error:
        return _unreadable(path, error)


def is_image(path: Path, mode: int) -> bool:
    """Whether a file is an image by its name or first bytes; by its name alone if it is a pipe or device.

    Raises:
        OSError: Its first bytes cannot be read.
    """
    return _read_kind(path, mode) == "image"


def _read_kind(path: Path, mode: int) -> Kind:
    if not stat.S_ISREG(mode):  # reading a pipe might never end
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
