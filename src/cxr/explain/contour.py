"""Contours of a map on a radiograph, with their numbers."""

from functools import cache

import cv2
import numpy as np

from cxr.arrays import AnyArray, Bool, Float32
from cxr.explain.lettering import Colour, Lettering
from cxr.images.box import Box

CONTOUR = (255, 230, 120)  # a light blue that the scale's colours do not have
_NUMBER_SIZE = 22  # pixels of the letters beside a contour


def draw_contour(drawn: Colour, values: Float32, level: float, seen: Box, thickness: int) -> AnyArray:
    """Draw where a map [H, W] passes a level, inside what the model saw; the longest line's points [n, 2].

    Along the edge of what was seen the map ends and does not fall. A line there would look like the frame of
    a finding, so dots show which side of the contour is the higher one.
    """
    # The mask is extended over the edge. An outline along the edge then lies outside, where it is not drawn.
    margin = thickness + 2
    around = (margin, margin, margin, margin)
    mask = cv2.copyMakeBorder(
        (values[seen.slices] >= level).astype(np.uint8), *around, borderType=cv2.BORDER_REPLICATE
    )
    outlines, _ = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    canvas = cv2.copyMakeBorder(drawn[seen.slices], *around, borderType=cv2.BORDER_REPLICATE)
    cv2.drawContours(canvas, outlines, -1, CONTOUR, thickness, cv2.LINE_AA)
    drawn[seen.slices] = canvas[margin:-margin, margin:-margin]
    _dot_edge(drawn[seen.slices], mask[margin:-margin, margin:-margin] > 0, thickness)
    points = max((line[:, 0] - margin for line in outlines), key=len, default=np.empty((0, 2), np.int64))
    inside = ((points >= 0) & (points < (seen.width, seen.height))).all(axis=1)
    found: AnyArray = points[inside] + (seen.x, seen.y)
    return found


def _dot_edge(drawn: Colour, inside: Bool, thickness: int) -> None:
    """Dots along the edge of the pixels [H, W] where the mask [H, W] reaches it."""
    if inside.all():  # no contour whose sides could be told apart
        return
    height, width = inside.shape
    rows, columns = np.arange(height)[:, None], np.arange(width)[None]
    is_edge = (np.minimum(rows, height - 1 - rows) < thickness) | (
        np.minimum(columns, width - 1 - columns) < thickness
    )
    # every eighth piece of as many pixels as a line is wide; at a corner the sum of both counts
    is_dot = (rows + columns) // thickness % 8 == 6
    drawn[inside & is_edge & is_dot] = CONTOUR


def number_contour(drawn: Colour, points: AnyArray, number: str) -> None:
    """Write a number beside the point of a contour [n, 2] that is nearest to the middle of the image."""
    height, width = drawn.shape[:2]
    x, y = points[np.abs(points - (width / 2, height / 2)).sum(axis=1).argmin()]
    letters = _digits()
    right, bottom = width - letters.width(number, _NUMBER_SIZE) - 4, height - 4
    # up and to the right of the line, and inside the image
    place = max(4, min(int(x) + 10, right)), max(_NUMBER_SIZE, min(int(y) - 10, bottom))
    # dark around it, to be read on white
    letters.write(drawn, number, place, _NUMBER_SIZE, CONTOUR, outline=3)


@cache
def _digits() -> Lettering:
    return Lettering(["0123456789.e-+"])
