"""Stored values of a DICOM image -> grey: modality transform, then window or VOI table, then polarity.

Every stage maps a stored value to another, whatever its place, so pydicom's own functions are applied once to the
values from the smallest to the largest of the image, at most 65,536 of them, and the image is looked up in the result:
the same numbers as over the pixels, in a tenth of the memory.

A transform that is impossible, or under which all pixels become one grey although they differ, counts as absent and is
noted: viewers show such files too, and a black square would get a prediction like any other image.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import numpy.typing as npt

from cxr.images.dicom.layout import Stored
from cxr.images.dicom.palette import look_up_palette
from cxr.images.grey import Grey, Intensity, blocks_of, scale, to_levels, top_of
from cxr.images.notes import Note

if TYPE_CHECKING:
    from pydicom import Dataset

Floats = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]

_TRANSFORMS = ("ModalityLUTSequence", "RescaleSlope", "RescaleIntercept", "VOILUTSequence", "WindowCenter",
               "WindowWidth", "VOILUTFunction", "PixelPaddingValue", "PixelPaddingRangeLimit",
               "PresentationLUTShape")  # fmt: skip
_FUNCTIONS = {"LINEAR": 1.0, "LINEAR_EXACT": 0.0, "SIGMOID": 0.0}  # the least width of a window
_FEW_LEVELS = 32
_YBR = ("YBR_FULL", "YBR_FULL_422")


@dataclass(frozen=True)
class _Values:
    """The stored values from the image's smallest to its largest, and which of them are no part of the image."""

    pixels: Stored
    stored: npt.NDArray[np.int32]
    padding: Bool

    @cached_property
    def seen(self) -> Bool:
        """Which values pixels have, padding left out; all where there is nothing but padding."""
        seen = np.zeros(len(self.stored), bool)
        for rows in blocks_of(self.pixels.words.shape):
            seen[self.pixels.rows(rows).astype(np.int32).ravel() - self.stored[0]] = True
        return seen & ~self.padding if (seen & ~self.padding).any() else np.ones(len(self.stored), bool)

    def ends(self) -> tuple[int, int]:
        """The darkest and the brightest stored value of the image."""
        used = self.stored[self.seen] if self.padding.any() else self.stored
        return int(used[0]), int(used[-1])

    def differ(self, share: Floats) -> bool:
        """Whether not all pixels have one grey under these shares, or have one stored value anyway."""
        levels, low = np.rint(np.clip(share, 0, 1) * 255), self.stored[0]
        few = self.pixels.rows(blocks_of(self.pixels.words.shape)[0])[::16, ::16].astype(np.int32) - low
        few = few[~self.padding[few]]
        if few.size and levels[few].min() != levels[few].max():
            return True  # what most images end with, without a look at every pixel
        used = levels[self.seen]
        return bool(used.min() != used.max() or self.seen.sum() == 1)

    def map(self, table: Grey) -> Grey:
        """The image [H, W] with each stored value looked up in a table that begins with the smallest."""
        result = np.empty(self.pixels.words.shape, np.uint8)
        for rows in blocks_of(result.shape):
            places = self.pixels.rows(rows).astype(np.int32) - self.stored[0]
            np.take(table, places, out=result[rows], mode="clip")  # clip, as the default copies the result
        return result


def grey_of(dataset: "Dataset", pixels: Stored, intensity: Intensity, note: Note) -> Grey:
    """Grey pixels [H, W], 0 black, of a dataset's stored values."""
    if pixels.words.ndim == 3:
        return _grey_of_colour(pixels, intensity)
    low, high = _span(pixels)
    stored = np.arange(low, high + 1, dtype=np.int32)
    if pixels.photometric == "PALETTE COLOR":
        values = _Values(pixels, stored, np.zeros(len(stored), bool))
        return values.map(_palette_table(dataset, values, intensity))
    _clean(dataset, note)
    values = _Values(pixels, stored, _is_padding(dataset, stored))
    share = _choose_share(dataset, values, note)
    if intensity == "range":
        used = share[values.seen]
        share = _shares(share, used.min(), used.max())
    if _is_inverted(dataset, pixels.photometric, note):
        share = 1 - share
    table = np.asarray(np.rint(np.clip(share, 0, 1) * 255), np.uint8)
    table[values.padding] = 0
    return values.map(table)


def _span(pixels: Stored) -> tuple[int, int]:
    """The smallest and the largest stored value."""
    ends = [(int(rows.min()), int(rows.max())) for rows in map(pixels.rows, blocks_of(pixels.words.shape))]
    return min(low for low, _ in ends), max(high for _, high in ends)


