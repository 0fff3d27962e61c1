"""Any image file -> grey pixels -> the store's square; training and prediction both go through `prepare`.

One decoder (OpenCV; for DICOM pydicom, in dicom.py) and one resampler serve the whole program: `cv2.INTER_AREA` when
shrinking, `cv2.INTER_LINEAR` when enlarging. Pillow's antialiasing differs from it by tens of grey levels on a
radiograph's edges, so the method is named in Preprocess, which travels in the store's manifest and in every checkpoint.
"""

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

from cxr.errors import UnavailableFileError, says_nothing_of_the_file
from cxr.errors import UnreadableImageError as UnreadableImageError  # here for everybody who reads files
from cxr.images.damage import MAX_BYTES, NO_IMAGE, examine
from cxr.images.damage import MAX_PIXELS as MAX_PIXELS
from cxr.images.decode import decode_plain, decode_tiff, name_lacking
from cxr.images.decoder_messages import find_damage_in, listen
from cxr.images.grey import Grey as Grey
from cxr.images.grey import Intensity as Intensity
from cxr.images.grey import to_grey
from cxr.images.kinds import JPEG, PNG
from cxr.images.large_images import one_image, take_room
from cxr.images.notes import Note, note_constant
from cxr.images.tiff_header import TIFF

Fit = Literal["pad", "squash", "crop"]
Borders = Literal["keep", "crop"]
Box = tuple[int, int, int, int]

_LEAST_KEPT = 1 / 3
_TOLERANCE = 8
_MOST_ENLARGED = 64_000_000  # pixels of a map that is enlarged whole
_RAW = ": pixels without a header, perhaps, as in the files of JSRT; save it as PNG"


@dataclass(frozen=True)
class Preprocess:
    """How a file becomes the store's pixels; manifest and checkpoint carry it, and a mismatch is an error.

    Attributes:
        size: Width and height of the result in pixels.
        fit: What happens to a file that is not square.
        resize: The resampler.
        intensity: How grey values become 8 bit. bit-depth: 8-bit values stay; deeper ones are divided by their bit
            depth, the smallest power of two that holds the brightest pixel, so that 12-bit values in a 16-bit file keep
            contrast. This holds for PNG, TIFF and DICOM alike, whatever depth a header names; where a DICOM file has
            negative values, the range begins at the power of two that holds the darkest. A DICOM file with a window or
            VOI table that shows something is scaled by the range that these give. range: each image's own minimum to
            maximum, after the window.
        grey: How colour becomes grey: ITU-R BT.601 luminance, alpha ignored.
        borders: Whether uniform black or white rows and columns at the edges are cut off first.
    """

    size: int
    fit: Fit = "pad"
    resize: str = "cv2-area"
    intensity: Intensity = "bit-depth"
    grey: str = "bt601"
    borders: Borders = "keep"


def _no_note(_text: str) -> None:
    """What is remarkable about an image is not asked for."""


def read_file(path: Path, intensity: Intensity = "bit-depth", note: Note = _no_note) -> Grey:
    """Grey pixels [H, W] of a PNG, JPEG, TIFF or DICOM file, upright; the content tells which, not the name.

    Args:
        path: The file.
        intensity: As in Preprocess.
        note: Called with a sentence for everything remarkable: a constant image, a DICOM file of another modality.

    Raises:
        UnreadableImageError: Missing, empty, truncated, corrupt or oversized files, and other kinds of file.
        UnavailableFileError: No permission, too many open files, a failing disk: nothing is known of the file.
        CxrError: A DICOM file, and pydicom is not installed.
    """
    with one_image():
        try:
            facts = path.stat()
            if not (stat.S_ISREG(facts.st_mode) or stat.S_ISDIR(facts.st_mode)):
                raise UnreadableImageError(path, "is a pipe or a device")  # reading it might never end
            if facts.st_size > MAX_BYTES:
                raise UnreadableImageError(
                    path, f"file of {facts.st_size:,} bytes is larger than {MAX_BYTES:,} bytes"
                )
            take_room(facts.st_size)
            data = _read_bytes(path, facts.st_size)  # no more, should it grow
        except OSError as error:
            if says_nothing_of_the_file(error):
                raise UnavailableFileError(path, error) from None
            raise UnreadableImageError(path, error.strerror or "cannot be read") from None
        return decode(data, path, intensity, note)


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


