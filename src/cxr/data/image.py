"""Any image file -> grey pixels -> the store's square; training and prediction both go through `prepare`.

One decoder (OpenCV) and one resampler serve the whole program: `cv2.INTER_AREA` when shrinking, `cv2.INTER_LINEAR` when
enlarging. Pillow's antialiasing differs from it by tens of grey levels on a radiograph's edges, so the method is named
in Preprocess, which travels in the store's manifest and in every checkpoint.
"""

import stat
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt

from cxr.errors import UnreadableImageError as UnreadableImageError  # for those who read with this module

Grey = npt.NDArray[np.uint8]
Fit = Literal["pad", "squash", "crop"]

MAX_PIXELS = 100_000_000
"""Larger images are refused before they are decoded; the largest detectors have about 20 million pixels."""

MAX_BYTES = 400_000_000
"""Larger files are refused before they are read; MAX_PIXELS of 16 bit, uncompressed, have 200 million bytes."""

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8\xff"
_NO_FRAME = (0xC4, 0xC8, 0xCC)  # JPEG's markers between SOF0 and SOF15 that hold no height and width

cv2.setNumThreads(1)  # we run one decoder a thread; OpenCV's own pool would only contend with it
# what OpenCV would print about a broken file is in our error, with the file's name
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


@dataclass(frozen=True)
class Preprocess:
    """How a file becomes the store's pixels; manifest and checkpoint carry it, and a mismatch is an error.

    Attributes:
        size: Width and height of the result in pixels.
        fit: What happens to a file that is not square.
        resize: The resampler.
        intensity: How grey values become 8 bit: 8-bit values stay; deeper ones are divided by their bit depth, the
            smallest power of two that holds the brightest pixel, so that 12-bit values in a 16-bit file keep contrast.
        grey: How colour becomes grey: ITU-R BT.601 luminance, alpha ignored.
    """

    size: int
    fit: Fit = "pad"
    resize: str = "cv2-area"
    intensity: str = "bit-depth"
    grey: str = "bt601"


def read_file(path: Path) -> Grey:
    """Grey pixels [H, W] of a PNG or JPEG file.

    Raises:
        UnreadableImageError: Missing, empty, truncated, corrupt or oversized files, and other kinds of file.
    """
    try:
        facts = path.stat()
        if not (stat.S_ISREG(facts.st_mode) or stat.S_ISDIR(facts.st_mode)):
            raise UnreadableImageError(path, "is a pipe or a device")  # reading it might never end
        if facts.st_size > MAX_BYTES:
            raise UnreadableImageError(path, f"file of {facts.st_size:,} bytes is larger than {MAX_BYTES:,}")
        data = path.read_bytes()
    except OSError as error:
        raise UnreadableImageError(path, error.strerror or "cannot be read") from None
    return decode(data, path)


def decode(data: bytes, name: Path | str) -> Grey:
    """Grey pixels [H, W] of an encoded image; `name` is for the error."""
    problem = _find_damage(data)
    if problem:
        raise UnreadableImageError(name, problem)
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        pixels = None
    if pixels is None:
        raise UnreadableImageError(name, "image file is corrupt: the decoder refuses it")
    return to_grey(np.asarray(pixels))


def _find_damage(data: bytes) -> str | None:
    """What is wrong with the file around the pixels; the decoder fills truncated images with grey in silence."""
    if not data:
        return "file is empty (0 bytes)"
    if data.startswith(_PNG):
        return _find_png_damage(data)
    if data.startswith(_JPEG):
        return _find_jpeg_damage(data)
    return "not a PNG or JPEG image"


def _find_jpeg_damage(data: bytes) -> str | None:
    ended = data.rstrip(b"\0").endswith(b"\xff\xd9") or data.rfind(b"\xff\xd9") > data.rfind(b"\xff\xda") > 0
    if not ended:
        return f"image file is truncated ({len(data):,} bytes)"
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        kind, length, height, width = struct.unpack_from(">xBHxHH", data, at)
        if 0xC0 <= kind <= 0xCF and kind not in _NO_FRAME:
            return _find_excess(width, height)
        at += 1 if kind == 0xFF else 2 + length
    return None


