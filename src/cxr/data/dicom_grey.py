"""Stored values of a DICOM image -> grey: modality transform, then window or VOI table, then polarity.

Every stage maps a stored value to another, whatever its place, so pydicom's own functions are applied once to the
values from the smallest to the largest of the image, at most 65,536 of them, and the image is looked up in the result:
the same numbers as over the pixels, in a tenth of the memory.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from cxr.data.image import Grey, Intensity, to_grey

if TYPE_CHECKING:
    from pydicom import Dataset

Floats = npt.NDArray[np.float64]

_TRANSFORMS = ("ModalityLUTSequence", "RescaleSlope", "RescaleIntercept", "VOILUTSequence", "WindowCenter",
               "WindowWidth", "VOILUTFunction", "PixelPaddingValue", "PixelPaddingRangeLimit")  # fmt: skip
_FUNCTIONS = {"LINEAR": 1.0, "LINEAR_EXACT": 0.0, "SIGMOID": 0.0}


def grey_of(dataset: "Dataset", pixels: npt.NDArray[Any], intensity: Intensity) -> Grey:
    """Grey pixels [H, W], 0 black, of a dataset's stored values [H, W] or its RGB [H, W, 3]."""
    if pixels.ndim == 3:
        return to_grey(np.ascontiguousarray(pixels[..., ::-1]), intensity)
    low, high = int(pixels.min()), int(pixels.max())
    places = pixels.astype(np.int32) - low
    stored = np.arange(low, high + 1, dtype=np.int32)
    _clean(dataset)
    share = _share_of_range(dataset, stored)
    padding = _is_padding(dataset, stored)
    if intensity == "range":
        share = _stretch(share, places, padding)
    if dataset.get("PhotometricInterpretation") == "MONOCHROME1":
        share = 1 - share
    table = np.asarray(np.rint(np.clip(share, 0, 1) * 255), np.uint8)
    table[padding] = 0
    return np.asarray(table[places], np.uint8)


def _clean(dataset: "Dataset") -> None:
    """Take away transforms that are empty or impossible, as viewers ignore them."""
    for keyword in _TRANSFORMS:
        if keyword in dataset and dataset[keyword].is_empty:
            del dataset[keyword]
    function = str(dataset.get("VOILUTFunction", "LINEAR")).strip().upper()
    if function not in _FUNCTIONS:
        del dataset.VOILUTFunction
    width = _first(dataset.get("WindowWidth"))
    if (
        width is None
        or _first(dataset.get("WindowCenter")) is None
        or width < _FUNCTIONS.get(function, 1)
        or width <= 0
    ):
        dataset.pop("WindowWidth", None)
        dataset.pop("WindowCenter", None)


def _first(value: Any) -> float | None:  # noqa: ANN401 - a number, several, or nothing
    one = value[0] if hasattr(value, "__getitem__") and len(value) else value
    return None if one is None or one == "" else float(one)


def _share_of_range(dataset: "Dataset", stored: npt.NDArray[np.int32]) -> Floats:
    """Where each stored value ends, as a share of the range that the transforms can give."""
    from pydicom.pixels.processing import apply_modality_lut, apply_voi, apply_windowing

    lowest, highest = _stored_range(dataset, stored)
    modality = (dataset.get("ModalityLUTSequence") or [None])[0]
    if modality is not None:
        lowest, highest = 0, _widen(modality)
    elif "RescaleSlope" in dataset and "RescaleIntercept" in dataset:
        slope, intercept = float(dataset.RescaleSlope), float(dataset.RescaleIntercept)
        lowest, highest = sorted((lowest * slope + intercept, highest * slope + intercept))
    values = np.asarray(apply_modality_lut(stored, dataset))
    table = (dataset.get("VOILUTSequence") or [None])[0]
    if table is not None and "LUTDescriptor" in table and "LUTData" in table:
        number, first, _ = table.LUTDescriptor
        lowest, highest = 0, _widen(table)
        inside = np.clip(np.rint(values), first, first + (number or 65536) - 1)
        values = apply_voi(inside.astype(np.int32), dataset)
    elif "WindowWidth" in dataset:
        return _window_share(dataset, apply_windowing(values, dataset))
    return _shares(np.asarray(values, np.float64), lowest, highest)


def _stored_range(dataset: "Dataset", stored: npt.NDArray[np.int32]) -> tuple[float, float]:
    """The range of BitsStored bits; more where values need them, as compressed pixels may."""
    low, high = int(stored[0]), int(stored[-1])
    if dataset.get("PixelRepresentation", 0) == 0:
        return 0, 2 ** max(int(dataset.BitsStored), high.bit_length()) - 1
    half = 2 ** max(int(dataset.BitsStored) - 1, high.bit_length(), (-low - 1).bit_length() if low < 0 else 0)
    return -half, half - 1


def _widen(table: "Dataset") -> int:
    """The largest grey value of a table's bits, after declaring it to be of 16 bits.

    pydicom counts a table's entries in the type of its values, so 4,096 entries of 8 bits would wrap around.
    """
    number, first, bits = table.LUTDescriptor
    table["LUTDescriptor"].value = [number, first, 16]
    return int(2**bits - 1)


def _window_share(dataset: "Dataset", values: Floats) -> Floats:
    """Shares of pydicom's output range, which it turns upside down under a negative slope; so this turns it back."""
    if "ModalityLUTSequence" in dataset:
        ends = (0.0, 65535.0)
    else:
        half = 2.0 ** (dataset.BitsStored - 1)
        ends = (-half, half - 1) if dataset.get("PixelRepresentation", 0) else (0.0, 2 * half - 1)
    if "RescaleSlope" in dataset and "RescaleIntercept" in dataset:
        slope, intercept = float(dataset.RescaleSlope), float(dataset.RescaleIntercept)
        ends = (ends[0] * slope + intercept, ends[1] * slope + intercept)
    return _shares(values, *ends)


def _shares(values: Floats, start: float, end: float) -> Floats:
    if not (np.isfinite(values).all() and np.isfinite([start, end]).all()):
        raise ValueError("a transform gives values that are not finite")
    return np.asarray((values - start) / (end - start), np.float64) if end != start else np.zeros_like(values)


def _stretch(share: Floats, places: npt.NDArray[np.int32], padding: npt.NDArray[np.bool_]) -> Floats:
    """Shares with the image's own smallest at 0 and largest at 1; padding is no part of the image."""
    seen = np.zeros(len(share), bool)
    seen[places.ravel()] = True
    own = share[seen & ~padding]
    return _shares(share, own.min(), own.max()) if len(own) else share


def _is_padding(dataset: "Dataset", stored: npt.NDArray[np.int32]) -> npt.NDArray[np.bool_]:
    """Which stored values the file declares to be no part of the image."""
    value = dataset.get("PixelPaddingValue")
    if not isinstance(value, int):
        return np.zeros(len(stored), bool)
    limit = dataset.get("PixelPaddingRangeLimit", value)
    first, last = sorted((value, limit if isinstance(limit, int) else value))
    return np.asarray((stored >= first) & (stored <= last))
