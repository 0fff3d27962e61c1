"""What a DICOM file's header says about the image, without its pixels and without who the patient is."""

import logging
import math
import struct
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, BinaryIO, cast

from cxr.errors import CxrError
from cxr.fields.people import read_age, read_sex
from cxr.fields.views import KNOWN, read_view

if TYPE_CHECKING:
    from pydicom import FileDataset

MAX_INFLATED = 256_000_000
"""Bytes that a deflated DICOM file may become; the largest image that is read takes 200 million in 16 bits."""

MOST_ELEMENTS = 200_000
"""Elements and items of a DICOM file; radiographs have some hundreds, and each takes pydicom a kilobyte."""

SUFFIXES = (".dcm", ".dicom")

_FIRST_GROUPS = (b"\x02\0", b"\0\x02", b"\x08\0", b"\0\x08")  # in either byte order
_EARLY_GROUPS, _EARLY_ELEMENTS, _MOST_BYTES = (0x0002, 0x0008, 0x0010), 0x0080, 400
_LONG = (
    b"OB",
    b"OD",
    b"OF",
    b"OL",
    b"OV",
    b"OW",
    b"SQ",
    b"SV",
    b"UC",
    b"UN",
    b"UR",
    b"UT",
    b"UV",
)  # 4 bytes of length
_SEQUENCES = ("ModalityLUTSequence", "VOILUTSequence", "ViewCodeSequence")
_MOST_IN_SEQUENCE = 1 << 20  # bytes; a table of 65,536 entries takes 131 kB
_PIECE, _FIRST_BYTES = 1 << 16, 512
_TAGS = ["ViewPosition", "ViewCodeSequence", "ImageLaterality", "Laterality", "PatientAge", "PatientSex"]


@dataclass(frozen=True)
class Header:
    """What is said of an image; empty, or nan for the age, where nothing is.

    Attributes:
        view: PA, AP or lateral, or what the header says besides.
        laterality: Side of the body that is shown: R, L, B (both) or U (unpaired).
        age: Years.
        sex: M or F.
    """

    view: str = ""
    laterality: str = ""
    age: float = math.nan
    sex: str = ""


def is_dicom(data: bytes, name: Path | str) -> bool:
    """Whether the first bytes are a DICOM file's.

    One without a preamble is known by its suffix, or by two elements one after the other.
    """
    if data[128:132] == b"DICM":
        return data[132:134] in _FIRST_GROUPS
    return data[:2] in _FIRST_GROUPS and (Path(name).suffix.lower() in SUFFIXES or _is_dataset(data))


def _is_dataset(data: bytes) -> bool:
    """Whether bytes are two short elements of group 2 or 8, little endian, with or without value representations."""
    if len(data) < 16:
        return False
    first, kind, short, long = struct.unpack_from("<I2sH", data) + struct.unpack_from("<I", data, 4)
    end = 8 + (short if kind.isalpha() and kind.isupper() else long)
    if end > _MOST_BYTES or end + 4 > len(data):
        return False
    group, element = struct.unpack_from("<HH", data, end)
    return (
        group in _EARLY_GROUPS
        and (group, element) > (first & 0xFFFF, first >> 16)
        and first >> 16 < _EARLY_ELEMENTS
    )


def load_pydicom(name: Path | str) -> ModuleType:
    """The pydicom module, silent about odd headers.

    Raises:
        CxrError: It is not installed.
    """
    try:
        import pydicom
        import pydicom.pixels
    except ImportError:
        raise CxrError(f"{name}: reading DICOM needs pydicom", "pip install 'cxr[dicom]'") from None
    warnings.filterwarnings("ignore", module=r"pydicom(\.|$)")  # not catch_warnings, which mixes up threads
    logging.getLogger("pydicom").setLevel(
        logging.CRITICAL + 1
    )  # its messages hold values, perhaps the patient's name
    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
    return pydicom


class InflatesTooFarError(Exception):
    """A deflated file would become larger than MAX_INFLATED."""


class TooManyElementsError(Exception):
    """A file has more than MOST_ELEMENTS."""


