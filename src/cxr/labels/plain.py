"""A plain label CSV, which no config describes: its columns have usual names, its rows a name each."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from cxr.errors import CxrError
from cxr.fields.cells import read_column
from cxr.fields.identity import normalise, normalise_ids
from cxr.findings import canonical
from cxr.labels.classes import read_classes
from cxr.labels.columns import find_column, is_metadata
from cxr.labels.label_columns import read_label_columns
from cxr.labels.reading import find_rounded_ids, make_rows
from cxr.labels.sheet import Sheet
from cxr.labels.table import LabelTable

IDS = ("image", "patient_id", "study_id")
"""Row columns that are ids."""
ROW_KINDS = (*IDS, "view", "sex", "age")


def parse_plain(sheet: Sheet, root: Path, asked: Sequence[str] | None, words: str | None) -> LabelTable:
    """The table of a plain label CSV, without looking for images.

    Args:
        sheet: The table. In a table of studies, without an image column, a row is called by its study.
        root: Its folder.
        asked: Findings to read the labels of; None for all that there are.
        words: Column of classes or lists of findings, in place of a column per finding.

    Raises:
        CxrError: No image column, rounded ids, a cell that is no label, no finding.
    """
    named = _name_columns(sheet)
    rounded = find_rounded_ids(sheet, [named[kind] for kind in IDS if kind in named])
    if rounded:
        raise CxrError([problem for problem, _ in rounded], rounded[0][1])
    columns = {kind: sheet.column(column) for kind, column in named.items()}
    if "image" not in named:
        columns["image"] = name_studies(sheet, columns)
    labels = read_label_columns(sheet, named.values(), asked, words, allow_missing=asked is not None)
    rows = make_rows(columns)
    return LabelTable("table", root, rows, labels.findings, labels.raw, notes=labels.notes, where=sheet.where)


def name_plain(sheet: Sheet, words: str | None) -> tuple[str, ...]:
    """The findings that the columns of a plain table, or its column of words, seem to label."""
    if words:
        column = normalise(words)
        return read_classes(sheet.column(column))[0] if column in sheet.header else ()
    taken = set(_name_columns(sheet).values())
    findings = []
    for name in sheet.header:
        if not name or name in taken or is_metadata(name):
            continue
        cells = read_column(sheet.numbers(name))
        if cells.wrong is None and cells.soft is None and cells.num_labels:
            findings.append(canonical(re.sub("^y_", "", name, flags=re.IGNORECASE)))
    return tuple(findings)


def _name_columns(sheet: Sheet) -> dict[str, str]:
    """The column of each kind of row column that has a usual name."""
    named: dict[str, str] = {}
    for kind in ROW_KINDS:
        column = find_column(sheet, kind, named.values())
        if column:
            named[kind] = column
    return named


def name_studies(sheet: Sheet, columns: Mapping[str, Sequence[str]]) -> list[str]:
    """What the rows of a table without an image column are called: as their study, or else their patient.

    A study is called patient/study where patients share its name, as when visits are counted for each
    patient.
    """
    studies = normalise_ids(columns.get("study_id", ()))
    patients = normalise_ids(columns.get("patient_id", ()))
    if not studies and not patients:
        hint = f"name the image column image or filename; its columns are {', '.join(sheet.header)}"
        raise CxrError(f"{sheet.path}: no image column", hint)
    if studies and patients:
        # more pairs than study ids: an id such as `visit 1` belongs to several patients
        visits = list(zip(patients, studies, strict=True))
        if len(set(visits)) > len(set(studies)):
            return [f"{patient}/{study}" for patient, study in visits]
    return studies or patients
