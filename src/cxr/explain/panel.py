"""A radiograph at the size at which it is drawn, and maps of the model's square laid over it."""

from dataclasses import dataclass

import cv2
import numpy as np

from cxr.arrays import Float32, Float64
from cxr.images.box import Box
from cxr.images.grey import Grey
from cxr.images.prepare import Fit, Preprocess, kept_box, seen_box, undo_fit

SHORTER_SIDE = 768
"""Pixels that the shorter side of a drawn image has at least."""
LONGEST_SIDE = 2048
"""Pixels that the longer side has at most, whatever the shorter side then is."""
_SMOOTH_SIZE = 512


@dataclass(frozen=True)
class Panel:
    """A radiograph [H, W] as it is drawn.

    Attributes:
        grey: Its pixels.
        kept: What is left without its borders, in these pixels.
        seen: What of it the model saw.
        fit: How that became the model's square.
    """

    grey: Grey
    kept: Box
    seen: Box
    fit: Fit

    @property
    def is_whole(self) -> bool:
        """Whether the model saw the whole image."""
        return self.seen == Box(0, 0, self.grey.shape[1], self.grey.shape[0])

    def lay(self, cells: Float32) -> Float32:
        """A map [h, w] of the model's square, smooth on these pixels [H, W]; 0 where it saw nothing."""
        # smooth first, in the model's square, then to the image's shape
        result = np.zeros(self.grey.shape, np.float32)
        result[self.kept.slices] = undo_fit(
            smooth(cells, _SMOOTH_SIZE), (self.kept.height, self.kept.width), self.fit
        )
        return result


def make_panel(grey: Grey, preprocess: Preprocess, shorter: int = SHORTER_SIDE) -> Panel:
    """A radiograph with at least `shorter` pixels on its shorter side and at most 2048 on the longer one."""
    height, width = grey.shape
    factor = max(shorter / min(height, width), 1.0)
    # the limit wins over the shorter side: a narrow strip would else become very long
    factor = min(factor, LONGEST_SIDE / max(height, width))
    shape = max(1, round(height * factor)), max(1, round(width * factor))

    def scale(box: Box) -> Box:
        left, right = (round(x * shape[1] / width) for x in (box.x, box.x + box.width))
        top, bottom = (round(y * shape[0] / height) for y in (box.y, box.y + box.height))
        # at least one pixel inside, whatever rounding does
        left, top = min(left, shape[1] - 1), min(top, shape[0] - 1)
        return Box(left, top, max(1, right - left), max(1, bottom - top))

    kept, seen = kept_box(grey, preprocess), seen_box(grey, preprocess)
    # the mean of the pixels where the image shrinks, a smooth curve where it grows
    method = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    drawn = grey if factor == 1 else cv2.resize(grey, shape[::-1], interpolation=method)
    return Panel(np.asarray(drawn, np.uint8), scale(kept), scale(seen), preprocess.fit)


def shrink(panel: Panel, shorter: int) -> Panel:
    """The panel with `shorter` pixels on its shorter side, where it has more."""
    factor = shorter / min(panel.grey.shape)
    if factor >= 1:
        return panel
    height, width = (max(1, round(side * factor)) for side in panel.grey.shape)

    def scale(box: Box) -> Box:
        x, y = int(box.x * factor), int(box.y * factor)
        return Box(
            x,
            y,
            max(1, min(round(box.width * factor), width - x)),
            max(1, min(round(box.height * factor), height - y)),
        )

    grey = np.asarray(cv2.resize(panel.grey, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
    return Panel(grey, scale(panel.kept), scale(panel.seen), panel.fit)


def smooth(cells: Float32, size: int) -> Float32:
    """A map [h, w] as [size, size] without edges between its cells, for the eye.

    Piecewise cubic and monotone (Fritsch and Butland 1984) along rows and columns: the value of a cell stands
    at its middle, none is above the largest or below the smallest cell. Linear interpolation would show
    stripes, and cubic splines would invent peaks.
    """
    # along one axis, then, transposed, along the other
    rows = _interpolate(cells, size)
    return np.ascontiguousarray(_interpolate(rows.T, size).T)


def _interpolate(values: Float32, size: int) -> Float32:
    """Columns [n, k] at `size` places: [size, k]; constant outside the first and the last middle."""
    num = len(values)
    if num == 1:
        return np.repeat(values, size, axis=0)
    exact = values.astype(np.float64)
    slopes = _find_slopes(exact)
    # A cell's value stands at its middle; outside the first and the last middle it stays as it is.
    # Places in units of cells, from the first middle on: place = cell + part, with a part from 0 to 1
    places = np.clip((np.arange(size) + 0.5) * num / size - 0.5, 0, num - 1)
    cells = np.minimum(places.astype(np.intp), num - 2)
    part = (places - cells)[:, None]  # [size, 1]
    rest = 1 - part
    # Hermite's cubics: a value counts by its distance, a slope bends the way to it
    low = rest**2 * ((1 + 2 * part) * exact[cells] + part * slopes[cells])
    high = part**2 * ((1 + 2 * rest) * exact[cells + 1] - rest * slopes[cells + 1])
    return np.asarray(low + high, np.float32)


def _find_slopes(values: Float64) -> Float64:
    """Slopes [n, k] at n values of each column: the harmonic mean of both sides, 0 at a peak and a valley."""
    steps = np.diff(values, axis=0)  # [n - 1, k]
    if len(steps) == 1:
        return np.repeat(steps, 2, axis=0)
    before, after = steps[:-1], steps[1:]
    is_monotone = before * after > 0
    means = 2 * before * after / np.where(is_monotone, before + after, 1)
    first, last = _end_slope(steps[0], steps[1]), _end_slope(steps[-1], steps[-2])
    return np.concatenate([first[None], np.where(is_monotone, means, 0), last[None]])


def _end_slope(outer: Float64, inner: Float64) -> Float64:
    """Slopes [k] at an end from its two steps: of the parabola, as far as the curve stays monotone."""
    slope = (3 * outer - inner) / 2
    is_steep = (np.sign(outer) != np.sign(inner)) & (np.abs(slope) > 3 * np.abs(outer))
    slope = np.where(is_steep, 3 * outer, slope)
    return np.where(np.sign(slope) == np.sign(outer), slope, 0)
