"""Metrics of two models and their differences: points, draws, intervals, p-values, Holm's correction."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cxr.evaluation.predictions import Predictions
from cxr.evaluation.raw_scores import rank_scores
from cxr.evaluation.statistics import metrics
from cxr.evaluation.statistics.bootstrap import Resampling, draw_metrics
from cxr.evaluation.statistics.difference import Difference, Drawn, independent, mean_of, paired
from cxr.evaluation.statistics.intervals import MIN_UNITS, rarer_units
from cxr.evaluation.statistics.metrics import Float
from cxr.evaluation.statistics.operating import draw_sensitivity

AT_90 = "sensitivity_at_90"
METRICS = ("auroc", "f1", "average_precision", "brier", AT_90)
RANKED = ("auroc", "average_precision", AT_90)
"""Metrics that scores of any size have."""
_FALSE_RATE = 0.1


class Measured(NamedTuple):
    """One model's metrics: of all rows [C], and in every draw [C, D], by name.

    Attributes:
        points: [C] each.
        draws: [C, D] each.
        num_patients: [C] effective number of patients of the rarer class, on which all METRICS depend.
    """

    points: dict[str, Float]
    draws: dict[str, Float]
    num_patients: Float


class ByMetric(NamedTuple):
    """One metric of both models: columns and p-values, [C + 1] each, the last of the mean."""

    columns: dict[str, Float]
    p: Float


def measure(predictions: Predictions, thresholds: Float, resampling: Resampling) -> Measured:
    """METRICS of these rows and of the draws; of raw scores those of RANKED, the others are nan."""
    y, p = predictions.y, (rank_scores(predictions).p if predictions.is_raw else predictions.p)
    points = [metrics.point(y[:, c], p[:, c], float(thresholds[c])) for c in range(y.shape[1])]
    found = {name: np.array([getattr(each, name) for each in points]) for name in METRICS if name != AT_90}
    # without a resampling the only draw is the rows themselves
    found[AT_90] = draw_sensitivity(y, p, _FALSE_RATE, None)[:, 0]
    draws = {
        name: drawn for name, drawn in draw_metrics(y, p, thresholds, resampling).items() if name in METRICS
    }
    draws[AT_90] = draw_sensitivity(y, p, _FALSE_RATE, resampling)
    if predictions.is_raw:
        for name in set(METRICS) - set(RANKED):
            found[name], draws[name] = np.full_like(found[name], np.nan), np.full_like(draws[name], np.nan)
    num_patients = np.array([rarer_units(y[:, c], resampling) for c in range(y.shape[1])])
    return Measured(found, draws, num_patients)


def findings_of_mean(*sides: Measured) -> npt.NDArray[np.bool_]:
    """[C] the findings of every mean, its interval and its p-value: both classes have enough patients.

    Where no finding has, those with an AUROC; the mean then has neither interval nor p-value.
    """
    enough: npt.NDArray[np.bool_] = np.all([side.num_patients >= MIN_UNITS for side in sides], axis=0)
    return enough if enough.any() else ~np.any([np.isnan(side.points["auroc"]) for side in sides], axis=0)


def compare_metric(
    metric: str, a: Measured, b: Measured, of_mean: npt.NDArray[np.bool_], is_paired: bool
) -> ByMetric:
    """One metric, the last row the macro mean.

    Args:
        metric: One of METRICS.
        a: The first model.
        b: The second; in the same draws of patients where differences are paired, else in independent ones.
        of_mean: [C] findings that the mean is over.
        is_paired: Whether both are of the same patients.
    """
    points, draws = (a.points[metric], b.points[metric]), (a.draws[metric], b.draws[metric])
    drawn: list[Drawn] = []
    for c, nums in enumerate(zip(a.num_patients.tolist(), b.num_patients.tolist(), strict=True)):
        of_finding = (float(points[0][c]), float(points[1][c])), (draws[0][c], draws[1][c])
        found = paired(*of_finding, min(nums)) if is_paired else independent(*of_finding, nums)
        drawn.append(found)
    means = [values[of_mean].mean() if of_mean.any() else np.nan for values in points]
    mean = mean_of([drawn[c] for c in np.flatnonzero(of_mean)])
    tests: list[Difference] = [each.test() for each in (*drawn, mean)]
    bounds = [test.bounds() for test in tests]
    points_a, points_b = (np.append(values, mean) for values, mean in zip(points, means, strict=True))
    columns = {
        "a": points_a,
        "b": points_b,
        "difference": points_b - points_a,
        "low": np.array([low for low, _ in bounds]),
        "high": np.array([high for _, high in bounds]),
    }
    return ByMetric(columns, np.array([test.p for test in tests]))


def holm(p_values: Sequence[float] | Float) -> Float:
    """P-values corrected for their number by Holm (1979); a nan is no test and stays nan."""
    p = np.asarray(p_values, np.float64)
    tested = np.flatnonzero(~np.isnan(p))
    order = tested[np.argsort(p[tested], kind="stable")]
    corrected = np.full(len(p), np.nan)
    # The smallest of m p-values is multiplied by m, the next by m - 1, ...; none falls below a smaller one's.
    corrected[order] = np.minimum(1, np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1)))
    return corrected
