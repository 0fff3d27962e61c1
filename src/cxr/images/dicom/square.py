"""DICOM pixels that are taller or wider than square, made square."""

import math
from typing import Any

import cv2
import numpy as np
from pydicom import Dataset

from cxr.images.dicom.errors import RefusedError
from cxr.images.grey import Grey
from cxr.images.limits import explain_excess
from cxr.images.notes import Note

_SPACINGS = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing", "PixelAspectRatio")
_MIN_RATIO, _MAX_RATIO = 1.01, 10.0  # ratios of sides that are rounded to 1, and that no detector has


def make_pixels_square(dataset: Dataset, grey: Grey, note: Note) -> Grey:
    """The image [H, W], stretched where a header says that its pixels are not square.

    The first of PixelSpacing, ImagerPixelSpacing, NominalScannedPixelSpacing and PixelAspectRatio decides;
    each is the height and the width of a pixel. A ratio above 10 is taken for a mistake and ignored.

    Raises:
        RefusedError: The result would be too large.
    """
    all_sides = (_read_sides(dataset, keyword) for keyword in _SPACINGS)
    down, across = next(filter(None, all_sides), (1.0, 1.0))
    ratio = max(down, across) / min(down, across)
    if ratio < _MIN_RATIO:
        return grey
    if ratio > _MAX_RATIO:
        note("its header says that pixels are over 10 times as long as wide, which is ignored")
        return grey
    height, width = grey.shape
    if down > across:
        height = round(height * ratio)
    else:
        width = round(width * ratio)
    excess = explain_excess(width, height)
    if excess:
        raise RefusedError(f"{excess} once its pixels are square")
    note("its pixels are not square: the image was stretched")
    return np.asarray(cv2.resize(grey, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)


def _read_sides(dataset: Dataset, keyword: str) -> tuple[float, float] | None:
    """Height and width of a pixel, None where that is not two positive numbers."""
    try:
        values: Any = dataset.get(keyword)
        down, across = (float(value) for value in values)
    except Exception:  # absent; or pydicom raises anything on a value that is no number
        return None
    are_lengths = math.isfinite(down) and math.isfinite(across) and down > 0 and across > 0
    return (down, across) if are_lengths else None
