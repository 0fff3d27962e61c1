"""The first directory of a TIFF file, read as libtiff reads it: of a tag that is there twice, the first counts."""

import struct
from typing import NamedTuple

TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

_TYPES = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 16: "Q", 17: "q"}  # the whole numbers among TIFF's types
_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 256, 257, 258, 259, 262
_SAMPLES, _ROWS, _PLANAR, _TILE_WIDTH, _TILE_HEIGHT, _EXTRA, _FORMAT = 277, 278, 284, 322, 323, 338, 339
_PARTS = ((273, 279), (324, 325))  # offsets and lengths of strips, of tiles
_MOST_ENTRIES, _MOST_VALUES = 4096, 1 << 20
_RARE = {6: "old-style JPEG", 34661: "JBIG", 34712: "JPEG 2000", 34887: "LERC", 34925: "LZMA", 50000: "Zstandard",
         50001: "WebP", 50002: "JPEG XL"}  # fmt: skip


class TiffHeader(NamedTuple):
    """What the first directory says.

    `block` is the most pixels of a strip or tile, `end` the byte after the last of them, `alone` False before more
    pages, `rare` a compression that some decoders lack.
    """

    width: int
    height: int
    channels: int
    bits: int
    samples_are: int
    photometric: int
    planar: bool
    block: int
    end: int
    alone: bool
    is_compressed: bool
    rare: str


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
    parts = [zip(tags.get(where, ()), tags.get(length, ()), strict=True) for where, length in _PARTS]
    tall = min(tags.get(_ROWS, (height,))[0], height)
    return TiffHeader(
        width=width,
        height=height,
        channels=tags.get(_SAMPLES, (1,))[0],
        bits=max(tags.get(_BITS, (1,))),
        samples_are=max(tags.get(_FORMAT, (1,))),
        photometric=tags[_PHOTOMETRIC][0],
        planar=tags.get(_PLANAR, (1,))[0] == 2,
        block=tags[_TILE_WIDTH][0] * tags[_TILE_HEIGHT][0] if _TILE_WIDTH in tags else width * tall,
        end=max(start + length for part in parts for start, length in part),
        alone=not after,
        is_compressed=tags.get(_COMPRESSION, (1,))[0] != 1,
        rare=_RARE.get(tags.get(_COMPRESSION, (1,))[0], ""),
    )


def _read_directory(data: bytes, order: str, start: int, big: bool) -> tuple[dict[int, tuple[int, ...]], int]:
    """(the whole numbers of each tag up to SampleFormat, where the next directory is)."""
    count, entry, inside = ("Q", 20, 8) if big else ("H", 12, 4)
    num = struct.unpack_from(order + count, data, start)[0]
    if num > _MOST_ENTRIES:
        raise ValueError
    at, tags = start + struct.calcsize(count), dict[int, tuple[int, ...]]()
    for place in range(at, at + num * entry, entry):
        tag, kind, values = struct.unpack_from(order + ("HHQ" if big else "HHI"), data, place)
        if tag > _FORMAT or tag in tags or kind not in _TYPES:
            continue
        form = f"{order}{min(values, _MOST_VALUES)}{_TYPES[kind]}"
        where = place + entry - inside
        if struct.calcsize(form) > inside:
            where = struct.unpack_from(order + ("Q" if big else "I"), data, where)[0]
        tags[tag] = struct.unpack_from(form, data, where)
    return tags, struct.unpack_from(order + ("Q" if big else "I"), data, at + num * entry)[0]
