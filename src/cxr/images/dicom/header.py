"""What a DICOM file's header says about the image, without its pixels and without who the patient is."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from cxr.fields.people import read_age, read_sex
from cxr.fields.views import KNOWN, read_view
from cxr.images.dicom.detect import is_dicom, load_pydicom

if TYPE_CHECKING:
    from pydicom import Dataset

_FIRST_BYTES = 512
_TEXTS = ["ViewPosition", "ImageLaterality", "Laterality", "PatientAge", "PatientSex"]
_VIEW_CODES = "ViewCodeSequence"
_UPLOADED = ["ViewPosition", _VIEW_CODES, "StudyInstanceUID", "Rows", "Columns"]


@dataclass(frozen=True)
class Header:
    """What is said about an image; empty, or nan for the age, where nothing is.

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


@dataclass(frozen=True)
class UploadHeader:
    """What an upload's header says about the image and its study; empty or 0 where nothing is said.

    Attributes:
        view: As of `Header`.
        study: Identifier of the study: it leads to the patient, and is only compared.
        rows, columns: Size in pixels.
    """

    view: str = ""
    study: str = ""
    rows: int = 0
    columns: int = 0


def read_upload_header(file: BinaryIO) -> UploadHeader:
    """The header of a DICOM file in memory; an empty one of a damaged file. pydicom is loaded already."""
    from cxr.images.dicom.dataset import read_dataset  # imports pydicom, which is optional

    try:
        dataset = read_dataset(file, only=_UPLOADED)
        return UploadHeader(
            view=_find_view(dataset),
            study=str(dataset.get("StudyInstanceUID") or "").strip(),
            rows=int(dataset.get("Rows") or 0),
            columns=int(dataset.get("Columns") or 0),
        )
    except Exception:  # hostile bytes make pydicom raise anything; decoding refuses the file
        return UploadHeader()


def read_header(path: Path) -> Header:
    """View, laterality, age and sex of a DICOM file; an empty Header of any other file and of a damaged file.

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
    from cxr.images.dicom.dataset import read_dataset  # imports pydicom, which is optional

    try:
        with path.open("rb") as file:
            dataset = read_dataset(file, only=[*_TEXTS, _VIEW_CODES])
        # none of these names the patient
        text = {keyword: str(dataset.get(keyword) or "").strip().upper() for keyword in _TEXTS}
        view = _find_view(dataset)
    except Exception:  # hostile bytes make pydicom raise anything; packing refuses the file by name
        return Header()
    side = text["ImageLaterality"] or text["Laterality"]
    return Header(
        view=view,
        laterality=side if side in ("R", "L", "B", "U") else "",
        age=read_age(text["PatientAge"]),
        sex=read_sex(text["PatientSex"]),
    )


def _find_view(dataset: "Dataset") -> str:
    """The view by the rule of `read_view`, of the position, else of the first code that says a known view."""
    position = str(dataset.get("ViewPosition") or "").strip().upper()
    codes = [str(code.get("CodeMeaning", "")).lower() for code in dataset.get(_VIEW_CODES) or ()]
    views = [read_view(text) for text in (position, *codes)]
    return next((view for view in views if view in KNOWN), views[0])
