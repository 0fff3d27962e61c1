"""Any image file -> grey pixels -> the store's square; training and prediction both go through `prepare`.

One decoder (OpenCV) and one resampler serve the whole program: `cv2.INTER_AREA` when shrinking, `cv2.INTER_LINEAR` when
enlarging. Pillow's antialiasing differs from it by tens of grey levels on a radiograph's edges, so the method is named
in Preprocess, which travels in the store's manifest and in every checkpoint.
"""

import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt

from cxr.data.damage import MAX_PIXELS as MAX_PIXELS
from cxr.data.damage import find_damage, find_kind
from cxr.errors import UnreadableImageError as UnreadableImageError  # for those who read with this module

Grey = npt.NDArray[np.uint8]
Fit = Literal["pad", "squash", "crop"]
Intensity = Literal["bit-depth", "range"]
Borders = Literal["keep", "crop"]

_EVEN = 8  # grey levels that a border may vary by
_LEAST = 0.3  # share of each side that is left at least

MAX_BYTES = 400_000_000
"""Larger files are refused before they are read; MAX_PIXELS of 16 bit, uncompressed, have 200 million bytes."""

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
        intensity: How grey values become 8 bit. `bit-depth`: 8-bit values stay; deeper ones are divided by their bit
            depth, the smallest power of two that holds the brightest pixel, so that 12-bit values in a 16-bit file keep
            contrast; DICOM files say their range themselves. `range`: each image's minimum is black, its maximum white.
        borders: `keep`, or `crop` the even rows and columns of black or white around the image.
        grey: How colour becomes grey: ITU-R BT.601 luminance, alpha ignored.
    """

    size: int
    fit: Fit = "pad"
    resize: str = "cv2-area"
    intensity: Intensity = "bit-depth"
    borders: Borders = "keep"
    grey: str = "bt601"


def read_file(path: Path, intensity: Intensity = "bit-depth") -> Grey:
    """Grey pixels [H, W] of a PNG, JPEG, TIFF or DICOM file, turned as its orientation tag says.

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


def decode(data: bytes, name: Path | str, intensity: Intensity = "bit-depth") -> Grey:
    """Grey pixels [H, W] of an encoded image; `name` is for the error."""
    if not data:
        raise UnreadableImageError(name, "file is empty (0 bytes)")
    kind = find_kind(data, name)
    if kind is None:
        raise UnreadableImageError(name, "not a PNG, JPEG, TIFF or DICOM image")
    if kind == "dicom":
        from cxr.data.dicom import decode_dicom  # an extra

        values = decode_dicom(data, name, MAX_PIXELS)
        return _scale(_luminance(values.pixels.astype(np.float32)), intensity, values.black, values.white)
    problem = find_damage(data, kind)
    if problem:
        raise UnreadableImageError(name, problem)
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_ANYDEPTH | cv2.IMREAD_ANYCOLOR)
    except cv2.error:
        pixels = None
    if pixels is None:
        raise UnreadableImageError(name, "image file is corrupt: the decoder refuses it")
    if pixels.dtype not in (np.uint8, np.uint16):
        raise UnreadableImageError(name, f"pixels of type {pixels.dtype}; 8 and 16 bit without sign are read")
    return to_grey(np.asarray(pixels), intensity)


def to_grey(pixels: npt.NDArray[Any], intensity: Intensity = "bit-depth") -> Grey:
    """8-bit luminance [H, W] of decoded pixels: grey, BGR or BGRA, 8 or 16 bit."""
    pixels = _luminance(pixels)
    if pixels.dtype == np.uint8 and intensity == "bit-depth":
        return np.asarray(pixels, np.uint8)
    depth = max(8, int(pixels.max()).bit_length())
    return _scale(pixels, intensity, 0, 2**depth - 1)


def _luminance(pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if pixels.ndim == 2:
        return pixels
    code = {1: None, 3: cv2.COLOR_BGR2GRAY, 4: cv2.COLOR_BGRA2GRAY}[pixels.shape[2]]
    return pixels[..., 0] if code is None else np.asarray(cv2.cvtColor(pixels, code))


def _scale(pixels: npt.NDArray[Any], intensity: Intensity, black: float, white: float) -> Grey:
    if intensity == "range":
        black, white = float(pixels.min()), float(pixels.max())
    if black == 0:
        return np.asarray(np.rint(np.minimum(pixels * (255.0 / (white or 1)), 255)), np.uint8)
    scaled = (pixels.astype(np.float64) - black) * (255 / max(white - black, 1e-12))
    return np.asarray(np.rint(np.clip(scaled, 0, 255)), np.uint8)


def prepare(grey: Grey, how: Preprocess) -> Grey:
    """The store's square [S, S] from grey pixels [H, W] of any size."""
    grey = grey[find_inside(grey, how.borders)]
    size = how.size
    top, left, height, width = _window(grey.shape, how)
    if how.fit != "pad":
        grey = grey[top : top + height, left : left + width]
        return np.ascontiguousarray(grey) if grey.shape == (size, size) else _resize(grey, size, size)
    inner = _resize(grey, height, width) if grey.shape != (height, width) else grey
    if (height, width) == (size, size):
        return np.ascontiguousarray(inner)
    square = np.zeros((size, size), np.uint8)
    square[top : top + height, left : left + width] = inner
    return square


def find_inside(grey: Grey, borders: Borders) -> tuple[slice, slice]:
    """(rows, columns) of the image [H, W] without its borders, all where they are kept or would leave too little.

    A border is a run of outer rows or columns that are black or white and vary by less than 8 grey levels.
    """
    whole = slice(0, grey.shape[0]), slice(0, grey.shape[1])
    if borders == "keep":
        return whole
    rows = _inner(grey)
    columns = _inner(grey[rows].T) if rows.stop else rows
    enough = all(
        part.stop - part.start >= _LEAST * side for part, side in zip((rows, columns), grey.shape, strict=True)
    )
    return (rows, columns) if enough else whole


def _inner(grey: Grey) -> slice:
    low, high = grey.min(axis=1).astype(int), grey.max(axis=1).astype(int)
    inside = np.flatnonzero((high >= _EVEN) & (low <= 255 - _EVEN))
    return slice(int(inside[0]), int(inside[-1]) + 1) if len(inside) else slice(0, 0)


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


def undo_prepare(square: npt.NDArray[np.float32], grey: Grey, how: Preprocess) -> npt.NDArray[np.float32]:
    """A map [h, w] over the model's square, resampled onto the pixels [H, W] it was prepared from; 0 outside of it."""
    inside = find_inside(grey, how.borders)
    result = np.zeros(grey.shape, np.float32)
    part = result[inside]
    part[:] = undo_fit(square, (part.shape[0], part.shape[1]), how.fit)
    return result


def undo_fit(square: npt.NDArray[np.float32], shape: tuple[int, int], fit: Fit) -> npt.NDArray[np.float32]:
    """A map [h, w] over the model's square, resampled onto the image's own pixels [H, W]; 0 where a crop left none."""
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
