"""Writers of DICOM files at test time, with the oddities that real ones have."""

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt
from pydicom import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    UID,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
    JPEGBaseline8Bit,
    generate_uid,
)

Pixels = npt.NDArray[Any]
NAME, NUMBER = "SECRET^NAME", "SECRET-ID"


def make_dicom(
    pixels: Pixels,
    bits: int = 12,
    syntax: str = ExplicitVRLittleEndian,
    **elements: Any,  # noqa: ANN401
) -> Dataset:
    """A dataset of grey [H, W] or RGB [H, W, 3] pixels, stored in `bits` bits, with further elements by keyword."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = UID(syntax)
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = DigitalXRayImageStorageForPresentation
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = generate_uid()
    dataset.PatientName, dataset.PatientID = NAME, NUMBER
    dataset.Rows, dataset.Columns = pixels.shape[:2]
    dataset.SamplesPerPixel = 1 if pixels.ndim == 2 else 3
    dataset.PhotometricInterpretation = "MONOCHROME2" if pixels.ndim == 2 else "RGB"
    if pixels.ndim == 3:
        dataset.PlanarConfiguration = 0
    dataset.BitsAllocated = 8 * pixels.dtype.itemsize
    dataset.BitsStored = min(bits, dataset.BitsAllocated)
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(np.issubdtype(pixels.dtype, np.signedinteger))
    order: Literal["<", ">"] = ">" if syntax == "1.2.840.10008.1.2.2" else "<"
    dataset.PixelData = pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
    dataset["PixelData"].VR = "OB" if pixels.dtype.itemsize == 1 else "OW"
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    return dataset


def table_item(entries: Sequence[int], first: int, bits: int) -> Dataset:
    """An item of a modality or VOI table: `entries` for the values from `first` on."""
    item = Dataset()
    item.add_new("LUTDescriptor", "SS" if first < 0 else "US", [len(entries), first, bits])
    item.add_new("LUTData", "US", list(entries))
    return item


def encapsulate_jpeg(pixels: Pixels, **elements: Any) -> Dataset:  # noqa: ANN401
    """A dataset of 8-bit pixels in baseline JPEG, as OpenCV encodes it."""
    done, data = cv2.imencode(
        ".jpg", pixels if pixels.ndim == 2 else pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95]
    )
    assert done
    dataset = make_dicom(pixels, 8, JPEGBaseline8Bit, **elements)
    dataset.PixelData = encapsulate([data.tobytes()])
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    return dataset


def compressed(dataset: Dataset, syntax: str) -> Dataset:
    """The dataset with its pixels compressed."""
    dataset.compress(syntax, generate_instance_uid=False)
    return dataset


def to_bytes(dataset: Dataset, preamble: bool = True) -> bytes:
    """The file's bytes."""
    file = BytesIO()
    if preamble:
        dataset.save_as(file, enforce_file_format=True)
    else:
        del dataset.file_meta
        dataset.save_as(file, implicit_vr=True, little_endian=True)
    return file.getvalue()


def write_dicom(path: Path, pixels: Pixels, bits: int = 12, **elements: Any) -> Path:  # noqa: ANN401
    """A DICOM file of the pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(to_bytes(make_dicom(pixels, bits, **elements)))
    return path
