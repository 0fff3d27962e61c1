"""Any image file -> grey pixels -> the store's square; training and prediction both go through `prepare`.

One decoder (OpenCV; for DICOM pydicom, in dicom.py) and one resampler serve the whole program: `cv2.INTER_AREA` when
shrinking, `cv2.INTER_LINEAR` when enlarging. Pillow's antialiasing differs from it by tens of grey levels on a
radiograph's edges, so the method is named in Preprocess, which travels in the store's manifest and in every checkpoint.
"""

import io
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt

from cxr.data.damage import JPEG, MAX_BYTES, PNG, TIFF, find_damage, read_tiff_header
from cxr.data.damage import MAX_PIXELS as MAX_PIXELS
from cxr.errors import UnavailableFileError, says_nothing_of_the_file
from cxr.errors import UnreadableImageError as UnreadableImageError  # here for everybody who reads files

Grey = npt.NDArray[np.uint8]
Fit = Literal["pad", "squash", "crop"]
Intensity = Literal["bit-depth", "range"]
Borders = Literal["keep", "crop"]
Box = tuple[int, int, int, int]

_LEAST_KEPT = 1 / 3
_TOLERANCE = 8
_WHITE_IS_ZERO, _RGB = 0, 2

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
        intensity: How grey values become 8 bit. bit-depth: 8-bit values stay; deeper ones are divided by their bit
            depth, the smallest power of two that holds the brightest pixel, so that 12-bit values in a 16-bit file keep
            contrast. range: each image's own minimum to maximum. A DICOM file's values are those after its own
            modality transform and window, over the range that these can give.
        grey: How colour becomes grey: ITU-R BT.601 luminance, alpha ignored.
        borders: Whether uniform black or white rows and columns at the edges are cut off first.
    """

    size: int
    fit: Fit = "pad"
    resize: str = "cv2-area"
    intensity: Intensity = "bit-depth"
    grey: str = "bt601"
    borders: Borders = "keep"


def read_file(path: Path, intensity: Intensity = "bit-depth") -> Grey:
    """Grey pixels [H, W] of a PNG, JPEG, TIFF or DICOM file, upright; the content tells which, not the name.

    Raises:
        UnreadableImageError: Missing, empty, truncated, corrupt or oversized files, and other kinds of file.
        UnavailableFileError: No permission, too many open files, a failing disk: nothing is known of the file.
        CxrError: A DICOM file, and pydicom is not installed.
    """
    try:
        facts = path.stat()
        if not (stat.S_ISREG(facts.st_mode) or stat.S_ISDIR(facts.st_mode)):
            raise UnreadableImageError(path, "is a pipe or a device")  # reading it might never end
        if facts.st_size > MAX_BYTES:
            raise UnreadableImageError(path, f"file of {facts.st_size:,} bytes is larger than {MAX_BYTES:,} bytes")
        data = _read_bytes(path, facts.st_size)  # no more, should it grow
    except OSError as error:
        if says_nothing_of_the_file(error):
            raise UnavailableFileError(path, error) from None
        raise UnreadableImageError(path, error.strerror or "cannot be read") from None
    return decode(data, path, intensity)


def _read_bytes(path: Path, num_bytes: int) -> bytes:
    """The first bytes of a file; a third of the time that `path.open` takes, which counts where files are small."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        data = os.read(descriptor, num_bytes)
        while len(data) < num_bytes and (more := os.read(descriptor, num_bytes - len(data))):
            data += more
    finally:
        os.close(descriptor)
    return data


def decode(data: bytes, name: Path | str, intensity: Intensity = "bit-depth") -> Grey:
    """Grey pixels [H, W] of an encoded image; `name` is for the error, its suffix for DICOM without a preamble."""
    if not data.startswith((PNG, JPEG)):
        from cxr.data.sources.dicom_header import is_dicom

        if is_dicom(data, name):
            from cxr.data.dicom import decode_dicom

            return decode_dicom(data, name, intensity)
    problem = find_damage(data)
    if problem:
        raise UnreadableImageError(name, problem)
    pixels = _decode_tiff(data) if data.startswith(TIFF) else _decode_plain(data)
    if pixels is None:
        raise UnreadableImageError(name, "image file is corrupt: the decoder refuses it")
    return to_grey(pixels, intensity)


