"""The elements of a DICOM file, read by pydicom with limits on what a hostile file can make it do."""

import zlib
from typing import BinaryIO, cast

import pydicom
from pydicom import FileDataset
from pydicom.dataelem import RawDataElement

from cxr.images.dicom.errors import RefusedError

MAX_INFLATED = 256_000_000
"""Bytes that a deflated DICOM file may become; the largest image in 16 bits takes 200 million."""

MAX_ELEMENTS = 200_000
"""Elements and items of a DICOM file; radiographs have some hundreds, and each takes pydicom a kilobyte."""

_READS_PER_ELEMENT = 3
_SEQUENCES = (
    "ModalityLUTSequence", "VOILUTSequence", "ViewCodeSequence", "DeidentificationMethodCodeSequence"
)  # fmt: skip
_MAX_SEQUENCE_BYTES = 1 << 20  # a table of 65,536 entries takes 131 kB
_INPUT_BYTES, _MAX_OUTPUT_BYTES = 1 << 16, 1 << 20  # of one call of the inflater
_UNKNOWN_LENGTH = 0xFFFFFFFF
# value representations whose length takes 4 bytes (PS3.5, 7.1.2)
_LONG_REPRESENTATIONS = frozenset(
    (b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV")
)


def read_dataset(file: BinaryIO, only: list[str] | None = None, defer: int | None = None) -> FileDataset:
    """The elements of a DICOM file; every reader of DICOM files calls this one.

    Args:
        file: The file at its beginning.
        only: Keywords of the elements to read, without pixels; None reads all.
        defer: Values of more bytes than this are left in the file, None leaves none.

    Raises:
        RefusedError: A deflated file that would fill the memory, or a file whose elements would.
        Exception: pydicom raises anything on damaged bytes.
    """
    guarded = _GuardedFile(file)
    try:
        dataset = pydicom.dcmread(
            cast(BinaryIO, guarded), defer, only is not None, force=True, specific_tags=only
        )
    except Exception:
        if guarded.is_used_up:  # pydicom turns our error into others
            raise _too_many_elements() from None
        raise
    _check_sequences(dataset)
    return dataset


class _GuardedFile:
    """A file for pydicom, whose small reads are counted, and whose read of all the rest is to inflate it.

    pydicom decides by the transfer syntax, wherever that stands in the header, and so this guard is always
    reached. It reads each element in two or three calls, in any encoding.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._num_reads = 0
        self._file, self.seek, self.tell, self.close = file, file.seek, file.tell, file.close

    @property
    def is_used_up(self) -> bool:
        """Whether it was read more often than MAX_ELEMENTS need."""
        return self._num_reads > _READS_PER_ELEMENT * MAX_ELEMENTS

    def read(self, size: int | None = -1, /) -> bytes:
        """Some bytes, or all the rest.

        Raises:
            RefusedError: It was read too often, or all the rest is asked for, and is deflated data of more
                than MAX_INFLATED bytes or of more than MAX_ELEMENTS elements.
        """
        self._num_reads += 1
        if self.is_used_up:
            raise _too_many_elements()
        if size is not None and size >= 0:
            return self._file.read(size)
        data = self._file.read()
        _check_num_elements(_inflate(data))
        return data


def _inflate(data: bytes) -> bytearray:
    """What deflated data become; those that cannot be inflated are left to pydicom, whose error they are.

    Raises:
        RefusedError: More than MAX_INFLATED bytes.
    """
    stream, inflated = zlib.decompressobj(-zlib.MAX_WBITS), bytearray()
    try:
        # small pieces, as a few bytes may become gigabytes
        for start in range(0, len(data), _INPUT_BYTES):
            pending = data[start : start + _INPUT_BYTES]
            while pending and not stream.eof:
                inflated += stream.decompress(pending, _MAX_OUTPUT_BYTES)
                pending = stream.unconsumed_tail
                if len(inflated) > MAX_INFLATED:
                    raise RefusedError(f"DICOM file inflates to more than {MAX_INFLATED:,} bytes")
    except zlib.error:
        pass
    return inflated


def _check_num_elements(data: bytearray) -> None:
    """Count the elements and items of explicit little-endian data, each of which takes 8 bytes or more.

    Raises:
        RefusedError: They are more than MAX_ELEMENTS.
    """
    at, last = 0, len(data) - 8
    for _ in range(MAX_ELEMENTS):
        if at > last:
            return
        if data[at : at + 2] == b"\xfe\xff":  # an item, or the end of one: what is inside comes next
            at += 8
            continue
        representation = bytes(data[at + 4 : at + 6])
        if representation not in _LONG_REPRESENTATIONS:
            at += 8 + int.from_bytes(data[at + 6 : at + 8], "little")
            continue
        length = int.from_bytes(data[at + 8 : at + 12], "little")
        is_entered = length == _UNKNOWN_LENGTH or representation == b"SQ"
        at += 12 if is_entered else 12 + length
    raise _too_many_elements()


def _check_sequences(dataset: FileDataset) -> None:
    """Refuse long sequences of a known length, which pydicom cuts into elements only when they are used.

    Raises:
        RefusedError: A sequence of more than a megabyte.
    """
    for keyword in _SEQUENCES:
        if keyword not in dataset:
            continue
        element = dataset.get_item(keyword, keep_deferred=True)
        if not isinstance(element, RawDataElement):
            continue
        # None: left in the file, so longer
        if element.value is None or len(element.value) > _MAX_SEQUENCE_BYTES:
            raise _too_many_elements()


def _too_many_elements() -> RefusedError:
    return RefusedError(f"DICOM file of more than {MAX_ELEMENTS:,} elements")
