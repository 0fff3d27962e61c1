"""A DICOM file -> grey pixels: what is refused, and in which order.

No text of a header, and no message of pydicom, enters an error or a note: they may hold the patient's name.
"""

from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from cxr.errors import CxrError, NoImageError, UnreadableImageError, says_nothing_of_the_file
from cxr.images.damage import find_excess
from cxr.images.dicom.grey import grey_of
from cxr.images.dicom.header import (
    MAX_INFLATED,
    MOST_ELEMENTS,
    InflatesTooFarError,
    TooManyElementsError,
    load_pydicom,
    read_dataset,
)
from cxr.images.dicom.layout import Layout, Refused
from cxr.images.dicom.notes import note_kind, square_pixels
from cxr.images.dicom.pixels import read_pixels
from cxr.images.grey import Grey, Intensity
from cxr.images.notes import Note

if TYPE_CHECKING:
    from pydicom import FileDataset

_UNKNOWN = "unknown kind"
_DEFLATED = "1.2.840.10008.1.2.1.99"
_DEFER = 1 << 20  # bytes of a value from which on it is left in the file
_NEEDED = (
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "PixelRepresentation",
    "PhotometricInterpretation",
)
_CHANNELS = {"MONOCHROME1": 1, "MONOCHROME2": 1, "PALETTE COLOR": 1, "RGB": 3, "YBR_FULL": 3, "YBR_FULL_422": 3,
             "YBR_ICT": 3, "YBR_RCT": 3}  # fmt: skip
_RETIRED = ("HSV", "ARGB", "CMYK", "YBR_PARTIAL_422", "YBR_PARTIAL_420")


def decode_dicom(data: bytes, name: Path | str, intensity: Intensity, note: Note) -> Grey:
    """Grey pixels [H, W] of a DICOM file as a viewer shows them at first: black is 0, white 255.

    They are scaled by the range that the file's window or VOI table gives; without either, by the bit depth that the
    brightest and the darkest pixel need. Padding pixels are black. Pixels that are not square are made so.

    Raises:
        NoImageError: A DICOM object of a kind that has no image.
        UnreadableImageError: Several frames, truncated or damaged data, a compression nothing here reads.
        CxrError: pydicom is not installed.
    """
    load_pydicom(name)
    try:
        dataset = _read(data)
        _check_kind(dataset, name)
        layout = _read_layout(dataset)
        pixels = read_pixels(dataset, layout, data)
        note_kind(dataset, note)
        return square_pixels(dataset, grey_of(dataset, pixels, intensity, note), note)
    except Refused as refusal:
        raise UnreadableImageError(name, str(refusal)) from None
    except InflatesTooFarError:
        raise UnreadableImageError(name, f"DICOM file inflates to more than {MAX_INFLATED:,} bytes") from None
    except TooManyElementsError:
        raise UnreadableImageError(name, f"DICOM file of more than {MOST_ELEMENTS:,} elements") from None
    except CxrError:
        raise
    except (
        Exception
    ) as error:  # on hostile bytes pydicom and its plugins raise anything; messages quote the header
        if says_nothing_of_the_file(error):
            raise
        raise UnreadableImageError(
            name, "DICOM file is corrupt: its header or pixels cannot be decoded"
        ) from None


def _read(data: bytes) -> "FileDataset":
    """The dataset, with a transfer syntax even where the file names none; large values stay in the file."""
    from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

    dataset = read_dataset(BytesIO(data), defer=_DEFER)
    syntax = dataset.file_meta.get("TransferSyntaxUID")
    if syntax == _DEFLATED:
        return read_dataset(BytesIO(data))  # places in the inflated content are none in the file
    if not syntax:
        implicit, little = dataset.original_encoding
        explicit = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else explicit
    return dataset


def _check_kind(dataset: "FileDataset", name: Path | str) -> None:
    """Refuse what is no single image."""
    from pydicom._uid_dict import UID_dictionary

    kind = dataset.get("SOPClassUID") or dataset.file_meta.get("MediaStorageSOPClassUID", "")
    known = UID_dictionary.get(str(kind), (_UNKNOWN,))[0]  # a private UID is not shown
    if "PixelData" not in dataset:
        if not dataset.dir() and "MediaStorageSOPClassUID" not in dataset.file_meta:
            raise Refused("DICOM file is corrupt: it holds no elements")
        has_floats = {"FloatPixelData", "DoubleFloatPixelData"} & {*dataset.dir()}
        if ("Rows" in dataset or "Image Storage" in known) and not has_floats:
            raise Refused("DICOM file without pixels: it is truncated, or its pixels are elsewhere")
        reason = f"DICOM object without an image ({known})"
        raise UnreadableImageError(name, reason) if known == _UNKNOWN else NoImageError(name, reason)
    frames = int(dataset.get("NumberOfFrames") or 1)
    if frames < 1:
        raise Refused(f"DICOM file is corrupt: its NumberOfFrames is {frames:,}")
    if frames > 1:
        raise Refused(
            f"DICOM file of {frames:,} frames: one image a file is read; export the frame by itself"
        )


def _read_layout(dataset: "FileDataset") -> Layout:
    """How the pixels are stored, after refusing sizes and depths that are not read."""
    lacking = [keyword for keyword in _NEEDED if dataset.get(keyword) in (None, "")]
    if lacking:
        raise Refused(f"DICOM file is corrupt: it lacks {', '.join(lacking)}")
    photometric = str(dataset.PhotometricInterpretation).strip().upper()
    bits, stored = int(dataset.BitsAllocated), int(dataset.BitsStored)
    high = dataset.get("HighBit")
    layout = Layout(
        width=int(dataset.Columns),
        height=int(dataset.Rows),
        channels=int(dataset.get("SamplesPerPixel") or _CHANNELS.get(photometric, 1)),
        bits=bits,
        stored=stored,
        high=stored - 1 if high in (None, "") else int(high),
        signed=bool(dataset.PixelRepresentation),
        planar=int(dataset.get("PlanarConfiguration") or 0),
        photometric=photometric,
    )
    dataset.PhotometricInterpretation = photometric
    _check_layout(layout)
    return layout


def _check_layout(layout: Layout) -> None:
    excess = find_excess(layout.width, layout.height)
    if excess:
        raise Refused(excess)
    if layout.bits not in (8, 16) or not 1 <= layout.stored <= layout.bits or layout.channels not in (1, 3) or not min(
        layout.width, layout.height
    ):  # fmt: skip
        raise Refused(
            f"DICOM image of {layout.width} x {layout.height} pixels with {layout.channels} values of {layout.bits} "
            f"bits, {layout.stored} stored: grey or colour of 8 to 16 bits is read"
        )
    if not layout.stored - 1 <= layout.high < layout.bits:
        raise Refused(
            f"DICOM file is corrupt: HighBit {layout.high} with {layout.stored} bits of {layout.bits} stored"
        )
    if layout.photometric in _RETIRED:
        raise Refused(
            f"DICOM pixels in {layout.photometric}, which is not read; export it as MONOCHROME2 or RGB"
        )
    if _CHANNELS.get(layout.photometric) != layout.channels:
        known = layout.photometric if layout.photometric in _CHANNELS else "unknown"
        raise Refused(
            f"DICOM file is corrupt: its PhotometricInterpretation is {known} with {layout.channels} values a pixel"
        )
