"""The bytes of a PNG, JPEG or TIFF file without damage around its pixels -> pixels, by OpenCV, some TIFFs by Pillow."""

import io
import os
import warnings
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import numpy.typing as npt

from cxr.images.damage import drop_extras
from cxr.images.decoder_messages import listen
from cxr.images.grey import top_of
from cxr.images.jpeg_header import read_jpeg_frame
from cxr.images.kinds import JPEG, PNG
from cxr.images.large_images import is_large
from cxr.images.tiff_damage import DEFLATE, find_tiff_damage
from cxr.images.tiff_header import TIFF, TiffHeader, read_tiff_header

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

_WHITE_IS_ZERO, _RGB, _CMYK = 0, 2, 5
_NO_MEMORY = -4  # OpenCV's StsNoMem

cv2.setNumThreads(1)  # we run one decoder a thread; OpenCV's own pool would only contend with it
# what OpenCV would print about a broken file is in our error, with the file's name
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


def name_lacking(data: bytes) -> str:
    """What no decoder here reads, where that is why a file was refused; else empty."""
    if data.startswith(JPEG):
        frame = read_jpeg_frame(data)
        rare = frame.rare if frame else ""
    else:
        header = read_tiff_header(data) if data.startswith(TIFF) else None
        rare = _name_rare_tiff(header, data) if header else ""
    return rare and f"{rare}, which no installed decoder reads; save it as PNG"


def _name_rare_tiff(header: TiffHeader, data: bytes) -> str:
    if header.rare:
        return f"TIFF compressed as {header.rare}"
    if header.has_rare_alpha:
        return "TIFF of grey and alpha in 16 bits or one after the other"
    if header.photometric == _CMYK and header.bits == 16:
        return "TIFF of 16-bit CMYK"
    picture = _open_tiff(data)
    if picture is not None:
        picture.close()
        return ""
    return "TIFF of an unusual kind"


def decode_colour(data: bytes) -> npt.NDArray[np.uint8] | None:
    """BGR [H, W, 3] of 8 bits of a file that `decode` has read before, None where there is none."""
    with listen():
        pixels = _imdecode(data, cv2.IMREAD_COLOR)
    return None if pixels is None else np.asarray(pixels, np.uint8)


def _imdecode(data: bytes, flags: int) -> npt.NDArray[Any] | None:
    data = drop_extras(data) if data.startswith(PNG) else data
    try:
        if is_large():
            return _imread(data, flags)
        return cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        if error.code == _NO_MEMORY:
            raise MemoryError from None  # says nothing of the file
        return None


def _imread(data: bytes, flags: int) -> npt.NDArray[Any] | None:
    """As imdecode, in half of its memory: that one copies what it decoded into NumPy's, this one decodes there."""
    try:
        file = os.memfd_create("image")
    except OSError:  # too many files are open; the image may still fit
        return cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    with os.fdopen(file, "wb") as writer:
        writer.write(data)
        writer.flush()
        pixels = cv2.imread(f"/proc/self/fd/{file}", None, flags)
    return pixels if pixels is not None and pixels.size else None


def decode_plain(data: bytes) -> npt.NDArray[Any] | None:
    """Grey or BGR pixels of 8 or 16 bit without alpha, turned upright as the orientation tag says."""
    return _imdecode(data, cv2.IMREAD_ANYDEPTH | cv2.IMREAD_ANYCOLOR)


def decode_tiff(data: bytes) -> npt.NDArray[Any] | None:
    """Pixels of a TIFF file, turned upright by OpenCV; it multiplies 8-bit colours by alpha, so Pillow reads those."""
    header = read_tiff_header(data)
    assert header is not None
    if header.has_rare_alpha:
        return None
    is_for_libtiff = header.is_compressed and header.compression not in DEFLATE
    if find_tiff_damage(data, header) or (is_for_libtiff and _is_torn(data)):
        return None
    pixels = _decode_sound_tiff(data, header)
    if pixels is not None and header.bits == 16 and header.photometric == _WHITE_IS_ZERO:
        return np.asarray(top_of(int(pixels.max())) - pixels, np.uint16)
    return pixels


def _decode_sound_tiff(data: bytes, header: TiffHeader) -> npt.NDArray[Any] | None:
    if header.bits == 8 and header.photometric == _RGB and header.channels == 4:
        return _decode_with_pillow(data)
    pixels = decode_plain(data)
    if pixels is None and (header.bits == 4 or header.is_tiled):  # some kinds of these OpenCV does not read
        return _decode_with_pillow(data)
    return pixels


def _is_torn(data: bytes) -> bool:
    """Whether libtiff fails inside the pixels, which OpenCV does not say; Pillow does."""
    picture = _open_tiff(data)
    try:
        if picture is not None:
            picture.load()
    except OSError:
        return True
    finally:
        if picture is not None:
            picture.close()
    return False


def _open_tiff(data: bytes) -> "ImageFile | None":
    """The file in Pillow, its pixels not read yet; None where Pillow does not know its kind."""
    from PIL import Image

    warnings.filterwarnings("ignore", module=r"PIL(\.|$)")  # not catch_warnings, which mixes up threads
    try:
        return Image.open(io.BytesIO(data), formats=("TIFF",))
    except MemoryError:
        raise
    except Exception:  # whatever a damaged file makes it raise; its size was checked before
        return None


def _decode_with_pillow(data: bytes) -> npt.NDArray[Any] | None:
    from PIL import ImageOps

    picture = _open_tiff(data)
    if picture is None:
        return None
    try:
        with picture:
            ImageOps.exif_transpose(picture, in_place=True)
            pixels = np.asarray(picture.convert("L") if picture.mode in ("1", "P") else picture)
    except MemoryError:
        raise
    except Exception:
        return None
    if pixels.ndim == 2:
        return pixels if pixels.dtype == np.uint8 else np.asarray(pixels, np.uint16)
    return pixels[..., 0] if pixels.shape[2] == 2 else pixels[..., 2::-1]
