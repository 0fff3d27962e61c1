"""Facts of every image file, read once on all cores, and image files below a folder that no row names."""

import hashlib
import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from cxr.data.store_files import Read
from cxr.errors import CxrError, UnavailableFileError, UnreadableImageError, is_system_error
from cxr.images.decode import decode_colour
from cxr.images.find_images import is_image
from cxr.images.grey import Grey
from cxr.images.kinds import SUFFIXES
from cxr.images.large_images import image_memory
from cxr.parallel import work_through

SMALL = 64
"""Side in pixels of the copy that brightness is measured on."""

# Grey levels between channels, and fraction of the pixels, below which colour is noise or a stamp.
_MIN_COLOUR_LEVELS = 16
_MIN_COLOUR_FRACTION = 1e-3

# Regions of the small copy: [row, column] slices, chosen on frontal images.
_CORNER = SMALL // 8
_MIDDLE = slice(SMALL // 4, 3 * SMALL // 4)
_SPINE = slice(26, 38)
_LUNGS = (slice(8, 22), slice(42, 56))

_MAX_NAMED = 100


@dataclass(frozen=True, slots=True)
class Facts:
    """Facts of one file.

    Attributes:
        reason: Why it cannot be read; empty where it can, and then the rest is known.
        num_bytes: Size of the file.
        file_hash: BLAKE2b of its bytes; empty where the pixels come from no file that is theirs alone.
        pixel_hash: BLAKE2b of its grey pixels and their shape.
        width: Width in pixels.
        height: Height in pixels.
        kind: grey, grey as colour (three or more channels with the same content), or colour.
        constant: Whether every pixel is the same.
        spread: Standard deviation in grey levels of a copy of SMALL x SMALL pixels.
        corners: Upper corners' median minus the mediastinum's mean, in grey levels of that copy.
        spine: Mediastinum's mean minus the lung fields' mean, in grey levels of that copy.
        hint: What to do where not the file is at fault, but a package is not installed, say.
        notes: What is remarkable about it: a header of another modality, a transform that was ignored.
    """

    reason: str = ""
    num_bytes: int = 0
    file_hash: bytes = b""
    pixel_hash: bytes = b""
    width: int = 0
    height: int = 0
    kind: str = "grey"
    constant: bool = False
    spread: float = 0.0
    corners: float = 0.0
    spine: float = 0.0
    hint: str = ""
    notes: tuple[str, ...] = ()

    @property
    def is_faulty(self) -> bool:
        """Whether the file cannot be decoded and is itself at fault."""
        return bool(self.reason and not self.hint)


def read_files(
    root: Path, paths: Sequence[str], read: Read, workers: int = 0, title: str = "check"
) -> list[Facts]:
    """The facts of each file, in the order of the paths; no file stops it.

    One decoded image per thread is in memory.

    Args:
        root: Folder that the paths are relative to.
        paths: N files.
        read: Grey pixels of one of them; called from several threads.
        workers: Threads; 0 takes one per core.
        title: Text of the progress bar.
    """
    facts = [Facts()] * len(paths)

    def read_row(row: int) -> None:
        facts[row] = read_facts(root / paths[row], paths[row], read)

    work_through(title, range(len(paths)), read_row, workers)
    return facts


def read_facts(file: Path, path: str, read: Read) -> Facts:
    """The facts of one file; whatever a decoder raises becomes its reason."""
    num_bytes = 0
    try:
        num_bytes = file.stat().st_size if file.is_file() else 0
        with image_memory():
            return _measure(read(path), file, num_bytes)
    except UnreadableImageError as error:
        return Facts(error.reason, num_bytes)
    except CxrError as error:  # cxr pack would stop at it
        return Facts(error.problems[0].removeprefix(f"{file}: "), num_bytes, hint=error.hint)
    except Exception as error:  # a check continues after any file, also after one that shows a bug of ours
        if isinstance(error, MemoryError | OSError) and is_system_error(error):
            stopped = UnavailableFileError(file, error)
            return Facts(stopped.reason, num_bytes, hint=stopped.hint)
        return Facts(f"the decoder failed: {type(error).__name__}: {str(error)[:200]}", num_bytes)


def _measure(grey: Grey, file: Path, num_bytes: int) -> Facts:
    """The facts of a decoded file; grey is uint8 [H, W]."""
    data = file.read_bytes() if num_bytes else b""
    height, width = grey.shape
    # area averages, so that noise and the burnt-in marker do not count
    small = cv2.resize(grey, (SMALL, SMALL), interpolation=cv2.INTER_AREA).astype(np.float32)
    # A frontal radiograph has dark upper corners, and a bright mediastinum between dark lung fields.
    spine = small[_MIDDLE, _SPINE].mean()
    corners = np.concatenate([small[:_CORNER, :_CORNER], small[:_CORNER, -_CORNER:]])
    lungs = np.concatenate([small[_MIDDLE, side] for side in _LUNGS])
    return Facts(
        num_bytes=num_bytes,
        file_hash=_hash(data) if data else b"",
        # with the shape: the same bytes may be the rows of two images of other widths
        pixel_hash=_hash(np.ascontiguousarray(grey).data, f"{height} {width} ".encode()),
        width=width,
        height=height,
        kind=_find_kind(file, data, grey.size),
        constant=bool(grey.min() == grey.max()),
        spread=float(small.std()),
        corners=float(np.median(corners) - spine),
        spine=float(spine - lungs.mean()),
    )


def _hash(data: bytes | memoryview, before: bytes = b"") -> bytes:
    digest = hashlib.blake2b(before, digest_size=16)
    digest.update(data)
    return digest.digest()


def _find_kind(file: Path, data: bytes, num_pixels: int) -> str:
    """Kind of a file, see Facts; only files with several channels by their header are decoded again."""
    if not data or _count_channels(file, num_pixels) < 2:
        return "grey"
    pixels = decode_colour(data)
    if pixels is None:
        return "grey"
    # a pixel is coloured if its channels differ by more than the noise of a JPEG
    blue, green, red = cv2.split(pixels)[:3]
    brightest = cv2.max(cv2.max(blue, green), red)
    darkest = cv2.min(cv2.min(blue, green), red)
    num_coloured = np.count_nonzero(cv2.subtract(brightest, darkest) > _MIN_COLOUR_LEVELS)
    return "colour" if num_coloured > _MIN_COLOUR_FRACTION * num_pixels else "grey as colour"


def _count_channels(file: Path, num_pixels: int) -> int:
    """Channels by the header of a PNG or a JPEG, a palette counting as three; 1 for other kinds of file."""
    if num_pixels > (Image.MAX_IMAGE_PIXELS or num_pixels):
        return 1  # Pillow would warn about its size
    try:
        with Image.open(file, formats=("PNG", "JPEG")) as image:
            return 3 if image.mode == "P" else len(image.getbands())
    except (OSError, SyntaxError, ValueError):
        return 1


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
            if len(first) < _MAX_NAMED:
                first.append(Path(path).as_posix())
    return num, tuple(first)


def _walk(root: Path, skip: Collection[str]) -> Iterator[str]:
    """Files below root, in the order of their names."""
    for folder, folders, files in os.walk(root):
        visible = (name for name in folders if not name.startswith("."))
        # os.walk visits the folders that are left in its list
        folders[:] = sorted(
            name for name in visible if os.path.realpath(os.path.join(folder, name)) not in skip
        )
        below = os.path.relpath(folder, root)
        for name in sorted(files):
            if not name.startswith("."):
                yield os.path.normpath(os.path.join(below, name))


def _is_image(path: Path) -> bool:
    try:
        return is_image(path, path.stat().st_mode)
    except OSError:
        return path.suffix.lower() in SUFFIXES
