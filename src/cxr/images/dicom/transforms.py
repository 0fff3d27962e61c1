"""The modality and the VOI transforms of a DICOM image (PS3.3, C.11.1 and C.11.2), on its stored values.

A transform that is impossible, or under which all pixels become one grey although they differ, counts as
absent and is noted: viewers show such files too, and a black square would get a prediction like any other
image.
"""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from pydicom import Dataset
from pydicom.pixels.processing import apply_modality_lut, apply_voi, apply_windowing

from cxr.arrays import AnyArray, Float64
from cxr.images.dicom.values import StoredValues
from cxr.images.grey import max_of_depth
from cxr.images.notes import Note

_KEYWORDS = (
    "ModalityLUTSequence",
    "RescaleSlope",
    "RescaleIntercept",
    "VOILUTSequence",
    "WindowCenter",
    "WindowWidth",
    "VOILUTFunction",
    "PixelPaddingValue",
    "PixelPaddingRangeLimit",
    "PresentationLUTShape",
)
# VOILUTFunction -> the least width of a window
_MIN_WIDTHS = {"LINEAR": 1.0, "LINEAR_EXACT": 0.0, "SIGMOID": 0.0}
_FEW_LEVELS = 32


def remove_impossible_transforms(dataset: Dataset, note: Note) -> None:
    """Delete transforms that are empty or impossible, so that pydicom's functions can be applied."""
    for keyword in _KEYWORDS:
        try:
            if keyword in dataset and dataset[keyword].is_empty:
                del dataset[keyword]
        except Exception:  # pydicom raises anything on a value that is no number
            note(f"{keyword} makes no sense and is ignored")
            del dataset[keyword]

    if _read_function(dataset) not in _MIN_WIDTHS:
        del dataset.VOILUTFunction

    for keyword in ("RescaleSlope", "RescaleIntercept"):
        if keyword in dataset and dataset[keyword].VM > 1:  # several values: the first counts
            dataset[keyword].value = dataset[keyword].value[0]
    if "RescaleSlope" in dataset and "RescaleIntercept" in dataset:
        slope, intercept = _to_float(dataset.RescaleSlope), _to_float(dataset.RescaleIntercept)
        low, high = -65536.0 * slope + intercept, 65536.0 * slope + intercept
        if not math.isfinite(low) or not math.isfinite(high) or low == high:
            note("RescaleSlope and RescaleIntercept make no sense and are ignored")
            del dataset.RescaleSlope


def _read_function(dataset: Dataset) -> str:
    return str(dataset.get("VOILUTFunction", "LINEAR")).strip().upper()


def _to_float(value: Any) -> float:  # noqa: ANN401 - a number, several, or text that is none
    """The first number, nan where there is none."""
    try:
        return float(value[0] if _are_several(value) else value)
    except (TypeError, ValueError, IndexError):
        return math.nan


def _are_several(value: Any) -> bool:  # noqa: ANN401 - as above
    return hasattr(value, "__getitem__") and not isinstance(value, str)


def apply_transforms(dataset: Dataset, values: StoredValues, note: Note) -> Float64:
    """[N] where each stored value ends, as a share of the range that the transforms can give: 0 to 1.

    The first VOI transform that leaves more than one grey is applied; without any, the whole range is.
    """
    modified, low, high = _apply_modality(dataset, values, note)
    is_any_tried = False
    for shares in _apply_voi_transforms(dataset, modified, note):
        if values.are_distinguished_by(shares):
            _note_few_levels(shares[~values.padding], note)
            return shares
        is_any_tried = True
    if is_any_tried:
        note("its window or VOI table makes all pixels one grey and is ignored")
    return share_of_range(np.asarray(modified, np.float64), low, high)


def _note_few_levels(shares: Float64, note: Note) -> None:
    """Note a window far wider than the values: only a few greys are left of the image."""
    used = np.clip(shares, 0, 1)
    if len(used) > _FEW_LEVELS and np.ptp(used) * 255 < _FEW_LEVELS:
        note(f"its window or VOI table is so wide that fewer than {_FEW_LEVELS} of 256 grey levels are left")


def _apply_modality(dataset: Dataset, values: StoredValues, note: Note) -> tuple[AnyArray, float, float]:
    """(values [N] after the modality transform, lowest, highest) by the bits that the image needs."""
    # 1. a table, where it is whole
    modality = (dataset.get("ModalityLUTSequence") or [None])[0]
    if modality is not None:
        try:
            _declare_16_bits(modality)
            modified = np.asarray(apply_modality_lut(values.stored, dataset))
        except Exception:  # pydicom raises anything on a broken table
            modified = None
        if modified is not None:
            highest = max_of_depth(int(modified[values.seen].max()))
            if values.are_distinguished_by(modified / highest):
                return modified, 0, highest
        note("its modality table makes no sense or all pixels one grey and is ignored")
        del dataset.ModalityLUTSequence

    # 2. else slope and intercept, of the values and of their range
    darkest, brightest = values.find_darkest_and_brightest()
    low, high = _needed_range(darkest, brightest, min_bits=min(8, int(dataset.BitsStored)))
    modified = np.asarray(values.stored)
    if "RescaleSlope" in dataset and "RescaleIntercept" in dataset:
        slope, intercept = float(dataset.RescaleSlope), float(dataset.RescaleIntercept)
        low, high = sorted((low * slope + intercept, high * slope + intercept))  # a negative slope swaps them
        modified = modified * slope + intercept
    return modified, low, high