def _decode_plain(data: bytes) -> npt.NDArray[Any] | None:
    """Grey or BGR pixels of 8 or 16 bit without alpha, turned upright as the orientation tag says."""
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_ANYDEPTH | cv2.IMREAD_ANYCOLOR)
    except cv2.error as error:
        if getattr(error, "code", 0) == cv2.Error.StsNoMem:
            raise MemoryError from None
        return None


def _decode_tiff(data: bytes) -> npt.NDArray[Any] | None:
    """Pixels of a TIFF file, turned upright by OpenCV; it multiplies 8-bit colours by alpha, so Pillow reads those."""
    header = read_tiff_header(data)
    assert header is not None
    if header.bits == 8 and header.photometric == _RGB and header.frame.channels == 4:
        return _decode_with_pillow(data)
    pixels = _decode_plain(data)
    if pixels is not None and header.bits == 16 and header.photometric == _WHITE_IS_ZERO:
        top = 2 ** max(8, int(pixels.max()).bit_length()) - 1
        return np.asarray(top - pixels, np.uint16)
    return pixels


def _decode_with_pillow(data: bytes) -> npt.NDArray[Any] | None:
    from PIL import Image, ImageOps

    try:
        with Image.open(io.BytesIO(data)) as picture:
            return np.asarray(ImageOps.exif_transpose(picture))[..., 2::-1].copy()
    except MemoryError:
        raise
    except Exception:  # whatever a damaged file makes it raise; its size was checked before
        return None


def to_grey(pixels: npt.NDArray[Any], intensity: Intensity = "bit-depth") -> Grey:
    """8-bit luminance [H, W] of decoded pixels: grey, BGR or BGRA, 8 or 16 bit."""
    colours = pixels[..., :3] if pixels.ndim == 3 else pixels  # alpha says nothing of the depth
    depth = 8 if pixels.dtype == np.uint8 else max(8, int(colours.max()).bit_length())
    if pixels.ndim == 3:
        code = {1: None, 3: cv2.COLOR_BGR2GRAY, 4: cv2.COLOR_BGRA2GRAY}[pixels.shape[2]]
        pixels = pixels[..., 0] if code is None else np.asarray(cv2.cvtColor(pixels, code))
    if intensity == "bit-depth" and pixels.dtype == np.uint8:
        return np.asarray(pixels, np.uint8)
    low, high = (0, 2**depth - 1) if intensity == "bit-depth" else (int(pixels.min()), int(pixels.max()))
    return np.asarray(np.rint((pixels - np.float64(low)) * (255.0 / max(high - low, 1))), np.uint8)


def prepare(grey: Grey, how: Preprocess) -> Grey:
    """The store's square [S, S] from grey pixels [H, W] of any size."""
    size = how.size
    top, left, height, width = kept_box(grey, how)
    grey = grey[top : top + height, left : left + width]
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


def kept_box(grey: Grey, how: Preprocess) -> Box:
    """(top, left, height, width) of what is left without uniform black or white borders, everything under borders=keep.

    A row or column is a border when it lies within 8 grey levels of black or of white. Where less than a third of a
    side would be left, nothing is cut off: such a picture is dark or empty, not framed.
    """
    box = (0, 0, *grey.shape[:2])
    inside = box
    while how.borders == "crop":
        top, left, height, width = inside
        part = grey[top : top + height, left : left + width]
        (first, rows), (start, columns) = (_span(part, axis) for axis in (1, 0))
        if min(rows / box[2], columns / box[3]) < _LEAST_KEPT:
            return box
        if (rows, columns) == (height, width):
            return inside
        inside = (top + first, left + start, rows, columns)
    return box


def _span(grey: Grey, axis: int) -> tuple[int, int]:
    """(first, number) of the rows (axis 1) or columns (axis 0) between the uniform ones at both ends."""
    inner = np.flatnonzero((grey.max(axis=axis) > _TOLERANCE) & (grey.min(axis=axis) < 255 - _TOLERANCE))
    return (int(inner[0]), int(inner[-1] - inner[0]) + 1) if len(inner) else (0, 0)


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


def undo_prepare(square: npt.NDArray[np.float32], grey: Grey, how: Preprocess) -> npt.NDArray[np.float32]:
    """A map [h, w] over the model's square, resampled onto the file's own pixels [H, W]; 0 where `prepare` cut off."""
    top, left, height, width = kept_box(grey, how)
    result = np.zeros(grey.shape, np.float32)
    result[top : top + height, left : left + width] = undo_fit(square, (height, width), how.fit)
    return result
