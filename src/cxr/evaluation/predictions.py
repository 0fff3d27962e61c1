"""The second narrow waist: one table of predictions, whoever made them; reading and writing it."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from cxr.console import count
from cxr.csv_files import csv_text
from cxr.errors import CxrError
from cxr.evaluation.broader import add_broader, broader_names
from cxr.evaluation.join import DEFAULT, IDENTITY, LabelOptions, Mistakes, join_labels
from cxr.evaluation.prediction_columns import (
    finding_columns,
    header_mistakes,
    identity,
    may_be_bare,
    own_labels,
    own_words,
    probabilities,
    row_columns,
)
from cxr.evaluation.prediction_rows import note_equal, row_mistakes
from cxr.evaluation.study_rows import Unit, name_rows, patients_of
from cxr.files import write_text
from cxr.labels.label_csv import name_labels
from cxr.labels.plain import IDS
from cxr.labels.reading import find_rounded_ids
from cxr.labels.sheet import Sheet, open_sheet
from cxr.labels.splits import SPLIT_WORDS
from cxr.labels.targets import Blank

Float = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]

_SPLIT_WORDS = {"train": "training", "val": "validation", "test": "test"}


@dataclass(frozen=True)
class Predictions:
    """The probabilities of each image with its labels and what is known of it; metrics see nothing else.

    Attributes:
        rows: [N] IDENTITY columns as text (empty when unknown), age in years as float (nan when unknown),
            then any further columns as text, which may define subgroups.
        findings: C names, in the order of the columns of `y` and `p`.
        y: [N, C] float64 of 1 (present), 0 (absent), nan (unknown, left out of every metric).
        p: [N, C] float64 probabilities in [0, 1]; raw scores may be any numbers.
        notes: What a report must say about how they were read or made.
        unit: What a row is; the column `image` then names the study or patient.
        is_raw: Whether `p` are scores that only rank images.
    """

    rows: pd.DataFrame
    findings: tuple[str, ...]
    y: Float
    p: Float
    notes: tuple[str, ...] = ()
    unit: Unit = "image"
    is_raw: bool = False

    def __post_init__(self) -> None:
        assert self.y.shape == self.p.shape == (len(self.rows), len(self.findings))
        assert set(IDENTITY) <= set(self.rows.columns)
        in_range = np.isfinite(self.p) if self.is_raw else (self.p >= 0) & (self.p <= 1)
        assert bool(np.all(in_range)), "probabilities lie in [0, 1]"
        assert bool(np.all((self.y == 0) | (self.y == 1) | np.isnan(self.y))), "labels are 1, 0 or nan"

    def __len__(self) -> int:
        return len(self.rows)

    def select(self, keep: npt.NDArray[np.bool_] | Indices) -> "Predictions":
        """The rows that `keep` (a mask or indices) names."""
        return replace(self, rows=self.rows.iloc[keep].reset_index(drop=True), y=self.y[keep], p=self.p[keep])

    def describe(self) -> str:
        """As `test rows (25,596 images, 2,797 patients)`; patients only where all are known."""
        present = set(self.rows["split"])
        if not present or "" in present:
            splits = "all"
        else:
            order = [*_SPLIT_WORDS, *sorted(present - set(_SPLIT_WORDS))]
            splits = " and ".join(_SPLIT_WORDS.get(name, name) for name in order if name in present)
        counts = [count(len(self), self.unit)]
        if self.unit != "patient" and len(self) and (self.rows["patient_id"] != "").all():
            counts.append(count(self.rows["patient_id"].nunique(), "patient"))
        return f"{splits} rows ({', '.join(counts)})"


def write(predictions: Predictions, path: Path) -> None:
    """Writes a CSV that `read` returns exactly.

    Columns: IDENTITY, further columns, `y_<finding>` (empty = unknown), `p_<finding>` with every digit. It
        names patients, so that only its owner may read it.

    Raises:
        CxrError: The file cannot be written; what was there stays as it was.
    """
    write_text(path, csv_text(as_table(predictions)), private=True)


def as_table(predictions: Predictions) -> pd.DataFrame:
    """The columns that `write` puts in the file."""
    columns: dict[str, object] = {name: predictions.rows[name].to_numpy() for name in IDENTITY[:-1]}
    further = [str(name) for name in predictions.rows.columns if name not in IDENTITY]
    columns["age"] = [_format_age(age) for age in predictions.rows["age"].to_numpy(np.float64)]
    columns |= {name: predictions.rows[name].to_numpy() for name in further}
    # a label is written as 1, never as 1.0
    y = np.where(np.isnan(predictions.y), "", np.where(predictions.y == 1, "1", "0"))  # [N, C]
    columns |= {f"y_{name}": y[:, column] for column, name in enumerate(predictions.findings)}
    columns |= {f"p_{name}": predictions.p[:, column] for column, name in enumerate(predictions.findings)}
    return pd.DataFrame(columns)


def read(
    path: Path | Sheet,
    labels: Path | Sheet | None = None,
    blank: Blank = "negative",
    needs_labels: bool = True,
    options: LabelOptions = DEFAULT,
    labelled: Collection[str] = (),
    broader: Collection[str] = (),
    is_raw: bool = False,
) -> Predictions:
    """Predictions from a CSV, or a sheet that was read, joined to the labels of another if one is given.

    Image, patient, study, view, sex, age and split stand in columns of their usual names. Without an image
    column a row is a study, or else a patient, where these ids tell the rows apart. `finding_columns`
    decides which columns are probabilities; the label of X is `y_X`. What is missing is empty; every further
    column is kept. Equal rows of an image count as one.

    With `labels` (NIH, CheXpert or plain form) the y_ columns are ignored, uncertain cells (-1) become
    unknown, and blank cells become negative or, with `blank="masked"`, unknown; a finding that the table does
    not label is unknown throughout. Images are joined by name, see `match_names`, or by study or patient
    where the table has one row for each; what the predictions leave empty in IDENTITY is taken from the
    labels. Without any labels there is an error, unless `needs_labels` is off. `labelled` are findings that
    are labelled elsewhere, as by human readers. A broader finding of the label table, or of `broader`, which
    the file predicts under narrower names is added, see `add_broader`. With `is_raw` scores
    may be any numbers.

    Raises:
        CxrError: Every mistake of the file at once: not a CSV, no image or probability column, rows of an
            image that differ, an image without a label, a cell that is no probability, no label or no split,
            rounded ids, no labels at all.
    """
    # 1. which columns there are
    sheet, table = open_sheet(path), _open(labels)
    label_names = _name_labels(sheet, table, options.column)
    p_columns, y_columns, notes = finding_columns(sheet, (*labelled, *label_names))
    taken = {name for _, name in (*p_columns, *y_columns)}
    columns = row_columns(sheet, taken)
    unit, names, name_mistakes = name_rows(sheet, columns)
    is_named = "image" in columns or bool(names)
    own = y_columns if table is None and needs_labels else []
    _raise([*header_mistakes(sheet, is_named, p_columns, own), *name_mistakes])

    # 2. their cells; mistakes are collected, so that all of them are shown at once
    findings = tuple(finding for finding, _ in p_columns)
    rows = identity(sheet, columns, taken)
    if names:
        rows = _name_by_study(rows, names)
    p, mistakes = probabilities(sheet, [name for _, name in p_columns], is_raw)
    if not mistakes:
        broader = (*broader, *(broader_names(table) if isinstance(table, Sheet) else ()))
        findings, p, broader_notes = add_broader(findings, p, broader)
        notes = [*notes, *broader_notes]
    mistakes += find_rounded_ids(sheet, [columns[kind] for kind in IDS if kind in columns])
    rows, unknown_splits = _read_splits(sheet, rows, columns.get("split", ""))
    # as the file has them: joining labels fills in cells, and rows of an image are compared without these
    file_rows = rows
    if table is None:
        y, label_mistakes, label_notes = own_labels(
            sheet, findings, dict(y_columns), needs_labels, options.column
        )
    else:
        rows, y, label_mistakes, label_notes = join_labels(sheet.path, table, blank, rows, findings, options)
    # after the labels, which may tell other patients than the paths do
    rows = _find_patients(rows)
    mistakes += row_mistakes(sheet, file_rows, np.hstack([p, y]))
    _raise(mistakes + unknown_splits + label_mistakes)

    # 3. one row per image, and images without a label left out where that is asked for
    keep = ~rows["image"].duplicated().to_numpy()  # rows that differ were refused above
    notes = [*notes, *label_notes, *note_equal(file_rows)]
    if options.skip_unlabelled and labels is not None:
        keep &= ~np.isnan(y).all(axis=1)
        notes += _note_skipped(labels, keep)
    scores = p if is_raw else np.clip(p, 0, 1)
    predictions = Predictions(rows, findings, y, scores, tuple(notes), unit, is_raw)
    return predictions if keep.all() else predictions.select(keep)


def _name_by_study(rows: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """The rows of a file without images, with the patients that CheXpert's names of studies tell."""
    return _find_patients(rows.assign(image=pd.Series(names, dtype=str)))


