"""Decoded pixels of any depth and colour -> 8-bit grey: the one rule for PNG, JPEG, TIFF and DICOM."""

from collections.abc import Callable
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt

Grey = npt.NDArray[np.uint8]
Intensity = Literal["bit-depth", "range"]
Rows = Callable[[slice], npt.NDArray[Any]]

_BLOCK = 1 << 20


def top_of(brightest: int) -> int:
    """The largest value of the bit depth that the brightest pixel needs, at least that of 8 bits.

    This is the rule of Preprocess for PNG, TIFF and DICOM alike, whatever depth a file says it has.
    """
    return int(2 ** max(8, brightest.bit_length()) - 1)


def to_grey(pixels: npt.NDArray[Any], intensity: Intensity = "bit-depth") -> Grey:
    """8-bit luminance [H, W] of decoded pixels: grey, BGR or BGRA, 8 or 16 bit."""
    pixels = pixels[..., 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels
    if pixels.dtype == np.uint8 and pixels.ndim == 2 and intensity == "bit-depth":
        return np.asarray(pixels, np.uint8)

    def luminance(rows: slice) -> npt.NDArray[Any]:
        part = pixels[rows]
        return (
            part if part.ndim == 2 else cv2.cvtColor(np.ascontiguousarray(part[..., :3]), cv2.COLOR_BGR2GRAY)
        )

    colours = pixels[..., :3] if pixels.ndim == 3 else pixels  # alpha says nothing of the depth
    return scale(
        luminance, pixels.shape[:2], 255 if pixels.dtype == np.uint8 else int(colours.max()), intensity
    )


def scale(luminance: Rows, shape: tuple[int, ...], brightest: int, intensity: Intensity) -> Grey:
    """8 bits of a luminance [H, W] of 8 or 16, some rows at a time, so that no second image is in memory.

    Args:
        luminance: Its values in some rows; called twice for the same under `range`.
        shape: (H, W).
        brightest: The largest value of the image in any channel.
        intensity: As in Preprocess.
    """
    result, low, high = np.empty(shape, np.uint8), 0, top_of(brightest)
    if intensity == "range":
        ends = [(int(part.min()), int(part.max())) for part in map(luminance, blocks_of(shape))]
        low, high = min(one for one, _ in ends), max(one for _, one in ends)
    table = to_levels(np.arange(high + 1), low, high)
    for rows in blocks_of(shape):
        part = luminance(rows)
        if (low, high) == (0, 255):
            result[rows] = part
        else:
            np.take(table, part, out=result[rows], mode="clip")  # clip, as the default copies the result
    return result


def to_levels(values: npt.NDArray[Any], low: int, high: int) -> Grey:
    """Values from low to high as 0 to 255; those below are 0."""
    return np.asarray(
        np.rint(np.maximum(values - np.float64(low), 0) * (255.0 / max(high - low, 1))), np.uint8
    )


def blocks_of(shape: tuple[int, ...]) -> list[slice]:
    """Slices of rows, each of about a million pixels."""
    step = max(1, _BLOCK // max(1, shape[1]))
    return [slice(start, start + step) for start in range(0, shape[0], step)]
