"""Files -> facts: every file read once, on all cores, whatever is in it; one decoded image a thread is in memory."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from cxr.data.pack import Read
from cxr.errors import CxrError, UnavailableFileError, UnreadableImageError, is_system_error
from cxr.images.decode import decode_colour
from cxr.images.grey import Grey
from cxr.images.large_images import image_memory
from cxr.parallel import work_through

SMALL = 64
"""Side in pixels of the copy that brightness is measured on."""
_APART, _FEW = (
    16,
    1e-3,
)  # grey levels between channels, and share of pixels, below which colour is noise or a stamp
_CORNER = SMALL // 8
_MIDDLE = slice(SMALL // 4, 3 * SMALL // 4)
_SPINE, _LUNGS = slice(26, 38), (slice(8, 22), slice(42, 56))


@dataclass(frozen=True, slots=True)
class Facts:
    """What one file is.

    Attributes:
        reason: Why it cannot be read; empty where it can, and then the rest is known.
        num_bytes: Size of the file.
        file_hash: BLAKE2b of its bytes; empty where the pixels come from no file of their own.
        pixel_hash: BLAKE2b of its grey pixels and their shape.
        width: Width in pixels.
        height: Height in pixels.
        kind: grey, grey as colour (three channels or more that say the same), or colour.
        constant: Whether every pixel is the same.
        spread: Standard deviation in grey levels of a copy of SMALL x SMALL pixels.
        corners: Upper corners' median less the mediastinum's mean, in grey levels of that copy.
        spine: Mediastinum's mean less the lung fields' mean, in grey levels of that copy.
        hint: What to do where the file is not at fault: something is not installed, say. The reason then says what.
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


def inspect(
    root: Path, paths: Sequence[str], read: Read, workers: int = 0, what: str = "check"
) -> list[Facts]:
    """The facts of each path, in their order; no file stops it.

    Args:
        root: Folder that the paths are relative to.
        paths: N files.
        read: Grey pixels of one of them; called from several threads.
        workers: Threads; 0 takes one a core.
        what: A word for the progress bar.
    """
    facts = [Facts()] * len(paths)

    def look_at(row: int) -> None:
        facts[row] = look(root / paths[row], paths[row], read)

    work_through(what, range(len(paths)), look_at, workers)
    return facts


def look(file: Path, path: str, read: Read) -> Facts:
    """The facts of one file; whatever a decoder raises becomes its reason."""
    num_bytes = 0
    try:
        num_bytes = file.stat().st_size if file.is_file() else 0
        with image_memory():
            return _describe(read(path), file, num_bytes)
    except UnreadableImageError as error:
        return Facts(error.reason, num_bytes)
    except CxrError as error:  # cxr pack would stop at it
        return Facts(error.problems[0].removeprefix(f"{file}: "), num_bytes, hint=error.hint)
    except Exception as error:  # a check goes on after any file, also one that shows a fault of ours
        if isinstance(error, MemoryError | OSError) and is_system_error(error):
            stopped = UnavailableFileError(file, error)
            return Facts(stopped.reason, num_bytes, hint=stopped.hint)
        return Facts(f"the decoder failed: {type(error).__name__}: {str(error)[:200]}", num_bytes)


def _describe(grey: Grey, file: Path, num_bytes: int) -> Facts:
    data = file.read_bytes() if num_bytes else b""
    height, width = grey.shape
    small = cv2.resize(grey, (SMALL, SMALL), interpolation=cv2.INTER_AREA).astype(np.float32)
    spine = small[_MIDDLE, _SPINE].mean()
    corners = np.concatenate([small[:_CORNER, :_CORNER], small[:_CORNER, -_CORNER:]])
    lungs = np.concatenate([small[_MIDDLE, side] for side in _LUNGS])
    return Facts(
        num_bytes=num_bytes,
        file_hash=_hash(data) if data else b"",
        pixel_hash=_hash(np.ascontiguousarray(grey).data, f"{height} {width} ".encode()),
        width=width,
        height=height,
        kind=_kind(file, data, grey.size),
        constant=bool(grey.min() == grey.max()),
        spread=float(small.std()),
        corners=float(np.median(corners) - spine),
        spine=float(spine - lungs.mean()),
    )


def _hash(data: bytes | memoryview, before: bytes = b"") -> bytes:
    digest = hashlib.blake2b(before, digest_size=16)
    digest.update(data)
    return digest.digest()


def _kind(file: Path, data: bytes, num_pixels: int) -> str:
    """Only files whose header names more than one channel are decoded again, in colour."""
    if not data or _num_channels(file, num_pixels) < 2:
        return "grey"
    pixels = decode_colour(data)
    if pixels is None:
        return "grey"
    channels = cv2.split(pixels)
    apart = cv2.subtract(
        cv2.max(cv2.max(*channels[:2]), channels[2]), cv2.min(cv2.min(*channels[:2]), channels[2])
    )
    return "colour" if np.count_nonzero(apart > _APART) > _FEW * num_pixels else "grey as colour"


def _num_channels(file: Path, num_pixels: int) -> int:
    """Channels that a PNG's or a JPEG's header names, palettes counting as three; 1 for other kinds of file."""
    if num_pixels > (Image.MAX_IMAGE_PIXELS or num_pixels):
        return 1  # Pillow would warn of it
    try:
        with Image.open(file, formats=("PNG", "JPEG")) as image:
            return 3 if image.mode == "P" else len(image.getbands())
    except (OSError, SyntaxError, ValueError):
        return 1
