"""The frame header of a JPEG stream (ITU T.81, B), found as libjpeg finds it, so that it has the same size.

Our walk and no decoder's: Pillow and OpenCV tell the size of 8-bit JPEG alone, and only OpenCV after it has
allocated the pixels; lossless JPEG and JPEG-LS, which DICOM holds, neither of them reads.
"""

import re
import struct
from typing import NamedTuple

# second bytes of markers
_START, _END, _SCAN = 0xD8, 0xD9, 0xDA
_WITHOUT_LENGTH = frozenset((0x01, *range(0xD0, 0xD8)))  # TEM and RSTn; libjpeg reads on after them
_JPEG_LS = 0xF7
_TABLES = {0xC4, 0xC8, 0xCC}  # among the frame headers by number, but without height and width
_FRAMES = frozenset(range(0xC0, 0xD0)) - _TABLES | {_JPEG_LS}
_PROGRESSIVE = (0xC2, 0xC6, 0xCA, 0xCE)
_LOSSLESS = (0xC3, 0xCB)
_HIERARCHICAL = (0xC5, 0xC6, 0xC7, 0xCD, 0xCE, 0xCF)

_MAX_SEGMENTS = 100_000
_MARKER = re.compile(rb"\xff([^\xff\0])")  # fill bytes and stuffed zeros are passed over


class JpegFrame(NamedTuple):
    """What a frame header says.

    Attributes:
        kind: Second byte of its marker.
        precision: Bits of a sample.
        height: Rows.
        width: Pixels of a row.
        channels: Channels of the stream.
        samples: Samples of a pixel once colours are subsampled: 1.5 for three channels in 4:2:0.
        is_kept: Whether a decoder must keep all coefficients in memory, as they come in several scans.
        ids: A byte for each channel.
    """

    kind: int
    precision: int
    height: int
    width: int
    channels: int
    samples: float
    is_kept: bool
    ids: bytes = b""

    @property
    def rare(self) -> str:
        """The kind of JPEG that many decoders lack, empty for 8 bits in sequential or progressive coding."""
        if self.kind == _JPEG_LS:
            return "JPEG-LS"
        if self.kind in _LOSSLESS:
            return "lossless JPEG"
        if self.kind in _HIERARCHICAL:
            return "hierarchical JPEG"
        return "" if self.precision == 8 else f"JPEG of {self.precision} bits"


def read_jpeg_frame(data: bytes) -> JpegFrame | None:
    """The frame header of a JPEG, lossless JPEG or JPEG-LS stream, None where there is none or several."""
    at, frame_at, end = 2, 0, len(data) - 4
    for _ in range(_MAX_SEGMENTS):
        if at >= end:
            return None

        # 1. the next marker: here, or after bytes that belong to no segment, which decoders pass over too
        kind = data[at + 1]
        if data[at] != 0xFF or kind in (0, 0xFF):
            found = _MARKER.search(data, at)
            if not found or found.end() > end + 2:
                return None
            at, kind = found.start(), found[1][0]

        # 2. what the marker says
        if kind in _WITHOUT_LENGTH:
            at += 2
            continue
        if kind == _SCAN:
            return _parse_frame(data, frame_at, channels_in_scan=data[at + 4]) if frame_at else None
        if kind in (_START, _END):
            return None
        if kind in _FRAMES:
            if frame_at:
                return None  # a second frame: decoders differ in which of the sizes they take
            frame_at = at + 2

        # 3. over its segment, whose length counts its own two bytes
        at += 2 + max(2, data[at + 2] << 8 | data[at + 3])
    return None


def _parse_frame(data: bytes, at: int, channels_in_scan: int) -> JpegFrame | None:
    """The frame header whose length stands at `at`; the first scan has so many of its channels."""
    precision, height, width, channels = struct.unpack_from(">BHHB", data, at + 2)
    # each channel: a byte of id, a hexadecimal digit of samples across and one down, a byte for its table
    ids = data[at + 8 : at + 8 + 3 * channels : 3]
    factors = data[at + 9 : at + 8 + 3 * channels : 3]
    across = [factor >> 4 for factor in factors]
    down = [factor & 15 for factor in factors]
    if not channels or len(factors) != channels or 0 in across or 0 in down:
        return None
    num_in_block = sum(right * below for right, below in zip(across, down, strict=True))
    samples = num_in_block / (max(across) * max(down))
    kind = data[at - 1]
    is_kept = kind in _PROGRESSIVE or channels_in_scan < channels
    return JpegFrame(kind, precision, height, width, channels, samples, is_kept, ids)
