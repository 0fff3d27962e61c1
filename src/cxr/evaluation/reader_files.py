"""Files for a comparison with human readers: each reader's calls or scores, the reference, thresholds."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from cxr.config.schema import Eval
from cxr.errors import CxrError
from cxr.evaluation.broader import any_label, broader_names, parts_of
from cxr.evaluation.join import DEFAULT, STUDY, LabelOptions, find_rows
from cxr.evaluation.predictions import Predictions, read
from cxr.evaluation.statistics.metrics import Float
from cxr.evaluation.thresholds import GIVEN, Thresholds
from cxr.evaluation.units import combine
from cxr.findings import NO_FINDING, canonical, find, name_key
from cxr.labels.label_csv import name_labels, read_labels
from cxr.labels.sheet import Sheet, read_sheet
from cxr.labels.targets import resolve

Indices = npt.NDArray[np.intp]
_SCORE = re.compile("(p|prob)_", re.IGNORECASE)


SCORE_THRESHOLD = 0.5
"""Score from which a reader who gives scores calls a finding."""


@dataclass(frozen=True)
class Reading:
    """What one reader says of the predicted images.

    Attributes:
        name: Of his file.
        calls: [N, C] of 1, 0, or nan where nothing is called.
        scores: [N, C] from 0 to 1, nan where there is none; None for a reader who gives calls alone.
    """

    name: str
    calls: Float
    scores: Float | None = None


@dataclass(frozen=True)
class _Read:
    """A reader's file: its rows, findings [F], values [M, F], labels that it names, and whether it scores."""

    rows: pd.DataFrame
    findings: tuple[str, ...]
    values: Float
    labelled: tuple[str, ...]
    notes: tuple[str, ...]
    is_scored: bool = False

    def __len__(self) -> int:
        return len(self.rows)

    def pick(self, findings: Sequence[str], rows: Indices) -> Float:
        """[N, C] values of these findings in these of its rows; nan where there is no row (-1).

        A broader finding is called where any of the reader's narrower ones is, and has their largest score.
        """
        columns = []
        for finding in findings:
            parts = self.values[:, [self.findings.index(part) for part in parts_of(finding, self.findings)]]
            columns.append(parts.max(axis=1) if self.is_scored else any_label(parts))
        # one more row of nan, on which index -1 falls
        return np.vstack([np.stack(columns, axis=1), np.full((1, len(columns)), np.nan)])[rows]


def read_readings(
    path: Path,
    readers: Sequence[Path],
    options: LabelOptions = DEFAULT,
    reference: Path | None = None,
    config: Eval | None = None,
    aided: Sequence[Path] = (),
) -> tuple[Indices, Predictions, list[Reading], list[str]]:
    """(rows that any reader has read, predictions, each reader's calls of those rows, notes).

    Predictions are of the findings that all readers and the model have in common. A broader finding of any of
    the tables, `reference` among them, which the model predicts under narrower names is added. With a
    `config`, images are combined to studies or patients as it says. Readings of `aided`, the second ones of
    the same readers in their order, follow the first.

    Raises:
        CxrError: No image or finding in common, or a file that cannot be read.
    """
    names = _name_readers(readers)
    names += [f"{name}, aided" for name in names[: len(aided)]]
    readers = [*readers, *aided]
    # 1. all files, then the findings that the model and every reader have in common
    sheets = [read_sheet(reader) for reader in readers]
    labelled = [() if _has_scores(sheet) else name_labels(sheet, options.column) for sheet in sheets]
    every_label = list(dict.fromkeys(name for names in labelled for name in names))
    every_sheet = [*sheets, *([read_sheet(reference)] if reference else [])]
    broader = list(dict.fromkeys(name for sheet in every_sheet for name in broader_names(sheet)))
    whole = read(path, needs_labels=False, labelled=every_label, broader=broader)
    if config:
        whole = combine(whole, config.unit, config.combine)
    tables = [
        _read_reader(sheet, names, whole, options) for sheet, names in zip(sheets, labelled, strict=True)
    ]
    predictions = _with_common(whole, tables)
    # 2. per reader [N]: its table's row of each predicted image, -1 where it has not read the image
    table_rows = [find_rows(predictions.rows, table.rows) for table in tables]
    read_rows = np.flatnonzero(np.any([rows >= 0 for rows in table_rows], axis=0))
    if not predictions.findings or not len(read_rows):
        kind = "image" if predictions.findings else "finding"
        others = ", ".join(str(reader) for reader in readers)
        raise CxrError(f"{path}: no {kind} in common with {others}", "name images and findings alike")

    # 3. the calls of each on the images that anyone has read
    readings, notes = [], list(whole.notes)
    if not options.column:  # with a column of classes, the table's notes say the same
        notes += _note_not_predicted(names, tables, whole)
    for name, table, rows in zip(names, tables, table_rows, strict=True):
        notes += [f"reader {name}: {note}" for note in table.notes]
        notes += _note_findings(name, whole, table)
        notes += _note_images(name, predictions.rows["image"], table, rows)
        values = table.pick(predictions.findings, rows[read_rows])
        readings.append(_reading(name, values, table.is_scored))
    return read_rows, predictions, readings, notes


