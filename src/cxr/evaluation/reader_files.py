"""The files beside a comparison with human readers: what each reader says of the images, and thresholds."""

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
from cxr.labels.sheet import read_sheet
from cxr.labels.sources import name_labels, read_labels
from cxr.labels.table import LabelTable
from cxr.labels.targets import resolve

Places = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Reading:
    """What one reader says of the images of a table of predictions: [N, C] of 1, 0, or nan where nothing is said."""

    name: str
    calls: Float


def read_readings(
    path: Path, readers: Sequence[Path], options: LabelOptions = DEFAULT
) -> tuple[Places, Predictions, list[Reading], list[str]]:
    """(rows that any reader has read, predictions of the common findings, what each reader says of those rows, notes).

    Raises:
        CxrError: No image or finding in common, or a file that cannot be read.
    """
    sheets = [read_sheet(reader) for reader in readers]
    named = [name_labels(sheet, options.column) for sheet in sheets]
    whole = read(
        path, needs_labels=False, labelled=list(dict.fromkeys(name for own in named for name in own))
    )
    tables = [read_labels(sheet, whole.findings, options.column, options.duplicates) for sheet in sheets]
    predictions = _with_common(whole, tables)
    found = [find_rows(predictions.rows, table.rows) for table in tables]
    places = np.flatnonzero(np.any([own >= 0 for own in found], axis=0))
    if not predictions.findings or not len(places):
        what = "image" if predictions.findings else "finding"
        others = ", ".join(str(reader) for reader in readers)
        raise CxrError(f"{path}: no {what} in common with {others}", "name images and findings alike")
    names, readings, notes = _name_readers(readers), [], list(whole.notes)
    for name, labelled, table, own in zip(names, named, tables, found, strict=True):
        notes += (
            [] if options.column else _note_not_predicted(name, labelled, whole)
        )  # else the table's notes do so
        notes += [f"reader {name}: {note}" for note in table.notes]
        notes += _note_findings(name, whole, table) + _note_images(
            name, predictions.rows["image"], table, own
        )
        readings.append(Reading(name, _calls(table, predictions.findings)[own[places]]))
    return places, predictions, readings, notes


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
    """[M + 1, C] what the rows say of the findings, the last row nothing, for images that the reader has not read."""
    own = [name for finding in findings if (name := find(finding, table.findings))]
    targets = resolve(table, own, uncertain="ignore", blank="masked")
    known = np.where(targets.mask, targets.y, np.nan).astype(np.float64)
    return np.vstack([known, np.full((1, len(findings)), np.nan)])


def _note_findings(name: str, predictions: Predictions, table: LabelTable) -> list[str]:
    lacking = [finding for finding in predictions.findings if find(finding, table.findings) is None]
    return [f"left out, since reader {name} does not read them: {', '.join(lacking)}"] if lacking else []


def _note_images(name: str, images: "pd.Series[str]", table: LabelTable, places: Places) -> list[str]:
    """How many readings belong to no prediction, and how many predictions have no reading, with the first of each."""
    unused = table.rows["image"][~np.isin(np.arange(len(table)), places)]
    unread = images[places < 0]
    notes = []
    if len(unused):
        what = f"{len(unused):,} of the {len(table):,} images of reader {name} are not predicted"
        notes.append(f"{what}, the first {unused.iloc[0]}")
    if len(unread):
        what = f"{len(unread):,} of the {len(images):,} predicted images are not read by reader {name}"
        notes.append(f"{what}, the first {unread.iloc[0]}")
    return notes


def _note_not_predicted(name: str, labelled: Sequence[str], predictions: Predictions) -> list[str]:
    others = [one for one in labelled if one != NO_FINDING and find(one, predictions.findings) is None]
    what = f"left out, since the model does not predict what reader {name} reads"
    return [f"{what}: {', '.join(others)}"] if others else []


def read_thresholds(path: Path, findings: Sequence[str]) -> Thresholds:
    """The `threshold` column of a metrics.csv.

    Raises:
        CxrError: Every mistake at once: a finding on no row or on two, a cell that is no number from 0 to 1.
    """
    hint = (
        "cxr eval writes metrics.csv beside predictions.csv: a row a finding with its threshold, from 0 to 1"
    )
    sheet = read_sheet(path).spelled(("finding", "threshold"))
    sheet.require(["finding", "threshold"], hint)
    names = [canonical(cell) for cell in sheet.column("finding")]
    asked = {finding: find(finding, names) for finding in findings}
    problems, values, first = [], {}, dict[str, int]()
    for row, (name, cell) in enumerate(zip(names, sheet.numbers("threshold"), strict=True)):
        before = first.setdefault(name_key(name), row)
        if before != row:
            problems.append(f"{sheet.where(row)}: {name} is there twice, first on line {sheet.lines[before]}")
        value = _threshold(cell)
        if value is None and (cell.strip() or name in asked.values()):  # rows of means have none
            shown = cell.strip() or "empty"
            problems.append(f"{sheet.where(row)}: threshold of {name} is {shown}, no number from 0 to 1")
        values[name] = value
    missing = [finding for finding, name in asked.items() if name is None]
    if missing:
        problems.append(f"{path}: is no metrics.csv with a threshold for each of {', '.join(missing)}")
    if problems:
        raise CxrError(problems, hint)
    known = tuple(value for name in asked.values() if name and (value := values[name]) is not None)
    return Thresholds(tuple(findings), known, GIVEN, f"in {path}")


def _threshold(cell: str) -> float | None:
    try:
        value = float(cell)
    except ValueError:
        return None
    return value if 0 <= value <= 1 else None
