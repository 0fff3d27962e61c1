"""The stored values of a grey DICOM image, each once, so that a transform has at most 65,536 to compute."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from cxr.arrays import Bool, Float64, Int32
from cxr.images.dicom.layout import StoredPixels
from cxr.images.grey import Grey, find_ends, split_rows

# every so many pixels of a row and rows of a block are enough to see that an image is not one grey
_STEP = 16


@dataclass(frozen=True)
class StoredValues:
    """All N whole numbers from the image's smallest stored value to its largest.

    Attributes:
        pixels: The image; a pixel of value v belongs to entry v - stored[0].
        stored: [N] the values, ascending by 1.
        padding: [N] which of them the file declares to be no part of the image.
    """

    pixels: StoredPixels
    stored: Int32
    padding: Bool

    @cached_property
    def seen(self) -> Bool:
        """[N] which values pixels have, padding left out; all where there is nothing but padding."""
        seen = np.zeros(len(self.stored), bool)
        for rows in split_rows(self.pixels.words.shape):
            seen[self._entries(rows).ravel()] = True
        seen &= ~self.padding
        return seen if seen.any() else np.ones(len(self.stored), bool)

    def find_darkest_and_brightest(self) -> tuple[int, int]:
        """The smallest and the largest stored value that is part of the image."""
        values = self.stored[self.seen] if self.padding.any() else self.stored
        return int(values[0]), int(values[-1])

    def are_distinguished_by(self, shares: Float64) -> bool:
        """Whether the image has more than one grey under these shares [N], or has one stored value anyway."""
        levels = np.rint(np.clip(shares, 0, 1) * 255)
        # a few pixels are enough for most images
        sample = self._entries(split_rows(self.pixels.words.shape)[0])[::_STEP, ::_STEP]
        sample = sample[~self.padding[sample]]
        if sample.size and levels[sample].min() != levels[sample].max():
            return True
        seen_levels = levels[self.seen]
        return bool(seen_levels.min() != seen_levels.max() or self.seen.sum() == 1)

    def look_up(self, table: Grey) -> Grey:
        """The image [H, W] with each stored value looked up in a table [N]."""
        result = np.empty(self.pixels.words.shape, np.uint8)
        for rows in split_rows(result.shape):
            # the default mode copies the result
            np.take(table, self._entries(rows), out=result[rows], mode="clip")
        return result

    def _entries(self, rows: slice) -> Int32:
        """The entry [h, W] of each pixel in some rows."""
        return np.asarray(self.pixels.read_rows(rows).astype(np.int32) - self.stored[0], np.int32)


def list_stored_values(pixels: StoredPixels) -> Int32:
    """[N] every whole number from the smallest to the largest stored value of an image [H, W]."""
    low, high = find_ends(pixels.read_rows, pixels.words.shape)
    return np.arange(low, high + 1, dtype=np.int32)