def _grey_of_colour(pixels: Stored, intensity: Intensity) -> Grey:
    """Grey [H, W] from RGB or YBR [H, W, 3]; YBR of more than 8 bits, which nothing converts, by its first channel."""
    from pydicom.pixels.processing import convert_color_space

    kind: type[np.uint8] | type[np.uint16] = np.uint8 if pixels.words.dtype.itemsize == 1 else np.uint16
    is_ybr, shape = pixels.photometric in _YBR, pixels.words.shape[:2]

    def colours(rows: slice) -> npt.NDArray[Any]:
        part = np.require(pixels.rows(rows), kind, ["C", "A"])
        return convert_color_space(part, pixels.photometric, "RGB") if is_ybr and kind is np.uint8 else part

    def luminance(rows: slice) -> npt.NDArray[Any]:
        part = colours(rows)
        return (
            part[..., 0]
            if is_ybr and kind is np.uint16
            else np.asarray(cv2.cvtColor(part, cv2.COLOR_RGB2GRAY))
        )

    brightest = 255 if kind is np.uint8 else max(int(colours(rows).max()) for rows in blocks_of(shape))
    return scale(luminance, shape, brightest, intensity)


def _palette_table(dataset: "Dataset", values: _Values, intensity: Intensity) -> Grey:
    colours = look_up_palette(dataset, values.stored)
    luminance = np.asarray(cv2.cvtColor(colours[None], cv2.COLOR_RGB2GRAY))[0]
    used = luminance[values.seen]
    if intensity == "range":
        return to_levels(luminance, int(used.min()), int(used.max()))
    return to_levels(luminance, 0, top_of(int(colours[values.seen].max())))


def _clean(dataset: "Dataset", note: Note) -> None:
    """Take away transforms that are empty or impossible."""
    for keyword in _TRANSFORMS:
        try:
            if keyword in dataset and dataset[keyword].is_empty:
                del dataset[keyword]
        except Exception:  # pydicom raises what it likes on a value that is no number
            note(f"{keyword} makes no sense and is ignored")
            del dataset[keyword]
    function = str(dataset.get("VOILUTFunction", "LINEAR")).strip().upper()
    if function not in _FUNCTIONS:
        del dataset.VOILUTFunction
    for keyword in ("RescaleSlope", "RescaleIntercept"):
        if keyword in dataset and dataset[keyword].VM > 1:
            dataset[keyword].value = dataset[keyword].value[0]
    if "RescaleSlope" in dataset and "RescaleIntercept" in dataset:
        slope, intercept = _first(dataset.RescaleSlope), _first(dataset.RescaleIntercept)
        ends = [value * slope + intercept for value in (-65536.0, 65536.0)]
        if not all(map(math.isfinite, ends)) or ends[0] == ends[1]:
            note("RescaleSlope and RescaleIntercept make no sense and are ignored")
            del dataset.RescaleSlope


def _first(value: Any) -> float:  # noqa: ANN401 - a number, several, or text that is none
    try:
        return float(value[0] if hasattr(value, "__getitem__") and not isinstance(value, str) else value)
    except (TypeError, ValueError, IndexError):
        return math.nan


def _choose_share(dataset: "Dataset", values: _Values, note: Note) -> Floats:
    """Where each stored value ends, as a share of the range that the transforms can give."""
    modified, low, high = _apply_modality(dataset, values, note)
    is_tried = False
    for share in _apply_windows(dataset, modified, note):
        if values.differ(share):
            _note_wide(share[~values.padding], note)
            return share
        is_tried = True
    if is_tried:
        note("its window or VOI table makes all pixels one grey and is ignored")
    return _shares(np.asarray(modified, np.float64), low, high)


def _note_wide(share: Floats, note: Note) -> None:
    """Say so of a window far wider than the values: nothing but a few greys is left of the image."""
    used = np.clip(share, 0, 1)
    if len(used) > _FEW_LEVELS and np.ptp(used) * 255 < _FEW_LEVELS:
        note(f"its window or VOI table is so wide that fewer than {_FEW_LEVELS} of 256 grey levels are left")


def _apply_modality(dataset: "Dataset", values: _Values, note: Note) -> tuple[npt.NDArray[Any], float, float]:
    """(values after the modality transform, the range that these can have by the bits that the image needs)."""
    modality = (dataset.get("ModalityLUTSequence") or [None])[0]
    if modality is not None:
        modified = _look_up_modality(dataset, modality, values)
        top = top_of(int(modified[values.seen].max())) if modified is not None else 0
        if modified is not None and values.differ(modified / top):
            return modified, 0, top
        note("its modality table makes no sense or all pixels one grey and is ignored")
        del dataset.ModalityLUTSequence
    low, high = _needed_range(*values.ends(), min(8, int(dataset.BitsStored)))
    modified = np.asarray(values.stored)
    if "RescaleSlope" in dataset and "RescaleIntercept" in dataset:
        slope, intercept = float(dataset.RescaleSlope), float(dataset.RescaleIntercept)
        low, high = sorted((low * slope + intercept, high * slope + intercept))
        modified = modified * slope + intercept
    return modified, low, high