def _find_patients(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows; where no patient is known, with those that CheXpert's paths of images or studies tell."""
    if not (rows["patient_id"] == "").all():
        return rows
    return rows.assign(patient_id=pd.Series(patients_of(list(rows["image"])), index=rows.index, dtype=str))


def _open(labels: Path | Sheet | None) -> Sheet | Path | None:
    """The table of labels; its path where it cannot be read, which is a mistake among others."""
    try:
        return None if labels is None else open_sheet(labels)
    except CxrError:
        return labels


def _name_labels(sheet: Sheet, table: Sheet | Path | None, column: str | None) -> Sequence[str]:
    """The findings that the labels name; empty where no column needs them to be recognised."""
    if not may_be_bare(sheet):
        return ()
    if table is None:
        return own_words(sheet, column)
    return name_labels(table, column) if isinstance(table, Sheet) else ()


def _note_skipped(labels: Path | Sheet, keep: npt.NDArray[np.bool_]) -> list[str]:
    """How many images have no label.

    Raises:
        CxrError: None has one.
    """
    if not keep.any():
        raise CxrError(f"{labels}: labels none of the images", "the file names must agree")
    if keep.all():
        return []
    num_skipped = int((~keep).sum())
    return [f"{num_skipped:,} of {count(len(keep), 'image')} have no label in {labels} and are left out"]


def _read_splits(sheet: Sheet, rows: pd.DataFrame, column: str) -> tuple[pd.DataFrame, Mistakes]:
    """(the rows with train, val, test or nothing as their split, a mistake for another word).

    Whether a row of another split may be evaluated is not known.
    """
    # `Valid` is val
    words = rows["split"].str.strip().str.lower()
    unknown = np.flatnonzero(~words.isin(list(SPLIT_WORDS)))
    rows = rows.assign(split=words.map(SPLIT_WORDS).fillna(words))
    if not len(unknown):
        return rows, []
    first = int(unknown[0])
    more = f" (and {len(unknown) - 1:,} more such rows)" if len(unknown) > 1 else ""
    problem = f"{sheet.where(first)}: {column} is {sheet.column(column)[first].strip()!r}{more}"
    hint = f"the column {column} holds train, val or test, or nothing; rename it if it means something else"
    return rows, [(problem, hint)]


def _raise(mistakes: Mistakes) -> None:
    if mistakes:
        hints = dict.fromkeys(hint for _, hint in mistakes)
        raise CxrError([problem for problem, _ in mistakes], "; ".join(hints))


def _format_age(age: float) -> str:
    if np.isnan(age):
        return ""
    return str(int(age)) if age.is_integer() else repr(float(age))
