"""What a file is by its first bytes, whatever its name says."""

from pathlib import Path

from cxr.data.tiff_header import TIFF

PNG = b"\x89PNG\r\n\x1a\n"
JPEG = b"\xff\xd8\xff"

FIRST_BYTES = 512
"""So many say what a file is."""

SUFFIXES = frozenset(
    ".png .jpg .jpeg .jpe .jfif .tif .tiff .dcm .dicom .ima .jp2 .j2k .jpf .jls .jxl .bmp .dib .webp .gif .heic .heif "
    ".avif .apng .pgm .ppm .pnm .nii .mha .mhd .nrrd".split()
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
    (0, b"\x93NUMPY", "a NumPy array", "save it as PNG"),
    (0, b"\x89HDF\r\n\x1a\n", "HDF5", "save its images as PNG"),
    (0, b"version https://git-lfs", "a pointer of Git LFS", "fetch the file with git lfs pull"),
    (0, b"\0\x05\x16\x07", "a macOS companion file", "it holds no image"),
    (0, b"<!DOCTYPE html", "a web page", "download the file again"),
    (0, b"<html", "a web page", "download the file again"),
)
_NO_IMAGES = ("a ZIP archive", "a gzip file", "a PDF", "a web page", "a macOS companion file", "a NumPy array", "HDF5")


def name_other(data: bytes) -> tuple[str, str] | None:
    """(what a file is that is not read, what to do about it), None where its first bytes are unknown."""
    for at, start, name, advice in _OTHERS:
        if data[at : at + len(start)] == start and (name != "BMP" or data[6:10] == bytes(4)):
            return name, advice
    return None


def is_readable(data: bytes, name: Path | str) -> bool:
    """Whether first bytes are those of a kind of file that is read."""
    from cxr.data.sources.dicom_header import is_dicom  # pandas comes with it, which decoding does not need

    return data.startswith((PNG, JPEG, *TIFF)) or is_dicom(data, name)


def may_be_image(data: bytes, name: Path | str) -> bool:
    """Whether a file is an image by its first bytes or by its name, of a kind that is read or not."""
    other = name_other(data)
    if other is not None and other[0] == "a macOS companion file":
        return False
    known = is_readable(data, name) or (other is not None and other[0] not in _NO_IMAGES)
    return known or Path(name).suffix.lower() in SUFFIXES