def _needed_range(darkest: int, brightest: int, min_bits: int) -> tuple[float, float]:
    """The rule of Preprocess, whatever BitsStored is: the depth that the brightest and darkest pixel need."""
    if darkest >= 0:
        return 0, 2 ** max(min_bits, brightest.bit_length()) - 1
    # a bit for the sign; -2048 fits into as many bits as 2047 does
    bits_above = max(min_bits - 1, max(brightest, 0).bit_length())
    bits_below = max(min_bits - 1, (-darkest - 1).bit_length())
    return -(2**bits_below), 2**bits_above - 1


def _apply_voi_transforms(dataset: Dataset, modified: AnyArray, note: Note) -> Iterator[Float64]:
    """Shares [N] under the VOI table, then under each window that is possible, in the order of the file."""
    table = (dataset.get("VOILUTSequence") or [None])[0]
    if table is not None and "LUTDescriptor" in table and "LUTData" in table:
        try:
            yield _look_up_voi(dataset, table, modified)
        except Exception:  # pydicom raises anything on a broken table
            note("its VOI table makes no sense and is ignored")
    windows = _find_windows(dataset)
    if not windows and ("WindowCenter" in dataset or "WindowWidth" in dataset):
        note("its window makes no sense and is ignored")
    for index in windows:
        windowed = apply_windowing(modified, dataset, index)
        yield share_of_range(windowed, *_output_range(dataset))


def _look_up_voi(dataset: Dataset, table: Dataset, modified: AnyArray) -> Float64:
    """Shares [N] of the table's range; values outside the table have its first or last entry."""
    num_entries, first, _ = table.LUTDescriptor
    num_entries = num_entries or 65536  # which does not fit into 16 bits, so the standard writes 0
    highest = _declare_16_bits(table)
    inside = np.clip(np.rint(modified), first, first + num_entries - 1)
    looked_up = apply_voi(inside.astype(np.int32), dataset)
    return share_of_range(np.asarray(looked_up, np.float64), 0, highest)


def _declare_16_bits(table: Dataset) -> int:
    """The largest grey value of a table's bits, after declaring it to be of 16 bits.

    pydicom counts a table's entries in the type of its values, so 4,096 entries of 8 bits would wrap around.
    """
    num_entries, first, bits = table.LUTDescriptor
    table["LUTDescriptor"].value = [num_entries, first, 16]
    return int(2**bits - 1)


def _find_windows(dataset: Dataset) -> list[int]:
    """Numbers of the windows that are possible, from 0."""
    min_width = _MIN_WIDTHS[_read_function(dataset)]
    center, width = dataset.get("WindowCenter"), dataset.get("WindowWidth")
    centers = [_to_float(value) for value in (center if _are_several(center) else [center])]
    widths = [_to_float(value) for value in (width if _are_several(width) else [width])]
    if len(centers) != len(widths):
        return []
    return [
        number
        for number, (center, width) in enumerate(zip(centers, widths, strict=True))
        if math.isfinite(center) and math.isfinite(width) and width >= min_width and width > 0
    ]


def _output_range(dataset: Dataset) -> tuple[float, float]:
    """Where pydicom's windowing puts the darkest and the brightest value (PS3.3, C.11.2.1.2).

    It is the range of BitsStored after slope and intercept. Under a negative slope pydicom turns the image
    upside down; the first of the two is then the larger, which turns it back.
    """
    if "ModalityLUTSequence" in dataset:
        ends = (0.0, 65535.0)
    else:
        half = 2.0 ** (dataset.BitsStored - 1)
        ends = (-half, half - 1) if dataset.get("PixelRepresentation", 0) else (0.0, 2 * half - 1)
    if "RescaleSlope" in dataset and "RescaleIntercept" in dataset:
        slope, intercept = float(dataset.RescaleSlope), float(dataset.RescaleIntercept)
        ends = (ends[0] * slope + intercept, ends[1] * slope + intercept)
    return ends


def share_of_range(values: Float64, start: float, end: float) -> Float64:
    """Values [N] as shares of a range: 0 at its start, 1 at its end; all 0 in an empty range.

    Raises:
        ValueError: A value or an end is not finite.
    """
    if not (np.isfinite(values).all() and np.isfinite([start, end]).all()):
        raise ValueError("a transform gives values that are not finite")
    if end == start:
        return np.zeros_like(values)
    return np.asarray((values - start) / (end - start), np.float64)
