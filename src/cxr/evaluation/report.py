"""Predictions and operating points -> Report.

A finding's metrics with their intervals are made in `metric_tables.finding_table`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from cxr.config.schema import Eval
from cxr.evaluation.by_image import ByImage, score_findings, score_images, sort_and_rank
from cxr.evaluation.calibration import calibration_table, reliability_table
from cxr.evaluation.cooccurrence import cooccurrence_table
from cxr.evaluation.curves import Curves, curve_tables
from cxr.evaluation.join import LabelOptions
from cxr.evaluation.operating import Operating, operating_tables
from cxr.evaluation.planning import planned_table
from cxr.evaluation.predictions import Predictions
from cxr.evaluation.published import Published, beside, on_chexpert
from cxr.evaluation.raw_scores import (
    NOTE,
    keep_ranking_groups,
    keep_ranking_points,
)
from cxr.evaluation.recalibration import Recalibration, note_unfitted
from cxr.evaluation.same_labels import hash_labels
from cxr.evaluation.second_reference import SecondReference, compare_references
from cxr.evaluation.set_table import set_table
from cxr.evaluation.statistics.bootstrap import Resampling, resampling_of
from cxr.evaluation.study_rows import Unit
from cxr.evaluation.subgroups import Subgroups, note_small_groups, subgroups
from cxr.evaluation.thresholds import MIN_POSITIVE, Thresholds, count_shared
from cxr.findings import CHEXPERT_5, CHEXPERT_14, NIH_14, find_spelling

_DEFAULT_SUBGROUPS = Eval().subgroups


@dataclass(frozen=True)
class Report:
    """Every metric of one set of predictions.

    Attributes:
        about: (key, value) pairs that say what was evaluated: run, checkpoint, data, policies.
        table: One row per finding: `finding`, `num` (rows whose label is known), `num_positive`, each of
            METRICS, the RESAMPLED ones with `_low` and `_high`, and `threshold` (positive when p >=
            threshold). nan = undefined.
        summary: The same columns in rows MEAN, MEAN_5 where all five are among more findings, and MICRO. A
            mean is over the findings whose metric is defined and has no threshold; MICRO has no intervals.
        thresholds: The operating points and where they come from.
        evaluated_on: The rows that the metrics are about, as `test rows (560 images, 97 patients)`.
        intervals: How they were made, as `bootstrap over 97 patients (1,000 draws, seed 0)`; empty when there
            are none.
        optimistic: Thresholds were chosen on rows that are evaluated here, so AT_THRESHOLD metrics flatter
            the model.
        notes: What a reader must know: undefined metrics, fallback thresholds, thresholds chosen on evaluated
            rows.
        subgroups: AUROC by group, and the gaps.
        calibration: See `calibration_table`.
        calibrated_on: Rows that the recalibration was fitted on, empty when there are none.
        reliability: See `reliability_table`.
        published: Results of others, where the findings are those of ChestX-ray14 or CheXpert.
        second: Further tables of labels beside that of the report.
        by_image: The metrics of single images, where the report is about studies or patients.
        unit: What a row is: image, study or patient.
        operating: Further metrics of operating points, predictive values elsewhere, net benefit.
        prediction_sets: See `set_table`; None without validation rows.
        planned: See `planned_table`; None where no test set is planned.
        curves: ROC and precision-recall curves.
        cooccurrence: See `cooccurrence_table`.
    """

    about: tuple[tuple[str, str], ...]
    table: pd.DataFrame
    summary: pd.DataFrame
    thresholds: Thresholds
    evaluated_on: str
    intervals: str
    optimistic: bool
    notes: tuple[str, ...]
    subgroups: Subgroups | None = None
    calibration: pd.DataFrame | None = None
    calibrated_on: str = ""
    reliability: pd.DataFrame | None = None
    published: Published | None = None
    second: tuple[SecondReference, ...] = ()
    by_image: ByImage | None = None
    unit: Unit = "image"
    operating: Operating | None = None
    prediction_sets: pd.DataFrame | None = None
    planned: pd.DataFrame | None = None
    curves: Curves | None = None
    cooccurrence: pd.DataFrame | None = None


def score(
    predictions: Predictions,
    thresholds: Thresholds,
    about: Mapping[str, str] | Sequence[tuple[str, str]] = (),
    notes: Sequence[str] = (),
    config: Eval | None = None,
    recalibration: Recalibration | None = None,
    images: tuple[Predictions, Thresholds] | None = None,
) -> Report:
    """The report of these predictions.

    The only function that computes reported metrics, in training and in `cxr eval`. The order of the rows
    changes no metric: they are taken in the order of their images' names. Thresholds chosen on rows that are
    evaluated here are not refused, since training evaluates its validation rows, but are marked.

    Args:
        predictions: The rows to evaluate.
        thresholds: Their operating points.
        about: What a reader wants to know of the model and the data.
        notes: Further notes.
        config: Intervals and subgroups; without it there are point estimates alone, as during training.
        recalibration: Fitted on validation rows.
        images: Where the rows are studies or patients, their images and the thresholds of images.
    """
    assert thresholds.findings == predictions.findings
    # 1. rows in one order whatever the file's, so that draws and sums are the same
    predictions = sort_and_rank(predictions)
    if predictions.is_raw:
        notes = [*notes, NOTE]
    resampling, resampling_notes = resampling_of(predictions.rows, config) if config else (None, [])
    by_delong = config is not None and config.interval == "delong"
    # 2. every metric with its interval; the draws are kept for a planned test set
    table, summary, draws = score_findings(predictions, thresholds, resampling, by_delong)
    # 3. whether the thresholds have seen these images
    num_shared = count_shared(thresholds, predictions.rows)
    report = Report(
        about=tuple(about.items()) if isinstance(about, Mapping) else tuple(about),
        table=table,
        summary=summary,
        thresholds=thresholds,
        evaluated_on=predictions.describe(),
        intervals=_describe_intervals(by_delong, resampling),
        optimistic=bool(num_shared),
        unit=predictions.unit,
        notes=(
            *_note_overlap(num_shared, len(predictions)),
            *notes,
            *resampling_notes,
            *_note_undefined(table, bool(draws)),
            *_note_fallback(thresholds),
            *note_few(thresholds),
            *note_unfitted(recalibration),
        ),
    )
    # 4. training stops here, with point estimates alone
    if config is None:
        return report
    report = _with_details(report, predictions, config, resampling, recalibration)
    if images:
        report = replace(report, by_image=score_images(*images, config))
    if not config.planned_patients or resampling is None:
        return report
    every = pd.concat([table, summary], ignore_index=True)
    planned = planned_table(predictions, every, draws, resampling, config.planned_patients)
    return replace(report, planned=planned)


def add_references(
    report: Report, predictions: Predictions, tables: Sequence[Path], config: Eval, options: LabelOptions
) -> Report:
    """The report with second tables of labels beside that of the evaluated predictions.

    Raises:
        CxrError: As `compare_references`.
    """
    # the column of classes is that of the first table
    only_rows = LabelOptions(skip_unlabelled=options.skip_unlabelled, duplicates=options.duplicates)
    second = [compare_references(predictions, report.thresholds, path, config, only_rows) for path in tables]
    return replace(report, second=tuple(second))


def macro_auroc(report: Report) -> float:
    """Mean AUROC over the findings where it is defined; nan when it is defined for none."""
    return float(report.summary["auroc"].iloc[0])


def _describe_intervals(by_delong: bool, resampling: Resampling | None) -> str:
    if by_delong:
        return "DeLong's variance, AUROC alone, images taken for independent"
    return resampling.describe() if resampling else ""


def _with_details(
    report: Report,
    predictions: Predictions,
    config: Eval,
    resampling: Resampling | None,
    recalibration: Recalibration | None,
) -> Report:
    """The report with subgroups, calibration, operating points and what others published."""
    # A default attribute that no row has is left out; one that the user named is an error below.
    attributes = [
        name for name in config.subgroups if name not in _DEFAULT_SUBGROUPS or _is_known(predictions, name)
    ]
    thresholds = np.array(report.thresholds.values)
    sets = recalibration.sets if recalibration else None
    groups = subgroups(predictions, attributes, resampling, thresholds)
    report = replace(
        report,
        notes=(*report.notes, *note_small_groups(groups.groups)),
        subgroups=groups,
        published=_published(predictions),
        operating=operating_tables(predictions, thresholds, resampling, config.prevalences),
        curves=curve_tables(predictions, resampling),
    )
    if predictions.is_raw:
        # without probabilities there is nothing to calibrate, and without thresholds nothing to call
        assert report.operating is not None
        points = keep_ranking_points(report.operating)
        return replace(report, subgroups=keep_ranking_groups(groups), operating=points)
    return replace(
        report,
        calibration=calibration_table(predictions, recalibration, resampling),
        calibrated_on=recalibration.fitted_on if recalibration else "",
        reliability=reliability_table(predictions, resampling),
        prediction_sets=set_table(predictions, sets, resampling) if sets else None,
        cooccurrence=cooccurrence_table(predictions, thresholds),
    )


def _published(predictions: Predictions) -> Published | None:
    """Results of others, where the findings are those of ChestX-ray14 or of CheXpert's competition."""
    # published means are over these findings: a mean over others is another number
    if set(predictions.findings) == set(NIH_14):
        return beside(predictions.rows["image"], hash_labels(predictions))
    names = {find_spelling(name, CHEXPERT_14) for name in predictions.findings}
    is_chexpert = names in (set(CHEXPERT_5), set(CHEXPERT_14))
    return on_chexpert() if is_chexpert else None


