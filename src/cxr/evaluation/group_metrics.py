"""The metrics of one subgroup: AUROC, and what depends on the threshold and on the size of probabilities."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from cxr.evaluation.predictions import Predictions
from cxr.evaluation.statistics import metrics
from cxr.evaluation.statistics.bootstrap import Resampling, draw_group_metrics, measure_auroc
from cxr.evaluation.statistics.intervals import (
    NONE,
    Interval,
    UnitCounts,
    count_units,
    effective_units,
    metric_interval,
    ratio_interval,
)
from cxr.evaluation.statistics.metrics import GROUP_METRICS, Float, group_rates

Mask = npt.NDArray[np.bool_]

MIN_OF_EACH_CLASS = 10
"""Patients with a positive, and with a negative image, below which a group has no metrics, but noise."""


class Group(NamedTuple):
    """One group's metrics.

    Attributes:
        name: As `40-59` or `F`.
        findings: C names.
        num_rows: Of the group.
        num_units: Effective number of patients or images of the group; 0 without resampling.
        counts: C times (known rows, positive rows).
        patients: C times (patients with a known row, with a positive row).
        auroc: [C], nan where there are too few patients.
        draws: [C, D] of the AUROC, nan likewise.
        intervals: C intervals of the AUROC.
        others: C times the columns of GROUP_METRICS, empty where there are too few patients.
    """

    name: str
    findings: tuple[str, ...]
    num_rows: int
    num_units: float
    counts: list[tuple[int, int]]
    patients: list[tuple[int, int]]
    auroc: Float
    draws: Float
    intervals: list[Interval]
    others: list[dict[str, float]]


def evaluate_group(
    predictions: Predictions, name: str, is_member: Mask, resampling: Resampling | None, thresholds: Float
) -> Group:
    """The metrics of the rows of a mask [N], at thresholds [C]; without resampling there are no intervals."""
    # Rows outside the group stay, with unknown labels: each draw takes the same patients in every group.
    y, p = np.where(is_member[:, None], predictions.y, np.nan), predictions.p
    # labels of the group alone: [N, C]; scores stay those of all rows
    columns = range(y.shape[1])
    of_row = resampling.of_row if resampling else _units(predictions.rows)
    # C times (patients with a positive row, with a negative row):
    # rows of one patient are no separate evidence
    patients = [[len(np.unique(of_row[y[:, c] == label])) for label in (1, 0)] for c in columns]
    is_enough = [min(each) >= MIN_OF_EACH_CLASS for each in patients]
    # nan until measured: findings with too few patients keep it
    auroc = np.full(len(columns), np.nan)
    draws = np.full((len(columns), resampling.num_draws if resampling else 0), np.nan)
    intervals, num_units = [NONE] * len(columns), 0.0
    units = [
        count_units(y[:, c], p[:, c] >= thresholds[c], resampling) if resampling else None for c in columns
    ]
    drawn: dict[str, Float] = {}
    if resampling is None:
        auroc = np.array([metrics.auroc(y[:, c], p[:, c]) if is_enough[c] else np.nan for c in columns])
    elif any(is_enough):
        # findings with too few patients are not ranked at all and stay nan
        auroc[is_enough], draws[is_enough] = measure_auroc(y[:, is_enough], p[:, is_enough], resampling)
        drawn = draw_group_metrics(y, p, thresholds, resampling)
        num_units = effective_units(of_row[is_member])
        intervals = [
            metric_interval("auroc", float(auroc[c]), draws[c], found)
            for c, found in enumerate(units)
            if found is not None
        ]
    others = [
        _other_metrics(
            y[:, c], p[:, c], float(thresholds[c]), units[c], {key: d[c] for key, d in drawn.items()}
        )
        if is_enough[c]
        else {}
        for c in columns
    ]
    return Group(
        name,
        predictions.findings,
        int(is_member.sum()),
        num_units,
        [metrics.count(y[:, c]) for c in columns],
        [(len(np.unique(of_row[~np.isnan(y[:, c])])), patients[c][0]) for c in columns],
        auroc,
        draws,
        intervals,
        others,
    )


def _other_metrics(
    y: Float, p: Float, threshold: float, units: UnitCounts | None, draws: Mapping[str, Float]
) -> dict[str, float]:
    """GROUP_METRICS of one finding in one group, with `_low` and `_high` where there are draws."""
    known = ~np.isnan(y)
    # [n] of the known rows
    labels, called = y[known] == 1, p[known] >= threshold
    tp, fp, fn, tn = (
        np.array(np.sum(both), np.float64)
        for both in (labels & called, ~labels & called, labels & ~called, ~labels & ~called)
    )
    # the sum of the probabilities is the number of positives that the model expects
    rates = group_rates(tp, fp, fn, tn, np.array(p[known].sum()))
    points = {name: float(rate) for name, rate in zip(GROUP_METRICS, rates, strict=True)}
    row = dict(points)
    for name, drawn in draws.items():
        assert units is not None
        if name == "observed_expected":
            bounds = ratio_interval(points[name], drawn, units.rarer)
        else:  # the false-positive rate has the patients of the specificity
            metric = "specificity" if name == "false_positive_rate" else name
            bounds = metric_interval(metric, points[name], drawn, units)
        row |= {f"{name}_low": bounds.low, f"{name}_high": bounds.high}
    return row


def _units(rows: pd.DataFrame) -> npt.NDArray[np.intp]:
    """[N] number of each row's patient; of its image where any patient is unknown."""
    unit = "patient_id" if (rows["patient_id"] != "").all() else "image"
    # return_inverse numbers the names in their sorted order
    return np.unique(rows[unit].to_numpy(dtype=str), return_inverse=True)[1].ravel()
