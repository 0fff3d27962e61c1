"""DICOM files -> grey values and the range they can take, through pydicom's own pipeline.

The order of PS3.3 C.11: 1. stored values, 2. modality LUT or rescale slope and intercept, 3. VOI LUT, else the first
window, 4. inversion of MONOCHROME1. No patient's name or number gets into a message: no text of pydicom's errors is
passed on, since it may quote an element.
"""

import io
import struct
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from cxr.data.dicom_header import import_pydicom
from cxr.errors import CxrError, UnreadableImageError

if TYPE_CHECKING:
    from pydicom import FileDataset

MAX_BYTES = 400_000_000
"""A deflated file that unpacks to more is refused."""
_GREY = ("MONOCHROME1", "MONOCHROME2")
_FRAMES = (0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF, 0xF7)
"""JPEG's markers that hold height and width; 0xF7 is JPEG-LS's."""


class Values(NamedTuple):
    """Grey [H, W], or colour [H, W, 3] in OpenCV's order BGR, and the values that stand for black and white."""

    pixels: npt.NDArray[Any]
    black: float
    white: float


def decode_dicom(data: bytes, name: Path | str, max_pixels: int) -> Values:
    """Values of a DICOM file after modality transform, VOI transform and inversion.

    Raises:
        UnreadableImageError: No single image, truncated or corrupt pixels, a transfer syntax without a decoder.
        CxrError: pydicom is not installed.
    """
    import_pydicom(name)
    try:
        dataset = _read(data, name)
        _check(dataset, name, max_pixels)
        values = _apply(dataset)
    except CxrError:
        raise
    except Exception:  # pydicom and its plugins raise every kind on a damaged file, with its elements in the text
        raise UnreadableImageError(name, "DICOM file is corrupt or of a kind that no decoder here reads") from None
    if not np.isfinite(values.pixels).all() or not values.white > values.black:
        raise UnreadableImageError(name, "DICOM file is corrupt: its grey values have no range")
    return values


def _read(data: bytes, name: Path | str) -> "FileDataset":
    import pydicom
    from pydicom.uid import DeflatedExplicitVRLittleEndian

    if DeflatedExplicitVRLittleEndian.encode() in data[:1024]:
        _check_deflated(data, name)
    return pydicom.dcmread(io.BytesIO(data), force=True)


def _check_deflated(data: bytes, name: Path | str) -> None:
    """Refuse a file that would unpack without bound; its header says where the packed part starts."""
    tag, length = struct.unpack_from("<4s4xI", data, 132)
    if tag != b"\x02\0\0\0":
        raise UnreadableImageError(name, "DICOM file is corrupt: its header does not say how long it is")
    unpacked = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data[144 + length :], MAX_BYTES + 1)
    if len(unpacked) > MAX_BYTES:
        raise UnreadableImageError(name, f"DICOM file unpacks to more than {MAX_BYTES:,} bytes")


def _check(dataset: "FileDataset", name: Path | str, max_pixels: int) -> None:
    """Refuse what is no single image of bearable size, by what it is."""
    if "PixelData" not in dataset:
        what = dataset.SOPClassUID.name if "SOPClassUID" in dataset else ""
        raise UnreadableImageError(name, f"DICOM object without an image{f' ({what})' if what else ''}")
    frames = int(dataset.get("NumberOfFrames") or 1)
    if frames != 1:
        raise UnreadableImageError(name, f"DICOM file of {frames:,} frames; a radiograph has one")
    height, width = int(dataset.Rows), int(dataset.Columns)
    if height * width > max_pixels:
        what = f"image of {width:,} x {height:,} pixels is larger than {max_pixels:,} pixels"
        raise UnreadableImageError(name, what)
    syntax = dataset.file_meta.get("TransferSyntaxUID") if hasattr(dataset, "file_meta") else None
    if syntax is None:
        raise UnreadableImageError(name, "DICOM file does not say its transfer syntax")
    if syntax.is_compressed and not syntax.is_deflated:
        _check_frame(dataset, name, height, width)