def _is_known(predictions: Predictions, attribute: str) -> bool:
    """Whether any row has a value of it."""
    if attribute not in predictions.rows.columns:
        return False
    values = predictions.rows[attribute]
    return bool(values.notna().any() if attribute == "age" else (values != "").any())


def _note_overlap(num_shared: int | None, num_images: int) -> list[str]:
    """A note on images that thresholds were chosen on; `num_shared` is None where that cannot be known."""
    if num_shared is None:
        reason = "another key than CXR_PATIENT_KEY hashed their names"
        return [f"whether thresholds were chosen on images evaluated here is not known: {reason}"]
    if not num_shared:
        return []
    overlap = f"thresholds were chosen on {num_shared:,} of the {num_images:,} images evaluated here"
    return [f"{overlap}, so metrics marked * are optimistic"]


def _note_undefined(table: pd.DataFrame, has_draws: bool) -> list[str]:
    """Which findings have no metrics or no interval, and why."""
    # without a known label there is no positive image either: one reason each
    is_unknown = table["num"] == 0
    reasons = {
        "no image with a known label": is_unknown,
        "no positive image": (table["num_positive"] == 0) & ~is_unknown,
        "no negative image": (table["num_positive"] == table["num"]) & ~is_unknown,
    }
    notes = []
    for reason, which in reasons.items():
        if which.any():
            notes.append(f"n/a, {reason}: {', '.join(table['finding'][which])}")
    num_defined = int(table["auroc"].notna().sum())
    if num_defined < len(table):
        notes.append(f"the mean AUROC is over {num_defined} of {len(table)} findings")
    without_interval = table["finding"][table["auroc"].notna() & table["auroc_low"].isna()]
    if has_draws and len(without_interval):
        notes.append(f"no interval, too few patients hold one of the classes: {', '.join(without_interval)}")
    return notes


def note_few(thresholds: Thresholds) -> list[str]:
    """A note on thresholds that were chosen on fewer than 10 positive images."""
    if not thresholds.few:
        return []
    reason = (
        f"thresholds chosen on fewer than {MIN_POSITIVE} positive images, which other images may not confirm"
    )
    return [f"{reason}: {', '.join(thresholds.few)}"]


def _note_fallback(thresholds: Thresholds) -> list[str]:
    """Which findings have threshold 0.5 in place of a chosen one, and why."""
    if not thresholds.fallback:
        return []
    reason = "the rows it is chosen on hold one class only"
    if "=" in thresholds.rule:
        reason += f" or no threshold gives {thresholds.rule.replace('=', ' ')}"
    return [f"threshold 0.5, since {reason}: {', '.join(thresholds.fallback)}"]
