"""How a DICOM header says that its pixels are laid out, and pixels as they are stored (PS3.5, 8)."""

from typing import Any, NamedTuple

from pydicom import Dataset

from cxr.arrays import AnyArray
from cxr.images.dicom.errors import RefusedError
from cxr.images.large_images import reserve_memory
from cxr.images.limits import explain_excess

_NEEDED = (
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "PixelRepresentation",
    "PhotometricInterpretation",
)
# photometric interpretation -> channels
_CHANNELS = {
    "MONOCHROME1": 1,
    "MONOCHROME2": 1,
    "PALETTE COLOR": 1,
    "RGB": 3,
    "YBR_FULL": 3,
    "YBR_FULL_422": 3,
    "YBR_ICT": 3,
    "YBR_RCT": 3,
}
_RETIRED = ("HSV", "ARGB", "CMYK", "YBR_PARTIAL_422", "YBR_PARTIAL_420")


class Layout(NamedTuple):
    """How a header says that pixels are stored.

    Attributes:
        width: Pixels of a row.
        height: Rows.
        channels: Samples of a pixel, 1 or 3.
        bits: Bits of a word, 8 or 16; each sample has a word.
        stored: Bits of the sample in its word.
        high: Number of the sample's highest bit in its word, from 0.
        is_signed: Whether samples have a sign.
        planar: 0 where the colours of a pixel are together, 1 where each colour is a plane.
        photometric: Photometric interpretation in capitals.
    """

    width: int
    height: int
    channels: int
    bits: int
    stored: int
    high: int
    is_signed: bool
    planar: int
    photometric: str

    @property
    def num_bytes(self) -> int:
        """Bytes of the pixels without compression."""
        num_bytes = self.width * self.height * self.channels * self.bits // 8
        # two pixels side by side share their two colour channels: 4 samples in place of 6
        return num_bytes * 2 // 3 if self.photometric == "YBR_FULL_422" else num_bytes

    def as_pydicom_options(self) -> dict[str, Any]:
        """As pydicom's decoders take them; `StoredPixels` cuts samples out of their words, not pydicom."""
        return {
            "rows": self.height,
            "columns": self.width,
            "samples_per_pixel": self.channels,
            "number_of_frames": 1,
            "bits_allocated": self.bits,
            "bits_stored": self.stored,
            "pixel_representation": int(self.is_signed),
            "planar_configuration": self.planar,
            "photometric_interpretation": self.photometric,
            "pixel_keyword": "PixelData",
            "correct_unused_bits": False,
        }


class StoredPixels(NamedTuple):
    """Words [H, W] or [H, W, 3], perhaps in the file's memory; `read_rows` cuts the samples out of them.

    In a word of 16 bits with 12 stored and the highest at 13, `left` is 2 and `right` is 4:

        bit  15 14 | 13 ... 2 | 1 0        shifted left by 2, the bits above the sample are gone;
             other | sample   | other      shifted right by 4, those below it, and a sign fills the top.
    """

    words: AnyArray
    photometric: str
    left: int = 0
    right: int = 0

    def cut(self, layout: Layout, high: int) -> "StoredPixels":
        """With the shifts that cut samples of `layout.stored` bits, the highest at `high`, out of words."""
        # first all bits above the sample out to the left, then the rest down to bit 0
        return self._replace(left=layout.bits - 1 - high, right=layout.bits - layout.stored)

    def read_rows(self, rows: slice) -> AnyArray:
        """Samples [h, W] or [h, W, 3] of some rows, with their sign."""
        words = self.words[rows]
        if not self.left and not self.right:
            return words
        return (words << self.left) >> self.right  # a signed type shifts its sign in from the left


def read_layout(dataset: Dataset) -> Layout:
    """How the pixels are stored.

    Raises:
        RefusedError: Elements are missing or contradict each other, or sizes and depths that are not read.
    """
    missing = [keyword for keyword in _NEEDED if dataset.get(keyword) in (None, "")]
    if missing:
        raise RefusedError(f"DICOM file is corrupt: its header lacks {', '.join(missing)}")
    photometric = str(dataset.PhotometricInterpretation).strip().upper()
    bits, stored, high = int(dataset.BitsAllocated), int(dataset.BitsStored), dataset.get("HighBit")
    layout = Layout(
        width=int(dataset.Columns),
        height=int(dataset.Rows),
        channels=int(dataset.get("SamplesPerPixel") or _CHANNELS.get(photometric, 1)),
        bits=bits,
        stored=stored,
        # the sample lies at the lower end where the header does not say it
        high=stored - 1 if high in (None, "") else int(high),
        is_signed=bool(dataset.PixelRepresentation),
        planar=int(dataset.get("PlanarConfiguration") or 0),
        photometric=photometric,
    )
    _check_layout(layout)
    dataset.PhotometricInterpretation = photometric  # pydicom's functions read it there, without its spaces
    return layout


def _check_layout(layout: Layout) -> None:
    excess = explain_excess(layout.width, layout.height)
    if excess:
        raise RefusedError(excess)
    has_known_depth = layout.bits in (8, 16) and 1 <= layout.stored <= layout.bits
    if not has_known_depth or layout.channels not in (1, 3) or not min(layout.width, layout.height):
        raise RefusedError(
            f"DICOM image of {layout.width} x {layout.height} pixels with {layout.channels} values of "
            f"{layout.bits} bits, {layout.stored} stored: grey or colour of 8 to 16 bits is read"
        )
    # the sample must lie within its word, from bit high - stored + 1 to bit high
    if not layout.stored - 1 <= layout.high < layout.bits:
        raise RefusedError(
            f"DICOM file is corrupt: HighBit {layout.high} with {layout.stored} bits of {layout.bits} stored"
        )
    if layout.photometric in _RETIRED:
        raise RefusedError(
            f"DICOM pixels in {layout.photometric}, which is not read; export it as MONOCHROME2 or RGB"
        )
    if _CHANNELS.get(layout.photometric) != layout.channels:
        known = layout.photometric if layout.photometric in _CHANNELS else "unknown"
        raise RefusedError(
            f"DICOM file is corrupt: its PhotometricInterpretation is {known} "
            f"with {layout.channels} values a pixel"
        )


def reserve_decoding(layout: Layout, file_bytes: int, bytes_per_sample: int) -> None:
    """Wait for the memory that decoding takes beside the file, a byte for each pixel's grey included.

    Raises:
        RefusedError: It takes more than any image may.
    """
    num_pixels = layout.width * layout.height
    num_bytes = file_bytes + num_pixels * (layout.channels * bytes_per_sample + 1)
    excess = explain_excess(layout.width, layout.height, num_bytes)
    if excess:
        raise RefusedError(excess)
    reserve_memory(num_bytes)
