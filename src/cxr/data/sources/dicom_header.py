"""What a DICOM file's header says about the image, without its pixels and without who the patient is."""

import logging
import math
import warnings
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from cxr.data.sources.files import read_age, read_sex
from cxr.errors import CxrError
from cxr.labels.views import KNOWN, read_view

SUFFIXES = (".dcm", ".dicom")

_FIRST_GROUPS = (b"\x02\0", b"\0\x02", b"\x08\0", b"\0\x08")  # of a file without a preamble, in either byte order
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
    """Whether the first bytes are a DICOM file's; one without a preamble is known by its suffix too."""
    return data[128:132] == b"DICM" or (Path(name).suffix.lower() in SUFFIXES and data[:2] in _FIRST_GROUPS)


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
    logging.getLogger("pydicom").setLevel(logging.CRITICAL + 1)  # its messages hold values, perhaps the patient's name
    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
    return pydicom


def read_header(path: Path) -> Header:
    """View, laterality, age and sex of a DICOM file; an empty Header of any other file and of a damaged one.

    Raises:
        CxrError: A DICOM file, and pydicom is not installed.
    """
    try:
        with path.open("rb") as file:
            if not is_dicom(file.read(132), path):
                return Header()
    except OSError:
        return Header()
    pydicom = load_pydicom(path)
    try:
        dataset = pydicom.dcmread(path, force=True, stop_before_pixels=True, specific_tags=_TAGS)
        text = {tag: str(dataset.get(tag) or "").strip().upper() for tag in _TAGS if tag != "ViewCodeSequence"}
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
