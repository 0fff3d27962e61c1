"""DICOM files made at test time."""

import io
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian

NAME, NUMBER = "SECRET^NAME", "SECRET-ID"


def dicom(pixels: npt.NDArray[Any], bits: int = 0, **elements: object) -> Dataset:
    """An uncompressed image [H, W] or [H, W, 3] of so many stored bits (those of its type), with further elements."""
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.SOPClassUID = made.file_meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
    made.SOPInstanceUID = made.file_meta.MediaStorageSOPInstanceUID = UID("1.2.826.0.1.3680043.8.498.1")
    made.PatientName, made.PatientID = NAME, NUMBER
    made.Rows, made.Columns = pixels.shape[:2]
    made.SamplesPerPixel = 1 if pixels.ndim == 2 else 3
    made.PhotometricInterpretation = "MONOCHROME2" if pixels.ndim == 2 else "RGB"
    made.PlanarConfiguration = 0
    if pixels.ndim == 2:
        del made.PlanarConfiguration
    made.PixelRepresentation = int(np.issubdtype(pixels.dtype, np.signedinteger))
    made.BitsAllocated = 8 * pixels.itemsize
    made.BitsStored = bits or made.BitsAllocated
    made.HighBit = made.BitsStored - 1
    made.PixelData = pixels.tobytes() + b"\0" * (pixels.nbytes % 2)
    made["PixelData"].VR = "OB" if pixels.itemsize == 1 else "OW"
    for name, value in elements.items():
        setattr(made, name, value)
    return made


def lut(values: npt.NDArray[np.uint16], first: int = 0, bits: int = 16) -> list[Dataset]:
    """A sequence of one lookup table."""
    item = Dataset()
    item.LUTDescriptor = [len(values), first, bits]
    item["LUTDescriptor"].VR = "US"
    item.LUTData = values.tolist()
    item["LUTData"].VR = "US"
    return [item]


def saved(dataset: Dataset) -> bytes:
    """The file's bytes."""
    file = io.BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    return file.getvalue()
