"""From the bootstrap draws of a metric to its 95 % interval."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cxr.evaluation.statistics.bootstrap import Resampling
from cxr.evaluation.statistics.metrics import Float

LEVEL = 0.95
"""Confidence level of every interval."""
MIN_UNITS = 2
"""Effective number of patients below which there is neither an interval nor a p-value."""
_ROUNDING = 1e-12


class Interval(NamedTuple):
    """Bounds of a metric, nan where there are none."""

    low: float
    high: float


NONE = Interval(np.nan, np.nan)


class UnitCounts(NamedTuple):
    """Effective number of patients (images, where these are drawn) behind rows of each kind.

    Attributes:
        positive: Rows whose label is positive.
        negative: Rows whose label is negative.
        either: Rows with a known label.
        called: Known rows that are called positive.
        not_called: Known rows that are not.
        called_or_positive: Known rows that are called positive, or whose label is.
    """

    positive: float
    negative: float
    either: float
    called: float
    not_called: float
    called_or_positive: float

    def of_divisor(self, metric: str) -> float:
        """Patients in a metric's divisor; of the rarer class where it is no share of rows."""
        counts = {
            "sensitivity": self.positive,
            "specificity": self.negative,
            "ppv": self.called,
            "npv": self.not_called,
            "brier": self.either,
        }
        return counts.get(metric, self.rarer)

    def for_metric(self, metric: str) -> float:
        """Patients that a metric's error depends on, at most those of the rarer class where it needs both."""
        num = self.of_divisor(metric)
        # A sensitivity is a share of positive rows alone; PPV, NPV and Brier score change with both classes.
        return num if metric in ("sensitivity", "specificity") else min(num, self.rarer)

    @property
    def rarer(self) -> float:
        """Patients of the rarer class."""
        return min(self.positive, self.negative)


def effective_units(of_row: npt.NDArray[np.intp]) -> float:
    """Kish's effective number of units (1965, section 8.2), (sum m)^2 / sum m^2 for m rows each.

    It is their number where all have equally many rows, and less where a few hold most of them.
    """
    num_rows = np.bincount(of_row).astype(np.float64)
    return float(num_rows.sum() ** 2 / np.square(num_rows).sum()) if len(of_row) else 0.0


def rarer_units(y: Float, resampling: Resampling) -> float:
    """Effective number of patients of the rarer class of labels [N], on which an AUROC's error depends."""
    return min(effective_units(resampling.of_row[y == label]) for label in (0, 1))


def count_units(y: Float, called: npt.NDArray[np.bool_], resampling: Resampling) -> UnitCounts:
    """Counts for the labels of one finding [N], nan = unknown, and its calls [N]."""
    known, positive = ~np.isnan(y), y == 1
    groups = (positive, y == 0, known, known & called, known & ~called, known & called | positive)
    return UnitCounts(*(effective_units(resampling.of_row[rows]) for rows in groups))


def metric_interval(metric: str, point: float, draws: Float, units: UnitCounts) -> Interval:
    """Interval of a metric of RESAMPLED, by the patients that it depends on; see `interval`."""
    if _exact(point) not in (0, 1):
        return interval(point, draws, units.for_metric(metric))
    if metric != "f1":
        return interval(point, draws, units.of_divisor(metric))
    # F1 is 2 J / (1 + J) where J is the share of true positives among rows called or positive (Jaccard).
    # F1 rises with J, so the bounds of J are those of F1 in the same order.
    low, high = interval(point, draws, units.called_or_positive)
    return Interval(2 * low / (1 + low), 2 * high / (1 + high))


def interval(point: float, draws: Float, num_patients: float) -> Interval:
    """Interval of a metric between 0 and 1, symmetric on the scale of its logit.

    docs/statistics.md measures how often it holds the true value.

    logit(point) +- t s / (point (1 - point)), where s is the standard deviation of the draws times sqrt(n /
    (n - 1)) and t the 97.5 % quantile of Student's distribution with n - 1 degrees of freedom, n being
    `num_patients`. A point of exactly 0 or 1 has no standard deviation: there the exact bound of n patients
    without a single exception holds (Clopper and Pearson 1934), 1 - 0.025^(1/n) or 0.025^(1/n).

    Args:
        point: The metric of the rows themselves.
        draws: [D], nan where a draw does not define the metric.
        num_patients: Effective number of patients (`effective_units`) that the metric's error depends on;
            with fewer than two there is no interval.
    """
    from scipy.special import expit, logit, stdtrit

    defined = defined_draws(point, draws)
    if defined is None or num_patients < MIN_UNITS:
        return NONE
    point = _exact(point)
    if point in (0, 1):
        width = single_bound(num_patients)
        return Interval(1 - width, 1.0) if point == 1 else Interval(0.0, width)
    # The bootstrap of n patients divides by n where an unbiased variance divides by n - 1.
    deviation = defined.std(ddof=1) * np.sqrt(num_patients / (num_patients - 1))
    # Delta method: the logit's slope at the point is 1 / (point (1 - point)).
    logit_deviation = deviation / (point * (1 - point))
    quantile = stdtrit(num_patients - 1, (1 + LEVEL) / 2)
    low, high = logit(point) + np.array([-1, 1]) * quantile * logit_deviation
    return Interval(float(expit(low)), float(expit(high)))


def mean_interval(point: float, draws: Float, num_patients: float, parts: Sequence[Interval]) -> Interval:
    """Interval of a macro mean; where it is exactly 0 or 1, the widest interval of the findings (`parts`)."""
    if _exact(point) not in (0, 1):
        return interval(point, draws, num_patients)
    defined = [part for part in parts if not np.isnan(part.low)]
    if not defined:
        return NONE
    return Interval(min(part.low for part in defined), max(part.high for part in defined))


