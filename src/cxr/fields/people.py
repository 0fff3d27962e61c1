"""The age and the sex of a patient, as tables and DICOM headers write them."""

import math
import re

OLDEST = 120.0
"""Ages above it are typing errors of the archive (ChestX-ray14 of 2017 has 411) and count as unknown."""

YEARS = {"": 1.0, "Y": 1.0, "M": 1 / 12, "W": 7 / 365.25, "D": 1 / 365.25}


def read_age(word: str) -> float:
    """Years in `58`, `058Y`, `011M` or `013D`; nan for anything else and above OLDEST."""
    match = re.fullmatch(r"\s*(\d+(?:[.,]\d*)?)\s*([YMWD]?)\s*", word.upper())
    years = float(match[1].replace(",", ".")) * YEARS[match[2]] if match else math.nan
    return years if years <= OLDEST else math.nan


def read_sex(word: str) -> str:
    """`M`, `F` or empty, from M, Male, f, female and the like."""
    return {"M": "M", "MALE": "M", "F": "F", "FEMALE": "F"}.get(word.strip().upper(), "")
