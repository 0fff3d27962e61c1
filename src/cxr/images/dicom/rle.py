"""RLE of DICOM (PS3.5, annex G).

pydicom's RLE decoder lets a segment become 64 times its bytes, whatever the image's size is; this decoder
stops there.
"""

import struct

import numpy as np

from cxr.arrays import AnyArray
from cxr.images.dicom.layout import Layout


def read_rle(stream: bytes, layout: Layout) -> AnyArray:
    """Words [H, W] or [H, W, 3] of an RLE frame.

    A frame of C channels and B bytes a word has C x B segments. Each is one byte of every word of one
    channel: first the highest bytes of the first channel, then its lower ones, then the next channel.

    Raises:
        ValueError: Another number of segments than the header asks for, or too few bytes in a segment.
    """
    num_bytes, num_pixels = layout.bits // 8, layout.width * layout.height
    num_segments = layout.channels * num_bytes

    # the frame's header: the number of segments, and the offset of each of at most 15
    header = struct.unpack_from("<16I", stream)
    if header[0] != num_segments:
        raise ValueError("another number of segments")
    starts = header[1 : num_segments + 1]
    ends = (*starts[1:], len(stream))

    words = np.empty((layout.channels, num_pixels, num_bytes), np.uint8)
    for segment, (start, end) in enumerate(zip(starts, ends, strict=True)):
        channel, byte = divmod(segment, num_bytes)
        # the highest byte comes first in the file and last in a little-endian word
        unpacked = _unpack(stream[start:end], num_pixels)
        words[channel, :, num_bytes - 1 - byte] = np.frombuffer(unpacked, np.uint8)

    # [C, H x W, B] bytes -> [C, H, W] words
    kind = f"<{'i' if layout.is_signed else 'u'}{num_bytes}"
    planes = words.view(kind).reshape(layout.channels, layout.height, layout.width)
    return planes[0] if layout.channels == 1 else planes.transpose(1, 2, 0)


def _unpack(segment: bytes, num_bytes: int) -> bytearray:
    """The first bytes of a segment in PackBits: runs of one byte, and stretches of bytes as they are.

    Raises:
        ValueError: There are fewer than `num_bytes`.
    """
    result, at = bytearray(), 0
    while at < len(segment) and len(result) < num_bytes:
        control = segment[at]
        if control < 128:  # the next control + 1 bytes as they are
            result += segment[at + 1 : at + 2 + control]
            at += 2 + control
        elif control > 128:  # the next byte, 257 - control times
            result += segment[at + 1 : at + 2] * (257 - control)
            at += 2
        else:  # 128 does nothing
            at += 1
    if len(result) < num_bytes:
        raise ValueError("too few bytes")
    del result[num_bytes:]
    return result
