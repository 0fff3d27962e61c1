"""Files for a comparison with human readers: each reader's calls, and thresholds of a report."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from cxr.errors import CxrError
from cxr.evaluation.join import DEFAULT, LabelOptions, find_rows
from cxr.evaluation.predictions import Predictions, read
from cxr.evaluation.statistics.metrics import Float
from cxr.evaluation.thresholds import GIVEN, Thresholds
from cxr.findings import NO_FINDING, canonical, find, name_key
from cxr.labels.label_csv import name_labels, read_labels
from cxr.labels.sheet import read_sheet
from cxr.labels.table import LabelTable
from cxr.labels.targets import resolve

Indices = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Reading:
    """One reader's calls of the predicted images: [N, C] of 1, 0, or nan where nothing is called."""

    name: str
    calls: Float


def read_readings(
    path: Path, readers: Sequence[Path], options: LabelOptions = DEFAULT
) -> tuple[Indices, Predictions, list[Reading], list[str]]:
    """(rows that any reader has read, predictions, each reader's calls of those rows, notes).

    Predictions are of the findings that all readers and the model have in common.

    Raises:
        CxrError: No image or finding in common, or a file that cannot be read.
    """
    sheets = [read_sheet(reader) for reader in readers]
    labelled = [name_labels(sheet, options.column) for sheet in sheets]
    every_label = list(dict.fromkeys(name for names in labelled for name in names))
    whole = read(path, needs_labels=False, labelled=every_label)
    tables = [read_labels(sheet, whole.findings, options.column, options.duplicates) for sheet in sheets]
    predictions = _with_common(whole, tables)
    # per reader [N]: its table's row of each predicted image, -1 where it has not read the image
    table_rows = [find_rows(predictions.rows, table.rows) for table in tables]
    read_rows = np.flatnonzero(np.any([rows >= 0 for rows in table_rows], axis=0))
    if not predictions.findings or not len(read_rows):
        kind = "image" if predictions.findings else "finding"
        others = ", ".join(str(reader) for reader in readers)
        raise CxrError(f"{path}: no {kind} in common with {others}", "name images and findings alike")

    readings, notes = [], list(whole.notes)
    for name, names, table, rows in zip(_name_readers(readers), labelled, tables, table_rows, strict=True):
        if not options.column:  # with a column of classes, the table's notes say the same
            notes += _note_not_predicted(name, names, whole)
        notes += [f"reader {name}: {note}" for note in table.notes]
        notes += _note_findings(name, whole, table)
        notes += _note_images(name, predictions.rows["image"], table, rows)
        readings.append(Reading(name, _calls(table, predictions.findings)[rows[read_rows]]))
    return read_rows, predictions, readings, notes


def _name_readers(readers: Sequence[Path]) -> list[str]:
    """The stem of each reader's file, with the folder where two have one stem."""
    stems = [reader.stem for reader in readers]
    alike = len(set(stems)) < len(stems)
    return [f"{reader.absolute().parent.name}/{reader.stem}" if alike else reader.stem for reader in readers]


def _with_common(predictions: Predictions, tables: Sequence[LabelTable]) -> Predictions:
    """The predictions of the findings that every reader reads, without labels."""
    common = [all(find(name, table.findings) for table in tables) for name in predictions.findings]
    findings = tuple(name for name, kept in zip(predictions.findings, common, strict=True) if kept)
    unknown = np.full((len(predictions), len(findings)), np.nan)
    return replace(predictions, findings=findings, y=unknown, p=predictions.p[:, common], notes=())


def _calls(table: LabelTable, findings: Sequence[str]) -> Float:
    """[M + 1, C] calls of the reader's M rows, and a row of nan, on which index -1 of unread images falls."""
    names = [name for finding in findings if (name := find(finding, table.findings))]
    targets = resolve(table, names, uncertain="ignore", blank="masked")
    known = np.where(targets.mask, targets.y, np.nan).astype(np.float64)
    return np.vstack([known, np.full((1, len(findings)), np.nan)])


def _note_findings(name: str, predictions: Predictions, table: LabelTable) -> list[str]:
    lacking = [finding for finding in predictions.findings if find(finding, table.findings) is None]
    return [f"left out, since reader {name} does not read them: {', '.join(lacking)}"] if lacking else []


def _note_images(name: str, images: "pd.Series[str]", table: LabelTable, rows: Indices) -> list[str]:
    """How many readings have no prediction and how many predictions no reading, with the first of each."""
    unused = table.rows["image"][~np.isin(np.arange(len(table)), rows)]
    unread = images[rows < 0]
    notes = []
    if len(unused):
        counts = f"{len(unused):,} of the {len(table):,} images of reader {name}"
        notes.append(f"{counts} are not predicted, the first {unused.iloc[0]}")
    if len(unread):
        counts = f"{len(unread):,} of the {len(images):,} predicted images"
        notes.append(f"{counts} are not read by reader {name}, the first {unread.iloc[0]}")
    return notes


def _note_not_predicted(name: str, labelled: Sequence[str], predictions: Predictions) -> list[str]:
    """Findings that the reader reads and the model does not predict; "No Finding" is expected among them."""
    others = [
        label for label in labelled if label != NO_FINDING and find(label, predictions.findings) is None
    ]
    if not others:
        return []
    return [f"left out, since the model does not predict what reader {name} reads: {', '.join(others)}"]


def read_thresholds(path: Path, findings: Sequence[str]) -> Thresholds:
    """The `threshold` column of a metrics.csv.

    Raises:
        CxrError: Every mistake at once: a finding on no row or on two, a cell that is no number from 0 to 1.
    """
    hint = "cxr eval writes metrics.csv: one row per finding with its threshold, from 0 to 1"
    sheet = read_sheet(path).spelled(("finding", "threshold"))
    sheet.require(["finding", "threshold"], hint)
    names = [canonical(cell) for cell in sheet.column("finding")]
    name_of = {finding: find(finding, names) for finding in findings}
    problems: list[str] = []
    values: dict[str, float | None] = {}
    first_rows: dict[str, int] = {}
    for row, (name, cell) in enumerate(zip(names, sheet.numbers("threshold"), strict=True)):
        first = first_rows.setdefault(name_key(name), row)
        if first != row:
            problems.append(f"{sheet.where(row)}: {name} is there twice, first on line {sheet.lines[first]}")
        value = _threshold(cell)
        is_needed = name in name_of.values()  # rows of means have an empty threshold
        if value is None and (cell.strip() or is_needed):
            shown = cell.strip() or "empty"
            problems.append(f"{sheet.where(row)}: threshold of {name} is {shown}, no number from 0 to 1")
        values[name] = value
    missing = [finding for finding, name in name_of.items() if name is None]
    if missing:
        problems.append(f"{path}: is no metrics.csv with a threshold for each of {', '.join(missing)}")
    if problems:
        raise CxrError(problems, hint)
    # Nothing is missing here: every finding has a name, and every name a value.
    thresholds = [values[name] for name in name_of.values() if name is not None]
    return Thresholds(
        tuple(findings), tuple(value for value in thresholds if value is not None), GIVEN, f"in {path}"
    )


def _threshold(cell: str) -> float | None:
    try:
        value = float(cell)
    except ValueError:
        return None
    return value if 0 <= value <= 1 else None
