"""Image files -> squares for the model: which files there are, and reading each (no torch)."""

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cxr.deploy.runtime import Square
from cxr.errors import CxrError, UnavailableFileError, UnreadableImageError
from cxr.images.find_images import Identity, find_images
from cxr.images.prepare import Preprocess, prepare
from cxr.images.read import read_file
from cxr.paths import is_folder


@dataclass(frozen=True)
class Input:
    """A file or folder that was named or found.

    Attributes:
        path: As named, or below the folder that was named.
        kind: `image`; `unreadable` with a reason; or why it is passed over, as `find_images` tells it.
        reason: Why it cannot be read, empty where it may be.
        is_named: Whether the user named it: what is no image is then an error, and is passed over in a
            folder.
    """

    path: Path
    kind: str
    reason: str = ""
    is_named: bool = False


def find_inputs(images: Sequence[Path], *outputs: Path | None) -> Iterator[Input]:
    """What is named or found in a folder; a folder without an image is one unreadable input.

    An image that was found in one folder is found `again` in the next, and where it is named by the same
    path. One that is named by another path, as a link, is predicted under that name too. Folders of outputs
    that are inside of another folder are left out.
    """
    seen, paths = set[Identity](), set[str]()
    left_out = [folder for folder in outputs if folder is not None]
    for image in images:
        if not _is_folder(image):
            is_again = os.path.abspath(image) in paths
            yield Input(image, "again" if is_again else "image", is_named=True)
            paths.add(os.path.abspath(image))
            with suppress(OSError):  # the error comes again, and is told, when the file is read
                seen.add((image.stat().st_dev, image.stat().st_ino))
            continue
        has_images = False
        for found in find_images(image, seen, left_out):
            has_images |= found.kind in ("image", "unreadable", "again")
            if found.kind in ("image", "unreadable"):
                paths.add(os.path.abspath(found.path))
            yield Input(found.path, found.kind, found.reason)
        if not has_images:
            yield Input(image, "unreadable", "no image file in this folder", is_named=True)


def _is_folder(path: Path) -> bool:
    try:
        return is_folder(path)
    except CxrError:  # the error comes again, and is told, when the file is read
        return False


def try_to_read(found: Input, preprocess: Preprocess) -> Square | CxrError | None:
    """The square of an image, or why it cannot be read; None for a file that is passed over.

    Raises:
        UnavailableFileError: No memory: the image may be sound, and the next images would have no memory
            either.
    """
    if found.kind not in ("image", "unreadable"):
        return None
    if found.kind == "unreadable":
        return UnreadableImageError(found.path, found.reason)
    notes = list[str]()
    try:
        grey = read_file(found.path, preprocess.intensity, notes.append)
        return Square(found.path, prepare(grey, preprocess), notes)
    except CxrError as error:
        return error
    except MemoryError as error:
        raise UnavailableFileError(found.path, error) from None
