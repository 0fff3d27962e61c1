"""What is wrong with an image file around its pixels, found before a decoder sees it.

Decoders fill what is cut off with grey in silence, and allocate whatever size a header claims; so the containers of
PNG, JPEG and TIFF are walked here first: sizes, ends, checksums, pages. Pixels are not touched.
"""

import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from cxr.images.jpeg_header import read_jpeg_frame
from cxr.images.kinds import JPEG, PNG, is_overlay, name_other
from cxr.images.tiff_header import TIFF, read_tiff_header

MAX_PIXELS = 100_000_000
"""Larger images are refused before they are decoded; the largest detectors have about 20 million pixels."""

MAX_BYTES = 6 * MAX_PIXELS + (64 << 20)
"""Larger files are refused before they are read: the largest image takes so much in three channels of 16 bits."""

MAX_DECODING = 850_000_000
"""Images that take more while they are decoded, file included, are refused: torch and the others take 1.1 GB."""

NO_IMAGE = "not a PNG, JPEG, TIFF or DICOM image"
OVERLAY_DRAWN = "an overlay that cxr drew over an image, not an image itself"

_TIFF_BITS = (1, 4, 8, 16)
_KEPT_PARTS = (b"IHDR", b"PLTE", b"tRNS", b"eXIf", b"IDAT", b"IEND")  # eXIf says which side is up
_LARGE_PART = 1 << 20


class Claim(NamedTuple):
    """What a header says of an image: its size in pixels, and the most bytes that decoding takes."""

    width: int
    height: int
    num_bytes: int


def examine(data: bytes) -> Claim | str:
    """What the header of a PNG, JPEG or TIFF file says, or what is wrong with the file."""
    if not data:
        return "file is empty (0 bytes)"
    if data.startswith(PNG):
        return OVERLAY_DRAWN if is_overlay(data) else _examine_png(data)
    if data.startswith(JPEG):
        return _examine_jpeg(data)
    if data.startswith(TIFF):
        return _examine_tiff(data)
    other = name_other(data)
    return f"{NO_IMAGE}: it is {other[0]}; {other[1]}" if other else NO_IMAGE


def find_excess(width: int, height: int, num_bytes: int = 0) -> str | None:
    """What is wrong with a size, or with the bytes that decoding takes; None where it may be decoded."""
    if width * height <= MAX_PIXELS and num_bytes <= MAX_DECODING:
        return None
    size = f"image of {width:,} x {height:,} pixels"
    if width * height > MAX_PIXELS:
        return f"{size} is larger than {MAX_PIXELS:,} pixels"
    return f"{size} takes {num_bytes / 1e9:.2f} GB to decode, which is more than {MAX_DECODING / 1e9:.2f} GB"


def truncated(data: bytes) -> str:
    """The reason for a file that ends too early."""
    return f"image file is truncated ({len(data):,} bytes)"


def _claim(data: bytes, width: int, height: int, per_pixel: float) -> Claim | str:
    """`per_pixel` counts bytes that decoding takes before the result, which takes one more."""
    num_bytes = len(data) + round(width * height * (per_pixel + 1))
    return find_excess(width, height, num_bytes) or Claim(width, height, num_bytes)


def _examine_jpeg(data: bytes) -> Claim | str:
    # without its end marker a file may have lost its last pixels too, and no decoder can tell: it is refused
    ended = data.rstrip(b"\0").endswith(b"\xff\xd9") or data.rfind(b"\xff\xd9") > data.rfind(b"\xff\xda") > 0
    if not ended:
        return truncated(data)
    frame = read_jpeg_frame(data)
    if frame is None or not min(frame.width, frame.height):
        return "image file is corrupt: its header says no size"
    coefficients = 2 * frame.samples if frame.is_kept else 0
    return _claim(data, frame.width, frame.height, min(frame.channels, 3) + coefficients)


def walk_png(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """(kind, start, end) of each whole part of a PNG up to IEND; a part that is cut off ends it."""
    at = len(PNG)
    while at + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        if end > len(data):
            return
        yield kind, at, end
        if kind == b"IEND":
            return
        at = end


def _examine_png(data: bytes) -> Claim | str:
    claim: Claim | str = truncated(data)
    kind, view = b"", memoryview(data)
    for number, (kind, start, end) in enumerate(walk_png(data)):
        if zlib.crc32(view[start + 4 : end - 4]) != struct.unpack_from(">I", data, end - 4)[0]:
            return f"image file is corrupt: checksum of its {kind.decode('latin1')} part at byte {start:,} is wrong"
        if number == 0:
            if kind != b"IHDR" or end - start != 25:
                return "image file is corrupt: its header says no size"
            width, height, depth, colour = struct.unpack_from(">IIBB", data, start + 8)
            claim = _claim(data, width, height, (1 if colour == 0 else 3) * max(1, depth // 8))
            if isinstance(claim, str):
                return claim
    return claim if kind == b"IEND" else truncated(data)


def drop_extras(data: bytes) -> bytes:
    """A PNG without what makes a decoder fail though no pixel needs it: the list of an animation, texts above 1 MB."""
    for kind, start, end in walk_png(data):
        if kind == b"IDAT" and len(data) < _LARGE_PART:
            return data  # as for nearly all files: no walk over their pixels
        if kind == b"acTL" or (end - start > _LARGE_PART and kind not in _KEPT_PARTS):
            parts = walk_png(data)
            return PNG + b"".join(data[start:end] for kind, start, end in parts if _is_kept(kind))
    return data


def _is_kept(kind: bytes) -> bool:
    return kind in _KEPT_PARTS or kind[:1].isupper()  # unknown parts in capitals are refused by the decoder


def _examine_tiff(data: bytes) -> Claim | str:
    header = read_tiff_header(data)
    if header is None or header.end > len(data):
        return truncated(data)
    if not header.alone:
        return "TIFF of several pages: one image a file is read; save the page by itself"
    if header.samples_are != 1 or header.bits not in _TIFF_BITS:
        kind = {2: "signed", 3: "floating-point"}.get(header.samples_are, "unsigned")
        return f"TIFF of {header.bits}-bit {kind} values: 8 or 16 unsigned bits are read"
    if header.channels > 4:
        return f"TIFF of {header.channels} channels: grey or colour is read"
    if header.planar and header.channels > 1 and header.bits == 16:  # which OpenCV shows as noise
        return "TIFF of 16 bits with one colour after another: save it with its colours together, or as PNG"
    # of four channels of 8 bits, which Pillow decodes, there is a copy
    per_pixel = 8 if (header.channels, header.bits) == (4, 8) else header.channels * max(1, header.bits // 8)
    claim = _claim(data, header.width, header.height, per_pixel)
    block = header.block[0] * header.block[1]  # which a decoder reserves for each strip or tile
    if isinstance(claim, Claim) and block > MAX_PIXELS:
        return f"TIFF with parts of {block:,} pixels, which is more than {MAX_PIXELS:,}"
    return claim
