"""Operating points, predictive values, net benefit, prediction sets and a planned test set, on the page."""

import numpy as np
import pandas as pd

from cxr.evaluation.planning import PLANNED
from cxr.evaluation.report import Report
from cxr.evaluation.thresholds import NO_THRESHOLD
from cxr.report.document import Cell, Estimate, Figure, Part, Section, Table, Text
from cxr.report.records import Record, estimate, records

_COUNTS = {"tp": "TP", "fp": "FP", "fn": "FN", "tn": "TN"}
_AT_THRESHOLD = {
    "balanced_accuracy": "Balanced accuracy",
    "mcc": "MCC",
    "lr_positive": "LR+",
    "lr_negative": "LR-",
}
_RANKED = {
    "sensitivity_at_90": "Sens. at 90 % spec.",
    "sensitivity_at_95": "Sens. at 95 % spec.",
    "partial_auroc": "Partial AUROC",
}
_SETS = {
    "coverage_positive": "Positive",
    "coverage_negative": "Negative",
    "coverage": "All",
    "mean_size": "Mean size",
    "both": "Undecided",
    "empty": "Empty",
}
_PLANNED = {
    "auroc": "AUROC",
    "average_precision": "Average precision",
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
}
_POINTS_NOTE = (
    "MCC: Matthews' correlation of calls and labels. LR+ and LR-: likelihood ratios of a call and of none. "
    "The sensitivities at a specificity and the partial AUROC are read off the ROC curve of these images: "
    "they are no operating point that was fixed before. The partial AUROC is that of specificities from "
    "90 %, standardised: 0.5 is chance (McClish 1989)."
)
_VALUES_NOTE = (
    "By Bayes' rule, from sensitivity and specificity on these images. Both are taken to be the same where a "
    "finding is rarer or more frequent, which other severity or other patients would change."
)
_DECISION_NOTE = (
    "Net benefit: true positives less false positives per image, where a false positive costs the odds of "
    "the threshold probability (Vickers and Elkin 2006). Probabilities are the model's own. Calling every "
    "image and calling none are the strategies to beat. Intervals hold one by one."
)
_SETS_NOTE = (
    "The set of an image holds present, absent, both (undecided) or neither. Its limits were fitted so that "
    "sets have the label of a new image with the stated probability, within the positive and within the "
    "negative images. This holds for images that are exchangeable with the validation images: of other "
    "patients of the same kind, one image each. Where patients have several images it holds approximately."
)
_PLANNED_NOTE = (
    "Width, and the interval about the metric of this report. Patients are taken to be like these: as many "
    "images each, as often positive. The metric itself may turn out differently."
)


def operating_parts(report: Report) -> tuple[Part, ...]:
    """Counts and metrics at the thresholds, then PPV and NPV at chosen prevalences."""
    if report.operating is None:
        return ()
    if report.thresholds.rule == NO_THRESHOLD:
        return (_ranked_points(report.operating.points),)
    mark = "*" if report.optimistic else ""
    rows = []
    for row in records(report.operating.points):
        counts = ["" if row[name] is None else row[name] for name in _COUNTS]
        metrics = [
            _estimate(row, name, mark, digits=2 if name.startswith("lr") else 3) for name in _AT_THRESHOLD
        ]
        if row["threshold"] is None:  # the mean, which has no likelihood ratio
            metrics[2:] = ["", ""]
        rows.append((row["finding"], *counts, *metrics, *(_estimate(row, name) for name in _RANKED)))
    columns = ("Finding", *_COUNTS.values(), *_AT_THRESHOLD.values(), *_RANKED.values())
    title = "Operating points: counts at the threshold, and metrics of it and of the ROC curve"
    points = Table(
        title, columns, tuple(rows), "l" + "r" * (len(columns) - 1), (_POINTS_NOTE,), num_summary=1
    )
    values = report.operating.predictive_values
    if not len(values):
        return (points,)
    return points, Section(
        "PPV and NPV at other prevalences", (_predictive_values(values, mark),), is_folded=True
    )


