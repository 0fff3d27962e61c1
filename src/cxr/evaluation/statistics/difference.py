"""A difference of two metrics from bootstrap draws: its standard error, 95 % interval and p-value.

One rule serves all: difference +- t s, and p of Student's test of difference / s. s is the standard deviation
of the draws times sqrt(n / (n - 1)), t has n - 1 degrees of freedom, and n is the effective number of
patients behind the difference, as in `intervals.interval`. So p is below 5 % where the interval leaves 0 out.

Letters of the shapes: C findings, D draws.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from cxr.evaluation.statistics.intervals import (
    LEVEL,
    MIN_UNITS,
    NONE,
    Interval,
    defined_draws,
    is_extreme,
    single_bound,
)
from cxr.evaluation.statistics.metrics import Float

_LEAST_FREEDOM = 1e-3  # degrees of freedom of a single unit, which would divide by zero


class Difference(NamedTuple):
    """A difference, second less first: its standard error, degrees of freedom, and two-sided p of none."""

    value: float
    error: float
    freedom: float
    p: float

    def bounds(self, largest: float = 1.0) -> Interval:
        """The 95 % interval, cut to what a difference can be, -`largest` to `largest`."""
        from scipy.special import stdtrit

        if np.isnan(self.error) or not self.freedom >= MIN_UNITS - 1:
            return NONE
        half_width = float(stdtrit(self.freedom, (1 + LEVEL) / 2)) * self.error
        low, high = np.clip([self.value - half_width, self.value + half_width], -largest, largest)
        return Interval(float(low), float(high))


class Drawn(NamedTuple):
    """A difference with its draws.

    Attributes:
        value: nan where it is undefined.
        deviations: [D] of the draws from their mean, widened by sqrt(n / (n - 1)); nan where undefined.
        unseen: Variance that no draw shows: a metric of exactly 0 or 1 is the same in every draw.
        freedom: n - 1.
    """

    value: float
    deviations: Float
    unseen: float
    freedom: float

    @property
    def variance(self) -> float:
        """Of the difference; nan where too few patients or draws define it."""
        defined = defined_draws(self.value, self.deviations)
        if defined is None or not self.freedom >= MIN_UNITS - 1:
            return np.nan
        return float(defined.var(ddof=1)) + self.unseen

    def test(self) -> Difference:
        """Student's test of no difference."""
        return student(self.value, self.variance, self.freedom)


def paired(points: tuple[float, float], draws: tuple[Float, Float], num_patients: float) -> Drawn:
    """The second metric less the first, of the same patients, whose draws [D] are the same ones."""
    unseen = sum(_unseen(point, num_patients) for point in points)
    deviations = _widened(draws[1] - draws[0], num_patients)
    return Drawn(points[1] - points[0], deviations, unseen, num_patients - 1)


def independent(
    points: tuple[float, float], draws: tuple[Float, Float], num_patients: tuple[float, float]
) -> Drawn:
    """As `paired`, of other patients: variances add up, degrees of freedom are Welch's (1947)."""
    first, second = (
        Drawn(point, _widened(drawn, num), _unseen(point, num), num - 1)
        for point, drawn, num in zip(points, draws, num_patients, strict=True)
    )
    variances, freedoms = (first.variance, second.variance), (first.freedom, second.freedom)
    freedom = satterthwaite(np.array(variances), np.array(freedoms))
    deviations, unseen = second.deviations - first.deviations, first.unseen + second.unseen
    return Drawn(second.value - first.value, deviations, unseen, freedom)


def mean_of(differences: Sequence[Drawn]) -> Drawn:
    """The mean of differences in the same draws, with degrees of freedom by Satterthwaite (1946)."""
    if not differences:
        return Drawn(np.nan, np.empty(0), np.nan, np.nan)
    variances, freedoms = (
        np.array(each) for each in zip(*((one.variance, one.freedom) for one in differences), strict=True)
    )
    return Drawn(
        float(np.mean([one.value for one in differences])),
        # nan in a draw that leaves one of them undefined: every draw's mean is over the same findings
        np.mean([one.deviations for one in differences], axis=0),
        float(np.sum([one.unseen for one in differences])) / len(differences) ** 2,
        satterthwaite(variances, freedoms),
    )


def difference_interval(
    points: tuple[float, float], draws: tuple[Float, Float], num_patients: float, largest: float = 1.0
) -> Interval:
    """The 95 % interval of the second metric less the first.

    Args:
        points: Both.
        draws: [D] each, of the same patients; nan where a draw does not define it.
        num_patients: Effective number of patients that both depend on.
        largest: What the difference can be at most.
    """
    return paired(points, draws, num_patients).test().bounds(largest)


def student(value: float, variance: float, freedom: float) -> Difference:
    """Student's test of no difference; none with fewer than MIN_UNITS; p is 1 where the difference is 0."""
    from scipy.stats import t

    error = float(np.sqrt(max(variance, 0.0))) if not np.isnan(variance) else np.nan
    if np.isnan(error) or np.isnan(value) or not freedom >= MIN_UNITS - 1:
        return Difference(float(value), np.nan, float(freedom), np.nan)
    # Before the quotient: equal scores have no error either, and 0 / 0 would be nan.
    if value == 0:
        return Difference(0.0, error, float(freedom), 1.0)
    with np.errstate(divide="ignore"):  # a difference without variance has p-value 0
        ratio = abs(value) / np.float64(error)
    return Difference(float(value), error, float(freedom), float(2 * t.sf(ratio, freedom)))


def satterthwaite(variances: Float, freedom: Float) -> float:
    """Degrees of freedom of a sum of variances (1946)."""
    with np.errstate(invalid="ignore", divide="ignore"):
        # (sum of v)^2 / sum of (v^2 / freedom)
        parts = np.sum(variances**2 / np.maximum(freedom, _LEAST_FREEDOM))
        found = float(variances.sum() ** 2 / parts)
    # without any variance the fewest
    return found if parts or np.isnan(parts) else float(np.min(freedom))


def _widened(draws: Float, num_patients: float) -> Float:
    """Deviations [D] from the mean, as unbiased as those of n - 1 patients."""
    if not num_patients >= MIN_UNITS or np.isnan(draws).all():
        return np.full_like(draws, np.nan)
    widened: Float = (draws - np.nanmean(draws)) * np.sqrt(num_patients / (num_patients - 1))
    return widened


def _unseen(point: float, num_patients: float) -> float:
    """Variance that gives a metric of exactly 0 or 1 the width of its bound (MOVER; Zou and Donner 2008)."""
    from scipy.special import stdtrit

    if not is_extreme(point) or not num_patients >= MIN_UNITS:
        return 0.0
    return float((single_bound(num_patients) / stdtrit(num_patients - 1, (1 + LEVEL) / 2)) ** 2)
