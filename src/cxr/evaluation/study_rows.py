"""Predictions without an image column: a row is a study or a patient, as in CheXpert's test predictions."""

import re
from collections.abc import Mapping, Sequence
from typing import Literal

from cxr.errors import CxrError
from cxr.evaluation.join import STUDY, Mistakes
from cxr.evaluation.same_names import slashed
from cxr.fields.identity import normalise_ids
from cxr.labels.plain import name_studies
from cxr.labels.sheet import Sheet

Unit = Literal["image", "study", "patient"]
"""What a row of predictions is."""
PLURALS: Mapping[Unit, str] = {"image": "images", "study": "studies", "patient": "patients"}

_PATIENT = re.compile(r"(?:^|/)(patient\d+)/study\d+(?:/|$)")


def name_rows(sheet: Sheet, columns: Mapping[str, str]) -> tuple[Unit, list[str], Mistakes]:
    """(what a row is, its name, mistakes): the study, as patient/study where patients share study ids.

    It is the patient where there is no study, and `image`, without names, where there is an image column or
    where patients do not tell the rows apart. Two rows of a study are a mistake: its images would need names.

    Args:
        sheet: The table.
        columns: The column of each kind.
    """
    ids = {kind: sheet.column(columns[kind]) for kind in (STUDY, "patient_id") if kind in columns}
    if "image" in columns or not ids:
        return "image", [], []
    try:
        names = [slashed(name) for name in name_studies(sheet, ids)]
    except CxrError:
        return "image", [], []
    if STUDY not in ids:
        # rows of a patient are most likely images that lack their names
        return ("image", [], []) if "" in names or len(set(names)) < len(names) else ("patient", names, [])
    if "" in names:
        problem = f"{sheet.where(names.index(''))}: no image column, and {columns[STUDY]} is empty"
        return "study", names, [(problem, "give every row its study, or name its image in a column image")]
    return "study", names, _note_repeated(sheet, names)


def _note_repeated(sheet: Sheet, names: Sequence[str]) -> Mistakes:
    """The first row whose study an earlier row has."""
    first: dict[str, int] = {}
    repeated = [row for row, name in enumerate(names) if first.setdefault(name, row) != row]
    if not repeated:
        return []
    row = repeated[0]
    more = f" (and {len(repeated) - 1:,} more such rows)" if len(repeated) > 1 else ""
    line = sheet.lines[first[names[row]]]
    problem = f"{sheet.where(row)}: study {names[row]} is row {line} again{more}"
    return [(problem, "keep one row per study, or name the images of a study in a column image")]


def patients_of(names: Sequence[str]) -> list[str]:
    """[N] the patient in names such as `test/patient64741/study1/view1.jpg`; empty unless all have one."""
    found = [_PATIENT.search(slashed(name)) for name in normalise_ids(names)]
    patients = [match[1] for match in found if match]
    return patients if len(patients) == len(found) else [""] * len(found)
