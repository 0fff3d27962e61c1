"""Images that Python code holds -> grey pixels: paths, and what NumPy, Pillow and pydicom have in memory.

The same pixels give the same grey as from a file. An array does not say which value is white, and a wrong
guess gives a plausible probability; so its range is stated by its dtype, and checked.
"""

import os
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, TypeGuard

import numpy as np
from PIL import Image, ImageOps

from cxr.arrays import AnyArray
from cxr.errors import CxrError, UnreadableImageError, is_system_error
from cxr.images.dicom.detect import load_pydicom
from cxr.images.grey import Grey, Intensity, to_grey
from cxr.images.large_images import image_memory
from cxr.images.limits import explain_excess
from cxr.images.notes import Note, note_constant
from cxr.images.read import read_file

if TYPE_CHECKING:
    from pydicom import Dataset

HeldImage: TypeAlias = "str | os.PathLike[str] | AnyArray | Image.Image | Dataset"
"""What is one image; as text, since pydicom is optional."""

_loading = threading.Lock()  # an image may be given twice, and two threads must not load it at once
_MAX_16_BITS = 65_535
_WHITE_IS_ZERO, _PHOTOMETRIC = 0, 262  # of TIFF: the interpretation, and its tag
# Pillow's mode -> the mode whose pixels are grey or colour
_AS_COLOURS = {"1": "L", "P": "RGBA", "PA": "RGBA"}
_MODES = ("L", "LA", "RGB", "RGBA", "RGBX", "I;16", "I;16L", "I;16B", "I", "F")


def read_held(image: object, name: str, bits: int | None, intensity: Intensity, note: Note) -> Grey:
    """Grey pixels [H, W] of one image, however it is held.

    Args:
        image: A path; an array [H, W], or [H, W, 3 or 4] of RGB, of uint8, of uint16 with `bits`, or of
            floats from 0 (black) to 1 (white); an image of Pillow; a dataset of pydicom. None is changed.
        name: For errors.
        bits: White is 2**bits - 1 in an array of uint16, and only there.
        intensity: As in Preprocess.
        note: Called with a sentence for everything remarkable.

    Raises:
        UnreadableImageError: As `read_file`, and what its rules refuse in an image of Pillow or pydicom.
        CxrError: An array of another shape, dtype or range; something that is no image.
    """
    refuse_bits(image, name, bits)
    if isinstance(image, str | os.PathLike):
        return read_file(Path(image), intensity, note)
    with image_memory():
        if isinstance(image, np.ndarray):
            grey = _read_array(image, name, bits, intensity)
        elif isinstance(image, Image.Image):
            grey = _read_pillow(image, name, intensity)
        elif is_dataset(image):
            load_pydicom(name)
            from cxr.images.dicom.decode import decode_dataset  # imports pydicom, which is optional

            grey = decode_dataset(image, name, intensity, note)
        else:
            hint = "give a path, a NumPy array (tensor.cpu().numpy()), a PIL image or a pydicom dataset"
            raise CxrError(f"{name}: a {type(image).__name__} is no image", hint)
        note_constant(grey, note)
    return grey


def refuse_bits(image: object, name: str, bits: int | None) -> None:
    """Refuse bits beside an image whose range is known.

    Raises:
        CxrError: It is no array.
    """
    if bits is not None and not isinstance(image, np.ndarray):
        problem = (
            f"{name}: bits={bits} is for arrays of uint16; a {type(image).__name__} states its own range"
        )
        raise CxrError(problem, "leave bits out")


def is_dataset(image: object) -> "TypeGuard[Dataset]":
    """Whether it is a dataset of pydicom, which is not imported for that."""
    pydicom = sys.modules.get("pydicom")
    return pydicom is not None and isinstance(image, pydicom.Dataset)


def _read_array(array: AnyArray, name: str, bits: int | None, intensity: Intensity) -> Grey:
    """Grey of an array whose dtype states its range.

    Raises:
        CxrError: Another shape or dtype, or a value outside the range.
    """
    _check_shape(array, name)
    # the machine's byte order and row after row, as OpenCV needs it
    array = np.ascontiguousarray(array.astype(array.dtype.newbyteorder("="), copy=False))
    if bits is not None and array.dtype != np.uint16:
        raise CxrError(f"{name}: bits={bits} is for uint16, and this is {array.dtype}", "leave bits out")
    if array.dtype == np.uint8:
        white = 255
    elif array.dtype == np.uint16:
        white = _find_white(array, name, bits)
    elif np.issubdtype(array.dtype, np.floating):
        _check_floats(array, name)
        # 65,536 levels: as exact as any file that is read
        array, white = np.rint(array * _MAX_16_BITS).astype(np.uint16), _MAX_16_BITS
    else:
        problem = f"{name}: an array of {array.dtype} does not say which value is white"
        hint = "array.astype(np.uint8) for 0 to 255; uint16 with bits=12, and floats from 0 to 1 are read too"
        raise CxrError(problem, hint)
    return to_grey(array if array.ndim == 2 else _to_bgr(array), intensity, white)


