"""The frame header of a JPEG stream, found as libjpeg finds it: whatever size it allocates is the size seen here."""

import re
import struct
from typing import NamedTuple

_START, _END, _SCAN = 0xD8, 0xD9, 0xDA
_WITHOUT_LENGTH = frozenset((0x01, *range(0xD0, 0xD8)))  # TEM and RSTn; libjpeg reads on after them
_JPEG_LS, _PROGRESSIVE = 0xF7, (0xC2, 0xC6, 0xCA, 0xCE)
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC} | {
    _JPEG_LS
}  # those three have no height and width
_LOSSLESS, _HIERARCHICAL = (0xC3, 0xCB), (0xC5, 0xC6, 0xC7, 0xCD, 0xCE, 0xCF)
_MOST_SEGMENTS = 100_000
_MARKER = re.compile(rb"\xff([^\xff\0])")  # fill bytes and stuffed zeros are passed over


class JpegFrame(NamedTuple):
    """What a frame header says: the kind is its marker's second byte.

    `samples` is how many a pixel has once colours are subsampled, `is_kept` whether a decoder must keep all
    coefficients, as they come in several scans, `ids` a byte for each channel.
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
    """The frame header of a JPEG, lossless JPEG or JPEG-LS stream, None where a decoder would meet none or several."""
    at, frame, end = 2, 0, len(data) - 4
    for _ in range(_MOST_SEGMENTS):
        if at >= end:
            return None
        kind = data[at + 1]
        if data[at] != 0xFF or kind in (
            0,
            0xFF,
        ):  # not at once another marker: as decoders do, look for the next
            found = _MARKER.search(data, at)
            if not found or found.end() > end + 2:
                return None
            at, kind = found.start(), found[1][0]
        if kind in _WITHOUT_LENGTH:
            at += 2
            continue
        if kind == _SCAN:
            return _parse(data, frame, data[at + 4]) if frame else None
        if kind in _FRAMES:
            if frame:
                return None
            frame = at + 2
        elif kind in (_START, _END):
            return None
        at += 2 + max(2, data[at + 2] << 8 | data[at + 3])
    return None


def _parse(data: bytes, at: int, num_in_scan: int) -> JpegFrame | None:
    """The header whose length stands at `at`; the first scan has so many of its channels."""
    precision, height, width, channels = struct.unpack_from(">BHHB", data, at + 2)
    sides = data[at + 9 : at + 8 + 3 * channels : 3]  # a digit across and a digit down for each channel
    if len(sides) != channels or not channels or not all(side >> 4 and side & 15 for side in sides):
        return None
    most = max(side >> 4 for side in sides) * max(side & 15 for side in sides)
    samples = sum((side >> 4) * (side & 15) for side in sides) / most
    kind = data[at - 1]
    ids = data[at + 8 : at + 8 + 3 * channels : 3]
    is_kept = kind in _PROGRESSIVE or num_in_scan < channels
    return JpegFrame(kind, precision, height, width, channels, samples, is_kept, ids)
