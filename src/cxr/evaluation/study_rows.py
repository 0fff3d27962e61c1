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
    where an id is missing. Two rows of a study are a mistake: they may be its images, which need names.

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
    unit: Unit = "study" if STUDY in ids else "patient"
    if "" in names:
        kind = STUDY if STUDY in ids else "patient_id"
        problem = f"{sheet.where(names.index(''))}: no image column, and {columns[kind]} is empty"
        return unit, names, [(problem, f"give every row its {unit}, or name its image in a column image")]
    return unit, names, _note_repeated(sheet, names, unit)


def _note_repeated(sheet: Sheet, names: Sequence[str], unit: Unit) -> Mistakes:
    """The first row whose study or patient an earlier row has."""
    first: dict[str, int] = {}
    repeated = [row for row, name in enumerate(names) if first.setdefault(name, row) != row]
    if not repeated:
        return []
    row = repeated[0]
    more = f" (and {len(repeated) - 1:,} more such rows)" if len(repeated) > 1 else ""
    line = sheet.lines[first[names[row]]]
    problem = f"{sheet.where(row)}: {unit} {names[row]} is row {line} again{more}"
    return [(problem, f"keep one row per {unit}, or name the images of a {unit} in a column image")]


def patients_of(names: Sequence[str]) -> list[str]:
    """[N] the patient in names such as `test/patient64741/study1/view1.jpg`; empty unless all have one."""
    found = [_PATIENT.search(slashed(name)) for name in normalise_ids(names)]
    patients = [match[1] for match in found if match]
    return patients if len(patients) == len(found) else [""] * len(found)