def read_reference(
    path: Path, predictions: Predictions, options: LabelOptions = DEFAULT
) -> tuple[Float, list[str]]:
    """(labels [N, C] of a table of ground truth, nan = unknown; notes).

    As in readers' files, uncertain and blank cells are unknown.

    Raises:
        CxrError: A file that cannot be read, or that labels none of the images or findings.
    """
    table = _read_labels(read_sheet(path), (), predictions, options)
    rows = find_rows(predictions.rows, table.rows)
    if not (rows >= 0).any():
        hint = f"the table names images like {table.rows['image'].iloc[0]}; file names must agree"
        raise CxrError(f"{path}: labels none of the images that readers have read", hint)
    labels = np.full((len(predictions), len(predictions.findings)), np.nan)
    known = [bool(parts_of(finding, table.findings)) for finding in predictions.findings]
    kept = [finding for finding, is_known in zip(predictions.findings, known, strict=True) if is_known]
    labels[:, known] = table.pick(kept, rows)
    notes = [f"reference: {note}" for note in table.notes]
    num_lacking = int((rows < 0).sum())
    if num_lacking:
        notes.append(f"{num_lacking:,} of the {len(rows):,} images are not labelled in {path}")
    return labels, notes


def _has_scores(sheet: Sheet) -> bool:
    """Whether a reader's file holds scores: columns `p_X` or `prob_X`, as predictions have."""
    return any(_SCORE.match(name) for name in sheet.header)


def _read_reader(sheet: Sheet, names: tuple[str, ...], whole: Predictions, options: LabelOptions) -> _Read:
    """A reader's calls, or scores where its columns are called `p_X`."""
    if not _has_scores(sheet):
        return _read_labels(sheet, names, whole, options)
    scored = read(sheet, needs_labels=False)
    rows = scored.rows if STUDY in scored.rows else scored.rows.assign(**{STUDY: ""})
    return _Read(rows, scored.findings, scored.p, scored.findings, scored.notes, is_scored=True)


def _read_labels(sheet: Sheet, names: tuple[str, ...], whole: Predictions, options: LabelOptions) -> _Read:
    """The cells of a table of labels: 1, 0, or nan where it says nothing."""
    table = read_labels(sheet, whole.findings, options.column, options.duplicates)
    targets = resolve(table, list(table.findings), uncertain="ignore", blank="masked")
    known = np.where(targets.mask, targets.y, np.nan).astype(np.float64)
    return _Read(table.rows, table.findings, known, names, table.notes)


def _reading(name: str, values: Float, is_scored: bool) -> Reading:
    if not is_scored:
        return Reading(name, values)
    calls = np.where(np.isnan(values), np.nan, (values >= SCORE_THRESHOLD).astype(np.float64))
    return Reading(name, calls, values)


def _name_readers(readers: Sequence[Path]) -> list[str]:
    """The stem of each reader's file, with the folder where two have one stem."""
    stems = [reader.stem for reader in readers]
    alike = len(set(stems)) < len(stems)
    return [f"{reader.absolute().parent.name}/{reader.stem}" if alike else reader.stem for reader in readers]


def _with_common(predictions: Predictions, tables: Sequence[_Read]) -> Predictions:
    """The predictions of the findings that every reader reads, without labels."""
    common = [all(parts_of(name, table.findings) for table in tables) for name in predictions.findings]
    findings = tuple(name for name, kept in zip(predictions.findings, common, strict=True) if kept)
    unknown = np.full((len(predictions), len(findings)), np.nan)
    return replace(predictions, findings=findings, y=unknown, p=predictions.p[:, common], notes=())


def _note_findings(name: str, predictions: Predictions, table: _Read) -> list[str]:
    lacking = [finding for finding in predictions.findings if not parts_of(finding, table.findings)]
    return [f"left out, since reader {name} does not read them: {', '.join(lacking)}"] if lacking else []


def _note_images(name: str, images: "pd.Series[str]", table: _Read, rows: Indices) -> list[str]:
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


def _note_not_predicted(names: Sequence[str], tables: Sequence[_Read], predictions: Predictions) -> list[str]:
    """Findings that readers read and the model does not predict; "No Finding" is expected among them."""
    readers_of: dict[str, list[str]] = {}  # of each list of such findings
    for name, table in zip(names, tables, strict=True):
        others = [
            label
            for label in table.labelled
            if label != NO_FINDING and find(label, predictions.findings) is None
        ]
        if others:
            readers_of.setdefault(", ".join(others), []).append(name)
    notes = []
    for findings, who in readers_of.items():
        readers = f"reader {who[0]} reads" if len(who) == 1 else f"readers {', '.join(who)} read"
        notes.append(f"left out, since the model does not predict what {readers}: {findings}")
    return notes


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
