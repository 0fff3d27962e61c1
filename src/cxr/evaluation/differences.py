"""Metrics of two models and their differences: points, paired draws, p-values, Holm's correction."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cxr.evaluation.predictions import Predictions
from cxr.evaluation.raw_scores import rank_scores
from cxr.evaluation.statistics import metrics
from cxr.evaluation.statistics.bootstrap import Resampling, draw_metrics
from cxr.evaluation.statistics.intervals import difference_interval
from cxr.evaluation.statistics.metrics import Float
from cxr.evaluation.statistics.operating import draw_sensitivity

AT_90 = "sensitivity_at_90"
METRICS = ("auroc", "f1", "average_precision", "brier", AT_90)
RANKED = ("auroc", "average_precision", AT_90)
"""Metrics that scores of any size have."""
_FALSE_RATE = 0.1


class Measured(NamedTuple):
    """One model's metrics: of all rows [C], and in every draw [C, D], by name."""

    points: dict[str, Float]
    draws: dict[str, Float]


class ByMetric(NamedTuple):
    """One metric of both models: columns, bootstrap p-values, and which of these are bounds; [C + 1] each."""

    columns: dict[str, Float]
    p: Float
    is_bound: npt.NDArray[np.bool_]

    @property
    def rests_on_bounds(self) -> npt.NDArray[np.bool_]:
        """Which corrected p-values [C] would be smaller if more draws had been made."""
        p_values = self.p[:-1]
        # More draws could make a bound as small as 0: does any corrected p-value change with that?
        without = np.where(self.is_bound[:-1], 0, p_values)
        rests: npt.NDArray[np.bool_] = ~np.isnan(p_values) & (holm(p_values) != holm(without))
        return rests


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
    return Measured(found, draws)


def compare_metric(a: Float, b: Float, draws_a: Float, draws_b: Float) -> ByMetric:
    """One metric, the last row the macro mean over the findings defined for both models.

    Args:
        a: [C] of the first model.
        b: [C] of the second.
        draws_a: [C, D].
        draws_b: [C, D], in the same draws of patients, so that differences are paired; of other patients they
            are independent.
    """
    by_finding = draws_b - draws_a
    defined = ~np.isnan(a) & ~np.isnan(b)
    if defined.any():
        a, b = np.append(a, a[defined].mean()), np.append(b, b[defined].mean())
        # [D]; nan in a draw that leaves one of these findings undefined
        mean = by_finding[defined].mean(axis=0)
    else:
        a, b = np.append(a, np.nan), np.append(b, np.nan)
        mean = np.full(by_finding.shape[1], np.nan)

    intervals, p_values, is_bound = [], [], []
    for point, differences in zip(b - a, [*by_finding, mean], strict=True):
        bounds = difference_interval(float(point), differences)
        intervals.append(bounds)
        # no p-value where too few draws define the difference for an interval
        p_values.append(np.nan if np.isnan(bounds.low) else bootstrap_p(differences))
        # the smallest p-value that so many draws can give: no draw lies beyond zero
        least = 2 / (np.count_nonzero(~np.isnan(differences)) + 1)
        is_bound.append(p_values[-1] == min(1.0, least))
    columns = {
        "a": a,
        "b": b,
        "difference": b - a,
        "low": np.array([bounds.low for bounds in intervals]),
        "high": np.array([bounds.high for bounds in intervals]),
    }
    return ByMetric(columns, np.array(p_values), np.array(is_bound))


def holm(p_values: Sequence[float] | Float) -> Float:
    """P-values corrected for their number by Holm (1979); a nan is no test and stays nan."""
    p = np.asarray(p_values, np.float64)
    tested = np.flatnonzero(~np.isnan(p))
    order = tested[np.argsort(p[tested], kind="stable")]
    corrected = np.full(len(p), np.nan)
    # The smallest of m p-values is multiplied by m, the next by m - 1, ...; none falls below a smaller one's.
    corrected[order] = np.minimum(1, np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1)))
    return corrected


def bootstrap_p(differences: Float) -> float:
    """Two-sided p-value of no difference: twice the smaller share of draws beyond zero.

    Efron and Tibshirani 1993. One draw is added on each side, so that with 1,000 draws no p-value is
    below 0.002; nan if half are undefined.
    """
    defined = differences[~np.isnan(differences)]
    if len(defined) <= len(differences) / 2:
        return np.nan
    # a draw of exactly 0 lies on both sides
    beyond = min(np.count_nonzero(defined <= 0), np.count_nonzero(defined >= 0))
    return float(min(1.0, 2 * (beyond + 1) / (len(defined) + 1)))
