"""The first directory of a TIFF file, read as libtiff reads it: of a tag that is there twice, the first counts."""

import struct
from collections.abc import Iterator
from typing import NamedTuple

TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

_TYPES = {1: "B", 7: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 16: "Q", 17: "q"}  # whole numbers
_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 256, 257, 258, 259, 262
_SAMPLES, _ROWS, _PLANAR, _TILE_WIDTH, _TILE_HEIGHT, _FORMAT = 277, 278, 284, 322, 323, 339
_PARTS = ((273, 279), (324, 325))  # offsets and lengths of strips, of tiles
_JPEG_TABLES = 347
_FEW = (_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _SAMPLES, _ROWS, _PLANAR, _TILE_WIDTH, _TILE_HEIGHT,
        _FORMAT)  # fmt: skip
# how many values of a tag are read, as each may claim billions of them
_MOST_VALUES = (
    dict.fromkeys(_FEW, 16) | {tag: 1 << 20 for pair in _PARTS for tag in pair} | {_JPEG_TABLES: 1 << 16}
)
_MOST_ENTRIES = 4096
_RARE = {6: "old-style JPEG", 34661: "JBIG", 34712: "JPEG 2000", 34887: "LERC", 34925: "LZMA", 50000: "Zstandard",
         50001: "WebP", 50002: "JPEG XL"}  # fmt: skip


class TiffHeader(NamedTuple):
    """What the first directory says.

    `block` is the width and height of a strip or tile, `parts` are where these begin and how long they are, `end` is
    the byte after the last of them, `alone` False before more pages, `rare` a compression that some decoders lack,
    `tables` what JPEG strips have in common.
    """

    width: int
    height: int
    channels: int
    bits: int
    samples_are: int
    photometric: int
    planar: bool
    block: tuple[int, int]
    is_tiled: bool
    parts: tuple[tuple[int, int], ...]
    end: int
    alone: bool
    compression: int
    rare: str
    tables: bytes

    @property
    def is_compressed(self) -> bool:
        """Whether its pixels are compressed in any way."""
        return self.compression != 1

    @property
    def has_rare_alpha(self) -> bool:
        """Whether it is grey with alpha as OpenCV and Pillow misread it: of 16 bits, or in a plane apart."""
        return self.channels == 2 and (self.bits == 16 or self.planar)

    def sizes(self) -> Iterator[tuple[int, int]]:
        """(bytes that are needed, bytes when full) of each strip or tile once decoded; the last may be shorter."""
        wide, tall = self.block
        row = -(-wide * self.bits * (1 if self.planar else self.channels) // 8)
        down, across = -(-self.height // tall), -(-self.width // wide)
        for _ in range(self.channels if self.planar else 1):
            for line in range(down):
                left = tall if self.is_tiled else min(tall, self.height - line * tall)
                yield from ((row * left, row * tall) for _ in range(across))


def read_tiff_header(data: bytes) -> TiffHeader | None:
    """The first directory, None where the file ends before it or it makes no sense."""
    try:
        return _read(data)
    except (struct.error, KeyError, IndexError, ValueError):
        return None


def _read(data: bytes) -> TiffHeader:
    order = "<" if data[:1] == b"I" else ">"
    big = data[:4] in TIFF[2:]
    start = struct.unpack_from(order + ("Q" if big else "I"), data, 8 if big else 4)[0]
    tags, after = _read_directory(data, order, start, big)
    width, height = tags[_WIDTH][0], tags[_HEIGHT][0]
    compression, channels = tags.get(_COMPRESSION, (1,))[0], tags.get(_SAMPLES, (1,))[0]
    if (
        compression == 1 and _PARTS[0][1] not in tags and len(tags.get(_PARTS[0][0], ())) == 1
    ):  # it is known anyway
        tags[_PARTS[0][1]] = (-(-width * channels * max(tags.get(_BITS, (1,))) // 8) * height,)
    parts = tuple(
        one for where, length in _PARTS for one in zip(tags.get(where, ()), tags.get(length, ()), strict=True)
    )
    tall = min(tags.get(_ROWS, (height,))[0], height)
    return TiffHeader(
        width=width,
        height=height,
        channels=channels,
        bits=max(tags.get(_BITS, (1,))),
        samples_are=max(tags.get(_FORMAT, (1,))),
        photometric=tags[_PHOTOMETRIC][0],
        planar=tags.get(_PLANAR, (1,))[0] == 2,
        block=(tags[_TILE_WIDTH][0], tags[_TILE_HEIGHT][0]) if _TILE_WIDTH in tags else (width, tall),
        is_tiled=_TILE_WIDTH in tags,
        parts=parts,
        end=max(start + length for start, length in parts),
        alone=not after,
        compression=compression,
        rare=_RARE.get(compression, ""),
        tables=bytes(tags.get(_JPEG_TABLES, ())),
    )


def _read_directory(data: bytes, order: str, start: int, big: bool) -> tuple[dict[int, tuple[int, ...]], int]:
    """(the whole numbers of each tag that is needed, where the next directory is)."""
    count, entry, inside = ("Q", 20, 8) if big else ("H", 12, 4)
    num = struct.unpack_from(order + count, data, start)[0]
    if num > _MOST_ENTRIES:
        raise ValueError
    at, tags = start + struct.calcsize(count), dict[int, tuple[int, ...]]()
    for place in range(at, at + num * entry, entry):
        tag, kind, values = struct.unpack_from(order + ("HHQ" if big else "HHI"), data, place)
        if tag not in _MOST_VALUES or tag in tags or kind not in _TYPES:
            continue
        form = f"{order}{min(values, _MOST_VALUES[tag])}{_TYPES[kind]}"
        where = place + entry - inside
        if struct.calcsize(form) > inside:
            where = struct.unpack_from(order + ("Q" if big else "I"), data, where)[0]
        tags[tag] = struct.unpack_from(form, data, where)
    return tags, struct.unpack_from(order + ("Q" if big else "I"), data, at + num * entry)[0]
