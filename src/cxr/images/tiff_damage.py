"""Damage inside the compressed pixels of a TIFF file that libtiff does not report, strip by strip or tile by tile.

libtiff stops when it has its bytes, and so asks neither for the end of a deflate stream nor for its checksum; of
PackBits it drops what is too much; of JPEG it keeps libjpeg's warnings to itself. LZW and the codes of fax machines
have no checksums, and there its own errors, which Pillow passes on, are all there is.
"""

import itertools
import zlib

import cv2
import numpy as np

from cxr.images.tiff_header import TiffHeader

DEFLATE = (8, 32946)
"""Compressions that are checked whole here, so that nothing else need look for damage."""

_PACKBITS, _JPEG = 32773, 7
_MOST_PARTS = 1 << 20
_PIECE, _MOST_AT_ONCE = 1 << 16, 1 << 20


def find_tiff_damage(data: bytes, header: TiffHeader) -> str | None:
    """What is wrong with the compressed pixels, None where nothing is seen; of JPEG, libjpeg's words tell the rest."""
    if header.compression == _JPEG:
        said = (_find_in_jpeg(data[start : start + size], header) for start, size in header.parts)
        return next(filter(None, said), None)
    if header.compression not in (*DEFLATE, _PACKBITS):
        return None
    view, count = memoryview(data), _count_packbits if header.compression == _PACKBITS else _count_deflated
    sizes = list(itertools.islice(header.sizes(), _MOST_PARTS))
    if len(header.parts) < len(sizes):
        return "some of its compressed pixels are missing"
    for number, ((start, size), (needed, full)) in enumerate(zip(header.parts, sizes, strict=False), 1):
        if not needed <= count(view[start : start + size], full) <= full:
            return f"part {number:,} of its compressed pixels is damaged"
    return None


def _count_deflated(part: memoryview, full: int) -> int:
    """Bytes that a deflate stream becomes, -1 where it is damaged, does not end or becomes more than `full`."""
    stream, total = zlib.decompressobj(), 0
    try:
        for start in range(0, len(part), _PIECE):
            piece: bytes | memoryview = part[start : start + _PIECE]
            while piece and not stream.eof:
                total += len(stream.decompress(piece, _MOST_AT_ONCE))
                piece = stream.unconsumed_tail
                if total > full:
                    return -1  # what follows is of no strip
            if stream.eof:
                return total
    except zlib.error:
        return -1
    return -1


def _count_packbits(part: memoryview, full: int) -> int:
    at, total, end = 0, 0, len(part)
    while at + 1 < end and total <= full:
        run = part[at]
        if run < 128:
            total += min(run + 1, end - at - 1)
            at += run + 2
        elif run > 128:
            total += 257 - run
            at += 2
        else:
            at += 1
    return total


def _find_in_jpeg(part: bytes, header: TiffHeader) -> str | None:
    """Whether a strip cannot be decoded, with the tables that all strips share; what libjpeg says, the caller hears."""
    stream = (
        header.tables.removesuffix(b"\xff\xd9") + part.removeprefix(b"\xff\xd8") if header.tables else part
    )
    try:
        pixels = cv2.imdecode(np.frombuffer(stream, np.uint8), cv2.IMREAD_GRAYSCALE)
    except cv2.error:
        return None  # a kind of JPEG that it does not read
    return None if pixels is not None else "a strip of JPEG cannot be decoded"
