"""A second table of labels, such as radiologists': how good the first labels are, and the model by both."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from cxr.config.schema import Eval
from cxr.errors import CxrError
from cxr.evaluation.broader import any_label, parts_of
from cxr.evaluation.join import LabelOptions, find_rows
from cxr.evaluation.predictions import Predictions
from cxr.evaluation.statistics import metrics
from cxr.evaluation.statistics.agreement import Scored, score_calls, scored_interval
from cxr.evaluation.statistics.bootstrap import Resampling, draw_auroc, resampling_of
from cxr.evaluation.statistics.difference import difference_interval
from cxr.evaluation.statistics.intervals import count_units, metric_interval, rarer_units
from cxr.evaluation.statistics.metrics import Float
from cxr.evaluation.thresholds import Thresholds
from cxr.labels.label_csv import read_labels
from cxr.labels.table import LabelTable
from cxr.labels.targets import resolve

AGREEMENT = ("kappa", "sensitivity", "specificity", "ppv", "npv")
"""Of the first labels, with the second table as the reference."""
MODEL = ("sensitivity", "specificity", "ppv")
"""Of the model's calls, with the second table as the reference."""
_AUROCS = ("auroc_first", "auroc_second", "auroc_difference")
_ESTIMATES = (*(f"labels_{name}" for name in AGREEMENT), *_AUROCS, *(f"model_{name}" for name in MODEL))
COLUMNS = ("table", "finding", "parts", "num", "num_positive", "num_positive_first",
           *(f"{name}{end}" for name in _ESTIMATES for end in ("", "_low", "_high")))  # fmt: skip


@dataclass(frozen=True)
class SecondReference:
    """A second table of labels beside the first.

    Attributes:
        path: The table.
        table: COLUMNS, one row per finding of the table that the model predicts: images whose label both
            tables know, those positive in the second and in the first; agreement of the first labels with
            the second; AUROC of the model by the first and by the second, and the second less the first, on
            the same images; the model's calls by the second. 95 % intervals end in `_low` and `_high`.
        evaluated_on: The rows.
        notes: What a reader must know.
    """

    path: str
    table: pd.DataFrame
    evaluated_on: str
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Finding:
    """A finding of the second table, from one or several of the model's."""

    name: str
    parts: tuple[str, ...]
    second: Float
    first: Float
    p: Float
    called: Float


def compare_references(
    predictions: Predictions, thresholds: Thresholds, path: Path, config: Eval, options: LabelOptions
) -> SecondReference:
    """The labels of the predictions and the model against a second table of labels.

    A finding that the model predicts under several narrower names (TOGETHER) has the largest of their
    probabilities, is called where one of them is, and has their labels joined: positive where any is.
    Uncertain and blank cells of the table are unknown.

    Args:
        predictions: The evaluated rows, with the first labels.
        thresholds: Of the model.
        path: The second table.
        config: Intervals.
        options: How the table is read; unless `skip_unlabelled`, every row must be in it.

    Raises:
        CxrError: A table that cannot be read, rows that it does not label, no finding in common, or no
            bootstrap interval.
    """
    table = read_labels(path, None, options.column, options.duplicates)
    rows = find_rows(predictions.rows, table.rows)
    _check_rows(path, predictions, table, rows >= 0, options.skip_unlabelled)
    # Rows that the second table labels; a missing row was refused or is to be skipped.
    found = predictions.select(rows >= 0)
    labels = resolve(table, list(table.findings), uncertain="ignore", blank="masked")
    # [n, F] in the order of the predictions
    known = np.where(labels.mask, labels.y, np.nan).astype(np.float64)[rows[rows >= 0]]
    findings = _match(found, thresholds, table.findings, known)
    if not findings:
        problem = f"{path}: labels no finding that the model predicts"
        raise CxrError(problem, f"it labels {', '.join(table.findings)}")
    resampling, notes = resampling_of(found.rows, config)
    if resampling is None:
        problem = "; ".join(notes) or f"eval.interval: {config.interval} is no bootstrap"
        raise CxrError(f"{path}: {problem}", "a second table needs eval.interval=patients or images")

    notes = [*table.notes, *notes]
    others = [name for name in table.findings if name not in {finding.name for finding in findings}]
    if others:
        notes.append(f"left out, since the model does not predict them: {', '.join(others)}")
    if len(found) < len(predictions):
        notes.append(f"it labels {len(found):,} of the {len(predictions):,} images evaluated")
    return SecondReference(
        str(path), _table(path, findings, resampling), found.describe(), tuple(dict.fromkeys(notes))
    )


