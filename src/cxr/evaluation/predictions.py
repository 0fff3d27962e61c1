"""The second narrow waist: one table of predictions, whoever made them; read, joined to labels, checked, written."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from cxr.console import count
from cxr.csv_files import csv_text
from cxr.errors import CxrError
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
from cxr.files import write_text
from cxr.labels.plain import IDS, say_rounded
from cxr.labels.sheet import Sheet, read_sheet
from cxr.labels.sources import name_labels
from cxr.labels.splits import SPLIT_WORDS
from cxr.labels.targets import Blank

Float = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]

_SPLITS = {"train": "training", "val": "validation", "test": "test"}


@dataclass(frozen=True)
class Predictions:
    """What a model says of each image beside what is known of it; a metric sees nothing else.

    Attributes:
        rows: [N] IDENTITY columns as text (empty when unknown), age in years as float (nan when unknown), then any
            further columns as text, by which a report can be cut into subgroups.
        findings: C names, in the order of the columns of `y` and `p`.
        y: [N, C] float64 of 1 (present), 0 (absent), nan (unknown, left out of every figure).
        p: [N, C] float64 probabilities in [0, 1].
        notes: What a report must say of how they were read or made.
    """

    rows: pd.DataFrame
    findings: tuple[str, ...]
    y: Float
    p: Float
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        assert self.y.shape == self.p.shape == (len(self.rows), len(self.findings))
        assert set(IDENTITY) <= set(self.rows.columns)
        assert bool(np.all((self.p >= 0) & (self.p <= 1))), "probabilities lie in [0, 1]"
        assert bool(np.all((self.y == 0) | (self.y == 1) | np.isnan(self.y))), "labels are 1, 0 or nan"

    def __len__(self) -> int:
        return len(self.rows)

    def select(self, keep: npt.NDArray[np.bool_] | Indices) -> "Predictions":
        """The rows that `keep` (a mask or indices) names."""
        return replace(self, rows=self.rows.iloc[keep].reset_index(drop=True), y=self.y[keep], p=self.p[keep])

    def describe(self) -> str:
        """Which rows these are, as `test rows (25,596 images, 2,797 patients)`; patients only if all are known."""
        present = set(self.rows["split"])
        ordered = sorted(present, key=[*_SPLITS, *sorted(present - set(_SPLITS))].index)
        splits = (
            "all"
            if not present or "" in present
            else " and ".join(_SPLITS.get(name, name) for name in ordered)
        )
        counts = [count(len(self), "image")]
        if len(self) and (self.rows["patient_id"] != "").all():
            counts.append(count(self.rows["patient_id"].nunique(), "patient"))
        return f"{splits} rows ({', '.join(counts)})"


def write(predictions: Predictions, path: Path) -> None:
    """A CSV that `read` returns: IDENTITY, further columns, `y_<finding>` (empty = unknown), exact `p_<finding>`.

    It names patients, so nobody but its owner may read it.

    Raises:
        CxrError: The file cannot be written; what was there stays as it was.
    """
    write_text(path, csv_text(as_table(predictions)), private=True)


def as_table(predictions: Predictions) -> pd.DataFrame:
    """The columns that `write` puts in the file."""
    columns: dict[str, object] = {name: predictions.rows[name].to_numpy() for name in IDENTITY[:-1]}
    further = [str(name) for name in predictions.rows.columns if name not in IDENTITY]
    columns["age"] = [_short(age) for age in predictions.rows["age"].to_numpy(np.float64)]
    columns |= {name: predictions.rows[name].to_numpy() for name in further}
    y = np.where(np.isnan(predictions.y), "", np.where(predictions.y == 1, "1", "0"))
    columns |= {f"y_{name}": y[:, column] for column, name in enumerate(predictions.findings)}
    columns |= {f"p_{name}": predictions.p[:, column] for column, name in enumerate(predictions.findings)}
    return pd.DataFrame(columns)


def read(
    path: Path,
    labels: Path | None = None,
    blank: Blank = "negative",
    needs_labels: bool = True,
    options: LabelOptions = DEFAULT,
    labelled: Collection[str] = (),
) -> Predictions:
    """Predictions from a CSV of ours or of anybody, joined to the labels of another CSV if one is given.

    Image, patient, study, view, sex, age and split stand in columns of their usual names. Which columns are
    probabilities `finding_columns` says; the known label is `y_X`. What is missing is empty; every further column is
    kept. Equal rows of an image are one.

    With `labels` (NIH, CheXpert or plain form) the y_ columns are ignored, uncertain cells (-1) become unknown, and
    blank cells become negative or, with `blank="masked"`, unknown; a finding that the table does not label is unknown
    throughout. Images are joined by name, see `match_names`, or by study or patient where the table has a row for each;
    what the predictions leave empty in IDENTITY is taken from the labels. Without any labels there is an error, unless
    `needs_labels` is off. `labelled` are findings that are labelled elsewhere, as by human readers.

    Raises:
        CxrError: Every mistake of the file at once: not a CSV, no image or probability column, rows of an image that
            differ, an image without a label, a cell that is no probability, no label or no split, rounded ids, no
            labels at all.
    """
    sheet, table = read_sheet(path), _open(labels)
    p_columns, y_columns, left_out = finding_columns(
        sheet, (*labelled, *_name_labels(sheet, table, options.column))
    )
    taken = {name for _, name in (*p_columns, *y_columns)}
    columns = row_columns(sheet, taken)
    _raise(header_mistakes(sheet, columns, p_columns, y_columns if table is None and needs_labels else []))
    findings = tuple(finding for finding, _ in p_columns)
    rows = identity(sheet, columns, taken)
    p, mistakes = probabilities(sheet, [name for _, name in p_columns])
    mistakes += say_rounded(sheet, [columns[kind] for kind in IDS if kind in columns])
    rows, unknown = _with_folds(sheet, rows, columns.get("split", ""))
    told = rows
    if table is None:
        y, wrong, notes = own_labels(sheet, findings, dict(y_columns), needs_labels, options.column)
    else:
        rows, y, wrong, notes = join_labels(path, table, blank, rows, findings, options)
    _raise(mistakes + row_mistakes(sheet, told, np.hstack([p, y])) + unknown + wrong)
    keep = ~rows["image"].duplicated().to_numpy()
    notes = [*left_out, *notes, *note_equal(told)]
    if options.skip_unlabelled and labels is not None:
        keep &= ~np.isnan(y).all(axis=1)
        notes += _note_skipped(labels, keep)
    every = Predictions(rows, findings, y, np.clip(p, 0, 1), tuple(notes))
    return every if keep.all() else every.select(keep)


def _open(labels: Path | None) -> Sheet | Path | None:
    """The table of labels; its path where it cannot be read, which is a mistake among others."""
    try:
        return None if labels is None else read_sheet(labels)
    except CxrError:
        return labels


def _name_labels(sheet: Sheet, table: Sheet | Path | None, column: str | None) -> Sequence[str]:
    """The findings that the labels name, as far as the columns of the predictions leave a question."""
    if not may_be_bare(sheet):
        return ()
    if table is None:
        return own_words(sheet, column)
    return name_labels(table, column) if isinstance(table, Sheet) else ()


def _note_skipped(labels: Path, keep: npt.NDArray[np.bool_]) -> list[str]:
    if not keep.any():
        raise CxrError(f"{labels}: labels none of the images", "the file names must agree")
    left_out = (
        f"{int((~keep).sum()):,} of {count(len(keep), 'image')} have no label in {labels} and are left out"
    )
    return [] if keep.all() else [left_out]


def _with_folds(sheet: Sheet, rows: pd.DataFrame, column: str) -> tuple[pd.DataFrame, Mistakes]:
    """The rows with train, val, test or nothing for their split, however it is written; a mistake for another word.

    Of a row with another word nobody could say whether it may be judged.
    """
    words = rows["split"].str.strip().str.lower()
    unknown = np.flatnonzero(~words.isin(list(SPLIT_WORDS)))
    rows = rows.assign(split=words.map(SPLIT_WORDS).fillna(words))
    if not len(unknown):
        return rows, []
    more = f" (and {len(unknown) - 1:,} more such rows)" if len(unknown) > 1 else ""
    what = f"{sheet.where(int(unknown[0]))}: {column} is {sheet.column(column)[unknown[0]].strip()!r}{more}"
    hint = f"the column {column} holds train, val or test, or nothing; call any other column otherwise"
    return rows, [(what, hint)]


def _raise(mistakes: Mistakes) -> None:
    if mistakes:
        hints = dict.fromkeys(hint for _, hint in mistakes)
        raise CxrError([problem for problem, _ in mistakes], "; ".join(hints))


def _short(number: float) -> str:
    return "" if np.isnan(number) else str(int(number)) if number.is_integer() else repr(float(number))
