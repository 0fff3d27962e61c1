"""Whether a file is DICOM, and pydicom, which is an optional package; this file alone does not import it."""

import logging
import struct
import warnings
from pathlib import Path

from cxr.errors import CxrError

DICOM_SUFFIXES = (".dcm", ".dicom")

_FIRST_GROUPS = (b"\x02\0", b"\0\x02", b"\x08\0", b"\0\x08")  # groups 2 and 8 in either byte order
_EARLY_GROUPS, _MAX_EARLY_ELEMENT = (0x0002, 0x0008, 0x0010), 0x0080
_MAX_VALUE_BYTES = 400  # of the first element


def is_dicom(data: bytes, name: Path | str) -> bool:
    """Whether the first bytes are a DICOM file's.

    A file without the preamble is known by its suffix, or by two elements one after the other.
    """
    if data[128:132] == b"DICM":
        return data[132:134] in _FIRST_GROUPS
    if data[:2] not in _FIRST_GROUPS:
        return False
    return Path(name).suffix.lower() in DICOM_SUFFIXES or _begins_with_elements(data)


def _begins_with_elements(data: bytes) -> bool:
    """Whether bytes are two short elements of group 2 or 8, little endian, with representations or not."""
    if len(data) < 16:
        return False
    # an element: 2 bytes of group, 2 of element, then the length: 4 bytes, or 2 after 2 letters of
    # representation
    first_group, first_element, representation, short_length = struct.unpack_from("<HH2sH", data)
    long_length = struct.unpack_from("<I", data, 4)[0]
    has_representation = representation.isalpha() and representation.isupper()
    end = 8 + (short_length if has_representation else long_length)
    if end > _MAX_VALUE_BYTES or end + 4 > len(data):
        return False
    group, element = struct.unpack_from("<HH", data, end)
    is_ascending = (group, element) > (first_group, first_element)
    return group in _EARLY_GROUPS and is_ascending and first_element < _MAX_EARLY_ELEMENT


def load_pydicom(name: Path | str) -> None:
    """Import pydicom and make it silent about unusual headers.

    Raises:
        CxrError: It is not installed.
    """
    try:
        import pydicom
        import pydicom.pixels
    except ImportError:
        raise CxrError(f"{name}: reading DICOM needs pydicom", "pip install 'cxr[dicom]'") from None
    warnings.filterwarnings("ignore", module=r"pydicom(\.|$)")  # not catch_warnings, which mixes up threads
    # messages hold values, perhaps the patient's name
    logging.getLogger("pydicom").setLevel(logging.CRITICAL + 1)
    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
