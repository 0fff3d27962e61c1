"""What the results of an image inherit from its DICOM file: patient, study, references, character set."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from pydicom import Dataset
from pydicom._uid_dict import UID_dictionary
from pydicom.uid import UID
from pydicom.valuerep import PersonName

from cxr.images.dicom.dataset import read_dataset
from cxr.images.dicom.detect import is_dicom, load_pydicom

# what a reference to the image needs
_REFERENCE = ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID")
TYPE_2 = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID", "StudyDate",
    "StudyTime", "ReferringPhysicianName",
)  # fmt: skip
"""Must be in each DICOM object, and may be empty."""
_OPTIONAL = (
    "IssuerOfPatientID", "PatientAge", "PatientIdentityRemoved", "DeidentificationMethod",
    "DeidentificationMethodCodeSequence", "StudyDescription",
)  # fmt: skip
_LOSSY = ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod")
_FURTHER = ("BodyPartExamined", "SpecificCharacterSet")
_UNPAIRED = ("CHEST", "THORAX")
_FIRST_BYTES = 512


class CannotInheritError(Exception):
    """An image without DICOM results: the reason, without its path and without any value of its header."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


class Reference(NamedTuple):
    """What a result needs to refer to an image: four UIDs."""

    sop_class: str
    sop_instance: str
    series: str
    study: str

    @property
    def evidence(self) -> Dataset:
        """The UIDs as elements, and empty elements of type 2 beside them."""
        evidence = Dataset()
        for keyword, value in zip(_REFERENCE, self, strict=True):
            setattr(evidence, keyword, value)
        for keyword in TYPE_2:
            setattr(evidence, keyword, None)
        return evidence


@dataclass(frozen=True)
class Source:
    """The part of an image's header that its results inherit.

    Attributes:
        header: The elements, decoded; those of type 2 are there, perhaps empty.
        character_set: Value of SpecificCharacterSet; empty where the file names none.
    """

    header: Dataset
    character_set: str | list[str]

    @property
    def study_key(self) -> tuple[str, str, str]:
        """What the images that share a series of results have in common: study and patient."""
        issuer = str(self.header.get("IssuerOfPatientID") or "")
        return str(self.header.StudyInstanceUID), str(self.header.PatientID or ""), issuer

    @property
    def reference(self) -> Reference:
        """UIDs of the image, its series and its study."""
        return Reference(*(str(self.header[keyword].value) for keyword in _REFERENCE))

    def pass_on(self, result: Dataset) -> None:
        """Give a result the patient and the study of the image, as the image has them."""
        for keyword in (*TYPE_2, *_OPTIONAL):
            if keyword in self.header:
                value = self.header[keyword].value
                # as text, since pydicom's names are written in the character set that they were read in
                setattr(result, keyword, str(value) if isinstance(value, PersonName) else value)

    def pass_on_body_part(self, result: Dataset) -> None:
        """Say in a derived image that it shows the chest, which has no side; of other parts neither is said.

        The side must be there for a part of a pair, may not be there for others, and may be empty without a
        part.
        """
        part = str(self.header.get("BodyPartExamined") or "")
        if part in _UNPAIRED:
            result.BodyPartExamined = part
        else:
            result.add_new("Laterality", "CS", None)

    def pass_on_compression(self, result: Dataset) -> None:
        """Say in a derived image that its source was compressed with loss."""
        if self.header.get("LossyImageCompression") == "01":
            for keyword in _LOSSY:
                if keyword in self.header:
                    setattr(result, keyword, self.header[keyword].value)


def read_source(path: Path) -> Source:
    """What the results of a DICOM file inherit.

    Raises:
        CannotInheritError: No DICOM file, or one whose header lacks what a reference to it needs.
        CxrError: pydicom is not installed.
    """
    load_pydicom(path)
    try:
        with path.open("rb") as file:
            if not is_dicom(file.read(_FIRST_BYTES), path):
                raise CannotInheritError("it is no DICOM file, and DICOM results inherit patient and study")
            file.seek(0)
            keywords = [*_REFERENCE, *TYPE_2, *_OPTIONAL, *_LOSSY, *_FURTHER]
            header = read_dataset(file, only=keywords)
        header.decode()
        for _ in header.iterall():  # numbers are converted when they are met, and may be none
            pass
    except OSError as error:
        raise CannotInheritError(error.strerror or "it cannot be read") from None
    except CannotInheritError:
        raise
    except Exception:  # hostile bytes make pydicom raise anything; its messages quote the header
        raise CannotInheritError("its header cannot be decoded") from None
    _check_reference(header)
    for keyword in TYPE_2:
        if keyword not in header:
            setattr(header, keyword, None)
    named = header.get("SpecificCharacterSet") or ""
    return Source(header, named if isinstance(named, str) else list(named))


def _check_reference(header: Dataset) -> None:
    """Refuse a header that a reference cannot be made from.

    Raises:
        CannotInheritError: With each element that is missing or no valid UID.
    """
    values = {keyword: header.get(keyword) for keyword in _REFERENCE}
    missing = [keyword for keyword, value in values.items() if not value]
    if missing:
        raise CannotInheritError(f"its header has no {', '.join(missing)}")
    invalid = [keyword for keyword, value in values.items() if not UID(str(value)).is_valid]
    if invalid:
        raise CannotInheritError(f"its {', '.join(invalid)} is no valid UID")
    if str(values["SOPClassUID"]) not in UID_dictionary:
        raise CannotInheritError("its SOPClassUID is not one of the DICOM standard")
