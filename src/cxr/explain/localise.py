"""How well a map finds boxes: the published definitions, on arrays.

A map is float [H, W] on the image's pixels, larger where the model used more; a mask is bool [H, W].
"""

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from cxr.arrays import Bool, Float32
from cxr.images.box import Box

Levels = npt.NDArray[np.uint8]
"""A map [H, W] in 256 levels."""

IOU_THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
IOBB_THRESHOLDS = (0.1, 0.25, 0.5, 0.75, 0.9)
"""T(IoU) and T(IoBB) of Wang et al. 2017, table 4 and its supplement."""
_LEVELS = (60, 180)
"""Of 255: where Wang et al. cut a map to draw boxes around its islands."""


def draw_mask(boxes: Sequence[Box], shape: tuple[int, ...]) -> Bool:
    """The pixels [H, W] in any of the boxes."""
    mask = np.zeros(shape, np.bool_)
    for box in boxes:
        mask[box.slices] = True
    return mask


def score_pointing(values: Float32, mask: Bool) -> float:
    """Pointing game (Zhang et al. 2018), without a margin: whether the largest value is in the mask.

    Where several pixels have it, the share of them that is: what a random choice would give on average. So a
    constant map scores what chance does.
    """
    return float(mask[values == values.max()].mean())


def score_hit(values: Float32, mask: Bool) -> float:
    """CheXlocalize's hit (Saporta et al. 2022): 1 where the first of the largest pixels is in the mask."""
    return float(mask.reshape(-1)[int(np.argmax(values))])


def score_mass(values: Float32, mask: Bool) -> float:
    """Share of the map's positive values that is inside the mask; 0 where nothing is positive."""
    positive = np.maximum(values, 0)
    total = positive.sum(dtype=np.float64)
    return float(positive[mask].sum(dtype=np.float64) / total) if total > 0 else 0.0


def score_map(values: Float32, levels: Levels, mask: Bool) -> dict[str, float]:
    """The scores of a map in its values and in 256 levels, by name: pointing, hit, mass and iou.

    A constant map points nowhere: it has the scores of chance, not those of its first pixel.
    """
    if not levels.any():
        return dict.fromkeys(("pointing", "hit", "mass", "iou"), float(mask.mean()))
    return {
        "pointing": score_pointing(values, mask),
        "hit": score_hit(values, mask),
        "mass": score_mass(values, mask),
        "iou": score_iou(to_mask(levels), mask),
    }


def to_levels(values: Float32) -> Levels:
    """The map from its minimum to its maximum as 0 to 255, rounded down; 0 where it is constant."""
    low, high = values.min(), values.max()
    if high <= low:
        return np.zeros(values.shape, np.uint8)
    # in place: a map has as many pixels as the image
    shifted = values - low
    shifted /= high - low
    shifted *= 255
    return np.asarray(shifted, np.uint8)


def to_mask(levels: Levels) -> Bool:
    """CheXlocalize's step from a map in 256 levels to a mask: Otsu's threshold."""
    # Otsu's threshold of a constant map is no threshold: such a map has no mask
    _, mask = cv2.threshold(levels, 0, 255, cv2.THRESH_OTSU)
    return np.asarray(mask, np.uint8) > 0 if levels.any() else np.zeros(levels.shape, np.bool_)


def score_iou(found: Bool, mask: Bool) -> float:
    """Intersection over union of two masks; 0 where both are empty."""
    union = np.count_nonzero(found | mask)
    return float(np.count_nonzero(found & mask) / union) if union else 0.0


def draw_boxes(levels: Levels) -> list[Box]:
    """Boxes around the islands of a map above 60 and above 180 of 255 (Wang et al. 2017).

    A constant map is one island: its box is the whole image.
    """
    if not levels.any():
        return [Box(0, 0, levels.shape[1], levels.shape[0])]
    # an island that is the same at both levels gives one box
    boxes = dict.fromkeys(box for level in _LEVELS for box in find_islands(levels >= level))
    return list(boxes)


def find_islands(mask: Bool) -> list[Box]:
    """Boxes around the islands of a mask [H, W]; pixels that touch at a corner are of one island."""
    # outlines take a thirtieth of the time of numbering the pixels of every island
    outlines, above = cv2.findContours(mask.view(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    if above is None:
        return []
    # an outline with one above it is that of a hole
    return [
        Box(*map(int, cv2.boundingRect(outline)))
        for outline, (*_, parent) in zip(outlines, above[0], strict=True)
        if parent < 0
    ]


def overlap(found: Box, truth: Box) -> tuple[float, float]:
    """(IoU, IoBB): intersection over union, and over the box that was found (Wang et al. 2017)."""
    width = min(found.x + found.width, truth.x + truth.width) - max(found.x, truth.x)
    height = min(found.y + found.height, truth.y + truth.height) - max(found.y, truth.y)
    # negative where the boxes do not touch; two negatives would make a positive area
    common = max(0, width) * max(0, height)
    area, truth_area = found.width * found.height, truth.width * truth.height
    return common / (area + truth_area - common), common / area


def best_overlaps(found: Sequence[Box], truths: Sequence[Box]) -> list[tuple[float, float]]:
    """(largest IoU, largest IoBB) with any box that was found, for each true box."""
    pairs = [[overlap(box, truth) for box in found] for truth in truths]
    return [
        (max(iou for iou, _ in row), max(iobb for _, iobb in row)) if row else (0.0, 0.0) for row in pairs
    ]


def count_false(found: Sequence[Box], truths: Sequence[Box]) -> int:
    """Boxes that were found and reach an IoU of 0.1 with no true box."""
    return sum(all(overlap(box, truth)[0] < IOU_THRESHOLDS[0] for truth in truths) for box in found)