def _check_frame(dataset: "FileDataset", name: Path | str, height: int, width: int) -> None:
    """Refuse a compressed frame that no decoder reads, or that says another size than the header of the file."""
    from pydicom.encaps import get_frame
    from pydicom.pixels.decoders.base import get_decoder

    syntax = dataset.file_meta.TransferSyntaxUID
    try:
        readable = get_decoder(syntax).is_available
    except NotImplementedError:
        readable = False
    if not readable:
        raise UnreadableImageError(name, f"no decoder here for DICOM's transfer syntax {syntax.name}")
    frame = get_frame(dataset.PixelData, 0, number_of_frames=1)
    bound = 2 * height * width * max(1, int(dataset.BitsAllocated) // 8) * int(dataset.SamplesPerPixel) + 1_000_000
    if len(frame) > bound or _find_size(frame) not in (None, (height, width)):
        raise UnreadableImageError(name, "DICOM file is corrupt: its compressed pixels are of another size")


def _find_size(frame: bytes) -> tuple[int, int] | None:
    """(height, width) that a JPEG, JPEG-LS or JPEG 2000 stream says of itself; None where it does not begin as one."""
    if frame[:4] == b"\xff\x4f\xff\x51":
        right, below, left, above = struct.unpack_from(">IIII", frame, 8)
        return below - above, right - left
    if frame[:2] != b"\xff\xd8":
        return None
    at = 2
    while at + 9 <= len(frame) and frame[at] == 0xFF:
        kind, length, height, width = struct.unpack_from(">xBHxHH", frame, at)
        if kind in _FRAMES:
            return height, width
        at += 1 if kind == 0xFF else 2 + length
    return None


def _apply(dataset: "FileDataset") -> Values:
    from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut

    stored = dataset.pixel_array
    bits, signed = int(dataset.BitsStored), int(dataset.get("PixelRepresentation") or 0)
    if dataset.PhotometricInterpretation not in _GREY:
        return Values(stored[..., ::-1], 0, 2**bits - 1)  # colour, decoded to RGB
    padded = _find_padding(dataset, stored)
    _drop_impossible_windows(dataset)
    values = np.asarray(apply_voi_lut(apply_modality_lut(stored, dataset), dataset), np.float64)
    black, white = _range(dataset, bits, signed)
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        values = black + white - values
    if padded is not None:
        values[padded] = black
    return Values(values, black, white)


def _range(dataset: "FileDataset", bits: int, signed: int) -> tuple[float, float]:
    """The lowest and highest value that the transforms can give (PS3.3 C.11.2.1.2)."""
    if dataset.get("VOILUTSequence"):
        return 0, 2 ** int(dataset.VOILUTSequence[0].LUTDescriptor[2]) - 1
    if dataset.get("ModalityLUTSequence"):
        return 0, 2 ** int(dataset.ModalityLUTSequence[0].LUTDescriptor[2]) - 1
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    if dataset.get("RescaleSlope") is None or dataset.get("RescaleIntercept") is None:
        return low, high
    slope, intercept = float(dataset.RescaleSlope), float(dataset.RescaleIntercept)
    ends = sorted((low * slope + intercept, high * slope + intercept))
    return ends[0], ends[1]


def _drop_impossible_windows(dataset: "FileDataset") -> None:
    """A window without width, which some machines write, is no window; viewers then show the whole range."""
    if "WindowWidth" not in dataset or "WindowCenter" not in dataset:
        return
    element = dataset["WindowWidth"]
    width = element.value[0] if element.VM > 1 else element.value
    least = 1 if str(dataset.get("VOILUTFunction") or "LINEAR").upper() == "LINEAR" else 1e-9
    if width is None or float(width) < least:
        del dataset.WindowWidth


def _find_padding(dataset: "FileDataset", stored: npt.NDArray[Any]) -> npt.NDArray[np.bool_] | None:
    """Pixels outside the image that the header says are no measurement."""
    value = dataset.get("PixelPaddingValue")
    if value is None:
        return None
    ends = sorted((int(value), int(dataset.get("PixelPaddingRangeLimit", value))))
    return np.asarray((stored >= ends[0]) & (stored <= ends[1]), np.bool_)
