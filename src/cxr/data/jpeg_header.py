"""The frame header of a JPEG stream, found as libjpeg finds it: whatever size it allocates is the size seen here."""

import re
import struct
from typing import NamedTuple

START, END, SCAN = 0xD8, 0xD9, 0xDA
_WITHOUT_LENGTH = (0x01, *range(0xD0, 0xD8))  # TEM and RSTn; libjpeg reads on after them
_NO_FRAME = (0xC4, 0xC8, 0xCC)  # between SOF0 and SOF15, without height and width
_JPEG_LS = 0xF7
_LOSSLESS, _HIERARCHICAL = (0xC3, 0xCB), (0xC5, 0xC6, 0xC7, 0xCD, 0xCE, 0xCF)
_MARKER = re.compile(rb"\xff([^\xff\0])")  # fill bytes and stuffed zeros are passed over


class JpegFrame(NamedTuple):
    """What a frame header says: the kind is its marker's second byte."""

    kind: int
    precision: int
    height: int
    width: int
    channels: int

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
    """The frame header of a JPEG, lossless JPEG or JPEG-LS stream, None where a decoder would meet none."""
    at = 2
    while found := _MARKER.search(data, at):
        kind, at = found[1][0], found.end()
        if kind in _WITHOUT_LENGTH:
            continue
        if kind in (START, END, SCAN) or at + 2 > len(data):
            return None
        if kind == _JPEG_LS or (0xC0 <= kind <= 0xCF and kind not in _NO_FRAME):
            return JpegFrame(kind, *struct.unpack_from(">BHHB", data, at + 2)) if at + 8 <= len(data) else None
        at += max(2, struct.unpack_from(">H", data, at)[0])
    return None
