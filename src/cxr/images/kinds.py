"""What a file is by its first bytes, whatever its name says."""

import os
import re
import zlib
from pathlib import Path

from cxr.images.tiff_header import TIFF

PNG = b"\x89PNG\r\n\x1a\n"
JPEG = b"\xff\xd8\xff"
OVERLAY = b"tEXtcxr overlay\0"
"""How the first part of an overlay begins, after that with the size; `cxr predict` never reads or replaces others."""

FIRST_BYTES = 512
"""So many say what a file is."""

SUFFIXES = frozenset(
    ".png .jpg .jpeg .jpe .jfif .tif .tiff .dcm .dicom .ima .jp2 .j2k .jpf .jls .jxl .bmp .dib .webp .gif .heic .heif "
    ".avif .apng .pgm .ppm .pnm .nii .mha .mhd .nrrd .img .raw".split()
)
"""Names that are given to images; where the content is none, the file is damaged or misnamed."""

# first bytes, where they stand, what they are, what to do about it
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
_NO_IMAGES = (*_PACKED, "a PDF", "a web page", "a macOS companion file", "a NumPy array", "HDF5")


def name_other(data: bytes) -> tuple[str, str] | None:
    """(what a file is that is not read, what to do about it), None where its first bytes are unknown."""
    for at, start, name, advice in _OTHERS:
        if data[at : at + len(start)] == start and (name != "BMP" or data[6:10] == bytes(4)):
            return name, advice
    return None


def is_readable(data: bytes, name: Path | str) -> bool:
    """Whether first bytes are those of a kind of file that is read."""
    from cxr.images.dicom.header import is_dicom  # pandas comes with it, which decoding does not need

    return data.startswith((PNG, JPEG, *TIFF)) or is_dicom(data, name)


def is_overlay(data: bytes) -> bool:
    """Whether first bytes are those of an overlay that cxr drew."""
    return data[37 : 37 + len(OVERLAY)] == OVERLAY and data.startswith(PNG)


def may_be_image(data: bytes, name: Path | str) -> bool:
    """Whether a file is an image by its first bytes or by its name, of a kind that is read or not, perhaps packed."""
    path = Path(name)
    if path.suffix.lower() in SUFFIXES and not path.name.startswith("._"):
        return True
    other = name_other(data)
    if other is None:
        return is_readable(data, path) or path.suffix.lower() in SUFFIXES
    if other[0] in _PACKED:
        return _holds_image(data, path, other[0])
    if other[0] == "a macOS companion file":
        return False
    return other[0] not in _NO_IMAGES or path.suffix.lower() in SUFFIXES or is_readable(data, path)


def _holds_image(data: bytes, path: Path, kind: str) -> bool:
    """Whether packed first bytes may be an image's, or an archive's whose first files have names of images."""
    if path.suffix.lower() not in _PACKED_SUFFIXES:  # a spreadsheet or weights, which are archives too
        return False
    inner = Path(path.stem)
    if inner.suffix.lower() in SUFFIXES:
        return True
    if kind == "a gzip file":
        try:
            inside = zlib.decompressobj(31).decompress(data, FIRST_BYTES)
        except zlib.error:
            return False
        return not inside.startswith(data[:2]) and may_be_image(
            inside, inner
        )  # no gzip in gzip without an end
    if kind == "a tar archive":
        return Path(os.fsdecode(data[:100].rstrip(b"\0"))).suffix.lower() in SUFFIXES
    starts = [found.start() for found in re.finditer(b"PK\3\4", data)] if kind == "a ZIP archive" else []
    names = [data[at + 30 : at + 30 + int.from_bytes(data[at + 26 : at + 28], "little")] for at in starts]
    return any(Path(os.fsdecode(name)).suffix.lower() in SUFFIXES for name in names)