def _find_png_damage(data: bytes) -> str | None:
    at = len(_PNG)
    view = memoryview(data)
    while at + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        if end > len(data):
            break
        if zlib.crc32(view[at + 4 : end - 4]) != struct.unpack_from(">I", data, end - 4)[0]:
            return f"image file is corrupt: checksum of its {kind.decode('latin1')} part at byte {at:,} is wrong"
        if kind == b"IHDR" and length == 13:
            excess = _find_excess(*struct.unpack_from(">II", data, at + 8))
            if excess:
                return excess
        if kind == b"IEND":
            return None
        at = end
    return f"image file is truncated ({len(data):,} bytes)"


def _find_excess(width: int, height: int) -> str | None:
    if width * height > MAX_PIXELS:
        return f"image of {width:,} x {height:,} pixels is larger than {MAX_PIXELS:,} pixels"
    return None


def to_grey(pixels: npt.NDArray[Any]) -> Grey:
    """8-bit luminance [H, W] of decoded pixels: grey, BGR or BGRA, 8 or 16 bit."""
    if pixels.ndim == 3:
        code = {1: None, 3: cv2.COLOR_BGR2GRAY, 4: cv2.COLOR_BGRA2GRAY}[pixels.shape[2]]
        pixels = pixels[..., 0] if code is None else np.asarray(cv2.cvtColor(pixels, code))
    if pixels.dtype == np.uint8:
        return np.asarray(pixels, np.uint8)
    depth = max(8, int(pixels.max()).bit_length())
    return np.asarray(np.rint(pixels * (255.0 / (2**depth - 1))), np.uint8)


def prepare(grey: Grey, how: Preprocess) -> Grey:
    """The store's square [S, S] from grey pixels [H, W] of any size."""
    size = how.size
    top, left, height, width = _window(grey.shape, how)
    if how.fit != "pad":
        grey = grey[top : top + height, left : left + width]
        return grey if grey.shape == (size, size) else _resize(grey, size, size)
    inner = _resize(grey, height, width) if grey.shape != (height, width) else grey
    if (height, width) == (size, size):
        return inner
    square = np.zeros((size, size), np.uint8)
    square[top : top + height, left : left + width] = inner
    return square


def _window(shape: tuple[int, ...], how: Preprocess) -> tuple[int, int, int, int]:
    """(top, left, height, width): of the source that is kept (crop, squash), or of the square that is filled (pad)."""
    height, width = shape
    if how.fit == "squash":
        return 0, 0, height, width
    if how.fit == "crop":
        side = min(height, width)
        return (height - side) // 2, (width - side) // 2, side, side
    scale = how.size / max(height, width)
    inner = max(1, round(height * scale)), max(1, round(width * scale))
    return (how.size - inner[0]) // 2, (how.size - inner[1]) // 2, *inner


def _resize(grey: Grey, height: int, width: int) -> Grey:
    """Shrunk, then enlarged: where only one side shrinks, INTER_AREA would take single pixels instead of means."""
    smaller = min(grey.shape[0], height), min(grey.shape[1], width)
    if smaller != grey.shape:
        grey = np.asarray(cv2.resize(grey, smaller[::-1], interpolation=cv2.INTER_AREA), np.uint8)
    if smaller != (height, width):
        grey = np.asarray(cv2.resize(grey, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)
    return grey


def undo_fit(square: npt.NDArray[np.float32], shape: tuple[int, int], fit: Fit) -> npt.NDArray[np.float32]:
    """A map [h, w] over the model's square, resampled onto the file's own pixels [H, W]; 0 where a crop left none."""
    size = max(*shape, *square.shape)
    how = Preprocess(size, fit)
    top, left, height, width = _window(shape, how)
    if fit == "pad":
        full = cv2.resize(square, (size, size), interpolation=cv2.INTER_LINEAR)
        inner = full[top : top + height, left : left + width]
        return np.asarray(cv2.resize(inner, shape[::-1], interpolation=cv2.INTER_LINEAR), dtype=np.float32)
    result = np.zeros(shape, np.float32)
    window = cv2.resize(square, (width, height), interpolation=cv2.INTER_LINEAR)
    result[top : top + height, left : left + width] = window
    return result
