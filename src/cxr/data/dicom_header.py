"""What the header of a DICOM file says of its image; the patient's name and number are not asked for."""

import logging
import warnings
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from cxr.errors import CxrError

SUFFIXES = (".dcm", ".dicom")
LATERAL = ("LL", "RL", "LATERAL", "LAT")
"""View positions of the side, as archives write them."""


class Header(NamedTuple):
    """What a table may lack, as text; empty where the header is silent."""

    view: str
    laterality: str
    age: str
    sex: str


def read_header(path: Path) -> Header:
    """View, laterality, age and sex of a DICOM file; empty where it cannot be read."""
    pydicom = import_pydicom(path)
    tags = ["ViewPosition", "ImageLaterality", "Laterality", "PatientAge", "PatientSex"]
    try:
        with path.open("rb") as file:
            dataset = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=tags, force=True)
        view, image, side, age, sex = (str(dataset.get(tag) or "").strip() for tag in tags)
    except Exception:  # pydicom raises every kind on a damaged file; packing will name it
        return Header("", "", "", "")
    return Header("lateral" if view.upper() in LATERAL else view.upper(), image or side, age, sex)


def import_pydicom(name: Path | str) -> ModuleType:
    """pydicom, told to be silent; `name` is the file that needs it.

    Raises:
        CxrError: It is not installed.
    """
    try:
        import pydicom
        import pydicom.config
    except ImportError:
        raise CxrError(f"{name}: reading DICOM files needs pydicom", "pip install 'cxr[dicom]'") from None
    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE  # archives break every rule of the standard
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)  # which would quote the elements it stumbles over
    warnings.filterwarnings("ignore", module="pydicom")
    return pydicom
