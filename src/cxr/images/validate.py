"""What is wrong with a PNG, JPEG or TIFF file, found before a decoder reads it.

Decoders fill what is cut off with grey in silence, and allocate whatever size a header claims; so sizes,
ends, checksums and pages of the three containers are checked here first. Pixels are not touched.

No decoder can replace these checks (measured with damaged copies of whole files, OpenCV 5.0 and Pillow 13):
without them OpenCV reads 20 of 6,700 damaged PNG files and 10 of 3,664 damaged JPEG files that are refused
today, and Pillow 1,664 of 11,149 damaged TIFF files.
"""

import struct
from typing import NamedTuple

from cxr.images.jpeg_header import read_jpeg_frame
from cxr.images.kinds import JPEG, PNG, is_overlay, name_other
from cxr.images.limits import MAX_PIXELS, explain_excess, explain_truncation
from cxr.images.png_chunks import is_checksum_right, walk_chunks
from cxr.images.tiff_header import TIFF, read_tiff_header

NO_IMAGE = "not a PNG, JPEG, TIFF or DICOM image"
OVERLAY = "an overlay that cxr drew over an image, not an image itself"

_TIFF_BITS = (1, 4, 8, 16)
_IHDR_BYTES = 25  # length, kind, 13 bytes of content, checksum
_GREY_PNG = 0  # the colour type


class Claim(NamedTuple):
    """What a header says of an image: its size in pixels, and the most bytes that decoding takes."""

    width: int
    height: int
    num_bytes: int


def validate(data: bytes) -> Claim | str:
    """What the header of a PNG, JPEG or TIFF file says; or, as text, what is wrong with the file."""
    if not data:
        return "file is empty (0 bytes)"
    if data.startswith(PNG):
        return OVERLAY if is_overlay(data) else _validate_png(data)
    if data.startswith(JPEG):
        return _validate_jpeg(data)
    if data.startswith(TIFF):
        return _validate_tiff(data)
    other = name_other(data)
    if other is None:
        return NO_IMAGE
    kind, advice = other
    return f"{NO_IMAGE}: it is {kind}; {advice}"


def _claim(data: bytes, width: int, height: int, bytes_per_pixel: float) -> Claim | str:
    """The claim, or why it is too large; the pixels in 8-bit grey take a byte more than `bytes_per_pixel`."""
    num_bytes = len(data) + round(width * height * (bytes_per_pixel + 1))
    return explain_excess(width, height, num_bytes) or Claim(width, height, num_bytes)


def _validate_jpeg(data: bytes) -> Claim | str:
    # Without its end marker a file may have lost its last pixels too, and no decoder can tell: it is refused.
    # Zeros after the marker are padding; other bytes after it are those of a camera, and then no scan may
    # follow it.
    ends_with_marker = data.rstrip(b"\0").endswith(b"\xff\xd9")
    last_end, last_scan = data.rfind(b"\xff\xd9"), data.rfind(b"\xff\xda")
    if not ends_with_marker and not last_end > last_scan > 0:
        return explain_truncation(len(data))
    frame = read_jpeg_frame(data)
    if frame is None or not min(frame.width, frame.height):
        return "image file is corrupt: its header says no size"
    # a progressive JPEG is kept in memory as coefficients of 2 bytes until its last scan is read
    coefficient_bytes = 2 * frame.samples if frame.is_kept else 0
    return _claim(data, frame.width, frame.height, min(frame.channels, 3) + coefficient_bytes)


def _validate_png(data: bytes) -> Claim | str:
    claim: Claim | str = explain_truncation(len(data))
    view, last_kind = memoryview(data), b""
    for number, chunk in enumerate(walk_chunks(data)):
        if not is_checksum_right(view, chunk):
            kind = chunk.kind.decode("latin1")
            return f"image file is corrupt: checksum of its {kind} part at byte {chunk.start:,} is wrong"
        if number == 0:
            if chunk.kind != b"IHDR" or chunk.end - chunk.start != _IHDR_BYTES:
                return "image file is corrupt: its header says no size"
            width, height, depth, colour = struct.unpack_from(">IIBB", data, chunk.start + 8)
            channels = 1 if colour == _GREY_PNG else 3
            claim = _claim(data, width, height, channels * max(1, depth // 8))
            if isinstance(claim, str):
                return claim  # before gigabytes of chunks are walked
        last_kind = chunk.kind
    return claim if last_kind == b"IEND" else explain_truncation(len(data))


def _validate_tiff(data: bytes) -> Claim | str:
    header = read_tiff_header(data)
    if header is None or header.end > len(data):
        return explain_truncation(len(data))
    if header.has_more_pages:
        return "TIFF of several pages: only one image per file is read; save the page as a separate file"
    if header.sample_format != 1 or header.bits not in _TIFF_BITS:
        kind = {2: "signed", 3: "floating-point"}.get(header.sample_format, "unsigned")
        return f"TIFF of {header.bits}-bit {kind} values: 8 or 16 unsigned bits are read"
    if header.channels > 4:
        return f"TIFF of {header.channels} channels: grey or colour is read"
    if header.is_planar and header.channels > 1 and header.bits == 16:  # which OpenCV shows as noise
        return "TIFF of 16 bits with one colour after another: save it with its colours together, or as PNG"

    # Pillow decodes four channels of 8 bits and makes a copy
    is_copied = (header.channels, header.bits) == (4, 8)
    claim = _claim(
        data, header.width, header.height, 8 if is_copied else header.channels * max(1, header.bits // 8)
    )
    if isinstance(claim, str):
        return claim
    block_pixels = header.block[0] * header.block[1]  # a decoder allocates a whole strip or tile
    if block_pixels > MAX_PIXELS:
        return f"TIFF with parts of {block_pixels:,} pixels, which is more than {MAX_PIXELS:,}"
    return claim
