"""A DICOM file -> grey pixels: what is refused, in which order, and how the stored values are decoded.

No text of a header, and no message of pydicom, enters an error: they may hold the patient's name.
"""

import struct
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from cxr.data.damage import MAX_BYTES, Frame, find_excess, jpeg_frame, truncated
from cxr.data.dicom_child import decode_apart
from cxr.data.dicom_grey import grey_of
from cxr.data.image import Grey, Intensity
from cxr.data.sources.dicom_header import load_pydicom
from cxr.errors import UnreadableImageError, says_nothing_of_the_file

if TYPE_CHECKING:
    from pydicom import Dataset
    from pydicom.uid import UID

_DEFLATED = b"1.2.840.10008.1.2.1.99"
_CHUNK = 1 << 20
# in this order; GDCM is no choice where another reads: it ends the whole process on damaged bytes
_PLUGINS = ("pyjpegls", "pylibjpeg", "pillow", "pydicom")
_END = b"\xff\xd9"
_JPEG_2000 = b"\xff\x4f\xff\x51"


def decode_dicom(data: bytes, name: Path | str, intensity: Intensity = "bit-depth") -> Grey:
    """Grey pixels [H, W] of a DICOM file as a viewer shows them at first: black is 0, white 255.

    They are scaled by the range that the file's window or VOI table gives; without either, by the range that its
    stored bits take after the modality transform. Padding pixels are black.

    Raises:
        UnreadableImageError: No image, several frames, truncated or damaged data, a compression nothing here reads.
        CxrError: pydicom is not installed.
    """
    load_pydicom(name)
    try:
        dataset = _read(data)
        _check_kind(dataset)
        _check_size(dataset, data)
        return grey_of(dataset, _read_pixels(dataset, data), intensity)
    except _Refused as refusal:
        raise UnreadableImageError(name, str(refusal)) from None
    except Exception as error:  # on hostile bytes pydicom and its plugins raise anything; messages quote the header
        if says_nothing_of_the_file(error):
            raise
        raise UnreadableImageError(name, "DICOM file is corrupt: its header or pixels cannot be decoded") from None


class _Refused(Exception):
    """Why a file is not read; becomes an UnreadableImageError with the file's name."""


def _read(data: bytes) -> "Dataset":
    """The dataset, with a transfer syntax even where the file names none."""
    import pydicom
    from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

    if _DEFLATED in data[:4096]:
        _check_inflated(data)
    dataset = pydicom.dcmread(pydicom.filebase.DicomBytesIO(data), force=True)
    if not dataset.file_meta.get("TransferSyntaxUID"):
        implicit, little = dataset.original_encoding
        explicit = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else explicit
    return dataset


def _check_inflated(data: bytes) -> None:
    """Refuse deflated contents that would fill the memory, counting them in small pieces."""
    stream = zlib.decompressobj(-zlib.MAX_WBITS)
    rest, total = data[144 + struct.unpack_from("<I", data, 140)[0] :], 0
    try:
        while rest and not stream.eof:
            total += len(stream.decompress(rest, _CHUNK))
            rest = stream.unconsumed_tail
            if total > MAX_BYTES:
                raise _Refused(f"DICOM file inflates to more than {MAX_BYTES:,} bytes")
    except zlib.error:
        raise _Refused("DICOM file is corrupt: its deflated content cannot be inflated") from None
    if not stream.eof:
        raise _Refused(truncated(data))


def _check_kind(dataset: "Dataset") -> None:
    """Refuse what is no single image."""
    from pydicom._uid_dict import UID_dictionary

    known = UID_dictionary.get(str(dataset.get("SOPClassUID", "")), ("unknown kind",))[0]  # a private UID is not shown
    if "PixelData" not in dataset:
        if "Rows" in dataset and not {"FloatPixelData", "DoubleFloatPixelData"} & {*dataset.dir()}:
            raise _Refused("DICOM file without pixels: it is truncated, or its pixels are elsewhere")
        raise _Refused(f"DICOM object without an image ({known})")
    frames = int(dataset.get("NumberOfFrames") or 1)
    if frames != 1:
        raise _Refused(f"DICOM file of {frames:,} frames: one image a file is read; export the frame by itself")


