"""Image files below a folder that no row of the label table names."""

import os
from collections.abc import Collection, Iterator
from pathlib import Path

from cxr.images.find_images import is_image
from cxr.images.kinds import SUFFIXES

_NAMED = 100


def find_unnamed(root: Path, named: Collection[str], skip: Collection[Path]) -> tuple[int, tuple[str, ...]]:
    """(how many image files no row names, the first hundred of them, relative to root).

    Args:
        root: Folder to walk; links to folders are not followed, hidden files and folders not counted.
        named: Files that rows name, relative to root.
        skip: Folders that are left out, such as the store.
    """
    known = {os.path.normpath(name) for name in named}
    first: list[str] = []
    num = 0
    for path in _walk(root, {os.path.realpath(folder) for folder in skip}):
        if path not in known and _is_image(root / path):
            num += 1
            if len(first) < _NAMED:
                first.append(Path(path).as_posix())
    return num, tuple(first)


def _walk(root: Path, skip: Collection[str]) -> Iterator[str]:
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(
            name
            for name in folders
            if name[0] != "." and os.path.realpath(os.path.join(folder, name)) not in skip
        )
        below = os.path.relpath(folder, root)
        for name in sorted(files):
            if name[0] != ".":
                yield os.path.normpath(os.path.join(below, name))


def _is_image(path: Path) -> bool:
    try:
        return is_image(path, path.stat().st_mode)
    except OSError:
        return path.suffix.lower() in SUFFIXES
