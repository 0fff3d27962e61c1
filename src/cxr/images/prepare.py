"""Grey pixels [H, W] of any size -> the store's square [S, S], and a map over the square -> the image.

Training and prediction both go through `prepare`. One resampler serves the whole program: `cv2.INTER_AREA`
when shrinking, `cv2.INTER_LINEAR` when enlarging. Pillow's antialiasing differs from it by tens of grey
levels on a radiograph's edges, so the method is named in Preprocess, which the store's manifest and every
checkpoint carry.
"""

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from cxr.arrays import Float32
from cxr.images.box import Box
from cxr.images.grey import Grey, Intensity

Fit = Literal["pad", "squash", "crop"]
Borders = Literal["keep", "crop"]

_MIN_KEPT_SHARE = 1 / 3
_BORDER_TOLERANCE = 8  # grey levels
_MAX_ENLARGED_PIXELS = 64_000_000  # of a map that is enlarged as a whole; 256 MB in float32


@dataclass(frozen=True)
class Preprocess:
    """How a file becomes the store's pixels; manifest and checkpoint carry it, and a mismatch is an error.

    Attributes:
        size: Width and height of the result in pixels.
        fit: What happens to an image that is not square.
        resize: The resampler.
        intensity: How grey values become 8 bit. bit-depth: 8-bit values stay; deeper values are divided by
            their bit depth, the smallest power of two that holds the brightest pixel, so that 12-bit values
            in a 16-bit file keep contrast. This holds for PNG, TIFF and DICOM alike, whatever depth a header
            names; where a DICOM file has negative values, the range begins at the power of two that holds the
            darkest. A DICOM file with a window or VOI table that shows something is scaled by the range that
            these give. range: each image's own minimum to maximum, after the window.
        grey: How colour becomes grey: ITU-R BT.601 luminance, alpha ignored.
        borders: Whether uniform black or white rows and columns at the edges are cut off first.
    """

    size: int
    fit: Fit = "pad"
    resize: str = "cv2-area"
    intensity: Intensity = "bit-depth"
    grey: str = "bt601"
    borders: Borders = "keep"


def prepare(grey: Grey, preprocess: Preprocess) -> Grey:
    """The store's square [S, S] from grey pixels [H, W] of any size."""
    size = preprocess.size

    # 1. without uniform borders: [H, W] -> [h, w]
    grey = grey[kept_box(grey, preprocess).slices]
    height, width = grey.shape
    box = _fit_box(height, width, preprocess.fit, size)

    # 2. crop and squash: `box` is a part of the image, and becomes the whole square
    if preprocess.fit != "pad":
        grey = grey[box.slices]
        return grey if grey.shape == (size, size) else _resize(grey, size, size)

    # 3. pad: `box` is the part of the square that the whole image fills; the rest stays black
    inner = grey if (height, width) == (box.height, box.width) else _resize(grey, box.height, box.width)
    if inner.shape == (size, size):
        return inner
    square = np.zeros((size, size), np.uint8)
    square[box.slices] = inner
    return square


def kept_box(grey: Grey, preprocess: Preprocess) -> Box:
    """What is left of an image [H, W] without uniform black or white borders; all of it under borders=keep.

    A row or column is a border when it lies within 8 grey levels of black or of white. Where less than a
    third of a side would be left, nothing is cut off: such an image is dark or empty, not framed.
    """
    height, width = grey.shape[:2]
    whole = kept = Box(0, 0, width, height)
    if preprocess.borders == "keep":
        return whole
    # again and again, since a white frame may lie inside a black one and is uniform only without it
    while True:
        part = grey[kept.slices]
        first_row, num_rows = _find_varied(part, axis=1)
        first_column, num_columns = _find_varied(part, axis=0)
        if min(num_rows / height, num_columns / width) < _MIN_KEPT_SHARE:
            return whole
        if (num_rows, num_columns) == part.shape:
            return kept
        kept = Box(kept.x + first_column, kept.y + first_row, num_columns, num_rows)


def seen_box(grey: Grey, preprocess: Preprocess) -> Box:
    """The part of an image [H, W] that becomes the square: without its borders, and what a crop keeps."""
    kept = kept_box(grey, preprocess)
    if preprocess.fit != "crop":
        return kept
    inner = _fit_box(kept.height, kept.width, "crop", preprocess.size)
    return Box(kept.x + inner.x, kept.y + inner.y, inner.width, inner.height)


