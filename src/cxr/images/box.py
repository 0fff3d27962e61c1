"""A rectangle of pixels, counted from the upper left corner of the image."""

from typing import NamedTuple


class Box(NamedTuple):
    """A rectangle in the original pixels of an image: its upper left corner and its size."""

    x: int
    y: int
    width: int
    height: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """Rows and columns, to index an array [H, W, ...] with."""
        return slice(self.y, self.y + self.height), slice(self.x, self.x + self.width)
