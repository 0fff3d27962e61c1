"""Palettes of DICOM: stored values -> RGB."""

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from pydicom import Dataset


def look_up_palette(dataset: "Dataset", stored: npt.NDArray[np.int32]) -> npt.NDArray[Any]:
    """RGB [N, 3] of 8 or 16 bits for N stored values; values outside the palette have its first or last colour.

    pydicom's own function counts entries in the type of the colours, so that 4,096 entries of 8 bits wrap around.
    """
    from pydicom.pixels.processing import apply_color_lut

    if "RedPaletteColorLookupTableData" not in dataset:  # the segmented form, which pydicom unfolds
        return np.ascontiguousarray(apply_color_lut(stored, dataset)[..., :3])
    number, first, _ = dataset.RedPaletteColorLookupTableDescriptor
    number = number or 65536
    places = np.clip(stored - first, 0, number - 1)
    order = "<" if dataset.file_meta.TransferSyntaxUID.is_little_endian else ">"
    channels = []
    for name in ("Red", "Green", "Blue"):
        data = dataset[f"{name}PaletteColorLookupTableData"].value
        kind = np.uint8 if len(data) < 2 * number else np.dtype(f"{order}u2")
        channels.append(np.frombuffer(data, kind, number)[places])
    return np.stack(channels, axis=-1).astype(np.uint8 if channels[0].itemsize == 1 else np.uint16)
