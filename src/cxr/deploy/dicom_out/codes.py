"""Codes of findings and of what is said about them: SNOMED CT and DICOM's own, else those of scheme 99CXR."""

import hashlib

from highdicom.coding_schemes import CodingSchemeIdentificationItem
from highdicom.sr import CodedConcept

from cxr.deploy.dicom_out.values import fit_text
from cxr.findings import concept

SCHEME = "99CXR"
"""Designator of the private scheme; DICOM reserves names that begin with 99 for such schemes."""

_MAX_CODE = 16  # characters of a code value (SH)
_MAX_MEANING = 64  # characters of its meaning (LO)

# Concepts by the name that `concept` gives a finding. SCT and DCM codes marked * are in the context groups of
# PS3.16; a test compares them with pydicom's copy of it. The others are codes of SNOMED CT.
_FINDINGS = {
    "Atelectasis": ("SCT", "46621007", "Atelectasis"),
    "Cardiomegaly": ("SCT", "8186001", "Cardiomegaly"),
    "Effusion": ("SCT", "60046008", "Pleural effusion"),  # *
    "Infiltration": ("DCM", "112121", "Infiltrate"),  # *
    "Mass": ("SCT", "4147007", "Mass"),  # *
    "Nodule": ("SCT", "27925004", "Nodule"),  # *
    "Pneumonia": ("SCT", "233604007", "Pneumonia"),
    "Pneumothorax": ("SCT", "36118008", "Pneumothorax"),  # *
    "Consolidation": ("SCT", "95436008", "Lung consolidation"),
    "Edema": ("SCT", "19242006", "Pulmonary edema"),  # *
    "Emphysema": ("SCT", "87433001", "Pulmonary emphysema"),
    "Fibrosis": ("SCT", "51615001", "Fibrosis of lung"),
    "Lung Opacity": ("DCM", "112001", "Opacity"),  # *
}


def code_finding(name: str) -> CodedConcept:
    """The code of a finding; one without a code in SNOMED CT or DICOM has one of 99CXR, made of its name."""
    known = _FINDINGS.get(concept(name))
    if known is not None:
        scheme, value, meaning = known
        return CodedConcept(value, scheme, meaning)
    digest = hashlib.blake2b(name.encode(errors="surrogatepass"), digest_size=7).hexdigest()
    return CodedConcept(f"F-{digest}"[:_MAX_CODE], SCHEME, fit_text(name, _MAX_MEANING))


def _private(value: str, meaning: str) -> CodedConcept:
    return CodedConcept(value, SCHEME, meaning)


PROBABILITY = CodedConcept("122157", "DCM", "Probability")
NO_UNITS = CodedConcept("1", "UCUM", "no units")
COMMENT = CodedConcept("121106", "DCM", "Comment")
SOURCE_OF_OVERLAY = CodedConcept("121322", "DCM", "Source image for image processing operation")
RADIOGRAPHY = CodedConcept("168537006", "SCT", "Plain radiography")

TARGET = _private("TARGET", "Finding that the model looks for")
THRESHOLD = _private("THRESHOLD", "Threshold of the probability")
CALL = _private("CALL", "Probability against its threshold")
CALLED = _private("CALLED", "Called: probability at or above its threshold")
NOT_CALLED = _private("NOT-CALLED", "Not called: probability below its threshold")
CALIBRATED = _private("CALIBRATED", "Calibrated on validation images")
INTENDED_USE = _private("INTENDED-USE", "Intended use")
RESEARCH_ONLY = _private("RESEARCH-ONLY", "Research use only, not for diagnosis")
OOD = _private("OOD", "Out-of-distribution warning")
OOD_WARNED = _private("OOD-WARNED", "Warned: unlike the images of training")
OOD_SILENT = _private("OOD-SILENT", "No warning")
OOD_UNKNOWN = _private("OOD-UNKNOWN", "Not measured: the model has no such score")
OOD_SCORE = _private("OOD-SCORE", "Out-of-distribution score")
OOD_LIMIT = _private("OOD-LIMIT", "Score above which it is warned")
OOD_IMAGES = _private("OOD-IMAGES", "Number of images with an out-of-distribution warning")


def declare_scheme() -> CodingSchemeIdentificationItem:
    """What a report says of 99CXR: its name, and who is responsible for it."""
    return CodingSchemeIdentificationItem(
        designator=SCHEME,
        name="Findings and statements of cxr, a research tool",
        version="1",
        responsible_organization="cxr",
    )
