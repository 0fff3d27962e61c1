"""A model beside human readers, as CheXNet was evaluated: F1 against the majority of the other readers."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from cxr.config.schema import Eval
from cxr.errors import CxrError
from cxr.evaluation.join import DEFAULT, LabelOptions
from cxr.evaluation.predictions import Predictions
from cxr.evaluation.reader_files import Reading, read_readings, read_thresholds
from cxr.evaluation.statistics import metrics
from cxr.evaluation.statistics.bootstrap import Resampling, draw_metrics, resampling_of
from cxr.evaluation.statistics.intervals import (
    NONE,
    UnitCounts,
    count_units,
    difference_interval,
    metric_interval,
)
from cxr.evaluation.statistics.metrics import Float
from cxr.evaluation.thresholds import Thresholds, fixed, origin

AVERAGE = "all readers"
COLUMNS = ("finding", "reader", "num", "num_positive", "reader_f1", "reader_low", "reader_high", "model_f1",
           "model_low", "model_high", "difference", "difference_low", "difference_high")  # fmt: skip


@dataclass(frozen=True)
class ReaderComparison:
    """F1 of a model and of readers.

    Attributes:
        table: COLUMNS, one row per finding and reader: the reader and the model against the majority of the
            other readers, on the images that the reader has read, with 95 % intervals and the difference,
            model less reader. Of several readers, row AVERAGE holds their mean. A single reader is the
            reference and has no F1.
        about: (key, value) pairs: what was compared, on which images, with which thresholds and intervals.
        notes: What a reader of the report must know.
    """

    table: pd.DataFrame
    about: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]


class Scored(NamedTuple):
    """F1, its draws [D], and the patients behind it."""

    f1: float
    draws: Float
    units: UnitCounts


def compare_reader_files(
    path: Path,
    readers: Sequence[Path],
    thresholds: Path | None,
    config: Eval,
    options: LabelOptions = DEFAULT,
) -> ReaderComparison:
    """The comparison of a CSV of predictions with one CSV per reader.

    A reader's file has an image column and 1, 0 or blank per finding.

    Args:
        path: Predictions; labels in this file are not used.
        readers: One file per reader, named by the file's stem.
        thresholds: A `metrics.csv` whose thresholds to take; 0.5 for every finding without it.
        config: Intervals.
        options: How the readers' files are read.

    Raises:
        CxrError: No image or finding in common, or a finding without threshold.
    """
    read_rows, predictions, readings, notes = read_readings(path, readers, options)
    findings = predictions.findings
    points = read_thresholds(thresholds, findings) if thresholds else fixed(findings)
    comparison = compare_readers(predictions.select(read_rows), points, readings, config)
    return replace(comparison, notes=(*notes, *comparison.notes))


def compare_readers(
    predictions: Predictions, thresholds: Thresholds, readings: Sequence[Reading], config: Eval
) -> ReaderComparison:
    """F1 of the model and of each reader against the majority of the other readers.

    Raises:
        CxrError: No bootstrap interval: eval.interval asks for another, or there is one patient alone.
    """
    resampling, notes = resampling_of(predictions.rows, config)
    if resampling is None:
        problem = "; ".join(notes) or f"eval.interval: {config.interval} is no bootstrap"
        raise CxrError(problem, "use patients or images")

    references, num_ties = _references(readings)
    rows: list[dict[str, object]] = []
    for c, finding in enumerate(predictions.findings):
        scored_readers, scored_model = [], []
        # The model is scored against each reader's reference, so that both are compared on the same cells.
        for reading, reference in zip(readings, references, strict=True):
            reader = _score(reference[:, c], reading.calls[:, c], 0.5, resampling)  # calls are 0 or 1
            model = _score(reference[:, c], predictions.p[:, c], thresholds.values[c], resampling)
            scored_readers.append(reader)
            scored_model.append(model)
            counts = metrics.count(reference[:, c])
            rows.append(_row(finding, reading.name, counts, reader if len(readings) > 1 else None, model))
        if len(readings) > 1:
            rows.append(_row(finding, AVERAGE, None, _mean(scored_readers), _mean(scored_model)))

    if num_ties:
        notes.append(f"{num_ties:,} cells are left out where as many of the other readers say yes as no")
    about = (
        ("readers", ", ".join(reading.name for reading in readings)),
        ("reference", "majority of the other readers" if len(readings) > 1 else "the reader"),
        ("evaluated on", predictions.describe()),
        ("thresholds", origin(thresholds)),
        ("intervals", f"95 %, {resampling.describe()}"),
    )
    table = pd.DataFrame(rows, columns=list(COLUMNS)).astype({"num": "Int64", "num_positive": "Int64"})
    return ReaderComparison(table, about, tuple(notes))


def majority(calls: Float) -> Float:
    """The majority [N, C] of the readers [R, N, C] who say something; nan for a tie, or where nobody does."""
    yes, no = (calls == 1).sum(axis=0), (calls == 0).sum(axis=0)
    return np.where(yes == no, np.nan, (yes > no).astype(np.float64))


def _references(readings: Sequence[Reading]) -> tuple[list[Float], int]:
    """(the reference [N, C] of each reader, cells that are left out as ties).

    The reference is the majority of the other readers, nan where the reader says nothing. A single reader is
    the reference for the model.
    """
    if len(readings) == 1:
        return [readings[0].calls], 0
    references, num_ties = [], 0
    for number, reading in enumerate(readings):
        others = np.stack([other.calls for place, other in enumerate(readings) if place != number])
        reference = majority(others)
        is_read = ~np.isnan(reading.calls)
        is_tie = np.isnan(reference) & ~np.isnan(others).all(axis=0)
        num_ties += int((is_tie & is_read).sum())
        references.append(np.where(is_read, reference, np.nan))
    return references, num_ties


def _score(reference: Float, p: Float, threshold: float, resampling: Resampling) -> Scored:
    """F1 of calls `p >= threshold` [N] against a reference [N], nan = left out."""
    # A reader's nan never counts, since the reference is nan there too; 0 keeps comparisons free of nan.
    p = np.where(np.isnan(p), 0.0, p)
    point = metrics.at_threshold(reference, p, threshold).f1
    draws = draw_metrics(reference[:, None], p[:, None], np.array([threshold]), resampling)["f1"][0]
    return Scored(float(point), draws, count_units(reference, p >= threshold, resampling))


def _mean(scored: Sequence[Scored]) -> Scored:
    f1, draws, units = zip(*scored, strict=True)
    # the fewest patients of any reader: the widest, and so the cautious, interval
    fewest = UnitCounts(*np.min(units, axis=0).tolist())
    return Scored(float(np.mean(f1)), np.mean(draws, axis=0), fewest)


def _row(
    finding: str, name: str, counts: tuple[int, int] | None, reader: Scored | None, model: Scored
) -> dict[str, object]:
    """One row in the columns COLUMNS; without a scored reader the model stands alone."""
    num, num_positive = counts or (None, None)
    row: dict[str, object] = {"finding": finding, "reader": name, "num": num, "num_positive": num_positive}
    for side, scored in (("reader", reader), ("model", model)):
        bounds = metric_interval("f1", *scored) if scored else NONE
        row[f"{side}_f1"] = scored.f1 if scored else np.nan
        row[f"{side}_low"], row[f"{side}_high"] = bounds
    difference, bounds = np.nan, NONE
    if reader:
        difference = model.f1 - reader.f1
        bounds = difference_interval(difference, model.draws - reader.draws)
    return row | {"difference": difference, "difference_low": bounds.low, "difference_high": bounds.high}
