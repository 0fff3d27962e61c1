"""Stored values of a DICOM image -> grey: modality transform, then window or VOI table, then polarity.

Every stage maps a stored value to another, wherever in the image it is. So pydicom's functions are applied
once to the values from the smallest to the largest of the image, at most 65,536, and the image is looked up
in the result: the same numbers as over the pixels, in a tenth of the memory.
"""

import cv2
import numpy as np
from pydicom import Dataset
from pydicom.pixels.processing import convert_color_space

from cxr.arrays import AnyArray, Bool, Int32
from cxr.images.dicom.layout import StoredPixels
from cxr.images.dicom.palette import look_up_palette
from cxr.images.dicom.transforms import apply_transforms, remove_impossible_transforms, share_of_range
from cxr.images.dicom.values import StoredValues, list_stored_values
from cxr.images.grey import Grey, Intensity, max_of_depth, scale_to_8_bit, split_rows, to_levels
from cxr.images.notes import Note

_YBR = ("YBR_FULL", "YBR_FULL_422")


def dicom_to_grey(dataset: Dataset, pixels: StoredPixels, intensity: Intensity, note: Note) -> Grey:
    """Grey pixels [H, W], 0 black, of a dataset's stored values."""
    if pixels.words.ndim == 3:
        return _grey_of_colour(pixels, intensity)
    stored = list_stored_values(pixels)
    if pixels.photometric == "PALETTE COLOR":
        no_padding = np.zeros(len(stored), bool)
        values = StoredValues(pixels, stored, no_padding)
        return values.look_up(_grey_of_palette(dataset, values, intensity))

    # 1. modality and VOI: shares [N] of the range, 0 the smallest value and 1 the largest
    remove_impossible_transforms(dataset, note)
    values = StoredValues(pixels, stored, _find_padding(dataset, stored))
    shares = apply_transforms(dataset, values, note)
    if intensity == "range":
        used = shares[values.seen]
        shares = share_of_range(shares, used.min(), used.max())

    # 2. polarity
    if _is_inverted(dataset, pixels.photometric, note):
        shares = 1 - shares

    # 3. the table [N] in which the image is looked up; padding is black whatever the polarity
    table = np.asarray(np.rint(np.clip(shares, 0, 1) * 255), np.uint8)
    table[values.padding] = 0
    return values.look_up(table)


def _grey_of_colour(pixels: StoredPixels, intensity: Intensity) -> Grey:
    """Grey [H, W] from RGB or YBR [H, W, 3]; YBR of 16 bits, which nothing converts, by its first channel."""
    is_8_bit = pixels.words.dtype.itemsize == 1
    is_ybr = pixels.photometric in _YBR
    shape = pixels.words.shape[:2]

    def read_colours(rows: slice) -> AnyArray:  # [h, W, 3]
        part = np.require(pixels.read_rows(rows), np.uint8 if is_8_bit else np.uint16, ["C", "A"])
        return convert_color_space(part, pixels.photometric, "RGB") if is_ybr and is_8_bit else part

    def read_luminance(rows: slice) -> AnyArray:  # [h, W]
        colours = read_colours(rows)
        if is_ybr and not is_8_bit:
            return np.asarray(colours[..., 0])  # Y is the luminance
        return np.asarray(cv2.cvtColor(colours, cv2.COLOR_RGB2GRAY))

    brightest = 255 if is_8_bit else max(int(read_colours(rows).max()) for rows in split_rows(shape))
    return scale_to_8_bit(read_luminance, shape, brightest, intensity)


def _grey_of_palette(dataset: Dataset, values: StoredValues, intensity: Intensity) -> Grey:
    """The grey level [N] of the palette's colour for each stored value."""
    colours = look_up_palette(dataset, values.stored)  # [N, 3]
    # as an image of one row -> [N]
    luminance = np.asarray(cv2.cvtColor(colours[None], cv2.COLOR_RGB2GRAY))[0]
    if intensity == "range":
        used = luminance[values.seen]
        return to_levels(luminance, int(used.min()), int(used.max()))
    return to_levels(luminance, 0, max_of_depth(int(colours[values.seen].max())))


def _is_inverted(dataset: Dataset, photometric: str, note: Note) -> bool:
    """Whether the smallest value is white: MONOCHROME1 or PresentationLUTShape INVERSE, together or alone.

    In the standard both say the same inversion, of a MONOCHROME1 image (PS3.3, C.8.11.3), so it is done once.
    Where they disagree, that is noted: MONOCHROME2 with INVERSE is inverted, as viewers do that follow the
    shape, and MONOCHROME1 with IDENTITY is inverted, as most viewers go by MONOCHROME1.
    """
    shape = str(dataset.get("PresentationLUTShape", "")).strip().upper()
    if (photometric, shape) in (("MONOCHROME2", "INVERSE"), ("MONOCHROME1", "IDENTITY")):
        note(f"{photometric} with PresentationLUTShape {shape}: its smallest value is taken for white")
    return photometric == "MONOCHROME1" or shape == "INVERSE"


def _find_padding(dataset: Dataset, stored: Int32) -> Bool:
    """[N] which stored values the file declares to be no part of the image."""
    value = dataset.get("PixelPaddingValue")
    if not isinstance(value, int):
        return np.zeros(len(stored), bool)
    limit = dataset.get("PixelPaddingRangeLimit", value)
    ends = [value, limit if isinstance(limit, int) else value]
    if int(dataset.BitsAllocated) == 16:
        # some writers give these with the other sign than the pixels have: the same 16 bits are meant
        lowest = -0x8000 if dataset.PixelRepresentation else 0
        ends = [(end - lowest) % 0x10000 + lowest for end in ends]
    first, last = sorted(ends)
    return np.asarray((stored >= first) & (stored <= last))
