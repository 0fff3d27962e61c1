"""Decoded pixels of any depth and colour -> 8-bit grey: the one rule for PNG, JPEG, TIFF and DICOM."""

from collections.abc import Callable
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt

from cxr.arrays import AnyArray

Grey = npt.NDArray[np.uint8]
Intensity = Literal["bit-depth", "range"]
ReadRows = Callable[[slice], npt.NDArray[Any]]
"""Gives the luminance [h, W] of some rows."""

_BLOCK_PIXELS = 1 << 20


def max_of_depth(brightest: int) -> int:
    """The largest value of the bit depth that the brightest pixel needs, at least 255.

    This is the rule of Preprocess for PNG, TIFF and DICOM alike, whatever depth a file says it has.
    """
    return int(2 ** max(8, brightest.bit_length()) - 1)


def to_grey(pixels: AnyArray, intensity: Intensity = "bit-depth", brightest: int | None = None) -> Grey:
    """8-bit luminance [H, W] of grey [H, W] or [H, W, 1], BGR or BGRA [H, W, 3 or 4] of 8 or 16 bit.

    Args:
        pixels: The image.
        intensity: As in Preprocess.
        brightest: The largest value that 16-bit pixels may have; None takes the largest that they do have.
    """
    # [H, W, 1] as [H, W], without a copy
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[..., 0]
    is_8_bit = pixels.dtype == np.uint8
    if is_8_bit and pixels.ndim == 2 and intensity == "bit-depth":
        return np.asarray(pixels, np.uint8)  # as most files are: nothing to do

    def read_luminance(rows: slice) -> AnyArray:
        part = pixels[rows]
        if part.ndim == 2:
            return part
        return np.asarray(cv2.cvtColor(np.ascontiguousarray(part[..., :3]), cv2.COLOR_BGR2GRAY))

    if is_8_bit:
        brightest = 255
    elif brightest is None:
        colours = pixels[..., :3] if pixels.ndim == 3 else pixels  # alpha says nothing of the depth
        brightest = int(colours.max())
    return scale_to_8_bit(read_luminance, pixels.shape[:2], brightest, intensity)


def scale_to_8_bit(
    read_luminance: ReadRows, shape: tuple[int, ...], brightest: int, intensity: Intensity
) -> Grey:
    """8-bit grey [H, W] of a luminance of 8 or 16 bits, block by block, so that no second image is in memory.

    Args:
        read_luminance: Its values in some rows; called twice for each block under `range`.
        shape: (H, W).
        brightest: The largest value of the image in any channel.
        intensity: As in Preprocess.
    """
    low, high = 0, max_of_depth(brightest)
    if intensity == "range":
        low, high = find_ends(read_luminance, shape)
    # computed once for each value that there can be, then looked up at every pixel
    table = to_levels(np.arange(high + 1), low, high)
    result = np.empty(shape, np.uint8)
    for rows in split_rows(shape):
        block = read_luminance(rows)
        if (low, high) == (0, 255):
            result[rows] = block
        else:
            np.take(table, block, out=result[rows], mode="clip")  # the default mode would copy the result
    return result


def find_ends(read_rows: ReadRows, shape: tuple[int, ...]) -> tuple[int, int]:
    """The smallest and the largest value of an image (H, W, ...), block by block."""
    ends = [(int(block.min()), int(block.max())) for block in map(read_rows, split_rows(shape))]
    lows, highs = zip(*ends, strict=True)
    return min(lows), max(highs)


def to_levels(values: AnyArray, low: int, high: int) -> Grey:
    """Grey levels 0 to 255 for values from low to high; values below low are 0."""
    # float64, as a difference of unsigned numbers would wrap around below 0
    above_low = np.maximum(values - np.float64(low), 0)
    return np.asarray(np.rint(above_low * (255.0 / max(high - low, 1))), np.uint8)


def split_rows(shape: tuple[int, ...]) -> list[slice]:
    """Slices of rows of an image (H, W, ...), each of about a million pixels."""
    height, width = shape[:2]
    step = max(1, _BLOCK_PIXELS // max(1, width))
    return [slice(start, start + step) for start in range(0, height, step)]
