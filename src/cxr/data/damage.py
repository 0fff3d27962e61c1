"""What is wrong with an image file around its pixels: decoders fill what is missing with grey, in silence."""

import io
import struct
import warnings
import zlib
from pathlib import Path
from typing import Literal

from cxr.data.dicom_header import SUFFIXES

Kind = Literal["png", "jpeg", "tiff", "dicom"]

MAX_PIXELS = 100_000_000
"""Larger images are refused before they are decoded; the largest detectors have about 20 million pixels."""

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8\xff"
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_FIRST_ELEMENTS = (b"\x02\0\0\0", b"\x08\0\0\0", b"\x08\0\x05\0", b"\x08\0\x08\0")
_NO_FRAME = (0xC4, 0xC8, 0xCC)  # JPEG's markers between SOF0 and SOF15 that hold no height and width

warnings.filterwarnings("ignore", module=r"PIL\.")  # what Pillow warns of, we refuse


def find_kind(data: bytes, name: Path | str) -> Kind | None:
    """What the content says the file is; only a DICOM file without its preamble is known by its name."""
    if data.startswith(_PNG):
        return "png"
    if data.startswith(_JPEG):
        return "jpeg"
    if data.startswith(_TIFF):
        return "tiff"
    bare = Path(name).suffix.lower() in SUFFIXES and data[:4] in _FIRST_ELEMENTS
    return "dicom" if data[128:132] == b"DICM" or bare else None


def find_damage(data: bytes, kind: Kind) -> str | None:
    """Why a file of this kind is no whole image of bearable size, or None."""
    check = {"png": _find_png_damage, "jpeg": _find_jpeg_damage, "tiff": _find_tiff_damage}.get(kind)
    return check(data) if check else None


def _find_jpeg_damage(data: bytes) -> str | None:
    ended = data.rstrip(b"\0").endswith(b"\xff\xd9") or data.rfind(b"\xff\xd9") > data.rfind(b"\xff\xda") > 0
    if not ended:
        return f"image file is truncated ({len(data):,} bytes)"
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        kind, length, height, width = struct.unpack_from(">xBHxHH", data, at)
        if 0xC0 <= kind <= 0xCF and kind not in _NO_FRAME:
            return _find_excess(width, height)
        at += 1 if kind == 0xFF else 2 + length
    return None


def _find_png_damage(data: bytes) -> str | None:
    at = len(_PNG)
    view = memoryview(data)
    while at + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        if end > len(data):
            break
        if zlib.crc32(view[at + 4 : end - 4]) != struct.unpack_from(">I", data, end - 4)[0]:
            return f"image file is corrupt: checksum of its {kind.decode('latin1')} part at byte {at:,} is wrong"
        if kind == b"IHDR" and length == 13:
            excess = _find_excess(*struct.unpack_from(">II", data, at + 8))
            if excess:
                return excess
        if kind == b"IEND":
            return None
        at = end
    return f"image file is truncated ({len(data):,} bytes)"


def _find_excess(width: int, height: int) -> str | None:
    if width * height > MAX_PIXELS:
        return f"image of {width:,} x {height:,} pixels is larger than {MAX_PIXELS:,} pixels"
    return None


def _find_tiff_damage(data: bytes) -> str | None:
    """Pillow reads the directory: one page, whose strips or tiles lie inside the file."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(data), formats=["TIFF"]) as image:
            width, height = image.size
            num_pages = getattr(image, "n_frames", 1)
            tags = image.tag_v2  # type: ignore[attr-defined]
            starts, lengths = (tags.get(273) or tags.get(324)), (tags.get(279) or tags.get(325))
    except UnidentifiedImageError:
        return f"image file is truncated or corrupt ({len(data):,} bytes)"
    except Exception as error:  # Pillow raises many kinds on a damaged directory
        if "decompression bomb" in str(error):
            return f"image is larger than {MAX_PIXELS:,} pixels"
        return f"image file is corrupt: its directory cannot be read ({type(error).__name__})"
    if num_pages > 1:
        return f"TIFF file of {num_pages:,} pages; a radiograph has one"
    if not starts or not lengths or max(map(sum, zip(starts, lengths, strict=False))) > len(data):
        return f"image file is truncated ({len(data):,} bytes)"
    return _find_excess(width, height)
