"""A radiograph at the size at which it is drawn, and maps of the model's square laid over it."""

from dataclasses import dataclass

import cv2
import numpy as np

from cxr.arrays import Float32
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
    from scipy.interpolate import PchipInterpolator

    num = len(values)
    if num == 1:
        return np.repeat(values, size, axis=0)
    # A cell's value stands at its middle; outside the first and the last middle it stays as it is.
    middles = (np.arange(num) + 0.5) / num
    places = np.clip((np.arange(size) + 0.5) / size, middles[0], middles[-1])
    return np.asarray(PchipInterpolator(middles, values, axis=0)(places), np.float32)
