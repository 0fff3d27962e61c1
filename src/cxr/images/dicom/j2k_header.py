"""A JPEG 2000 codestream before a decoder sees it (ISO 15444-1 A): its size, its end, and what a decoder reserves.

OpenJPEG fills what is missing with grey in silence, and reserves some hundred bytes for every tile, precinct and code
block that a header of a few bytes asks for: 16 million pixels in precincts of two took 9 GB (measured).
"""

import struct
from collections.abc import Iterator
from typing import NamedTuple

_START, _SIZ, _COD, _COC, _SOT, _SOD, _END = 0xFF4F, 0xFF51, 0xFF52, 0xFF53, 0xFF90, 0xFF93, 0xFFD9
_JP2 = b"\0\0\0\x0cjP  \r\n\x87\n"
_MOST_TILES = 10_000
_MOST_PARTS = 150_000
"""Precincts, code blocks and packets of a tile; in blocks of 64 x 64, 100 million pixels have 24,000."""


class J2kHeader(NamedTuple):
    """What the SIZ marker says; `num_parts` is how much the coding style makes a decoder reserve."""

    width: int
    height: int
    channels: int
    precision: int
    num_parts: int

    @property
    def is_bomb(self) -> bool:
        """Whether it asks for more than any encoder does."""
        return self.num_parts > _MOST_PARTS


def read_j2k_header(stream: bytes) -> J2kHeader | None:
    """The header of a codestream or of the one in a JP2 file.

    None where there is none, where its channels differ in size or depth, or where its tiles are not whole.
    """
    try:
        at = _find_codestream(stream)
        if struct.unpack_from(">HH", stream, at) != (_START, _SIZ):
            return None
        header = _read_size(stream, at + 2)
        for marker, start in _walk(stream, at + 2) if header else ():
            if header and marker in (_COD, _COC):
                header = header._replace(
                    num_parts=max(header.num_parts, _count_parts(stream, marker, start, header))
                )
        return header
    except (struct.error, IndexError, ValueError):
        return None


def _find_codestream(stream: bytes) -> int:
    """Where it begins: at once, or in the first jp2c box of a JP2 file."""
    at = 0
    while stream.startswith(_JP2):
        length, kind = struct.unpack_from(">I4s", stream, at)
        head = 16 if length == 1 else 8
        if kind == b"jp2c":
            return at + head
        length = struct.unpack_from(">Q", stream, at + 8)[0] if length == 1 else length
        if length < head:
            raise ValueError
        at += length
    return at


def _read_size(stream: bytes, at: int) -> J2kHeader | None:
    right, bottom, left, top, wide, tall, first, above, channels = struct.unpack_from(">8IH", stream, at + 6)
    parts = {stream[start : start + 3] for start in range(at + 40, at + 40 + 3 * channels, 3)}
    if len(parts) != 1 or not wide or not tall:
        return None
    depth, *sampling = parts.pop()
    tiles = -((first - right) // wide) * -((above - bottom) // tall)
    if sampling != [1, 1]:
        return None
    num_parts = 0 if tiles <= _MOST_TILES else _MOST_PARTS + tiles
    return J2kHeader(right - left, bottom - top, channels, (depth & 0x7F) + 1, num_parts)


def _walk(stream: bytes, at: int) -> Iterator[tuple[int, int]]:
    """(marker, where its length stands) in the main header and in the header of each tile part.

    Raises:
        ValueError: The tile parts do not reach to the end marker.
    """
    end = 0  # of the tile part that the markers belong to
    while True:
        marker = struct.unpack_from(">H", stream, at)[0]
        if marker == _END:
            return
        if marker == _SOD:
            at = end
            continue
        if marker < 0xFF00:
            raise ValueError
        yield marker, at + 2
        if marker == _SOT:
            length = struct.unpack_from(">I", stream, at + 6)[0]
            end = at + length if length else stream.rfind(b"\xff\xd9")
            if not at + 12 < end <= len(stream):
                raise ValueError
        at += 2 + max(2, struct.unpack_from(">H", stream, at + 2)[0])


def _count_parts(stream: bytes, marker: int, at: int, header: J2kHeader) -> int:
    """What a COD or COC segment makes a decoder reserve for the whole image."""
    if marker == _COD:
        has_precincts, layers, levels = (
            stream[at + 2] & 1,
            struct.unpack_from(">H", stream, at + 4)[0],
            at + 7,
        )
    else:
        has_precincts, layers, levels = stream[at + 3] & 1, 1, at + 4
    num_levels, across, down = stream[levels : levels + 3]
    sizes = stream[levels + 5 : levels + 6 + num_levels] if has_precincts else b"\xff" * (num_levels + 1)
    if num_levels > 32 or len(sizes) != num_levels + 1:
        raise ValueError
    precincts = 0
    for level, size in enumerate(sizes):
        scale = num_levels - level
        wide, tall = header.width >> scale, header.height >> scale
        precincts += ((wide >> (size & 15)) + 1) * ((tall >> (size >> 4)) + 1) * header.channels
    blocks = header.width * header.height * header.channels >> ((across & 15) + (down & 15) + 4)
    return int(precincts * max(1, layers // 16) + blocks)
