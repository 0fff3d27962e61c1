"""How a DICOM header says that its pixels are laid out, and pixels as they are stored."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt


class Refused(Exception):
    """Why a file is not read; becomes an UnreadableImageError with the file's name."""


class Layout(NamedTuple):
    """How a header says that pixels are stored; `high` is the place of a sample's highest bit."""

    width: int
    height: int
    channels: int
    bits: int
    stored: int
    high: int
    signed: bool
    planar: int
    photometric: str

    @property
    def num_bytes(self) -> int:
        """Bytes of the pixels without compression."""
        size = self.width * self.height * self.channels * self.bits // 8
        return size * 2 // 3 if self.photometric == "YBR_FULL_422" else size

    def options(self) -> dict[str, Any]:
        """As pydicom's decoders want them; samples are cut out of their words here, not there."""
        return {
            "rows": self.height, "columns": self.width, "samples_per_pixel": self.channels, "number_of_frames": 1,
            "bits_allocated": self.bits, "bits_stored": self.stored, "pixel_representation": int(self.signed),
            "planar_configuration": self.planar, "photometric_interpretation": self.photometric,
            "pixel_keyword": "PixelData", "correct_unused_bits": False,
        }  # fmt: skip


class Stored(NamedTuple):
    """Words [H, W] or [H, W, 3], perhaps of the file itself; `rows` cuts the samples out of them.

    A sample lies below `left` bits that belong to something else, and has `right` bits less than a word.
    """

    words: npt.NDArray[Any]
    photometric: str
    left: int = 0
    right: int = 0

    def rows(self, rows: slice) -> npt.NDArray[Any]:
        """Samples of some rows, with their sign."""
        words = self.words[rows]
        return np.asarray((words << self.left) >> self.right) if self.left or self.right else words
