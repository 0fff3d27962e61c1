"""What a DICOM header says that whoever uses a chest radiograph should know."""

import re

from pydicom import Dataset
from pydicom._uid_dict import UID_dictionary

from cxr.images.notes import Note

_RADIOGRAPHS = frozenset(("", "CR", "DX", "DR", "RG", "XR", "OT", "SC"))
# defined terms of PS3.3, C.7.3.1.1.1; other texts may name the patient and are not shown
_MODALITIES = frozenset(
    "CT MR US MG NM PT XA RF IO PX ES XC GM SM OP OPT EC ECG HD BI BMD CFM DG DMS ECHO EPS FID IVOCT IVUS "
    "KER LEN LS AR RTDOSE RTIMAGE RTPLAN RTRECORD RTSTRUCT SEG SR PR KO REG RESP TG VA OCT OAM OPM OPV "
    "OSS PLAN DOC AU ST M3D".split()
)
# parts of the body by PS3.16, annex L, and their usual spellings
_OTHER_PARTS = frozenset(
    "ABDOMEN ABD ANKLE ARM BREAST CALCANEUS COCCYX CSPINE ELBOW EXTREMITY FACE FEMUR FINGER FOOT FOREARM "
    "HAND HEAD HIP HUMERUS JAW KNEE LEG LSPINE MANDIBLE NECK NOSE PATELLA PELVIS RADIUS SHOULDER SKULL "
    "SPINE SSPINE TEETH THIGH THUMB TIBIA TOE TSPINE ULNA WRIST BRAIN LSSPINE CTSPINE TLSPINE BLADDER "
    "CAROTID CLAVICLE COLON EAR EYE GALLBLADDER HANDS FEET KIDNEY KNEES LIVER MAXILLA ORBIT ORBITS "
    "PANCREAS PROSTATE SACRUM SCAPULA SINUS SINUSES STOMACH URETER UTERUS ZYGOMA".split()
)
_CHEST = frozenset("CHEST THORAX LUNG LUNGS RIB RIBS STERNUM HEART THORACIC TORSO TRUNK".split())
_RADIOGRAPH_KINDS = ("Computed Radiography", "Digital X-Ray", "Secondary Capture")


def note_kind(dataset: Dataset, note: Note) -> None:
    """Note a file that is no radiograph, not of the chest, or not meant to be shown."""
    modality = _read_word(dataset, "Modality")
    if modality in _MODALITIES:
        note(f"DICOM of modality {modality}, not a radiograph")
    elif modality not in _RADIOGRAPHS:
        note("DICOM of an unknown modality")
    else:
        kind = UID_dictionary.get(_read_word(dataset, "SOPClassUID"), ("",))[0]
        if "Image Storage" in kind and not kind.startswith(_RADIOGRAPH_KINDS):
            note(f"DICOM of the kind {kind}, not a radiograph")

    words = re.findall("[A-Z]+", _read_word(dataset, "BodyPartExamined"))
    other_parts = [word for word in words if word in _OTHER_PARTS]
    if other_parts and _CHEST.isdisjoint(words):
        note(f"DICOM of body part {other_parts[0]}")

    if _read_word(dataset, "PresentationIntentType") == "FOR PROCESSING":
        note("DICOM with raw values for processing, not for presentation")


def _read_word(dataset: Dataset, keyword: str) -> str:
    try:
        return str(dataset.get(keyword) or "").strip().upper()
    except Exception:  # a value that pydicom cannot make text of
        return ""