def _ranked_points(points: pd.DataFrame) -> Table:
    """What the ROC curve alone gives."""
    rows = [(row["finding"], *(_estimate(row, name) for name in _RANKED)) for row in records(points)]
    columns = ("Finding", *_RANKED.values())
    return Table("Points of the ROC curve", columns, tuple(rows), "lrrr", num_summary=1)


def _predictive_values(values: pd.DataFrame, mark: str) -> Table:
    """A row per finding, PPV and NPV side by side for each prevalence."""
    shares = list(dict.fromkeys(values["prevalence"]))
    rows = []
    for finding, table in values.groupby("finding", sort=False):
        cells = [_estimate(row, name, mark) for row in records(table) for name in ("ppv", "npv")]
        rows.append((str(finding), *cells))
    heads = [f"{name} at {share:.3g}" for share in shares for name in ("PPV", "NPV")]
    return Table(
        "PPV and NPV where another share of images is positive",
        ("Finding", *heads),
        tuple(rows),
        "l" + "r" * len(heads),
        notes=(_VALUES_NOTE,),
    )


def decision_parts(report: Report, figures: tuple[Figure, ...]) -> tuple[Part, ...]:
    """The curves and what they say; the numbers are in decision_curve.csv."""
    return (*figures, Text(_DECISION_NOTE, "soft")) if figures else ()


def set_parts(report: Report) -> tuple[Part, ...]:
    """What the prediction sets of the evaluated images hold."""
    if report.prediction_sets is None or not len(report.prediction_sets):
        return ()
    rows = []
    for row in records(report.prediction_sets):
        fitted = f"{row['num_positive_fitted']:,} positive, {row['num_negative_fitted']:,} negative"
        limits = [_probability(row["lowest"]), _probability(row["highest"])]
        rows.append((row["finding"], fitted, *limits, *(_estimate(row, name) for name in _SETS)))
    columns = ("Finding", "Fitted on", "Present from", "Absent up to", *_SETS.values())
    level = records(report.prediction_sets)[0]["level"]
    title = (
        f"Prediction sets with a stated coverage of {level:.0%}: share of images whose set has their label"
    )
    assert isinstance(level, float)
    # floor((n + 1) (1 - c)) is 0 below this n: see docs/statistics.md
    needed = int(np.ceil(1 / (1 - level) - 1e-9)) - 1
    few = f"With fewer than {needed} positive validation images sets always hold present."
    return (Table(title, columns, tuple(rows), "ll" + "r" * (len(columns) - 2), (_SETS_NOTE, few)),)


def planned_parts(report: Report) -> tuple[Part, ...]:
    """The intervals that a planned number of patients would be expected to give."""
    if report.planned is None:
        return ()
    rows = []
    for row in records(report.planned):
        cells: list[Cell] = []
        for name in PLANNED:
            width = estimate(row, f"{name}_width").value
            low, high = (estimate(row, f"{name}_{end}").value for end in ("low", "high"))
            # the interval stands behind its width, as that of a metric behind the metric
            cells.append(Estimate(width, low, high))
        rows.append((row["finding"], *cells))
    first = records(report.planned)[0]
    title = (
        f"Expected width of intervals among {first['planned_patients']:,} patients, "
        f"from {first['evaluated_patients']:,} here"
    )
    columns = ("Finding", *_PLANNED.values())
    return (Table(title, columns, tuple(rows), "l" + "r" * len(_PLANNED), (_PLANNED_NOTE,), num_summary=1),)


def _estimate(row: Record, name: str, mark: str = "", digits: int = 3) -> Cell:
    found = estimate(row, name, f"{name}_low", f"{name}_high", mark=mark if row[name] is not None else "")
    return Estimate(found.value, found.low, found.high, digits=digits, mark=found.mark)


def _probability(value: str | int | float | None) -> Cell:
    assert isinstance(value, float)
    return f"{value:.2g}" if 0 < value < 0.01 else f"{value:.3f}"
