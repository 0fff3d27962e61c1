"""What a file is by its first bytes, whatever its name says."""

import os
import re
import zlib
from pathlib import Path

from cxr.images.dicom.detect import is_dicom
from cxr.images.tiff_header import TIFF

PNG = b"\x89PNG\r\n\x1a\n"
JPEG = b"\xff\xd8\xff"
OVERLAY = b"tEXtcxr overlay\0"
"""How the second chunk of an overlay begins; `cxr predict` overwrites no PNG without it."""

FIRST_BYTES = 512
"""Bytes that are enough to say what a file is."""

SUFFIXES = frozenset(
    ".png .jpg .jpeg .jpe .jfif .tif .tiff .dcm .dicom .ima .jp2 .j2k .jpf .jls .jxl .bmp .dib .webp .gif "
    ".heic .heif .avif .apng .pgm .ppm .pnm .nii .mha .mhd .nrrd .img .raw".split()
)
"""Endings of names that are given to images; where the content is none, the file is damaged or misnamed."""

# offset, bytes at that offset, what the file is, what to do about it
_OTHERS = (
    (0, b"GIF8", "GIF", "save it as PNG"),
    (0, b"BM", "BMP", "save it as PNG"),
    (8, b"WEBP", "WebP", "save it as PNG"),
    (4, b"ftypavi", "AVIF", "save it as PNG"),
    (4, b"ftypheic", "HEIC", "save it as PNG"),
    (4, b"ftypheix", "HEIC", "save it as PNG"),
    (4, b"ftypmif1", "HEIF", "save it as PNG"),
    (4, b"ftypmsf1", "HEIF", "save it as PNG"),
    (0, b"\xff\x0a", "JPEG XL", "save it as PNG"),
    (0, b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL", "save it as PNG"),
    (0, b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000", "save it as PNG"),
    (0, b"\xff\x4f\xff\x51", "JPEG 2000", "save it as PNG"),
    (0, b"P5\n", "PGM", "save it as PNG"),
    (0, b"P6\n", "PPM", "save it as PNG"),
    (0, b"8BPS", "a Photoshop file", "save it as PNG"),
    (0, b"NRRD0", "NRRD", "save its slice as PNG"),
    (344, b"n+1\0", "NIfTI", "save its slice as PNG"),
    (0, b"%PDF-", "a PDF", "save its image as PNG"),
    (0, b"PK\x03\x04", "a ZIP archive", "unpack it"),
    (0, b"\x1f\x8b", "a gzip file", "unpack it"),
    (0, b"BZh", "a bzip2 file", "unpack it"),
    (0, b"\xfd7zXZ\0", "an xz file", "unpack it"),
    (0, b"\x28\xb5\x2f\xfd", "a Zstandard file", "unpack it"),
    (257, b"ustar", "a tar archive", "unpack it"),
    (0, b"\x93NUMPY", "a NumPy array", "save it as PNG"),
    (0, b"\x89HDF\r\n\x1a\n", "HDF5", "save its images as PNG"),
    (0, b"version https://git-lfs", "a pointer of Git LFS", "fetch the file with git lfs pull"),
    (0, b"\0\x05\x16\x07", "a macOS companion file", "it holds no image"),
    (0, b"<!DOCTYPE html", "a web page", "download the file again"),
    (0, b"<html", "a web page", "download the file again"),
)
_PACKED = ("a ZIP archive", "a gzip file", "a bzip2 file", "an xz file", "a Zstandard file", "a tar archive")
_PACKED_SUFFIXES = (".zip", ".gz", ".tgz", ".bz2", ".xz", ".zst", ".tar", "")
_NEVER_IMAGES = (*_PACKED, "a PDF", "a web page", "a macOS companion file", "a NumPy array", "HDF5")


def name_other(data: bytes) -> tuple[str, str] | None:
    """(what a file is that is not read, what to do about it), None where its first bytes are unknown."""
    for offset, start, name, advice in _OTHERS:
        if not data.startswith(start, offset):
            continue
        # the two letters BM are too few to tell: reserved zeros must follow
        if name == "BMP" and data[6:10] != bytes(4):
            continue
        return name, advice
    return None


def is_readable(data: bytes, name: Path | str) -> bool:
    """Whether first bytes are those of a kind of file that is read."""
    return data.startswith((PNG, JPEG, *TIFF)) or is_dicom(data, name)


def is_overlay(data: bytes) -> bool:
    """Whether first bytes are those of an overlay that cxr drew."""
    # after 8 bytes of signature, 25 of IHDR and 4 of length comes the kind of the second chunk
    return data.startswith(PNG) and data.startswith(OVERLAY, 37)


def may_be_image(data: bytes, name: Path | str) -> bool:
    """Whether a file is an image, perhaps packed, by its first bytes or name; not all kinds are read."""
    path = Path(name)
    has_image_name = _has_image_suffix(path)
    if has_image_name and not path.name.startswith("._"):  # macOS's companions carry the name of their image
        return True
    other = name_other(data)
    if other is None:
        return has_image_name or is_readable(data, path)
    kind = other[0]
    if kind in _PACKED:
        return _holds_image(data, path, kind)
    if kind == "a macOS companion file":
        return False
    return has_image_name or kind not in _NEVER_IMAGES or is_readable(data, path)


def _holds_image(data: bytes, path: Path, kind: str) -> bool:
    """Whether packed first bytes may be those of an image, or of an archive whose first files are images."""
    if path.suffix.lower() not in _PACKED_SUFFIXES:  # a spreadsheet or weights, which are archives too
        return False
    inner_name = Path(path.stem)
    if _has_image_suffix(inner_name):  # such as x.dcm.gz
        return True
    if kind == "a gzip file":
        try:
            inner = zlib.decompressobj(31).decompress(data, FIRST_BYTES)  # 31: with the header of gzip
        except zlib.error:
            return False
        if inner.startswith(data[:2]):  # gzip in gzip in gzip ... would never end
            return False
        return may_be_image(inner, inner_name)
    if kind == "a tar archive":
        return _has_image_suffix(Path(os.fsdecode(data[:100].rstrip(b"\0"))))
    if kind == "a ZIP archive":
        for entry in re.finditer(b"PK\3\4", data):
            num_letters = int.from_bytes(data[entry.start() + 26 : entry.start() + 28], "little")
            name = data[entry.start() + 30 : entry.start() + 30 + num_letters]
            if _has_image_suffix(Path(os.fsdecode(name))):
                return True
    return False


def _has_image_suffix(name: Path) -> bool:
    return name.suffix.lower() in SUFFIXES
