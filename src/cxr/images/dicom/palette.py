"""Palettes of DICOM (PS3.3, C.7.9): stored values -> RGB."""

import numpy as np
from pydicom import Dataset
from pydicom.pixels.processing import apply_color_lut

from cxr.arrays import AnyArray, Int32


def look_up_palette(dataset: Dataset, stored: Int32) -> AnyArray:
    """RGB [N, 3] of 8 or 16 bits for N stored values; outside the palette its first or last colour.

    pydicom's own function counts entries in the type of the colours, so that 4,096 entries of 8 bits wrap
    around.
    """
    if "RedPaletteColorLookupTableData" not in dataset:  # the segmented form, which pydicom unfolds
        return np.ascontiguousarray(apply_color_lut(stored, dataset)[..., :3])

    num_entries, first, _ = dataset.RedPaletteColorLookupTableDescriptor
    num_entries = num_entries or 65536  # which does not fit into 16 bits, so the standard writes 0
    entries = np.clip(stored - first, 0, num_entries - 1)
    order = "<" if dataset.file_meta.TransferSyntaxUID.is_little_endian else ">"
    channels = []
    for colour in ("Red", "Green", "Blue"):
        data = dataset[f"{colour}PaletteColorLookupTableData"].value
        # the descriptor's third number may say 16 bits of a table of bytes: the length is what is true
        kind = np.dtype(f"{order}u2") if len(data) >= 2 * num_entries else np.dtype(np.uint8)
        channels.append(np.frombuffer(data, kind, num_entries)[entries])
    colours = np.stack(channels, axis=-1)  # [N, 3]
    return colours.astype(np.uint8 if channels[0].itemsize == 1 else np.uint16)
