"""The frame header of a JPEG stream, found as libjpeg finds it: whatever size it allocates is the size seen here."""

import re
import struct
from typing import NamedTuple

_START, _END, _SCAN = 0xD8, 0xD9, 0xDA
_WITHOUT_LENGTH = (0x01, *range(0xD0, 0xD8))  # TEM and RSTn; libjpeg reads on after them
_NO_FRAME = (0xC4, 0xC8, 0xCC)  # between SOF0 and SOF15, without height and width
_JPEG_LS, _PROGRESSIVE = 0xF7, (0xC2, 0xC6, 0xCA, 0xCE)
_LOSSLESS, _HIERARCHICAL = (0xC3, 0xCB), (0xC5, 0xC6, 0xC7, 0xCD, 0xCE, 0xCF)
_MARKER = re.compile(rb"\xff([^\xff\0])")  # fill bytes and stuffed zeros are passed over


class JpegFrame(NamedTuple):
    """What a frame header says: the kind is its marker's second byte.

    `samples` is how many a pixel has once colours are subsampled, `is_kept` whether a decoder must keep all
    coefficients, as they come in several scans.
    """

    kind: int
    precision: int
    height: int
    width: int
    channels: int
    samples: float
    is_kept: bool

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
    at, start = 2, 0
    while found := _MARKER.search(data, at):
        kind, at = found[1][0], found.end()
        if kind in _WITHOUT_LENGTH:
            continue
        if kind in (_START, _END) or at + 3 > len(data):
            return None
        if kind == _SCAN:
            return _parse(data, start, data[at + 2]) if start else None
        if kind == _JPEG_LS or (0xC0 <= kind <= 0xCF and kind not in _NO_FRAME):
            if start:
                return None
            start = at
        at += max(2, struct.unpack_from(">H", data, at)[0])
    return None


def _parse(data: bytes, at: int, num_in_scan: int) -> JpegFrame | None:
    """The header whose length stands at `at`; the first scan has so many of its channels."""
    precision, height, width, channels = struct.unpack_from(">BHHB", data, at + 2)
    sides = [(byte >> 4, byte & 15) for byte in data[at + 9 : at + 8 + 3 * channels : 3]]
    if len(sides) != channels or not channels or not all(across and down for across, down in sides):
        return None
    most = max(across for across, _ in sides) * max(down for _, down in sides)
    samples = sum(across * down for across, down in sides) / most
    kind = data[at - 1]
    return JpegFrame(kind, precision, height, width, channels, samples, kind in _PROGRESSIVE or num_in_scan < channels)
