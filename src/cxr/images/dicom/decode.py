"""A DICOM file -> grey pixels: what is refused, and in which order.

No text of a header, and no message of pydicom, enters an error or a note: they may hold the patient's name.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from io import BytesIO
from pathlib import Path
from typing import Any

from pydicom import Dataset, FileDataset
from pydicom._uid_dict import UID_dictionary
from pydicom.dataset import FileMetaDataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from cxr.errors import CxrError, NoImageError, UnreadableImageError, is_system_error
from cxr.images.dicom.dataset import read_dataset
from cxr.images.dicom.errors import RefusedError, several_frames
from cxr.images.dicom.grey import dicom_to_grey
from cxr.images.dicom.layout import read_layout
from cxr.images.dicom.notes import note_kind
from cxr.images.dicom.own import is_own_capture
from cxr.images.dicom.pixels import read_pixels
from cxr.images.dicom.square import make_pixels_square
from cxr.images.grey import Grey, Intensity
from cxr.images.notes import Note

_UNKNOWN_KIND = "unknown kind"
_DEFERRED_BYTES = 1 << 20  # larger values are left in the file


def decode_dicom(data: bytes, name: Path | str, intensity: Intensity, note: Note) -> Grey:
    """Grey pixels [H, W] of a DICOM file as a viewer shows them at first: black is 0, white 255.

    They are scaled by the range that the file's window or VOI table gives; without either, by the bit depth
    that the brightest and the darkest pixel need. Padding pixels are black. Pixels that are not square are
    made so.

    Raises:
        NoImageError: A DICOM object of a kind that has no image.
        UnreadableImageError: Several frames, truncated or damaged data, a compression that nothing here
        reads.
    """
    with _explain_refusals(name):
        return _decode(_read(data), data, name, intensity, note)


def decode_dataset(dataset: Dataset, name: Path | str, intensity: Intensity, note: Note) -> Grey:
    """Grey pixels [H, W] of a dataset in memory, as of a file that holds it; the dataset stays as it is.

    Raises:
        UnreadableImageError: As `decode_dicom`.
    """
    with _explain_refusals(name):
        # decoding changes elements, and the caller's dataset must stay as it is
        copied = _copy(dataset)
        pixels: Any = copied.get_item("PixelData")
        return _decode(copied, b"" if pixels is None else pixels.value, name, intensity, note)


def _decode(dataset: Dataset, data: bytes, name: Path | str, intensity: Intensity, note: Note) -> Grey:
    """Grey pixels [H, W]; `data` is the file, or the pixels of a dataset that has them in memory."""
    _check_kind(dataset, name)
    layout = read_layout(dataset)  # sizes are checked before anything is decoded
    pixels = read_pixels(dataset, layout, data)
    note_kind(dataset, note)
    grey = dicom_to_grey(dataset, pixels, intensity, note)
    return make_pixels_square(dataset, grey, note)


@contextmanager
def _explain_refusals(name: Path | str) -> Iterator[None]:
    """Raise UnreadableImageError, with the file's name, for whatever pydicom and we refuse in the body."""
    try:
        yield
    except RefusedError as refusal:
        raise UnreadableImageError(name, str(refusal)) from None
    except CxrError:
        raise
    # on hostile bytes pydicom and its plugins raise anything; messages quote the header
    except Exception as error:
        if is_system_error(error):
            raise
        reason = "DICOM file is corrupt: its header or pixels cannot be decoded"
        raise UnreadableImageError(name, reason) from None


def _read(data: bytes) -> FileDataset:
    """The dataset, with a transfer syntax even where the file names none; large values stay in the file."""
    dataset = read_dataset(BytesIO(data), defer=_DEFERRED_BYTES)
    syntax = dataset.file_meta.get("TransferSyntaxUID")
    if syntax == DeflatedExplicitVRLittleEndian:
        return read_dataset(BytesIO(data))  # offsets in the inflated content are not those in the file
    if not syntax:
        is_implicit, is_little = dataset.original_encoding
        _set_syntax(dataset, bool(is_implicit), bool(is_little))
    return dataset


def _copy(dataset: Dataset) -> Dataset:
    """The elements of a dataset, which decoding changes, with a transfer syntax; all values are in memory.

    A dataset that was made in memory and names no transfer syntax has its pixels in little endian.
    """
    copied = Dataset({tag: deepcopy(dataset.get_item(tag)) for tag in dataset.keys()})
    is_implicit, is_little = dataset.original_encoding
    copied.set_original_encoding(is_implicit, is_little, dataset.original_character_set)
    copied.file_meta = deepcopy(getattr(dataset, "file_meta", FileMetaDataset()))
    if not copied.file_meta.get("TransferSyntaxUID"):
        _set_syntax(copied, bool(is_implicit), is_little is not False)
    return copied


def _set_syntax(dataset: Dataset, is_implicit: bool, is_little: bool) -> None:
    explicit = ExplicitVRLittleEndian if is_little else ExplicitVRBigEndian
    dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if is_implicit else explicit


def _check_kind(dataset: Dataset, name: Path | str) -> None:
    """Refuse everything but a single image."""
    uid = dataset.get("SOPClassUID") or dataset.file_meta.get("MediaStorageSOPClassUID", "")
    kind = UID_dictionary.get(str(uid), (_UNKNOWN_KIND,))[0]  # a private UID is not shown
    # what it is instead: an empty file, a cut one, or an object that has no image by its kind
    if "PixelData" not in dataset:
        if not dataset.dir() and "MediaStorageSOPClassUID" not in dataset.file_meta:
            raise RefusedError("DICOM file is corrupt: it holds no elements")
        has_floats = "FloatPixelData" in dataset or "DoubleFloatPixelData" in dataset
        if ("Rows" in dataset or "Image Storage" in kind) and not has_floats:
            raise RefusedError("DICOM file without pixels: it is truncated, or its pixels are elsewhere")
        reason = f"DICOM object without an image ({kind})"
        raise UnreadableImageError(name, reason) if kind == _UNKNOWN_KIND else NoImageError(name, reason)
    if is_own_capture(dataset):
        raise NoImageError(name, "an overlay that cxr drew, not a radiograph")
    num_frames = int(dataset.get("NumberOfFrames") or 1)
    if num_frames < 1:
        raise RefusedError(f"DICOM file is corrupt: its NumberOfFrames is {num_frames:,}")
    if num_frames > 1:
        raise several_frames(num_frames)
