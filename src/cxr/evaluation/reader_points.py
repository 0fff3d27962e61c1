"""Readers as points beside the ROC curve of a model, and which of them lie below it."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from cxr.evaluation.predictions import Predictions
from cxr.evaluation.reader_files import Reading
from cxr.evaluation.statistics import metrics
from cxr.evaluation.statistics.bootstrap import Resampling, draw_auroc
from cxr.evaluation.statistics.intervals import count_units, metric_interval
from cxr.evaluation.statistics.metrics import Float

COLUMNS = ("finding", "reader", "num", "num_positive", "auroc", "auroc_low", "auroc_high",
           "false_positive_rate", "sensitivity", "curve_sensitivity", "is_below")  # fmt: skip
Curve = tuple[Float, Float]
"""(false-positive rates, sensitivities), both rising from 0 to 1."""
_ROUNDING = 1e-12  # equal shares of other divisors may differ in the last digit


def locate_readers(
    predictions: Predictions, readings: Sequence[Reading], references: Sequence[Float], resampling: Resampling
) -> tuple[pd.DataFrame, Mapping[str, Curve]]:
    """(COLUMNS, a row per finding and reader; the curve of each finding on the first reader's images).

    Curve and point are of the same images: those that the reader has read and the reference knows.
    `curve_sensitivity` is the height of the model's curve at the reader's false-positive rate: straight lines
    between its points, and the upper end where the curve rises there. A reader is below the curve where his
    sensitivity is less than that. A finding without images of both classes has no curve.

    Args:
        predictions: N rows.
        readings: J readers, calls [N, C].
        references: J times labels [N, C] that reader and model are compared with.
        resampling: For intervals of the AUROC.
    """
    rows: list[dict[str, object]] = []
    curves: dict[str, Curve] = {}
    for c, finding in enumerate(predictions.findings):
        scores = predictions.p[:, c]
        # where all have read the same images, the columns are equal and so are their AUROCs
        labels = np.stack([reference[:, c] for reference in references], axis=1)  # [N, J]
        draws = draw_auroc(labels, np.repeat(scores[:, None], labels.shape[1], axis=1), resampling)
        for number, reading in enumerate(readings):
            y, calls = labels[:, number], reading.calls[:, c]
            curve = roc_curve(y, scores)
            if curve and finding not in curves:
                curves[finding] = curve
            rate, sensitivity = operating_point(y, calls)
            height = height_at(curve, rate) if curve else np.nan
            auroc = metrics.auroc(y, scores)
            bounds = metric_interval("auroc", auroc, draws[number], count_units(y, scores >= 0, resampling))
            is_below = None if np.isnan(height) else bool(sensitivity < height - _ROUNDING)
            num, num_positive = metrics.count(y)
            cells = (finding, reading.name, num, num_positive, auroc, *bounds, rate, sensitivity, height)
            rows.append(dict(zip(COLUMNS, (*cells, is_below), strict=True)))
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    return table.astype({"num": "Int64", "num_positive": "Int64", "is_below": "boolean"}), curves


def roc_curve(y: Float, scores: Float) -> Curve | None:
    """The empirical ROC curve of known rows, a point for each distinct score; None with one class only."""
    from sklearn.metrics import roc_curve as every_point

    known = ~np.isnan(y)
    if len(np.unique(y[known])) < 2:
        return None
    rates, sensitivities, _ = every_point(y[known], scores[known], drop_intermediate=False)
    return rates, sensitivities


def operating_point(y: Float, calls: Float) -> tuple[float, float]:
    """(false-positive rate, sensitivity) of calls [N] where both label and call are known."""
    point = metrics.at_threshold(np.where(np.isnan(calls), np.nan, y), np.nan_to_num(calls), 0.5)
    return 1 - point.specificity, point.sensitivity


def height_at(curve: Curve, rate: float) -> float:
    """The highest sensitivity of a ROC curve at a false-positive rate; nan where that is not defined."""
    rates, sensitivities = curve
    if np.isnan(rate):
        return np.nan
    # 1 less the specificity may miss the rate of a point by its last digit, and so the step at that rate
    nearest = rates[np.argmin(np.abs(rates - rate))]
    rate = float(nearest) if abs(nearest - rate) < _ROUNDING else rate
    # of points with the same rate the last is the highest
    last = np.flatnonzero(np.append(rates[1:] != rates[:-1], True))
    return float(np.interp(rate, rates[last], sensitivities[last]))
