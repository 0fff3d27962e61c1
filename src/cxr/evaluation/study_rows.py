"""Predictions without an image column: a row is a study or a patient, as in CheXpert's test predictions."""

import re
from collections.abc import Mapping, Sequence
from typing import Literal

from cxr.errors import CxrError
from cxr.evaluation.join import STUDY
from cxr.fields.identity import normalise_ids
from cxr.labels.plain import name_studies
from cxr.labels.sheet import Sheet

Unit = Literal["image", "study", "patient"]
"""What a row of predictions is."""
PLURALS: Mapping[Unit, str] = {"image": "images", "study": "studies", "patient": "patients"}

_PATIENT = re.compile(r"(?:^|/)(patient\d+)/study\d+$")


def name_rows(sheet: Sheet, columns: Mapping[str, str]) -> tuple[Unit, list[str]]:
    """(what a row is, its name): the study, as patient/study where patients share study ids, or the patient.

    `image`, without names, where there is an image column, or where the ids do not tell the rows apart.

    Args:
        sheet: The table.
        columns: The column of each kind.
    """
    ids = {kind: sheet.column(columns[kind]) for kind in (STUDY, "patient_id") if kind in columns}
    if "image" in columns or not ids:
        return "image", []
    try:
        names = name_studies(sheet, ids)
    except CxrError:
        return "image", []
    if "" in names or len(set(names)) < len(names):
        return "image", []  # several rows of a study are most likely its images
    return ("study" if STUDY in ids else "patient"), names


def patients_of(studies: Sequence[str]) -> list[str]:
    """[N] the patient in names such as `test/patient64741/study1`; empty unless every name has one."""
    found = [_PATIENT.search(study) for study in normalise_ids(studies)]
    patients = [match[1] for match in found if match]
    return patients if len(patients) == len(found) else [""] * len(found)