def single_bound(num_patients: float) -> float:
    """Width of the interval of a metric of exactly 0 or 1: the bound of n patients without an exception."""
    return float(1 - ((1 - LEVEL) / 2) ** (1 / num_patients))


def is_extreme(point: float) -> bool:
    """Whether the metric is 0 or 1, so that every draw of its rows gives the same."""
    return _exact(point) in (0, 1)


def _exact(point: float) -> float:
    """0 or 1 where only rounding keeps the metric from it, as in a mean of precisions that are all 1."""
    nearest = float(np.rint(point))
    return nearest if abs(point - nearest) < _ROUNDING else point


def ratio_interval(point: float, draws: Float, num_patients: float) -> Interval:
    """Interval of a positive ratio, symmetric on the scale of its logarithm; otherwise as `interval`."""
    from scipy.special import stdtrit

    defined = defined_draws(point, draws)
    if defined is None or num_patients < MIN_UNITS or point <= 0:
        return NONE
    # Delta method: the logarithm's slope at the point is 1 / point.
    deviation = defined.std(ddof=1) * np.sqrt(num_patients / (num_patients - 1)) / point
    half_width = float(stdtrit(num_patients - 1, (1 + LEVEL) / 2) * deviation)
    with np.errstate(over="ignore"):
        return Interval(float(point * np.exp(-half_width)), float(point * np.exp(half_width)))


def real_interval(point: float, draws: Float, num_patients: float) -> Interval:
    """Interval of a number of any size, such as a slope, symmetric about it; otherwise as `interval`."""
    from scipy.special import stdtrit

    defined = defined_draws(point, draws)
    if defined is None or num_patients < MIN_UNITS:
        return NONE
    deviation = defined.std(ddof=1) * np.sqrt(num_patients / (num_patients - 1))
    half_width = float(stdtrit(num_patients - 1, (1 + LEVEL) / 2) * deviation)
    return Interval(point - half_width, point + half_width)


def likelihood_interval(point: float, draws: Float, num_patients: float) -> Interval:
    """Interval of a likelihood ratio, symmetric on the scale of its logarithm, from the draws' logarithms.

    A draw with a ratio of 0 does not count, nor does one where it is undefined.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.where(draws > 0, np.log(draws), np.nan)
    if not point > 0:
        return NONE
    # A draw with a ratio of 0 has no logarithm; like an undefined one it is nan, and does not count.
    low, high = real_interval(float(np.log(point)), logs, num_patients)
    with np.errstate(over="ignore"):
        return Interval(float(np.exp(low)), float(np.exp(high)))


def correlation_interval(point: float, draws: Float, num_patients: float) -> Interval:
    """Interval of a correlation between -1 and 1, on Fisher's z scale; none where it is exactly -1 or 1."""
    share = (1 + point) / 2  # logit((1 + r) / 2) is twice Fisher's z
    if np.isnan(share) or _exact(share) in (0, 1):
        return NONE
    low, high = interval(share, (1 + draws) / 2, num_patients)
    return Interval(2 * low - 1, 2 * high - 1)


def calibration_interval(metric: str, point: float, draws: Float, units: UnitCounts) -> Interval:
    """Interval of a metric of `Calibration`, by the patients of the rarer class."""
    if metric in ("observed_expected", "log_loss"):
        return ratio_interval(point, draws, units.rarer)
    if metric != "brier_skill":
        return real_interval(point, draws, units.rarer)
    # 1 less the skill is a ratio of two Brier scores, and is above 0
    low, high = ratio_interval(1 - point, 1 - draws, units.rarer)
    return Interval(1 - high, 1 - low)


def simultaneous_intervals(points: Float, draws: Float) -> list[Interval]:
    """Intervals of K differences that all hold together in 95 % of samples (max-t; Westfall and Young 1993).

    Each is point +- c s, where s is the standard deviation of its draws and c the 95 % quantile of the
    largest of the K ratios |draw - point| / s of a draw.

    Args:
        points: [K].
        draws: [K, D] of the same draws of patients, nan where one is undefined.
    """
    # 1. differences [K] with a point that more than half of the draws define, as everywhere
    num_defined = np.sum(~np.isnan(draws), axis=1)
    usable = (num_defined > draws.shape[1] / 2) & ~np.isnan(points)
    if not usable.any():
        return [NONE] * len(points)
    # 2. the standard deviation s of each [K]
    deviations = np.full(len(points), np.nan)
    deviations[usable] = np.nanstd(draws[usable], axis=1, ddof=1)
    varies = usable & (deviations > 0)
    # 3. how far the farthest difference of a draw lies from its point, in units of its own s [D]
    quantile = 0.0
    if varies.any():
        ratios = np.abs(draws[varies] - points[varies, None]) / deviations[varies, None]
        # a difference that a draw does not define cannot be its farthest
        largest = np.where(np.isnan(ratios), 0.0, ratios).max(axis=0)
        quantile = float(np.quantile(largest, LEVEL))
    # 4. the same number of deviations for all; differences of AUROCs lie between -1 and 1
    bounds = points - quantile * deviations, points + quantile * deviations
    return [Interval(float(low), float(high)) for low, high in zip(*np.clip(bounds, -1, 1), strict=True)]


def defined_draws(point: float, draws: Float) -> Float | None:
    """The draws that define the metric; None when the point does not, or half of the draws or more."""
    defined = draws[~np.isnan(draws)]
    if np.isnan(point) or len(defined) <= len(draws) / 2:
        return None
    return defined