def _check_shape(array: AnyArray, name: str) -> None:
    """Refuse what is not [H, W], [H, W, 1], [H, W, 3] or [H, W, 4], and what is too large.

    Raises:
        CxrError: It is not.
    """
    has_image = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (1, 3, 4))
    if not has_image or not array.size:
        problem = f"{name}: an array of the shape {array.shape}; [H, W] or [H, W, 3] is one image"
        raise CxrError(
            problem, "list(array) gives several images, np.moveaxis(array, 0, -1) puts colours last"
        )
    excess = explain_excess(array.shape[1], array.shape[0])
    if excess:
        raise UnreadableImageError(name, excess)


def _find_white(array: AnyArray, name: str, bits: int | None) -> int:
    """The value that is white in an array of uint16.

    Raises:
        CxrError: It is not stated, or a value is larger.
    """
    brightest = int(array.max())
    if bits is None:
        problem = f"{name}: uint16 with values up to {brightest:,} does not say which value is white"
        needed = max(8, brightest.bit_length())
        raise CxrError(
            problem, f"bits=12 where it is 4,095; a file of these pixels is read with bits={needed}"
        )
    if not 8 <= bits <= 16:
        raise CxrError(f"bits={bits}: is not from 8 to 16", "bits=12 where white is 4,095")
    white = (1 << bits) - 1
    if brightest > white:
        problem = f"{name}: values up to {brightest:,}, and white is {white:,} with bits={bits}"
        raise CxrError(problem, f"bits={brightest.bit_length()}, or find out what the larger values are")
    return white


def _check_floats(array: AnyArray, name: str) -> None:
    """Refuse floats that are not all from 0 to 1.

    Raises:
        CxrError: They are not, with what their range looks like.
    """
    low, high = float(array.min()), float(array.max())
    if 0 <= low and high <= 1:  # False for nan
        return
    if not np.isfinite([low, high]).all():
        problem = f"{name}: an array of {array.dtype} with nan or infinity"
        raise CxrError(problem, "np.nan_to_num(array) makes nan black")
    hint = "scale it by the range that its values may have, not by its own minimum and maximum"
    if low >= 0 and high <= 255:
        hint = "array / 255 for values from 0 to 255, or array.astype(np.uint8)"
    elif low >= -1024 and high <= 1024:
        hint = "(array + 1024) / 2048 for values as torchxrayvision normalises them"
    problem = f"{name}: {array.dtype} from {low:g} to {high:g}; floats are read from 0 (black) to 1 (white)"
    raise CxrError(problem, hint)


def _to_bgr(array: AnyArray) -> AnyArray:
    """[H, W, 1 or 3] of BGR, as `to_grey` takes it, from [H, W, 1, 3 or 4] of RGB and alpha."""
    return array[..., :3][..., ::-1]


def _read_pillow(image: Image.Image, name: str, intensity: Intensity) -> Grey:
    """Grey of an image of Pillow, upright, as of a PNG or TIFF file of its pixels.

    Raises:
        UnreadableImageError: Several pages, pixels that Pillow cannot load, a mode that is not read.
    """
    # 1. what Pillow shows of a file and files are refused for
    excess = explain_excess(image.width, image.height)
    if excess:
        raise UnreadableImageError(name, excess)
    is_white_zero = getattr(image, "tag_v2", {}).get(_PHOTOMETRIC) == _WHITE_IS_ZERO
    if image.mode.startswith("I;16") and is_white_zero:
        reason = "TIFF of 16 bits where 0 is white, which Pillow does not turn: give the path of the file"
        raise UnreadableImageError(name, reason)
    if image.mode not in (*_MODES, *_AS_COLOURS):
        raise UnreadableImageError(name, f"mode {image.mode} is not read: give image.convert('RGB')")

    # 2. its pixels
    try:
        with _loading:
            num_pages = getattr(image, "n_frames", 1)
            upright = ImageOps.exif_transpose(image)
        if image.mode in _AS_COLOURS:
            upright = upright.convert(_AS_COLOURS[image.mode])
    except Exception as error:  # a damaged file makes it raise anything
        if is_system_error(error):
            raise
        reason = "Pillow cannot load its pixels: its file is damaged, or closed"
        raise UnreadableImageError(name, reason) from None
    if num_pages > 1:
        reason = "an image of several pages: image.copy() is the page that it shows"
        raise UnreadableImageError(name, reason)
    pixels = np.asarray(upright)

    # 3. their range
    if image.mode == "F":
        return _read_array(pixels, name, None, intensity)
    if image.mode == "I":
        if pixels.min() < 0 or pixels.max() > _MAX_16_BITS:
            reason = f"values from {pixels.min():,} to {pixels.max():,}: 8 or 16 unsigned bits are read"
            raise UnreadableImageError(name, reason)
        pixels = pixels.astype(np.uint16)
    pixels = pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
    # alpha is no part of what is seen
    if image.mode == "LA":
        pixels = pixels[..., 0]
    return to_grey(pixels if pixels.ndim == 2 else _to_bgr(pixels), intensity)
