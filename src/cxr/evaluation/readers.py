"""A model beside human readers, as CheXNet was judged: F1 of each against the majority of the other readers."""

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
from cxr.evaluation.statistics.bootstrap import Resampling, draw_figures, resampling_of
from cxr.evaluation.statistics.intervals import NONE, behind, difference_interval, interval
from cxr.evaluation.statistics.metrics import Float
from cxr.evaluation.thresholds import Thresholds, fixed, origin

AVERAGE = "all readers"
COLUMNS = ("finding", "reader", "num", "num_positive", "reader_f1", "reader_low", "reader_high", "model_f1",
           "model_low", "model_high", "difference", "difference_low", "difference_high")  # fmt: skip


@dataclass(frozen=True)
class ReaderComparison:
    """F1 of a model and of readers.

    Attributes:
        table: COLUMNS. Of each finding a row a reader: the reader and the model against the majority of the other
            readers, on the images that the reader called, with 95 % intervals and the difference, model less reader;
            then, of several readers, their mean in row AVERAGE. A single reader is the reference and has no F1.
        about: What was compared and how.
        notes: What a reader of the report must know.
    """

    table: pd.DataFrame
    about: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]


def compare_reader_files(
    path: Path, readers: Sequence[Path], thresholds: Path | None, how: Eval, options: LabelOptions = DEFAULT
) -> ReaderComparison:
    """The comparison of a CSV of predictions with a CSV a reader: its image column and 1, 0 or blank a finding.

    Args:
        path: Predictions; their own labels are not looked at.
        readers: A file a reader, named by the file's stem.
        thresholds: A `metrics.csv` whose thresholds to take; 0.5 for every finding without it.
        how: Intervals.
        options: How the readers' files are read.

    Raises:
        CxrError: No image or finding in common, or a finding without threshold.
    """
    places, predictions, readings, notes = read_readings(path, readers, options)
    shown = predictions.select(places)
    findings = predictions.findings
    points = read_thresholds(thresholds, findings) if thresholds else fixed(findings)
    found = compare_readers(shown, points, readings, how)
    return replace(found, notes=(*notes, *found.notes))


def compare_readers(
    predictions: Predictions, thresholds: Thresholds, readings: Sequence[Reading], how: Eval
) -> ReaderComparison:
    """F1 of the model and of each reader against the majority of the other readers."""
    resampling, notes = resampling_of(predictions.rows, how)
    if resampling is None:
        raise CxrError(
            "; ".join(notes) or f"eval.interval: {how.interval} is no bootstrap", "use patients or images"
        )
    rows: list[dict[str, object]] = []
    every = [_against_others(readings, place) for place in range(len(readings))]
    for c, finding in enumerate(predictions.findings):
        pairs: list[tuple[Scored, Scored]] = []
        for place, reading in enumerate(readings):
            reference = every[place][:, c]
            theirs = _f1(reference, reading.calls[:, c], 0.5, resampling)
            ours = _f1(reference, predictions.p[:, c], thresholds.values[c], resampling)
            pairs.append((theirs, ours))
            alone = len(readings) == 1
            rows.append(
                _row(finding, reading.name, metrics.count(reference), None if alone else theirs, ours)
            )
        if len(readings) > 1:
            theirs, ours = (_mean([pair[side] for pair in pairs]) for side in (0, 1))
            rows.append(_row(finding, AVERAGE, None, theirs, ours))
    ties = _count_ties(readings)
    if ties:
        notes.append(f"{ties:,} cells are left out where as many of the other readers say yes as no")
    about = (
        ("readers", ", ".join(reading.name for reading in readings)),
        ("reference", "majority of the other readers" if len(readings) > 1 else "the reader"),
        ("judged on", predictions.describe()),
        ("thresholds", origin(thresholds)),
        ("intervals", f"95 %, {resampling.describe()}"),
    )
    table = pd.DataFrame(rows, columns=list(COLUMNS)).astype({"num": "Int64", "num_positive": "Int64"})
    return ReaderComparison(table, about, tuple(notes))


def majority(calls: Float) -> Float:
    """What more than half of the readers [R, N, C] who say something say; nan for a tie, or where none does."""
    yes, no = (calls == 1).sum(axis=0), (calls == 0).sum(axis=0)
    return np.where(yes == no, np.nan, (yes > no).astype(np.float64))


def _against_others(readings: Sequence[Reading], place: int) -> Float:
    """The reference for a reader: the others' majority where the reader has called."""
    if len(readings) == 1:
        return readings[0].calls
    others = np.stack([reading.calls for number, reading in enumerate(readings) if number != place])
    return np.where(np.isnan(readings[place].calls), np.nan, majority(others))


def _count_ties(readings: Sequence[Reading]) -> int:
    num = 0
    for place in range(len(readings) if len(readings) > 1 else 0):
        others = np.stack([reading.calls for number, reading in enumerate(readings) if number != place])
        said = ~np.isnan(others).all(axis=0) & ~np.isnan(readings[place].calls)
        num += int((np.isnan(majority(others)) & said).sum())
    return num


class Scored(NamedTuple):
    """F1, its draws [D], and the patients behind it."""

    f1: float
    draws: Float
    num_patients: int


def _mean(scored: Sequence[Scored]) -> Scored:
    f1, draws, patients = zip(*scored, strict=True)
    return Scored(float(np.mean(f1)), np.mean(draws, axis=0), min(patients))


def _f1(reference: Float, p: Float, threshold: float, resampling: Resampling) -> Scored:
    filled = np.where(np.isnan(p), 0.0, p)
    point = metrics.at_threshold(reference, filled, threshold).f1
    draws = draw_figures(reference[:, None], filled[:, None], np.array([threshold]), resampling)["f1"][0]
    return Scored(float(point), draws, behind(reference, resampling).of("f1"))


def _row(
    finding: str, reader: str, counts: tuple[int, int] | None, theirs: Scored | None, ours: Scored
) -> dict[str, object]:
    num, num_positive = counts or (None, None)
    row: dict[str, object] = {"finding": finding, "reader": reader, "num": num, "num_positive": num_positive}
    for name, scored in (("reader", theirs), ("model", ours)):
        bounds = interval(*scored) if scored else NONE
        row |= {
            f"{name}_f1": scored.f1 if scored else np.nan,
            f"{name}_low": bounds.low,
            f"{name}_high": bounds.high,
        }
    difference = ours.f1 - theirs.f1 if theirs else np.nan
    bounds = difference_interval(difference, ours.draws - theirs.draws) if theirs else NONE
    return row | {"difference": difference, "difference_low": bounds.low, "difference_high": bounds.high}
