"""The age and the sex of a patient, as tables and DICOM headers write them."""

import math
import re

MAX_AGE = 120.0
"""Higher ages are typing errors of the dataset (ChestX-ray14 of 2017 has 411) and count as unknown."""

_YEARS = {"": 1.0, "Y": 1.0, "M": 1 / 12, "W": 7 / 365.25, "D": 1 / 365.25}  # unit -> years
_SEXES = {"M": "M", "MALE": "M", "F": "F", "FEMALE": "F"}


def read_age(word: str) -> float:
    """Years in `58`, `058Y`, `011M` or `013D`; nan for anything else and above MAX_AGE."""
    match = re.fullmatch(r"\s*(\d+(?:[.,]\d*)?)\s*([YMWD]?)\s*", word.upper())
    if not match:
        return math.nan
    number, unit = match.groups()
    years = float(number.replace(",", ".")) * _YEARS[unit]
    return years if years <= MAX_AGE else math.nan


def read_sex(word: str) -> str:
    """`M`, `F` or empty, from M, Male, f, female and the like."""
    return _SEXES.get(word.strip().upper(), "")
