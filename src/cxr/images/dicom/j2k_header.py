"""A JPEG 2000 codestream (ISO 15444-1, A) before it is decoded: its size, its end, what a decoder allocates.

OpenJPEG fills what is missing with grey in silence, and allocates some hundred bytes for every tile, precinct
and code block that a header of a few bytes asks for: 16 million pixels in precincts of two took 9 GB
(measured).
"""

import struct
from collections.abc import Iterator
from typing import NamedTuple

_START, _SIZ, _COD, _COC, _SOT, _SOD, _END = 0xFF4F, 0xFF51, 0xFF52, 0xFF53, 0xFF90, 0xFF93, 0xFFD9
_JP2 = b"\0\0\0\x0cjP  \r\n\x87\n"
_MAX_LEVELS = 32
_MAX_TILES = 10_000
_MAX_PARTS = 150_000
"""Precincts, code blocks and packets of a tile; in blocks of 64 x 64, 100 million pixels have 24,000."""


class J2kHeader(NamedTuple):
    """What the SIZ marker says; `num_parts` is how much the coding style makes a decoder allocate."""

    width: int
    height: int
    channels: int
    precision: int
    num_parts: int

    @property
    def is_bomb(self) -> bool:
        """Whether it asks for more than any encoder does."""
        return self.num_parts > _MAX_PARTS


def read_j2k_header(stream: bytes) -> J2kHeader | None:
    """The header of a codestream, or of that in a JP2 file.

    None where there is none, where its channels differ in size or depth, or where its tiles are not whole.
    """
    try:
        at = _find_codestream(stream)
        if struct.unpack_from(">HH", stream, at) != (_START, _SIZ):
            return None
        header = _read_size(stream, at + 2)
        if header is None:
            return None
        # each tile may have its own coding style: the worst counts; the walk also finds tiles that are cut
        # off
        num_parts = header.num_parts
        for marker, segment in _walk_segments(stream, at + 2):
            if marker in (_COD, _COC):
                num_parts = max(num_parts, _count_parts(stream, marker, segment, header))
        return header._replace(num_parts=num_parts)
    except (struct.error, IndexError, ValueError):
        return None


def _find_codestream(stream: bytes) -> int:
    """Where it begins: at once, or in the first jp2c box of a JP2 file."""
    at = 0
    while stream.startswith(_JP2):
        length, kind = struct.unpack_from(">I4s", stream, at)
        head_bytes = 16 if length == 1 else 8  # 1: the length stands behind the kind, in 8 bytes
        if kind == b"jp2c":
            return at + head_bytes
        if length == 1:
            length = struct.unpack_from(">Q", stream, at + 8)[0]
        if length < head_bytes:
            raise ValueError
        at += length
    return at


def _read_size(stream: bytes, at: int) -> J2kHeader | None:
    """The SIZ segment whose marker stands at `at`."""
    # image and tiles lie on a grid: right and bottom edge, left and top edge, then the same of the first tile
    right, bottom, left, top, tile_width, tile_height, tile_left, tile_top, channels = struct.unpack_from(
        ">8IH", stream, at + 6
    )
    # three bytes for each channel: depth, and how far apart its samples are across and down
    starts = range(at + 40, at + 40 + 3 * channels, 3)
    distinct = {stream[start : start + 3] for start in starts}
    if len(distinct) != 1 or not tile_width or not tile_height:
        return None
    depth, *sampling = distinct.pop()
    if sampling != [1, 1]:
        return None
    num_tiles = -((tile_left - right) // tile_width) * -((tile_top - bottom) // tile_height)
    num_parts = 0 if num_tiles <= _MAX_TILES else _MAX_PARTS + num_tiles
    precision = (depth & 0x7F) + 1  # the highest bit is the sign
    return J2kHeader(right - left, bottom - top, channels, precision, num_parts)


def _walk_segments(stream: bytes, at: int) -> Iterator[tuple[int, int]]:
    """(marker, where its length stands) in the main header and in the header of each tile part.

    Raises:
        ValueError: The tile parts do not reach to the end marker.
    """
    tile_end = 0  # of the tile part that the markers belong to
    while True:
        marker = struct.unpack_from(">H", stream, at)[0]
        if marker == _END:
            return
        if marker == _SOD:  # pixels, up to the end of the tile part
            at = tile_end
            continue
        if marker < 0xFF00:
            raise ValueError
        yield marker, at + 2
        if marker == _SOT:
            length = struct.unpack_from(">I", stream, at + 6)[0]
            tile_end = at + length if length else stream.rfind(b"\xff\xd9")  # 0: up to the end marker
            if not at + 12 < tile_end <= len(stream):
                raise ValueError
        at += 2 + max(2, struct.unpack_from(">H", stream, at + 2)[0])


def _count_parts(stream: bytes, marker: int, at: int, header: J2kHeader) -> int:
    """What a COD or COC segment with its length at `at` makes a decoder allocate for the whole image."""
    if marker == _COD:
        has_precincts = stream[at + 2] & 1
        num_layers = struct.unpack_from(">H", stream, at + 4)[0]
        levels_at = at + 7
    else:
        has_precincts, num_layers, levels_at = stream[at + 3] & 1, 1, at + 4
    num_levels, block_width, block_height = stream[levels_at : levels_at + 3]

    # a byte for each level, from the smallest image to the whole: the exponents of a precinct's width and
    # height
    sizes = (
        stream[levels_at + 5 : levels_at + 6 + num_levels] if has_precincts else b"\xff" * (num_levels + 1)
    )
    if num_levels > _MAX_LEVELS or len(sizes) != num_levels + 1:
        raise ValueError
    num_precincts = 0
    for level, size in enumerate(sizes):
        scale = num_levels - level
        width, height = header.width >> scale, header.height >> scale
        num_across = (width >> (size & 15)) + 1
        num_down = (height >> (size >> 4)) + 1
        num_precincts += num_across * num_down * header.channels

    # the exponents of a code block's sides are stored less 2 each
    num_samples = header.width * header.height * header.channels
    num_blocks = num_samples >> ((block_width & 15) + (block_height & 15) + 4)
    num_packets = num_precincts * max(1, num_layers // 16)
    return int(num_packets + num_blocks)
