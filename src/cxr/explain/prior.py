"""Where a finding's boxes are in other patients: what a map must beat that never saw the image."""

from collections import defaultdict
from collections.abc import Sequence

import cv2
import numpy as np

from cxr.arrays import Bool, Float32, Float64
from cxr.images.box import Box

_SIZE = 64
"""Width and height of the grid on which boxes are counted."""


class Prior:
    """Two maps without a model, from the boxes of all patients but one.

    `prior` is their mean box, the same inside and 0 outside. `frequent` is the share of their images whose
    box holds a place: harder to beat, as it points at the place where most boxes are, such as one of two
    lungs.
    """

    def __init__(self) -> None:
        # sums over boxes of (left, top, right, bottom, 1) as shares of the image: of a finding and a patient,
        # and under "" of all patients
        self._corners: dict[tuple[str, str], Float64] = defaultdict(lambda: np.zeros(5))
        self._masks: dict[str, Float64] = defaultdict(lambda: np.zeros((_SIZE, _SIZE)))
        # of each patient the part of the grid that is not 0: whole grids would be 32 KB each
        self._parts: dict[tuple[str, str], list[tuple[slice, slice, Float32]]] = defaultdict(list)

    def add(self, finding: str, patient: str, boxes: Sequence[Box], mask: Bool) -> None:
        """Count the boxes of a finding on an image of a patient, and the mask [H, W] of all of them."""
        height, width = mask.shape
        filled = mask.astype(np.float32)
        small = np.asarray(cv2.resize(filled, (_SIZE, _SIZE), interpolation=cv2.INTER_AREA), np.float32)
        # [64, 64] shares: INTER_AREA gives a cell the part of it that boxes cover
        self._masks[finding] += small
        rows, columns = (_span(np.asarray(small.any(axis=axis), np.bool_)) for axis in (1, 0))
        self._parts[finding, patient].append((rows, columns, small[rows, columns].copy()))
        for key in ((finding, patient), (finding, "")):
            for x, y, box_width, box_height in boxes:
                right, bottom = x + box_width, y + box_height
                self._corners[key] += (x / width, y / height, right / width, bottom / height, 1)

    def maps(self, finding: str, patient: str, shape: tuple[int, ...]) -> dict[str, Float32]:
        """The maps [H, W] of a finding from all other patients; constant where there are none."""
        height, width = shape[:2]
        # all patients less this one: a prior that knows the image's own boxes would be no prior
        *corners, num = self._corners[finding, ""] - self._corners[finding, patient]
        mean_box = np.zeros(shape, np.float32)
        if num < 0.5:
            return {"prior": mean_box, "frequent": mean_box}
        left, top, right, bottom = (corner / num for corner in corners)
        # at least one pixel in each direction, however small the mean box is
        rows = slice(round(top * height), max(round(top * height) + 1, round(bottom * height)))
        columns = slice(round(left * width), max(round(left * width) + 1, round(right * width)))
        mean_box[rows, columns] = 1
        # the same for the grid, whose parts of this patient were kept
        others = self._masks[finding].copy()
        for row_span, column_span, part in self._parts[finding, patient]:
            others[row_span, column_span] -= part
        sums = others.astype(np.float32)
        frequent = cv2.resize(sums, (width, height), interpolation=cv2.INTER_LINEAR)
        # sums are exact to about 1e-6: what is less is no box
        return {"prior": mean_box, "frequent": np.where(frequent > 1e-4, frequent, 0).astype(np.float32)}


def _span(has_any: Bool) -> slice:
    """From the first to the last place that is true."""
    places = np.flatnonzero(has_any)
    return slice(int(places[0]), int(places[-1]) + 1) if len(places) else slice(0, 0)