def _look_up_modality(dataset: "Dataset", modality: "Dataset", values: _Values) -> npt.NDArray[Any] | None:
    """The stored values in the modality table, None where it is broken."""
    from pydicom.pixels.processing import apply_modality_lut

    try:
        _widen(modality)
        return np.asarray(apply_modality_lut(values.stored, dataset))
    except Exception:  # whatever pydicom makes of a broken table
        return None


def _needed_range(darkest: int, brightest: int, least_bits: int) -> tuple[float, float]:
    """The rule of Preprocess, whatever BitsStored is: the bit depth that the brightest and the darkest pixel need."""
    if darkest >= 0:
        return 0, 2 ** max(least_bits, brightest.bit_length()) - 1
    bits = max(least_bits - 1, max(brightest, 0).bit_length())
    return -(2 ** max(least_bits - 1, (-darkest - 1).bit_length())), 2**bits - 1


def _apply_windows(dataset: "Dataset", modified: npt.NDArray[Any], note: Note) -> Iterator[Floats]:
    """Shares under the VOI table, and under each window that is possible, the first first."""
    from pydicom.pixels.processing import apply_windowing

    table = (dataset.get("VOILUTSequence") or [None])[0]
    if table is not None and "LUTDescriptor" in table and "LUTData" in table:
        try:
            yield _look_up_voi(dataset, table, modified)
        except Exception:  # whatever pydicom makes of a broken table
            note("its VOI table makes no sense and is ignored")
    windows = _find_windows(dataset)
    if not windows and ("WindowCenter" in dataset or "WindowWidth" in dataset):
        note("its window makes no sense and is ignored")
    for index in windows:
        yield _window_share(dataset, apply_windowing(modified, dataset, index))


def _look_up_voi(dataset: "Dataset", table: "Dataset", modified: npt.NDArray[Any]) -> Floats:
    from pydicom.pixels.processing import apply_voi

    number, first, _ = table.LUTDescriptor
    top = _widen(table)
    inside = np.clip(np.rint(modified), first, first + (number or 65536) - 1)
    return _shares(np.asarray(apply_voi(inside.astype(np.int32), dataset), np.float64), 0, top)


def _find_windows(dataset: "Dataset") -> list[int]:
    """Places of the windows that are possible."""
    least = _FUNCTIONS[str(dataset.get("VOILUTFunction", "LINEAR")).strip().upper()]
    sides = []
    for keyword in ("WindowCenter", "WindowWidth"):
        value = dataset.get(keyword)
        several = hasattr(value, "__getitem__") and not isinstance(value, str)
        sides.append([_first(one) for one in (value if several else [value])])
    if len(sides[0]) != len(sides[1]):
        return []
    return [place for place, (center, width) in enumerate(zip(*sides, strict=True))
            if math.isfinite(center) and math.isfinite(width) and width >= least and width > 0]  # fmt: skip


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


def _is_inverted(dataset: "Dataset", photometric: str, note: Note) -> bool:
    """Whether the smallest value is white: MONOCHROME1 or PresentationLUTShape INVERSE, together or alone.

    In the standard both say the same inversion, of a MONOCHROME1 image (PS3.3 C.8.11.3), so it is done once. Where
    they disagree, that is noted: MONOCHROME2 with INVERSE is inverted, as viewers do that follow the shape, and
    MONOCHROME1 with IDENTITY is inverted, as most viewers go by MONOCHROME1.
    """
    shape = str(dataset.get("PresentationLUTShape", "")).strip().upper()
    if (photometric, shape) in (("MONOCHROME2", "INVERSE"), ("MONOCHROME1", "IDENTITY")):
        note(f"{photometric} with PresentationLUTShape {shape}: its smallest value is taken for white")
    return photometric == "MONOCHROME1" or shape == "INVERSE"


def _is_padding(dataset: "Dataset", stored: npt.NDArray[np.int32]) -> Bool:
    """Which stored values the file declares to be no part of the image."""
    value = dataset.get("PixelPaddingValue")
    if not isinstance(value, int):
        return np.zeros(len(stored), bool)
    limit = dataset.get("PixelPaddingRangeLimit", value)
    ends = [value, limit if isinstance(limit, int) else value]
    if (
        int(dataset.BitsAllocated) == 16
    ):  # some writers give these the other sign than the pixels have: same bits
        lowest = -0x8000 if dataset.PixelRepresentation else 0
        ends = [(one - lowest) % 0x10000 + lowest for one in ends]
    first, last = sorted(ends)
    return np.asarray((stored >= first) & (stored <= last))