def _check_size(dataset: "Dataset", data: bytes) -> None:
    """Refuse sizes, depths and lengths before anything is decoded, and a compression that nothing here reads."""
    try:
        frame = Frame(int(dataset.Columns), int(dataset.Rows), int(dataset.get("SamplesPerPixel") or 1))
        bits, stored = int(dataset.BitsAllocated), int(dataset.BitsStored)
    except (AttributeError, TypeError):
        raise _Refused("DICOM file is corrupt: it lacks Rows, Columns, BitsAllocated or BitsStored") from None
    excess = find_excess(frame.width, frame.height)
    if excess:
        raise _Refused(excess)
    if bits not in (8, 16) or not 1 <= stored <= bits or frame.channels not in (1, 3) or not min(frame):
        raise _Refused(
            f"DICOM image of {frame.width} x {frame.height} pixels with {frame.channels} values of {bits} bits, "
            f"{stored} stored: grey or colour of 8 to 16 bits is read"
        )
    syntax = dataset.file_meta.TransferSyntaxUID
    _check_syntax(syntax)
    if syntax.is_compressed and syntax != _DEFLATED.decode():
        _check_stream(dataset, frame, data)
    elif len(dataset.PixelData) < _num_bytes(dataset, frame, bits):
        raise _Refused(truncated(data))


def _num_bytes(dataset: "Dataset", frame: Frame, bits: int) -> int:
    size = frame.width * frame.height * frame.channels * bits // 8
    return size * 2 // 3 if dataset.get("PhotometricInterpretation") == "YBR_FULL_422" else size


def _check_syntax(syntax: "UID") -> None:
    from pydicom._uid_dict import UID_dictionary
    from pydicom.pixels.decoders.base import get_decoder

    try:
        readable = get_decoder(syntax).is_available
    except NotImplementedError:
        readable = False
    if not readable:
        named = UID_dictionary.get(str(syntax), ("a private transfer syntax",))[0]
        raise _Refused(f"DICOM pixels in {named}, which no installed decoder reads; pip install 'cxr[dicom]' adds some")


def _check_stream(dataset: "Dataset", frame: Frame, data: bytes) -> None:
    """Refuse a compressed frame of another size than the header's, whose decoder would allocate what it claims."""
    from pydicom.encaps import get_frame
    from pydicom.uid import RLELossless

    if dataset.file_meta.TransferSyntaxUID == RLELossless:
        return
    stream = get_frame(dataset.PixelData, 0, number_of_frames=1)
    if stream.rfind(_END) <= stream.rfind(b"\xff\xda"):
        raise _Refused(truncated(data))
    found = _jpeg_2000_frame(stream) if _JPEG_2000 in stream[:512] else jpeg_frame(stream)
    if found != frame:
        raise _Refused("DICOM file is corrupt: its compressed pixels have another size than its header says")


def _jpeg_2000_frame(stream: bytes) -> Frame:
    """Size and channels in a JPEG 2000 codestream's SIZ marker."""
    at = stream.index(_JPEG_2000) + len(_JPEG_2000)
    right, bottom, left, top = struct.unpack_from(">IIII", stream, at + 4)
    return Frame(right - left, bottom - top, struct.unpack_from(">H", stream, at + 36)[0])


def _read_pixels(dataset: "Dataset", data: bytes) -> npt.NDArray[Any]:
    """Stored values [H, W], or RGB [H, W, 3]."""
    from pydicom.pixels.decoders.base import get_decoder
    from pydicom.pixels.processing import apply_color_lut
    from pydicom.pixels.utils import pixel_array

    readers = get_decoder(dataset.file_meta.TransferSyntaxUID).available_plugins
    plugin = next((one for one in _PLUGINS if one in readers), "")
    pixels = decode_apart(data) if readers == ("gdcm",) else pixel_array(dataset, decoding_plugin=plugin)
    return apply_color_lut(pixels, dataset) if dataset.get("PhotometricInterpretation") == "PALETTE COLOR" else pixels