class _Guarded:
    """A file that pydicom reads to its end in one call only to inflate the rest; that call is refused for a bomb.

    pydicom decides by the transfer syntax wherever it stands in the header, and so is this guard reached. It reads
    each element in two or three calls, in whatever encoding, so the calls are counted.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._num_reads = 0
        self._file, self.seek, self.tell, self.close = file, file.seek, file.tell, file.close

    @property
    def is_spent(self) -> bool:
        """Whether it was asked more often than MOST_ELEMENTS need."""
        return self._num_reads > 3 * MOST_ELEMENTS

    def read(self, size: int | None = -1, /) -> bytes:
        """Some bytes, or all the others.

        Raises:
            InflatesTooFarError: All the others are asked for and are deflated data of more than MAX_INFLATED bytes.
            TooManyElementsError: It was asked too often, or the deflated data are of too many elements.
        """
        self._num_reads += 1
        if self.is_spent:
            raise TooManyElementsError
        data = self._file.read(-1 if size is None else size)
        if size is None or size < 0:
            _check_elements(_check_inflated(data))
        return data


def _check_inflated(data: bytes) -> bytearray:
    """What deflated data become, inflated in small pieces; data that cannot be inflated are left to pydicom."""
    stream, inflated = zlib.decompressobj(-zlib.MAX_WBITS), bytearray()
    try:
        for start in range(0, len(data), _PIECE):
            piece = data[start : start + _PIECE]
            while piece and not stream.eof:
                inflated += stream.decompress(piece, 1 << 20)
                piece = stream.unconsumed_tail
                if len(inflated) > MAX_INFLATED:
                    raise InflatesTooFarError
    except zlib.error:
        pass
    return inflated


def _check_elements(data: bytearray) -> None:
    """Count the elements and items of explicit little-endian data, of which each begins 8 bytes or more after another.

    Raises:
        TooManyElementsError: They are more than MOST_ELEMENTS.
    """
    at, end = 0, len(data) - 8
    for _ in range(MOST_ELEMENTS):
        if at > end:
            return
        if data[at : at + 2] == b"\xfe\xff":  # an item, or the end of one: what is inside comes next
            at += 8
        elif data[at + 4 : at + 6] in _LONG:
            length = int.from_bytes(data[at + 8 : at + 12], "little")
            is_open = length == 0xFFFFFFFF or data[at + 4 : at + 6] == b"SQ"
            at += 12 if is_open else 12 + length
        else:
            at += 8 + int.from_bytes(data[at + 6 : at + 8], "little")
    raise TooManyElementsError


def _check_sequences(dataset: "FileDataset") -> None:
    """Refuse what pydicom would cut into elements only when it is asked for: sequences of a known length."""
    from pydicom.dataelem import RawDataElement

    for keyword in _SEQUENCES:
        element = dataset.get_item(keyword, keep_deferred=True) if keyword in dataset else None
        if isinstance(element, RawDataElement) and (
            element.value is None or len(element.value) > _MOST_IN_SEQUENCE
        ):
            raise TooManyElementsError


def read_dataset(file: BinaryIO, only: list[str] | None = None, defer: int | None = None) -> "FileDataset":
    """The elements of a DICOM file; every reader of DICOM files comes through here.

    Args:
        file: The file at its beginning.
        only: Keywords of the elements to read, without pixels; None reads all.
        defer: Values of more bytes than this are left in the file, None leaves none.

    Raises:
        InflatesTooFarError: A deflated file that would fill the memory.
        TooManyElementsError: A file whose elements would.
        Exception: Whatever pydicom raises on damaged bytes.
    """
    import pydicom

    guarded = _Guarded(file)
    try:
        dataset = pydicom.dcmread(
            cast(BinaryIO, guarded), defer, only is not None, force=True, specific_tags=only
        )
    except Exception:
        if guarded.is_spent:  # pydicom makes other errors of ours
            raise TooManyElementsError from None
        raise
    _check_sequences(dataset)
    return dataset


def read_header(path: Path) -> Header:
    """View, laterality, age and sex of a DICOM file; an empty Header of any other file and of a damaged one.

    Raises:
        CxrError: A DICOM file, and pydicom is not installed.
    """
    try:
        with path.open("rb") as file:
            if not is_dicom(file.read(_FIRST_BYTES), path):
                return Header()
    except OSError:
        return Header()
    load_pydicom(path)
    try:
        with path.open("rb") as file:
            dataset = read_dataset(file, _TAGS)
        text = {
            tag: str(dataset.get(tag) or "").strip().upper() for tag in _TAGS if tag != "ViewCodeSequence"
        }
        codes = [str(code.get("CodeMeaning", "")).lower() for code in dataset.get("ViewCodeSequence") or ()]
    except Exception:  # hostile bytes make pydicom raise anything; packing names the file
        return Header()
    side = text["ImageLaterality"] or text["Laterality"]
    return Header(
        _read_view(text["ViewPosition"], codes),
        side if side in ("R", "L", "B", "U") else "",
        read_age(text["PatientAge"]),
        read_sex(text["PatientSex"]),
    )


def _read_view(position: str, codes: list[str]) -> str:
    """The view by the rule of `read_view`: of the position, else of the first code that says PA, AP or lateral."""
    views = [read_view(text) for text in (position, *codes)]
    return next((view for view in views if view in KNOWN), views[0])