def _find_varied(grey: Grey, axis: int) -> tuple[int, int]:
    """(first, number) of the rows (axis 1) or columns (axis 0) between the uniform ones at both ends."""
    # [rows or columns]; a border is uniform near one end of the range, as black or white frames are
    is_black = grey.max(axis=axis) <= _BORDER_TOLERANCE
    is_white = grey.min(axis=axis) >= 255 - _BORDER_TOLERANCE
    varied = np.flatnonzero(~(is_black | is_white))
    if not len(varied):
        return 0, 0
    return int(varied[0]), int(varied[-1] - varied[0]) + 1


def _fit_box(height: int, width: int, fit: Fit, size: int) -> Box:
    """The part of an image that is kept (crop, squash), or the part of the square that it fills (pad)."""
    if fit == "squash":
        return Box(0, 0, width, height)
    if fit == "crop":
        side = min(height, width)
        return Box((width - side) // 2, (height - side) // 2, side, side)
    # the longer side fills the square, the shorter one is centred
    scale = size / max(height, width)
    inner_height = max(1, round(height * scale))  # an image of 5000 x 1 pixels still fills a row
    inner_width = max(1, round(width * scale))
    return Box((size - inner_width) // 2, (size - inner_height) // 2, inner_width, inner_height)


def _resize(grey: Grey, height: int, width: int) -> Grey:
    """Pixels [height, width], shrunk first and enlarged then.

    INTER_AREA takes means only if no side grows, so both sides are shrunk first and enlarged afterwards.
    """
    smaller = min(grey.shape[0], height), min(grey.shape[1], width)
    if smaller != grey.shape:
        grey = np.asarray(cv2.resize(grey, smaller[::-1], interpolation=cv2.INTER_AREA), np.uint8)
    if smaller != (height, width):
        grey = np.asarray(cv2.resize(grey, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)
    return grey


def undo_prepare(square: Float32, grey: Grey, preprocess: Preprocess) -> Float32:
    """A map [h, w] over the model's square, on the image's pixels [H, W]; 0 where `prepare` cut it off."""
    kept = kept_box(grey, preprocess)
    part = undo_fit(square, (kept.height, kept.width), preprocess.fit)
    if part.shape == grey.shape:
        return part
    result = np.zeros(grey.shape, np.float32)
    result[kept.slices] = part
    return result


def undo_fit(square: Float32, shape: tuple[int, int], fit: Fit) -> Float32:
    """A map [h, w] over the model's square, on the pixels [H, W] of an image; 0 where a crop left none.

    The square is first enlarged to the image's longer side, so that one of its pixels is one of the image's.
    """
    height, width = shape
    size = max(height, width, *square.shape)
    box = _fit_box(height, width, fit, size)

    if fit == "pad":
        # the padding is cut off after enlarging: before, the map's few pixels would not end where the image
        # does
        inner = _enlarge_part(square, size, box)  # [box.height, box.width]
        if inner.shape == shape:  # as always, but of an image that is smaller than the map
            return np.ascontiguousarray(inner)
        return np.asarray(cv2.resize(inner, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)

    result = np.zeros(shape, np.float32)
    result[box.slices] = cv2.resize(square, (box.width, box.height), interpolation=cv2.INTER_LINEAR)
    return result


def _enlarge_part(square: Float32, size: int, box: Box) -> Float32:
    """`box` of a square enlarged to [size, size]; the whole of a long thin image's would be gigabytes."""
    if size * size <= _MAX_ENLARGED_PIXELS:
        full = cv2.resize(square, (size, size), interpolation=cv2.INTER_LINEAR)
        return np.asarray(full[box.slices], np.float32)

    if box.height > box.width:  # turn it by its diagonal, so that the shorter side is the height
        turned = np.ascontiguousarray(square.T)
        part = _enlarge_part(turned, size, Box(box.y, box.x, box.height, box.width))
        return np.ascontiguousarray(part.T)

    # Linear enlarging treats rows and columns apart, so the height may come first: few of its rows are kept.
    num_columns = len(square)
    tall = cv2.resize(square, (num_columns, size), interpolation=cv2.INTER_LINEAR)  # [size, columns]
    rows = tall[box.y : box.y + box.height]  # [box.height, columns]
    # Turned again, as both calls then enlarge the height alone: [columns, box.height] -> [size, box.height].
    wide = cv2.resize(np.ascontiguousarray(rows.T), (len(rows), size), interpolation=cv2.INTER_LINEAR)
    return np.ascontiguousarray(wide[box.x : box.x + box.width].T, np.float32)  # [box.height, box.width]
