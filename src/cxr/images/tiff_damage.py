"""Damage inside the compressed pixels of a TIFF file that libtiff does not report, by strip or tile.

libtiff stops when it has its bytes, and so asks neither for the end of a deflate stream nor for its checksum;
of PackBits it drops what is too much; of JPEG it hides libjpeg's warnings. LZW and the codes of fax machines
have no checksums; there libtiff's errors, which Pillow passes on, are all there is.
"""

import itertools
import zlib

import cv2
import numpy as np

from cxr.images.tiff_header import TiffHeader

DEFLATE = (8, 32946)
"""Compressions that are checked whole here, so that no other check for damage is needed."""

_PACKBITS, _JPEG = 32773, 7
_MAX_PARTS = 1 << 20
_INPUT_BYTES, _MAX_OUTPUT_BYTES = 1 << 16, 1 << 20  # of one call of the inflater
_DAMAGED = -1


def find_tiff_damage(data: bytes, header: TiffHeader) -> str | None:
    """What is wrong with the compressed pixels, None if nothing is; libjpeg's messages tell the rest."""
    if header.compression == _JPEG:
        for offset, num_bytes in header.parts:
            if not _is_decodable_jpeg(data[offset : offset + num_bytes], header.jpeg_tables):
                return "a strip of JPEG cannot be decoded"
        return None
    if header.compression not in (*DEFLATE, _PACKBITS):
        return None

    if not min(header.block):
        return "its strips or tiles have no pixels"  # no number of them makes an image
    count = _count_packbits if header.compression == _PACKBITS else _count_deflated
    sizes = list(itertools.islice(header.decoded_sizes(), _MAX_PARTS))
    if len(header.parts) < len(sizes):
        return "some of its compressed pixels are missing"
    view = memoryview(data)
    parts_and_sizes = zip(header.parts, sizes, strict=False)  # further parts belong to no pixel
    for number, ((offset, num_bytes), (needed_bytes, full_bytes)) in enumerate(parts_and_sizes, 1):
        decoded_bytes = count(view[offset : offset + num_bytes], full_bytes)
        if not needed_bytes <= decoded_bytes <= full_bytes:
            return f"part {number:,} of its compressed pixels is damaged"
    return None


def _count_deflated(part: memoryview, full_bytes: int) -> int:
    """Bytes that a deflate stream becomes; -1 if it is damaged, does not end or becomes too many."""
    stream, total = zlib.decompressobj(), 0
    try:
        # a few bytes become gigabytes where a file is made to: so both sides of each call are limited
        for start in range(0, len(part), _INPUT_BYTES):
            pending: bytes | memoryview = part[start : start + _INPUT_BYTES]
            while pending and not stream.eof:
                total += len(stream.decompress(pending, _MAX_OUTPUT_BYTES))
                pending = stream.unconsumed_tail
                if total > full_bytes:
                    return _DAMAGED
            if stream.eof:  # the end was there and zlib has compared the checksum
                return total
    except zlib.error:
        return _DAMAGED
    return _DAMAGED


def _count_packbits(part: memoryview, full_bytes: int) -> int:
    """Bytes that PackBits (TIFF 6.0, section 9) become; counting stops above `full_bytes`."""
    at, total, end = 0, 0, len(part)
    while at + 1 < end and total <= full_bytes:
        control = part[at]
        if control < 128:  # the next control + 1 bytes as they are, of which the file may have fewer
            total += min(control + 1, end - at - 1)
            at += control + 2
        elif control > 128:  # the next byte, 257 - control times
            total += 257 - control
            at += 2
        else:  # 128 does nothing
            at += 1
    return total


def _is_decodable_jpeg(part: bytes, tables: bytes) -> bool:
    """Whether OpenCV decodes a strip; libjpeg's messages about it reach the caller of the decoder."""
    # the tables are a JPEG stream without pixels: strip and tables become a whole stream without the end of
    # the one and the start of the other
    stream = tables.removesuffix(b"\xff\xd9") + part.removeprefix(b"\xff\xd8") if tables else part
    try:
        return cv2.imdecode(np.frombuffer(stream, np.uint8), cv2.IMREAD_GRAYSCALE) is not None
    except cv2.error:
        return True  # a kind of JPEG that OpenCV does not read, but libtiff may
