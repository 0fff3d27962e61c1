"""Compressed pixels of a DICOM file before a library sees them: JPEG 2000's header, and RLE as a whole.

pydicom's RLE decoder lets a segment become 64 times its bytes, whatever the image's size is; this one stops there.
"""

import struct
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from cxr.data.dicom_pixels import Layout

_CODESTREAM = b"\xff\x4f\xff\x51"
_JP2 = b"\0\0\0\x0cjP  \r\n\x87\n"
_MOST_TILES = 10_000  # the decoder reserves 9 kB for each, seen or not


class J2kHeader(NamedTuple):
    """What the SIZ marker of a JPEG 2000 codestream says."""

    width: int
    height: int
    channels: int
    precision: int


def read_j2k_header(stream: bytes) -> J2kHeader | None:
    """Size and depth of a codestream or of the one in a JP2 file.

    None where there is none, where its channels differ in size or depth, or where it has more than 10,000 tiles.
    """
    at = _find_codestream(stream)
    if at is None or len(stream) < at + 45:
        return None
    right, bottom, left, top, wide, tall, first, above, channels = struct.unpack_from(">8IH", stream, at + 8)
    parts = {stream[start : start + 3] for start in range(at + 42, at + 42 + 3 * channels, 3)}
    if len(parts) != 1 or not wide or not tall:
        return None
    part = parts.pop()
    tiles = -((first - right) // wide) * -((above - bottom) // tall)
    if part[1:] != b"\x01\x01" or tiles > _MOST_TILES:
        return None
    return J2kHeader(right - left, bottom - top, channels, (part[0] & 0x7F) + 1)


def _find_codestream(stream: bytes) -> int | None:
    """Where the codestream begins: at once, or in the first jp2c box of a JP2 file."""
    at = 0
    if stream.startswith(_JP2):
        while True:
            if at + 16 > len(stream):
                return None
            length, kind, long = struct.unpack_from(">I4sQ", stream, at)
            head = 16 if length == 1 else 8
            if kind == b"jp2c":
                at += head
                break
            length = long if length == 1 else length
            if length < head:
                return None
            at += length
    return at if stream[at : at + 4] == _CODESTREAM else None


def read_rle(stream: bytes, layout: "Layout") -> npt.NDArray[Any]:
    """Words [H, W] or [H, W, 3] of an RLE frame; each of its segments is one byte of one channel, the higher first.

    Raises:
        ValueError: Another number of segments than the header asks for, or too few bytes in one.
    """
    num_bytes, size = layout.bits // 8, layout.width * layout.height
    places = struct.unpack_from("<16I", stream)
    num = layout.channels * num_bytes
    if places[0] != num:
        raise ValueError("another number of segments")
    words = np.empty((layout.channels, size, num_bytes), np.uint8)
    ends = (*places[2 : num + 1], len(stream))
    for segment, (start, end) in enumerate(zip(places[1 : num + 1], ends, strict=True)):
        channel, byte = divmod(segment, num_bytes)
        words[channel, :, num_bytes - 1 - byte] = np.frombuffer(_unpack(stream[start:end], size), np.uint8)
    kind = f"<{'i' if layout.signed else 'u'}{num_bytes}"
    planes = words.view(kind).reshape(layout.channels, layout.height, layout.width)
    return planes[0] if layout.channels == 1 else planes.transpose(1, 2, 0)


def _unpack(segment: bytes, size: int) -> bytearray:
    """The first `size` bytes of a segment: runs of one byte, or as many bytes as they are."""
    result, at = bytearray(), 0
    while at < len(segment) and len(result) < size:
        run = segment[at]
        if run < 128:
            result += segment[at + 1 : at + 2 + run]
            at += 2 + run
        else:
            result += segment[at + 1 : at + 2] * (257 - run) if run > 128 else b""
            at += 2 if run > 128 else 1
    if len(result) < size:
        raise ValueError("too few bytes")
    del result[size:]
    return result
