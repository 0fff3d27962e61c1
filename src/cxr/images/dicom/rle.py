"""RLE of DICOM (PS3.5 G).

pydicom's RLE decoder lets a segment become 64 times its bytes, whatever the image's size is; this one stops there.
"""

import struct
from typing import Any

import numpy as np
import numpy.typing as npt

from cxr.images.dicom.layout import Layout


def read_rle(stream: bytes, layout: Layout) -> npt.NDArray[Any]:
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
