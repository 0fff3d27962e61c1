"""The first directory of a TIFF file (TIFF 6.0, BigTIFF), read as libtiff does: of equal tags the first."""

import struct
from collections.abc import Iterator
from typing import NamedTuple

TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""How files begin: little and big endian, BigTIFF in both orders."""

# Codes of struct for the types of whole numbers; values of other types (texts, fractions) are never needed.
_STRUCT_CODES = {1: "B", 7: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 16: "Q", 17: "q"}

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 256, 257, 258, 259, 262
_SAMPLES_PER_PIXEL, _ROWS_PER_STRIP, _PLANAR, _TILE_WIDTH, _TILE_HEIGHT = 277, 278, 284, 322, 323
_SAMPLE_FORMAT, _JPEG_TABLES = 339, 347
_STRIP_OFFSETS, _STRIP_BYTES, _TILE_OFFSETS, _TILE_BYTES = 273, 279, 324, 325

# tag -> how many of its values are read, since each tag may claim billions of them
_MAX_VALUES = {
    **dict.fromkeys((_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _SAMPLES_PER_PIXEL), 16),
    **dict.fromkeys((_ROWS_PER_STRIP, _PLANAR, _TILE_WIDTH, _TILE_HEIGHT, _SAMPLE_FORMAT), 16),
    **dict.fromkeys((_STRIP_OFFSETS, _STRIP_BYTES, _TILE_OFFSETS, _TILE_BYTES), 1 << 20),
    _JPEG_TABLES: 1 << 16,
}
_MAX_ENTRIES = 4096
_RARE_COMPRESSIONS = {
    6: "old-style JPEG",
    34661: "JBIG",
    34712: "JPEG 2000",
    34887: "LERC",
    34925: "LZMA",
    50000: "Zstandard",
    50001: "WebP",
    50002: "JPEG XL",
}

_Tags = dict[int, tuple[int, ...]]


class TiffHeader(NamedTuple):
    """What the first directory says.

    Attributes:
        width: Pixels of a row.
        height: Rows.
        channels: Samples of a pixel.
        bits: Bits of a sample.
        sample_format: 1 unsigned, 2 signed, 3 floating-point.
        photometric: What samples mean: 0 white is zero, 1 black is zero, 2 RGB, 5 CMYK.
        is_planar: Whether the channels are stored one after the other.
        block: Width and height of a strip or tile.
        is_tiled: Whether the image is stored in tiles and not in strips.
        parts: (offset, bytes) of each strip or tile.
        end: The byte after the last of them.
        has_more_pages: Whether another directory follows.
        compression: Its number; 1 is none.
        rare: Name of a compression that some decoders lack, else empty.
        jpeg_tables: What JPEG strips have in common.
    """

    width: int
    height: int
    channels: int
    bits: int
    sample_format: int
    photometric: int
    is_planar: bool
    block: tuple[int, int]
    is_tiled: bool
    parts: tuple[tuple[int, int], ...]
    end: int
    has_more_pages: bool
    compression: int
    rare: str
    jpeg_tables: bytes

    @property
    def is_compressed(self) -> bool:
        """Whether its pixels are compressed in any way."""
        return self.compression != 1

    @property
    def has_rare_alpha(self) -> bool:
        """Whether it is grey with alpha as OpenCV and Pillow misread it: of 16 bits, or in a plane apart."""
        return self.channels == 2 and (self.bits == 16 or self.is_planar)

    def decoded_sizes(self) -> Iterator[tuple[int, int]]:
        """(bytes that are needed, bytes when full) of each decoded strip or tile; the last may be shorter."""
        block_width, block_height = self.block
        channels_together = 1 if self.is_planar else self.channels
        num_planes = self.channels if self.is_planar else 1
        # rows end at whole bytes, as pixels may have a single bit
        row_bytes = _divide_up(block_width * self.bits * channels_together, 8)
        num_down = _divide_up(self.height, block_height)
        num_across = _divide_up(self.width, block_width)
        for _ in range(num_planes):
            for number in range(num_down):
                # the last strip may end with the image; tiles are always full
                rows_left = self.height - number * block_height
                needed_rows = block_height if self.is_tiled else min(block_height, rows_left)
                for _ in range(num_across):
                    yield row_bytes * needed_rows, row_bytes * block_height


def _divide_up(number: int, divisor: int) -> int:
    return -(-number // divisor)


def read_tiff_header(data: bytes) -> TiffHeader | None:
    """The first directory, None where the file ends before it or it makes no sense."""
    try:
        return _read_header(data)
    except (struct.error, KeyError, IndexError, ValueError):
        return None


def _read_header(data: bytes) -> TiffHeader:
    order = "<" if data[:1] == b"I" else ">"
    is_big = data[:4] in TIFF[2:]
    # BigTIFF has 4 more bytes before the offset of the first directory, and offsets of 8 bytes
    start = struct.unpack_from(order + ("Q" if is_big else "I"), data, 8 if is_big else 4)[0]
    tags, next_directory = _read_directory(data, order, start, is_big)

    def first(tag: int, default: int) -> int:
        return tags.get(tag, (default,))[0]

    width, height = tags[_WIDTH][0], tags[_HEIGHT][0]
    channels, bits = first(_SAMPLES_PER_PIXEL, 1), max(tags.get(_BITS, (1,)))
    compression = first(_COMPRESSION, 1)

    # some writers leave out the length of a single strip without compression: it follows from the size
    if compression == 1 and _STRIP_BYTES not in tags and len(tags.get(_STRIP_OFFSETS, ())) == 1:
        tags[_STRIP_BYTES] = (_divide_up(width * channels * bits, 8) * height,)

    parts = (
        *zip(tags.get(_STRIP_OFFSETS, ()), tags.get(_STRIP_BYTES, ()), strict=True),
        *zip(tags.get(_TILE_OFFSETS, ()), tags.get(_TILE_BYTES, ()), strict=True),
    )
    is_tiled = _TILE_WIDTH in tags
    strip = width, min(first(_ROWS_PER_STRIP, height), height)
    return TiffHeader(
        width=width,
        height=height,
        channels=channels,
        bits=bits,
        sample_format=max(tags.get(_SAMPLE_FORMAT, (1,))),
        photometric=tags[_PHOTOMETRIC][0],
        is_planar=first(_PLANAR, 1) == 2,
        block=(tags[_TILE_WIDTH][0], tags[_TILE_HEIGHT][0]) if is_tiled else strip,
        is_tiled=is_tiled,
        parts=parts,
        end=max(offset + num_bytes for offset, num_bytes in parts),
        has_more_pages=next_directory != 0,
        compression=compression,
        rare=_RARE_COMPRESSIONS.get(compression, ""),
        jpeg_tables=bytes(tags.get(_JPEG_TABLES, ())),
    )


def _read_directory(data: bytes, order: str, start: int, is_big: bool) -> tuple[_Tags, int]:
    """(the whole numbers of each tag that is needed, offset of the next directory)."""
    # An entry is tag, type, number of values, then `inline_bytes` with the values, or with their offset.
    count_code, entry_bytes, inline_bytes = ("Q", 20, 8) if is_big else ("H", 12, 4)
    offset_code = "Q" if is_big else "I"
    num_entries = struct.unpack_from(order + count_code, data, start)[0]
    # a damaged number would be a loop over the whole file
    if num_entries > _MAX_ENTRIES:
        raise ValueError
    first = start + struct.calcsize(count_code)
    end = first + num_entries * entry_bytes
    tags: _Tags = {}
    for at in range(first, end, entry_bytes):
        # of equal tags the first counts, as in libtiff
        tag, kind, num_values = struct.unpack_from(f"{order}HH{offset_code}", data, at)
        if tag not in _MAX_VALUES or tag in tags or kind not in _STRUCT_CODES:
            continue
        code = f"{order}{min(num_values, _MAX_VALUES[tag])}{_STRUCT_CODES[kind]}"
        values_at = at + entry_bytes - inline_bytes
        # values that do not fit into the entry stand elsewhere, and the entry says where
        if struct.calcsize(code) > inline_bytes:
            values_at = struct.unpack_from(order + offset_code, data, values_at)[0]
        tags[tag] = struct.unpack_from(code, data, values_at)
    return tags, struct.unpack_from(order + offset_code, data, end)[0]
