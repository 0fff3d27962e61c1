"""The bytes of a validated PNG, JPEG or TIFF file -> pixels, by OpenCV, and some TIFFs by Pillow.

All give grey [H, W] or colour [H, W, 3] in the order BGR, uint8 or uint16, turned upright by the
orientation tag.
"""

import io
import os
import warnings

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile, ImageOps

from cxr.arrays import AnyArray
from cxr.images.decoder_messages import capture_messages
from cxr.images.grey import max_of_depth
from cxr.images.jpeg_header import read_jpeg_frame
from cxr.images.kinds import JPEG, PNG
from cxr.images.large_images import is_large
from cxr.images.png_chunks import drop_extras
from cxr.images.tiff_damage import DEFLATE, find_tiff_damage
from cxr.images.tiff_header import TIFF, TiffHeader, read_tiff_header

_WHITE_IS_ZERO, _RGB, _CMYK = 0, 2, 5  # photometric interpretations of TIFF
_NO_MEMORY = -4  # OpenCV's StsNoMem

# we run one decoder per thread; OpenCV's own pool would only contend with them
cv2.setNumThreads(1)
# what OpenCV would print about a broken file is in our error, with the file's name
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


def name_unsupported(data: bytes) -> str:
    """What no decoder here reads, where that is why a file was refused; else empty."""
    rare = ""
    if data.startswith(JPEG):
        frame = read_jpeg_frame(data)
        rare = frame.rare if frame else ""
    elif data.startswith(TIFF):
        header = read_tiff_header(data)
        rare = _name_rare_tiff(header, data) if header else ""
    return rare and f"{rare}, which no installed decoder reads; save it as PNG"


def _name_rare_tiff(header: TiffHeader, data: bytes) -> str:
    if header.rare:
        return f"TIFF compressed as {header.rare}"
    if header.has_rare_alpha:
        return "TIFF of grey and alpha in 16 bits or one after the other"
    if header.photometric == _CMYK and header.bits == 16:
        return "TIFF of 16-bit CMYK"
    image = _open_tiff(data)
    if image is None:
        return "TIFF of an unusual kind"
    image.close()
    return ""


def decode_colour(data: bytes) -> npt.NDArray[np.uint8] | None:
    """BGR [H, W, 3] of 8 bits of a file that `decode` has read before, None where there is none."""
    with capture_messages():
        pixels = _decode_with_opencv(data, cv2.IMREAD_COLOR)
    return None if pixels is None else np.asarray(pixels, np.uint8)


def decode_plain(data: bytes) -> AnyArray | None:
    """Pixels of any file that OpenCV reads, None where it does not."""
    return _decode_with_opencv(data, cv2.IMREAD_ANYDEPTH | cv2.IMREAD_ANYCOLOR)


def _decode_with_opencv(data: bytes, flags: int) -> AnyArray | None:
    if data.startswith(PNG):
        data = drop_extras(data)
    try:
        if is_large():
            return _decode_from_memory_file(data, flags)
        return cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        if error.code == _NO_MEMORY:
            raise MemoryError from None  # says nothing about the file
        return None


def _decode_from_memory_file(data: bytes, flags: int) -> AnyArray | None:
    """As cv2.imdecode, in half of its memory: imread decodes into NumPy's array, imdecode copies into it."""
    try:
        file = os.memfd_create("image")
    except (OSError, AttributeError):  # too many files are open, while the image may still fit; or no Linux
        return cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    with os.fdopen(file, "wb") as writer:
        writer.write(data)
        writer.flush()
        pixels = cv2.imread(f"/proc/self/fd/{file}", None, flags)
    return pixels if pixels is not None and pixels.size else None


def decode_tiff(data: bytes) -> AnyArray | None:
    """Pixels of a TIFF file, None where it is damaged or of a kind that nothing here reads."""
    header = read_tiff_header(data)
    assert header is not None  # `validate` has read it
    if header.has_rare_alpha:
        return None

    # 1. damage that decoders do not report; deflate is checked whole by the first, so the second is spared
    if find_tiff_damage(data, header):
        return None
    is_checked_whole = not header.is_compressed or header.compression in DEFLATE
    if not is_checked_whole and _fails_in_pillow(data):
        return None

    # 2. OpenCV, but for what it does not read or changes: it multiplies 8-bit colours by alpha
    has_8_bit_alpha = header.bits == 8 and header.photometric == _RGB and header.channels == 4
    pixels = _decode_with_pillow(data) if has_8_bit_alpha else decode_plain(data)
    if pixels is None and not has_8_bit_alpha and (header.bits == 4 or header.is_tiled):
        pixels = _decode_with_pillow(data)

    # 3. OpenCV turns white-is-zero of 8 bits, but not of 16
    if pixels is not None and header.bits == 16 and header.photometric == _WHITE_IS_ZERO:
        return np.asarray(max_of_depth(int(pixels.max())) - pixels, np.uint16)
    return pixels


def _fails_in_pillow(data: bytes) -> bool:
    """Whether libtiff fails inside the pixels, which Pillow reports and OpenCV does not."""
    image = _open_tiff(data)
    if image is None:
        return False
    try:
        image.load()
    except OSError:
        return True
    finally:
        image.close()
    return False


def _open_tiff(data: bytes) -> ImageFile.ImageFile | None:
    """The file in Pillow, its pixels not read yet; None where Pillow does not know its kind."""
    # of large images, whose size was checked; not catch_warnings, which mixes up threads
    warnings.filterwarnings("ignore", module=r"PIL(\.|$)")
    try:
        return Image.open(io.BytesIO(data), formats=("TIFF",))
    except MemoryError:
        raise
    except Exception:  # a damaged file makes it raise anything
        return None


def _decode_with_pillow(data: bytes) -> AnyArray | None:
    image = _open_tiff(data)
    if image is None:
        return None
    try:
        with image:
            ImageOps.exif_transpose(image, in_place=True)
            # one bit a pixel, and palettes
            pixels = np.asarray(image.convert("L") if image.mode in ("1", "P") else image)
    except MemoryError:
        raise
    except Exception:  # a damaged file makes it raise anything
        return None
    if pixels.ndim == 2:
        return pixels if pixels.dtype == np.uint8 else np.asarray(pixels, np.uint16)
    if pixels.shape[2] == 2:
        return pixels[..., 0]  # grey without its alpha
    return pixels[..., 2::-1]  # RGB or RGBA to BGR
