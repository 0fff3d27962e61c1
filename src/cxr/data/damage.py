"""What is wrong with an image file around its pixels, found before a decoder sees it.

Decoders fill what is cut off with grey in silence, and allocate whatever size a header claims; so the containers of
PNG, JPEG and TIFF are walked here first: sizes, ends, checksums, pages. Pixels are not touched.
"""

import struct
import warnings
import zlib
from io import BytesIO
from typing import NamedTuple

MAX_PIXELS = 100_000_000
"""Larger images are refused before they are decoded; the largest detectors have about 20 million pixels."""

MAX_BYTES = 1 << 30
"""Larger files are refused before they are read, and larger contents before they are inflated."""

PNG = b"\x89PNG\r\n\x1a\n"
JPEG = b"\xff\xd8\xff"
TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

_NO_FRAME = (0xC4, 0xC8, 0xCC)  # JPEG's markers between SOF0 and SOF15 that hold no height and width
_JPEG_LS = 0xF7
_TIFF_BITS = (1, 4, 8, 16)
_WIDTH, _HEIGHT, _BITS, _PHOTOMETRIC, _SAMPLES, _EXTRA, _FORMAT = 256, 257, 258, 262, 277, 338, 339
_PARTS = ((273, 279), (324, 325))  # offsets and lengths of strips, of tiles


class Frame(NamedTuple):
    """Size of an image as its header says it, in pixels, and its number of channels."""

    width: int
    height: int
    channels: int


def find_damage(data: bytes) -> str | None:
    """What is wrong with a PNG, JPEG or TIFF file, None where nothing is."""
    if not data:
        return "file is empty (0 bytes)"
    if data.startswith(PNG):
        return _find_png_damage(data)
    if data.startswith(JPEG):
        return _find_jpeg_damage(data)
    if data.startswith(TIFF):
        return _find_tiff_damage(data)
    return "not a PNG, JPEG, TIFF or DICOM image"


def find_excess(width: int, height: int) -> str | None:
    """What is wrong with a size, None where it may be decoded."""
    if width * height > MAX_PIXELS:
        return f"image of {width:,} x {height:,} pixels is larger than {MAX_PIXELS:,} pixels"
    return None


def truncated(data: bytes) -> str:
    """The reason for a file that ends too early."""
    return f"image file is truncated ({len(data):,} bytes)"


def jpeg_frame(data: bytes) -> Frame | None:
    """Size and channels in the header of a JPEG, lossless JPEG or JPEG-LS stream, None where it has none."""
    at = 2
    while at + 10 <= len(data) and data[at] == 0xFF:
        kind, length, height, width, channels = struct.unpack_from(">xBHxHHB", data, at)
        if kind == _JPEG_LS or (0xC0 <= kind <= 0xCF and kind not in _NO_FRAME):
            return Frame(width, height, channels)
        at += 1 if kind == 0xFF else 2 + length
    return None


def _find_jpeg_damage(data: bytes) -> str | None:
    ended = data.rstrip(b"\0").endswith(b"\xff\xd9") or data.rfind(b"\xff\xd9") > data.rfind(b"\xff\xda") > 0
    if not ended:
        return truncated(data)
    frame = jpeg_frame(data)
    if frame is None:  # the decoder would look further, and take any size that it stumbles over
        return "image file is corrupt: its header says no size"
    return find_excess(frame.width, frame.height)


def _find_png_damage(data: bytes) -> str | None:
    at = len(PNG)
    view = memoryview(data)
    while at + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        if end > len(data):
            break
        if zlib.crc32(view[at + 4 : end - 4]) != struct.unpack_from(">I", data, end - 4)[0]:
            return f"image file is corrupt: checksum of its {kind.decode('latin1')} part at byte {at:,} is wrong"
        if kind == b"IHDR" and length == 13:
            excess = find_excess(*struct.unpack_from(">II", data, at + 8))
            if excess:
                return excess
        if kind == b"IEND":
            return None
        at = end
    return truncated(data)


class TiffHeader(NamedTuple):
    """What the first page's directory says; `end` is the byte after its last strip, `alone` False before more pages."""

    frame: Frame
    bits: int
    samples_are: int
    photometric: int
    extra: int
    end: int
    alone: bool


def read_tiff_header(data: bytes) -> TiffHeader | None:
    """The first page's directory, None where the file ends before it or it makes no sense."""
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    warnings.filterwarnings("ignore", module=r"PIL(\.|$)")  # not catch_warnings, which mixes up threads
    try:
        directory = ImageFileDirectory_v2(data[: 16 if data[:4] in TIFF[2:] else 8])
        file = BytesIO(data)
        start = directory.next
        file.seek(start)
        directory.load(file)
        if directory.next == start:  # Pillow stops in silence where the directory is cut off
            return None
        tags = {tag: _as_ints(directory[tag]) for tag in directory if tag <= _FORMAT}
        parts = [zip(tags.get(where, ()), tags.get(length, ()), strict=True) for where, length in _PARTS]
        channels = tags.get(_SAMPLES, (1,))[0]
        return TiffHeader(
            Frame(tags[_WIDTH][0], tags[_HEIGHT][0], channels),
            max(tags.get(_BITS, (1,))),
            max(tags.get(_FORMAT, (1,))),
            tags[_PHOTOMETRIC][0],
            tags.get(_EXTRA, (0,))[0],
            max(start + length for part in parts for start, length in part),
            not directory.next,
        )
    except Exception:  # a damaged directory raises what it likes
        return None


def _as_ints(value: object) -> tuple[int, ...]:
    values = value if isinstance(value, tuple) else (value,)
    return tuple(one for one in values if isinstance(one, int))


def _find_tiff_damage(data: bytes) -> str | None:
    header = read_tiff_header(data)
    if header is None or header.end > len(data):
        return truncated(data)
    if not header.alone:
        return "TIFF of several pages: one image a file is read; save the page by itself"
    if header.samples_are != 1 or header.bits not in _TIFF_BITS:
        kind = {2: "signed", 3: "floating-point"}.get(header.samples_are, "unsigned")
        return f"TIFF of {header.bits}-bit {kind} values: 8 or 16 unsigned bits are read"
    if header.frame.channels > 4:
        return f"TIFF of {header.frame.channels} channels: grey or colour is read"
    return find_excess(header.frame.width, header.frame.height)
