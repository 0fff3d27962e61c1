"""A model beside human readers: against a ground truth, or against the other readers by a rule."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from cxr.config.schema import Eval
from cxr.console import count
from cxr.errors import CxrError
from cxr.evaluation.join import DEFAULT, LabelOptions
from cxr.evaluation.predictions import Predictions
from cxr.evaluation.reader_files import Reading, read_readings, read_reference, read_thresholds
from cxr.evaluation.reader_mrmc import compare_conditions, compare_with_panel
from cxr.evaluation.reader_points import Curve, locate_readers
from cxr.evaluation.reader_rules import NAMES, REFERENCE, SINGLE, Rule, refer
from cxr.evaluation.reader_scores import score_readers
from cxr.evaluation.statistics.bootstrap import resampling_of
from cxr.evaluation.statistics.metrics import Float
from cxr.evaluation.study_rows import Unit
from cxr.evaluation.thresholds import Thresholds, fixed, origin


@dataclass(frozen=True)
class ReaderComparison:
    """Metrics of a model and of readers.

    Attributes:
        table: F1 by finding and reader, see `reader_scores.score_readers`.
        about: (key, value) pairs: what was compared, on which images, with which thresholds and intervals.
        notes: What a reader of the report must know.
        metrics: Every metric by finding and reader, see there too.
        points: See `reader_points.locate_readers`; empty where reader and model have no common reference.
        curves: [finding] the ROC curve of the model (false-positive rate, sensitivity), where there is one.
        panel: See `reader_mrmc.compare_with_panel`; empty without a ground truth.
        unit: What a row is: image, study or patient.
        aided: See `reader_mrmc.compare_conditions`; empty without second readings.
    """

    table: pd.DataFrame
    about: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]
    metrics: pd.DataFrame = field(default_factory=pd.DataFrame)
    points: pd.DataFrame = field(default_factory=pd.DataFrame)
    curves: Mapping[str, Curve] = field(default_factory=dict)
    panel: pd.DataFrame = field(default_factory=pd.DataFrame)
    unit: Unit = "image"
    aided: pd.DataFrame = field(default_factory=pd.DataFrame)


@dataclass(frozen=True)
class Against:
    """What readers and model are compared against, and by how much the model may be worse.

    Attributes:
        rule: How readers are scored against each other; None for `majority`.
        reference: A table of ground truth, which takes the place of a rule.
        margin: Of non-inferiority, on the scale of the metric; None for no such test.
        aided: Second readings with the model's help, one file per reader in their order; or none.
    """

    rule: Rule | None = None
    reference: Path | None = None
    margin: float | None = None
    aided: tuple[Path, ...] = ()

    def check(self, num_readers: int) -> None:
        """Refuse what cannot be combined.

        Raises:
            CxrError: A rule beside a reference; a margin without one, or outside 0 to 1.
        """
        if self.rule and self.reference:
            problem = f"--rule {self.rule}: cannot be combined with --reference, which is what readers face"
            raise CxrError(problem, "give one of them")
        if self.margin is not None and not 0 < self.margin < 1:
            raise CxrError(
                f"--margin {self.margin:g}: is no margin", "give a number between 0 and 1, as 0.05"
            )
        if self.margin is not None and self.reference is None:
            problem = "--margin: needs a ground truth that is not made of the readers"
            raise CxrError(problem, "give it with --reference TABLE")
        if self.aided and self.reference is None:
            raise CxrError("--aided: needs a ground truth", "give it with --reference TABLE")
        if self.aided and len(self.aided) != num_readers:
            problem = f"--aided: {count(len(self.aided), 'file')} for {count(num_readers, 'reader')}"
            raise CxrError(problem, "give a second reading of each reader, in the order of the readers")


def compare_reader_files(
    path: Path,
    readers: Sequence[Path],
    thresholds: Path | None,
    config: Eval,
    options: LabelOptions = DEFAULT,
    against: Against = Against(),
) -> ReaderComparison:
    """The comparison of a CSV of predictions with one CSV per reader.

    A reader's file has an image or study column and 1, 0 or blank per finding, or scores `p_<finding>`.

    Args:
        path: Predictions; labels in this file are not used.
        readers: One file per reader, named by the file's stem.
        thresholds: A `metrics.csv` whose thresholds to take; 0.5 for every finding without it.
        config: Intervals.
        options: How the readers' files and the reference are read.
        against: The reference or rule.

    Raises:
        CxrError: No image or finding in common, or a finding without threshold.
    """
    # 1. what cannot be combined is refused before any file is read
    against.check(len(readers))
    # 2. images that any reader has read, findings that all of them and the model have
    read_rows, predictions, readings, notes = read_readings(
        path, readers, options, against.reference, config, against.aided
    )
    predictions = predictions.select(read_rows)
    # 3. of these the findings that the ground truth labels
    truth = None
    if against.reference is not None:
        truth, truth_notes = read_reference(against.reference, predictions, options)
        predictions, readings, truth, lacking = _keep_known(predictions, readings, truth)
        notes += truth_notes
        if lacking:
            notes.append(f"left out, since {against.reference} does not label them: {', '.join(lacking)}")
    findings = predictions.findings
    # 4. second readings follow the first ones in one list
    points = read_thresholds(thresholds, findings) if thresholds else fixed(findings)
    first, aided = readings[: len(readers)], readings[len(readers) :]
    comparison = compare_readers(predictions, points, first, config, against, truth, aided)
    return replace(comparison, notes=(*notes, *comparison.notes))


def compare_readers(
    predictions: Predictions,
    thresholds: Thresholds,
    readings: Sequence[Reading],
    config: Eval,
    against: Against = Against(),
    truth: Float | None = None,
    aided: Sequence[Reading] = (),
) -> ReaderComparison:
    """Every metric of the model and of each reader against a ground truth [N, C] or by a rule.

    `aided` are second readings, with the model's help, in the order of the readers.

    Raises:
        CxrError: No bootstrap interval: eval.interval asks for another, or there is one patient alone.
    """
    resampling, notes = resampling_of(predictions.rows, config)
    if resampling is None:
        problem = "; ".join(notes) or f"eval.interval: {config.interval} is no bootstrap"
        raise CxrError(problem, "use patients or images")

    # a ground truth wins over any rule; a single reader is the reference
    rule = REFERENCE if truth is not None else SINGLE if len(readings) == 1 else against.rule or "majority"
    # [N, C]
    calls = (predictions.p >= np.array(thresholds.values)).astype(np.float64)
    references = refer(rule, readings, calls, truth)
    table, every_metric = score_readers(predictions.findings, readings, references, calls, rule, resampling)
    points = pd.DataFrame()
    curves: Mapping[str, Curve] = {}
    # a point of a reader lies beside the model's curve only where both have one and the same truth
    if all(reference.is_shared for reference in references):
        tables = [reference.model[0] for reference in references]
        points, curves = locate_readers(predictions, readings, tables, resampling)
    panel, conditions = pd.DataFrame(), pd.DataFrame()
    # the panel is compared only where the truth is not made of its own readers
    if truth is not None:
        panel = compare_with_panel(predictions, calls, readings, truth, resampling, against.margin)
    if truth is not None and aided:
        findings = predictions.findings
        conditions = compare_conditions(findings, readings, aided, truth, resampling, against.margin)

    about = (
        ("readers", ", ".join(reading.name for reading in readings)),
        ("reference", str(against.reference) if truth is not None else NAMES[rule]),
        ("evaluated on", predictions.describe()),
        ("thresholds", origin(thresholds)),
        ("intervals", f"95 %, {resampling.describe()}"),
    )
    return ReaderComparison(
        table,
        about,
        (*notes, *_note_ties(table)),
        every_metric,
        points,
        curves,
        panel,
        predictions.unit,
        conditions,
    )


def _keep_known(
    predictions: Predictions, readings: Sequence[Reading], truth: Float
) -> tuple[Predictions, list[Reading], Float, list[str]]:
    """(predictions, readings and ground truth of the findings that it labels; the other findings)."""
    # columns with at least one label
    known = np.flatnonzero(~np.isnan(truth).all(axis=0))
    findings = tuple(predictions.findings[c] for c in known)
    kept = replace(predictions, findings=findings, y=predictions.y[:, known], p=predictions.p[:, known])
    read = [
        replace(
            reading,
            calls=reading.calls[:, known],
            scores=None if reading.scores is None else reading.scores[:, known],
        )
        for reading in readings
    ]
    lacking = [name for name in predictions.findings if name not in findings]
    return kept, read, truth[:, known], lacking


def _note_ties(table: pd.DataFrame) -> list[str]:
    """A note on cells without a majority: as many of the other readers say yes as no."""
    num_ties = int(table["num_ties"].sum())
    if not num_ties:
        return []
    return [f"{num_ties:,} cells are left out where as many of the other readers say yes as no"]
