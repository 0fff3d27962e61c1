"""The second narrow waist: one table of predictions, whoever made them; read, joined to labels, checked, written."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from cxr.console import count
from cxr.data.findings import CHEXPERT_14, NIH_14, canonical
from cxr.data.labels import Blank
from cxr.data.sources.files import Sheet, read_sheet
from cxr.data.splits import WORDS
from cxr.errors import CxrError
from cxr.evaluation.join import IDENTITY, Mistakes, join_labels
from cxr.files import write_text

Float = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]

IMAGE_COLUMNS = ("image", "Image Index", "Path")
"""Columns that may name the image; the first one present does."""

_SPLITS = {"train": "training", "val": "validation", "test": "test"}
_PROBABILITY_HINT = "a probability is a number from 0 to 1 in every cell; logits must go through a sigmoid first"
_LABEL_HINT = "a y_ cell is 1 (present), 0 (absent) or empty (unknown)"


@dataclass(frozen=True)
class Predictions:
    """What a model says of each image beside what is known of it; a metric sees nothing else.

    Attributes:
        rows: [N] IDENTITY columns as text (empty when unknown), age in years as float (nan when unknown), then any
            further columns as text, by which a report can be cut into subgroups.
        findings: C names, in the order of the columns of `y` and `p`.
        y: [N, C] float64 of 1 (present), 0 (absent), nan (unknown, left out of every figure).
        p: [N, C] float64 probabilities in [0, 1].
    """

    rows: pd.DataFrame
    findings: tuple[str, ...]
    y: Float
    p: Float

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
        splits = "all" if not present or "" in present else " and ".join(_SPLITS.get(name, name) for name in ordered)
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
    write_text(path, render_csv(predictions), private=True)


def render_csv(predictions: Predictions) -> str:
    """The text that `write` puts in the file."""
    columns: dict[str, object] = {name: predictions.rows[name].to_numpy() for name in IDENTITY[:-1]}
    further = [str(name) for name in predictions.rows.columns if name not in IDENTITY]
    columns["age"] = [_short(age) for age in predictions.rows["age"].to_numpy(np.float64)]
    columns |= {name: predictions.rows[name].to_numpy() for name in further}
    y = np.where(np.isnan(predictions.y), "", np.where(predictions.y == 1, "1", "0"))
    columns |= {f"y_{name}": y[:, column] for column, name in enumerate(predictions.findings)}
    columns |= {f"p_{name}": predictions.p[:, column] for column, name in enumerate(predictions.findings)}
    return pd.DataFrame(columns).to_csv(index=False, lineterminator="\n")


def read(path: Path, labels: Path | None = None, blank: Blank = "negative", needs_labels: bool = True) -> Predictions:
    """Predictions from a CSV of ours or of anybody, joined to the labels of another CSV if one is given.

    The image stands in one of IMAGE_COLUMNS, the probability of finding X in `p_X`, `prob_X` or, where no column has
    such a prefix, `X`; the known label in `y_X`. Of the other IDENTITY columns those missing are empty; every further
    column is kept.

    With `labels` (NIH, CheXpert or plain form) the y_ columns are ignored, uncertain cells (-1) become unknown, and
    blank cells become negative or, with `blank="masked"`, unknown; a finding that the table does not label is unknown
    throughout. Images are joined by name, by path below the CheXpert folder, or by file name where that names one
    image only; what the predictions leave empty in IDENTITY is taken from the labels. Without any labels there is an
    error, unless `needs_labels` is off.

    Raises:
        CxrError: Every mistake of the file at once: not a CSV, no image or probability column, an image twice or
            without a label, a cell that is no probability, no label or no split, no labels at all.
    """
    sheet = read_sheet(path)
    image = next((name for name in IMAGE_COLUMNS if name in sheet.header), "")
    p_columns = _probability_columns(sheet)
    _raise(_header_mistakes(sheet, image, p_columns))
    findings = tuple(finding for finding, _ in p_columns)
    rows = _identity(sheet, image)
    p, mistakes = _numbers(sheet, [name for _, name in p_columns], _is_probability, "no probability", _PROBABILITY_HINT)
    mistakes += _name_mistakes(sheet, rows["image"])
    if labels is None:
        y, wrong = _own_labels(sheet, findings, needs_labels)
    else:
        rows, y, wrong = join_labels(path, labels, blank, rows, findings)
    _raise(mistakes + wrong)
    return Predictions(rows.assign(split=_folds(sheet, rows["split"])), findings, y, p)


def _folds(sheet: Sheet, said: pd.Series) -> pd.Series:
    """train, val, test or nothing for each row's split, however it is written.

    Raises:
        CxrError: A row with another word, of which nobody could say whether it may be judged.
    """
    words = said.str.strip().str.lower()
    unknown = np.flatnonzero(~words.isin(list(WORDS)))
    if len(unknown):
        more = f" (and {len(unknown) - 1:,} more such rows)" if len(unknown) > 1 else ""
        what = f"{sheet.where(int(unknown[0]))}: split is {said.iloc[unknown[0]]!r}{more}"
        raise CxrError(what, "the column split holds train, val or test, or nothing; call any other column otherwise")
    return words.map(WORDS)


def _probability_columns(sheet: Sheet) -> list[tuple[str, str]]:
    """(finding, column); bare names count only where no column has a prefix, since beside p_X, X may be a label."""
    prefixed = [name for name in sheet.header if name.startswith(("p_", "prob_"))]
    bare = [name for name in sheet.header if canonical(name) in {*NIH_14, *CHEXPERT_14}]
    return [(_finding(name), name) for name in prefixed or bare]


def _label_columns(sheet: Sheet) -> list[tuple[str, str]]:
    return [(_finding(name), name) for name in sheet.header if name.startswith("y_")]


def _finding(column: str) -> str:
    return canonical(re.sub("^(p_|prob_|y_)", "", column))


def _header_mistakes(sheet: Sheet, image: str, p_columns: Sequence[tuple[str, str]]) -> Mistakes:
    where, mistakes = f"{sheet.path}:1", Mistakes()
    if not image:
        mistakes.append(
            (f"{where}: no image column", f"call it {', '.join(IMAGE_COLUMNS[:-1])} or {IMAGE_COLUMNS[-1]}")
        )
    if not p_columns:
        mistakes.append((f"{where}: no probability column", "call them p_<finding>, as in p_Cardiomegaly"))
    for columns in (p_columns, _label_columns(sheet)):
        first: dict[str, str] = {}
        for finding, name in columns:
            if first.setdefault(finding, name) != name:
                mistakes.append((f"{where}: {first[finding]} and {name} both give {finding}", "keep one of them"))
    return mistakes


def _identity(sheet: Sheet, image: str) -> pd.DataFrame:
    found = {name: name for name in IDENTITY if name in sheet.header} | {"image": image}
    if "patient_id" not in found and "Patient ID" in sheet.header:
        found["patient_id"] = "Patient ID"
    found |= {name: name for name in sheet.header if _is_further(name) and name not in found.values()}
    cells = {name: [cell.strip() for cell in sheet.column(column)] for name, column in found.items()}
    names = [*IDENTITY, *(name for name in found if name not in IDENTITY)]
    rows = pd.DataFrame({name: pd.Series(cells.get(name, [""] * len(sheet)), dtype=str) for name in names})
    ages = np.array([_parse(cell) for cell in rows["age"]], np.float64)
    return rows.assign(age=np.where(np.isfinite(ages), ages, np.nan))


def _is_further(column: str) -> bool:
    """Whether a column says something of the image beyond what it is called and what is seen in it."""
    is_finding = canonical(column) in {*NIH_14, *CHEXPERT_14}
    return bool(column) and not column.startswith(("p_", "prob_", "y_")) and not is_finding


def _numbers(
    sheet: Sheet, names: Sequence[str], valid: Callable[[Float], npt.NDArray[np.bool_]], what: str, hint: str
) -> tuple[Float, Mistakes]:
    """The columns as numbers [N, C], nan where empty, and the first mistake of each column."""
    values, mistakes = np.empty((len(sheet), len(names))), Mistakes()
    for column, name in enumerate(names):
        texts = sheet.column(name)
        values[:, column] = [_parse(text) for text in texts]
        wrong = np.flatnonzero(~valid(values[:, column]))
        if len(wrong):
            more = f" (and {len(wrong) - 1:,} more in this column)" if len(wrong) > 1 else ""
            cell = texts[wrong[0]].strip() or "empty"
            mistakes.append((f"{sheet.where(int(wrong[0]))}: {name} is {cell}, {what}{more}", hint))
    return values, mistakes


def _parse(text: str) -> float:
    """The number, nan when empty, and infinity for other text, which is neither a probability nor a label."""
    try:
        return float(text)
    except ValueError:
        return np.inf if text.strip() else np.nan


def _is_probability(values: Float) -> npt.NDArray[np.bool_]:
    return np.logical_and(values >= 0, values <= 1)


def _is_label(values: Float) -> npt.NDArray[np.bool_]:
    return np.isin(values, (0, 1)) | np.isnan(values)


def _name_mistakes(sheet: Sheet, images: pd.Series) -> Mistakes:
    mistakes = Mistakes()
    nameless = np.flatnonzero(images == "")
    if len(nameless):
        mistakes.append((f"{sheet.where(int(nameless[0]))}: no image name", "give every row its image"))
    again = np.flatnonzero(images.duplicated() & (images != ""))
    if len(again):
        name, first = images.iloc[again[0]], sheet.lines[int(np.argmax(images == images.iloc[again[0]]))]
        more = f" (and {len(again) - 1:,} more such rows)" if len(again) > 1 else ""
        what = f"{sheet.where(int(again[0]))}: image {name} is given twice, first on line {first}{more}"
        mistakes.append((what, "keep one row an image"))
    return mistakes


def _own_labels(sheet: Sheet, findings: Sequence[str], needed: bool) -> tuple[Float, Mistakes]:
    columns = {finding: name for finding, name in _label_columns(sheet) if finding in findings}
    y = np.full((len(sheet), len(findings)), np.nan)
    if not columns:
        return y, [] if not needed else [
            (f"{sheet.path}:1: no labels (no y_ column of its findings)", "give a CSV of labels with --labels")
        ]
    known, mistakes = _numbers(sheet, list(columns.values()), _is_label, "no label", _LABEL_HINT)
    y[:, [findings.index(finding) for finding in columns]] = known
    return y, mistakes


def _raise(mistakes: Mistakes) -> None:
    if mistakes:
        hints = dict.fromkeys(hint for _, hint in mistakes)
        raise CxrError([problem for problem, _ in mistakes], "; ".join(hints))


def _short(number: float) -> str:
    return "" if np.isnan(number) else str(int(number)) if number.is_integer() else repr(float(number))
