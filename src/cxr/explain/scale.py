"""One scale of colours for all findings of an image, and its numbers."""

import math
from dataclasses import dataclass

import cv2
import numpy as np

from cxr.arrays import Float32
from cxr.explain.lettering import Colour
from cxr.images.grey import Grey

LEAST_TOP = 1.0
"""Logits: where all contributions are smaller, none has the strongest colour."""
_VISIBLE = 0.05
"""Share of the top from which a colour can be told from the grey below it: 0.035 of it is colour."""
_MAX_TICKS = 5
_MAX_OPACITY = 0.7
_FIRST_COLOUR = 70
"""Of the 256 colours of `inferno`: the darker ones would look like dark lung."""


@dataclass(frozen=True)
class Scale:
    """From 0 (no colour) to `top` (the strongest colour), in logits.

    Attributes:
        top: The largest contribution of a called finding to its logit at any place, or of any finding where
            none is called.
    """

    top: float

    @property
    def ticks(self) -> list[float]:
        """Two to five round numbers above 0 and up to the top."""
        # the power of ten at or below the top, then the first of 1, 2, 5 times it, or a tenth of it, that
        # gives no more than five ticks
        step = 10 ** math.floor(math.log10(self.top))
        rough = self.top / _MAX_TICKS
        step = next(
            part for power in (step / 10, step) for part in (power, 2 * power, 5 * power) if part >= rough
        )
        return [number * step for number in range(1, math.floor(self.top / step + 1e-9) + 1)]

    def share(self, values: Float32) -> Float32:
        """Values as shares of the top, from 0 to 1."""
        return np.asarray(np.clip(values / np.float32(self.top), 0, 1), np.float32)

    def shows(self, values: Float32) -> bool:
        """Whether any of the values has a colour that can be seen."""
        return bool(values.max() >= _VISIBLE * self.top)

    def paint(self, grey: Grey, values: Float32) -> Colour:
        """Grey pixels [H, W] under the colours of values [H, W]; where a value is 0 or less, unchanged."""
        share = self.share(values)
        levels = np.rint(_FIRST_COLOUR + share * (255 - _FIRST_COLOUR)).astype(np.uint8)
        # [H, W, 3]; the colour's share of a pixel grows with the value, up to 0.7, so that the lung stays
        # visible
        colour = np.asarray(cv2.applyColorMap(levels, cv2.COLORMAP_INFERNO), np.float32)
        opacity = (share * np.float32(_MAX_OPACITY))[..., None]
        mixed = np.asarray(cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR)) * (1 - opacity) + colour * opacity
        return np.asarray(np.rint(mixed), np.uint8)


def choose_scale(maps: Float32, is_called: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> Scale:
    """The scale of an image.

    Args:
        maps: [C, h, w] contributions of every finding.
        is_called: [C].
    """
    compared = maps[is_called] if is_called.any() else maps
    return Scale(max(float(compared.max()), LEAST_TOP))