def decode(data: bytes, name: Path | str, intensity: Intensity = "bit-depth", note: Note = _no_note) -> Grey:
    """Grey pixels [H, W] of an encoded image; `name` is for the error, its suffix for DICOM without a preamble."""
    with one_image():
        grey = _decode(data, name, intensity, note)
        note_constant(grey, note)
        return grey


def _decode(data: bytes, name: Path | str, intensity: Intensity, note: Note) -> Grey:
    if not data.startswith((PNG, JPEG)):
        from cxr.images.dicom.header import is_dicom

        if is_dicom(data, name):
            from cxr.images.dicom.decode import decode_dicom

            return decode_dicom(data, name, intensity, note)
    claim = examine(data)
    if isinstance(claim, str):
        is_raw = claim == NO_IMAGE and Path(name).suffix.lower() in (".img", ".raw")
        raise UnreadableImageError(name, claim + (_RAW if is_raw else ""))
    take_room(claim.num_bytes)
    with listen() as messages:
        pixels = decode_tiff(data) if data.startswith(TIFF) else decode_plain(data)
    if pixels is None:
        raise UnreadableImageError(
            name, name_lacking(data) or "image file is corrupt: the decoder refuses it"
        )
    problem = find_damage_in(messages)
    if problem:
        raise UnreadableImageError(name, f"image file is corrupt: its decoder reports: {problem}")
    if pixels.shape[:2] not in ((claim.height, claim.width), (claim.width, claim.height)):  # turned upright
        raise UnreadableImageError(
            name, "image file is corrupt: its pixels have another size than its header says"
        )
    return to_grey(pixels, intensity)


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
        inner = _enlarge_part(square, size, top, left, height, width)
        return np.asarray(cv2.resize(inner, shape[::-1], interpolation=cv2.INTER_LINEAR), dtype=np.float32)
    result = np.zeros(shape, np.float32)
    window = cv2.resize(square, (width, height), interpolation=cv2.INTER_LINEAR)
    result[top : top + height, left : left + width] = window
    return result


def _enlarge_part(
    square: npt.NDArray[np.float32], size: int, top: int, left: int, height: int, width: int
) -> npt.NDArray[np.float32]:
    """A part of a square that is enlarged to a side of `size`; of a long thin image the whole would be gigabytes."""
    if size * size <= _MOST_ENLARGED:
        full = cv2.resize(square, (size, size), interpolation=cv2.INTER_LINEAR)
        return np.asarray(full[top : top + height, left : left + width], np.float32)
    if height > width:  # the shorter side first, of which little is left
        return np.ascontiguousarray(
            _enlarge_part(np.ascontiguousarray(square.T), size, left, top, width, height).T
        )
    num = len(square)
    rows = cv2.resize(square, (num, size), interpolation=cv2.INTER_LINEAR)[top : top + height]
    columns = cv2.resize(np.ascontiguousarray(rows.T), (len(rows), size), interpolation=cv2.INTER_LINEAR)
    return np.ascontiguousarray(columns[left : left + width].T, np.float32)


def undo_prepare(square: npt.NDArray[np.float32], grey: Grey, how: Preprocess) -> npt.NDArray[np.float32]:
    """A map [h, w] over the model's square, resampled onto the file's own pixels [H, W]; 0 where `prepare` cut off."""
    top, left, height, width = kept_box(grey, how)
    result = np.zeros(grey.shape, np.float32)
    result[top : top + height, left : left + width] = undo_fit(square, (height, width), how.fit)
    return result
