"""What a DICOM header says that a reader of a chest radiograph should know, and pixels that are not square."""

import math
import re
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from cxr.images.damage import find_excess
from cxr.images.dicom.layout import Refused
from cxr.images.grey import Grey
from cxr.images.notes import Note

if TYPE_CHECKING:
    from pydicom import Dataset

_RADIOGRAPHS = frozenset(("", "CR", "DX", "DR", "RG", "XR", "OT", "SC"))
# defined terms of PS3.3 C.7.3.1.1.1; other texts are not shown
_MODALITIES = frozenset(
    "CT MR US MG NM PT XA RF IO PX ES XC GM SM OP OPT EC ECG HD BI BMD CFM DG DMS ECHO EPS FID IVOCT IVUS KER LEN LS "
    "AR RTDOSE RTIMAGE RTPLAN RTRECORD RTSTRUCT SEG SR PR KO REG RESP TG VA OCT OAM OPM OPV OSS PLAN DOC AU ST "
    "M3D".split()
)
# other parts of the body by PS3.16 annex L and their usual spellings
_OTHER_PARTS = frozenset(
    "ABDOMEN ABD ANKLE ARM BREAST CALCANEUS COCCYX CSPINE ELBOW EXTREMITY FACE FEMUR FINGER FOOT FOREARM HAND HEAD HIP "
    "HUMERUS JAW KNEE LEG LSPINE MANDIBLE NECK NOSE PATELLA PELVIS RADIUS SHOULDER SKULL SPINE SSPINE TEETH THIGH "
    "THUMB TIBIA TOE TSPINE ULNA WRIST BRAIN LSSPINE CTSPINE TLSPINE BLADDER CAROTID CLAVICLE COLON EAR EYE "
    "GALLBLADDER HANDS FEET KIDNEY KNEES LIVER MAXILLA ORBIT ORBITS PANCREAS PROSTATE SACRUM SCAPULA SINUS SINUSES "
    "STOMACH URETER UTERUS ZYGOMA".split()
)
_CHEST = frozenset("CHEST THORAX LUNG LUNGS RIB RIBS STERNUM HEART THORACIC TORSO TRUNK".split())
_RADIOGRAPH_KINDS = ("Computed Radiography", "Digital X-Ray", "Secondary Capture")
_SPACINGS = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing", "PixelAspectRatio")
_LEAST, _MOST = 1.01, 10.0  # ratios of sides that are rounded to 1, and that no detector has


def note_kind(dataset: "Dataset", note: Note) -> None:
    """Say so of a file that is no radiograph, not of the chest, or not meant to be looked at."""
    modality = _word(dataset, "Modality")
    if modality in _MODALITIES:
        note(f"DICOM of modality {modality}, not a radiograph")
    elif modality not in _RADIOGRAPHS:
        note("DICOM of an unknown modality")
    elif (kind := _name_kind(dataset)) and not kind.startswith(_RADIOGRAPH_KINDS):
        note(f"DICOM of the kind {kind}, not a radiograph")
    words = re.findall("[A-Z]+", _word(dataset, "BodyPartExamined"))
    if words and not _CHEST & {*words} and _OTHER_PARTS & {*words}:
        note(f"DICOM of body part {next(word for word in words if word in _OTHER_PARTS)}")
    if _word(dataset, "PresentationIntentType") == "FOR PROCESSING":
        note("DICOM with raw values for processing, not for presentation")


def _name_kind(dataset: "Dataset") -> str:
    """The standard's name of the kind of image that a file says it holds, empty of others."""
    from pydicom._uid_dict import UID_dictionary

    name = UID_dictionary.get(_word(dataset, "SOPClassUID"), ("",))[0]
    return name if "Image Storage" in name else ""


def _word(dataset: "Dataset", keyword: str) -> str:
    try:
        return str(dataset.get(keyword) or "").strip().upper()
    except Exception:  # a value that pydicom cannot make text of
        return ""


def square_pixels(dataset: "Dataset", grey: Grey, note: Note) -> Grey:
    """The image with the shorter side of its pixels stretched where a header says that they are not square.

    The first of PixelSpacing, ImagerPixelSpacing, NominalScannedPixelSpacing and PixelAspectRatio decides; each is the
    height and the width of a pixel. A ratio above 10 is taken for a mistake and ignored.

    Raises:
        Refused: The result would be too large.
    """
    down, across = next(
        (sides for keyword in _SPACINGS if (sides := _read_sides(dataset, keyword))), (1.0, 1.0)
    )
    ratio = max(down, across) / min(down, across)
    if ratio < _LEAST:
        return grey
    if ratio > _MOST:
        note("its pixels are said to be over 10 times as long as wide, which is ignored")
        return grey
    height, width = grey.shape
    height, width = (round(height * ratio), width) if down > across else (height, round(width * ratio))
    excess = find_excess(width, height)
    if excess:
        raise Refused(f"{excess} once its pixels are square")
    note("its pixels are not square: the image was stretched")
    return np.asarray(cv2.resize(grey, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)


def _read_sides(dataset: "Dataset", keyword: str) -> tuple[float, float] | None:
    """Height and width of a pixel, None where that is not two positive numbers."""
    try:
        values: Any = dataset.get(keyword)
        down, across = (float(one) for one in values)
    except Exception:  # absent, or whatever pydicom makes of a value that is no number
        return None
    return (down, across) if all(math.isfinite(one) and one > 0 for one in (down, across)) else None
