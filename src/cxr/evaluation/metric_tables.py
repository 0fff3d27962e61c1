"""What a reported number is: every metric of each finding with its interval, and the summary below."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from cxr.evaluation.predictions import Predictions
from cxr.evaluation.statistics import delong, metrics
from cxr.evaluation.statistics.bootstrap import RESAMPLED, Resampling, draw_metrics
from cxr.evaluation.statistics.intervals import (
    NONE,
    Interval,
    count_units,
    mean_interval,
    metric_interval,
)
from cxr.evaluation.statistics.metrics import AtThreshold, Float, Point
from cxr.evaluation.thresholds import Thresholds
from cxr.findings import CHEXPERT_5

METRICS = Point._fields
AT_THRESHOLD = AtThreshold._fields
"""Metrics that depend on the operating point."""
MEAN, MEAN_5, MICRO = "mean", "mean, CheXpert's five", "micro"
"""Rows below the findings: macro means, and one metric over all cells of labels, whatever their finding."""


def finding_table(
    predictions: Predictions, thresholds: Thresholds, resampling: Resampling | None, by_delong: bool
) -> tuple[pd.DataFrame, dict[str, Float]]:
    """(one row per finding, the draws [C, D] of each metric; no draws without resampling).

    Args:
        predictions: Rows to evaluate.
        thresholds: Their operating points.
        resampling: What is drawn for intervals.
        by_delong: Whether AUROC has DeLong's interval.
    """
    y, p = predictions.y, predictions.p
    draws = draw_metrics(y, p, np.array(thresholds.values), resampling) if resampling else {}
    rows = []
    for c, finding in enumerate(predictions.findings):
        threshold = thresholds.values[c]
        point = metrics.point(y[:, c], p[:, c], threshold)
        intervals = {}
        if resampling:
            units = count_units(y[:, c], p[:, c] >= threshold, resampling)
            for name, drawn in draws.items():
                intervals[name] = metric_interval(name, getattr(point, name), drawn[c], units)
        if by_delong:
            # in place of the bootstrap's
            intervals["auroc"] = _delong_interval(y[:, c], p[:, c])
        num, num_positive = metrics.count(y[:, c])
        row = {"finding": finding, "num": num, "num_positive": num_positive, "threshold": threshold}
        rows.append(row | _columns(point, intervals))
    return _table(rows), draws


def summary_table(
    predictions: Predictions,
    thresholds: Thresholds,
    table: pd.DataFrame,
    draws: Mapping[str, Float],
    num_units: float,
) -> pd.DataFrame:
    """Rows MEAN, MEAN_5 and MICRO in the columns of `finding_table`; MEAN_5 where all five are among others.

    Args:
        predictions: Rows to evaluate.
        thresholds: Their operating points.
        table: Of `finding_table`.
        draws: Of `finding_table`.
        num_units: Effective number of patients or images that were drawn.
    """
    every = np.ones(len(table), bool)
    rows = [{"finding": MEAN, "num": len(predictions)} | _mean(table, draws, every, num_units)]
    # [C]
    five = np.array([finding in CHEXPERT_5 for finding in predictions.findings])
    # of five findings alone it would be the mean of the row above once more
    if five.sum() == len(CHEXPERT_5) < len(five):
        rows.append({"finding": MEAN_5, "num": len(predictions)} | _mean(table, draws, five, num_units))
    num, num_positive = metrics.count(predictions.y.ravel())
    micro = {"finding": MICRO, "num": num, "num_positive": num_positive}
    rows.append(micro | _columns(_micro(predictions, thresholds), {}))
    return _table(rows)


def _mean(
    table: pd.DataFrame, draws: Mapping[str, Float], which: npt.NDArray[np.bool_], num_units: float
) -> dict[str, float]:
    """Macro means over the findings of the mask `which` [C] whose metric is defined."""
    means, intervals = {}, {}
    for name in METRICS:
        values = table[name].to_numpy()
        defined = which & ~np.isnan(values)
        means[name] = metrics.macro_mean(list(values[which]))
        if name in draws and defined.any():
            bounds = table[[f"{name}_low", f"{name}_high"]].to_numpy()[defined]
            # nan in a draw where any finding is undefined: every draw's mean is over the same findings
            drawn = draws[name][defined].mean(axis=0)
            parts = [Interval(*pair) for pair in bounds]
            intervals[name] = mean_interval(means[name], drawn, num_units, parts)
    return _columns(Point(**means), intervals)


def _micro(predictions: Predictions, thresholds: Thresholds) -> Point:
    """Metrics over every cell [N * C]; each cell is called by the threshold of its finding."""
    y, p = predictions.y.ravel(), predictions.p.ravel()
    # [N * C] calls, row after row, as the labels are ravelled
    called = (predictions.p >= np.array(thresholds.values)).ravel().astype(np.float64)
    # `called` applies each finding's threshold already; 0.5 only separates its 0 from its 1.
    at_threshold = metrics.at_threshold(y, called, 0.5)
    return metrics.point(y, p, 0.5)._replace(**at_threshold._asdict())


def _columns(point: Point, intervals: Mapping[str, Interval]) -> dict[str, float]:
    columns: dict[str, float] = {}
    for name in METRICS:
        columns[name] = getattr(point, name)
        if name in RESAMPLED:
            columns[f"{name}_low"], columns[f"{name}_high"] = intervals.get(name, NONE)
    return columns


def _table(rows: Sequence[Mapping[str, object]]) -> pd.DataFrame:
    undefined = Point(*[np.nan] * len(METRICS))
    names = ["finding", "num", "num_positive", *_columns(undefined, {}), "threshold"]
    return pd.DataFrame(list(rows), columns=names).astype({"num": "Int64", "num_positive": "Int64"})


def _delong_interval(y: Float, p: Float) -> Interval:
    known = ~np.isnan(y)
    # scores [n, 1] of one model: its variance stands alone in the matrix [1, 1]
    auroc, covariance = delong.covariance(y[known], p[known, None])
    return delong.interval(float(auroc[0]), float(covariance[0, 0]))