def _check_rows(
    path: Path, predictions: Predictions, table: LabelTable, is_labelled: np.ndarray, skips: bool
) -> None:
    """Refuse rows without a second label, unless they are to be skipped and others remain.

    Raises:
        CxrError: Such rows.
    """
    if is_labelled.all() or (skips and is_labelled.any()):
        return
    images = predictions.rows["image"]
    missing = images[~is_labelled]
    counts = f"{len(missing):,} of the {len(images):,} images evaluated"
    hint = f"the table names images like {table.rows['image'].iloc[0]}; file names must agree"
    if is_labelled.any():
        hint += ", or --skip-unlabelled compares both tables on the others alone"
    raise CxrError(f"{path}: does not label {counts}, the first {missing.iloc[0]}", hint)


def _match(
    predictions: Predictions, thresholds: Thresholds, names: Sequence[str], second: Float
) -> list[_Finding]:
    """The findings of the second table [N, F] that the model predicts, alone or under narrower names."""
    # [N, C] by the model's own names: the broader finding's call is made of these
    called = predictions.p >= np.array(thresholds.values)
    found = []
    for column, name in enumerate(names):
        parts = parts_of(name, predictions.findings)
        if not parts:
            continue
        places = [predictions.findings.index(part) for part in parts]
        is_called = np.any(called[:, places], axis=1)
        found.append(
            _Finding(
                name,
                parts,
                second[:, column],
                any_label(predictions.y[:, places]),
                predictions.p[:, places].max(axis=1),
                np.asarray(is_called, np.float64),
            )
        )
    return found


def _table(path: Path, findings: Sequence[_Finding], resampling: Resampling) -> pd.DataFrame:
    """COLUMNS."""
    # 1. every number of a finding is of the images whose label both tables know
    known = [~np.isnan(finding.first) & ~np.isnan(finding.second) for finding in findings]
    first, second = (
        np.stack([np.where(used, side, np.nan) for used, side in zip(known, sides, strict=True)], axis=1)
        for sides in ([finding.first for finding in findings], [finding.second for finding in findings])
    )
    p = np.stack([finding.p for finding in findings], axis=1)
    called = np.stack([finding.called for finding in findings], axis=1)
    # 2. all of them from the same draws
    labels = score_calls(second, first, resampling)
    calls = score_calls(second, called, resampling)
    draws = [draw_auroc(reference, p, resampling) for reference in (first, second)]

    rows = []
    for c, finding in enumerate(findings):
        num, num_positive = metrics.count(second[:, c])
        row: dict[str, object] = {
            "table": path.name,
            "finding": finding.name,
            "parts": "|".join(finding.parts),
            "num": num,
            "num_positive": num_positive,
            "num_positive_first": metrics.count(first[:, c])[1],
        }
        row |= {key: value for name in AGREEMENT for key, value in _columns("labels", name, labels[c][name])}
        row |= _auroc_columns((first[:, c], second[:, c]), p[:, c], [drawn[c] for drawn in draws], resampling)
        row |= {key: value for name in MODEL for key, value in _columns("model", name, calls[c][name])}
        rows.append(row)
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _columns(prefix: str, name: str, scored: Scored) -> list[tuple[str, float]]:
    low, high = scored_interval(name, scored)
    column = f"{prefix}_{name}"
    return [(column, scored.value), (f"{column}_low", low), (f"{column}_high", high)]


def _auroc_columns(
    references: tuple[Float, Float], p: Float, draws: Sequence[Float], resampling: Resampling
) -> dict[str, float]:
    """The AUROC by the first and the second labels [N], and the paired difference, second less first."""
    columns: dict[str, float] = {}
    values = []
    for name, y, drawn in zip(_AUROCS, references, draws, strict=False):
        value = metrics.auroc(y, p)
        # an AUROC needs no calls: its interval counts the patients of both classes, whatever is called
        low, high = metric_interval("auroc", value, drawn, count_units(y, p >= 0, resampling))
        columns |= {name: value, f"{name}_low": low, f"{name}_high": high}
        values.append(value)
    # the same draws of patients under both labels: paired
    difference = values[1] - values[0]
    num_patients = min(rarer_units(y, resampling) for y in references)
    low, high = difference_interval((values[0], values[1]), (draws[0], draws[1]), num_patients)
    name = _AUROCS[2]
    return columns | {name: difference, f"{name}_low": low, f"{name}_high": high}
