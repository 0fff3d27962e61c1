"""Variance and comparison of AUROCs without resampling (DeLong et al. 1988), by midranks (Sun and Xu 2014).

`covariance`, `interval` and `compare` take rows for independent, which images of one patient are not.
`clustered` and `compare_clustered` sum the same placement values per patient first (Obuchowski 1997), and are
equal to them where every patient has one image, but for Student's distribution with few of them.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cxr.evaluation.statistics.difference import Difference, satterthwaite, student
from cxr.evaluation.statistics.intervals import LEVEL, MIN_UNITS, Interval, effective_units
from cxr.evaluation.statistics.metrics import Float

NORMAL_FROM = 20
"""Rows of the rarer class, each of another patient, from which DeLong's test takes the normal distribution;
it errs in 7 % of cases with 10 of them, and in 4.6 to 6.6 % with more (docs/statistics.md)."""


class _Estimate(NamedTuple):
    """A number with its variance and degrees of freedom."""

    value: float
    variance: float
    freedom: float


class Clustered(NamedTuple):
    """K AUROCs of the same rows, taken apart by unit (patient).

    Attributes:
        auroc: [K], nan with one class only.
        positive: [U, K] what the positive rows of each unit add to the AUROC's error: their placement values
            less their mean, summed and divided by the number of positive rows.
        negative: [U, K] likewise of negative rows.
        num_positive: Units with a positive row.
        num_negative: Units with a negative row.
        num_either: Units with a known row.
        freedom: Degrees of freedom of Student's distribution: one less than the effective number of units of
            the rarer class; infinite, which is the normal distribution, where no unit has two rows and that
            number is at least NORMAL_FROM, as DeLong's test and pROC have it.
    """

    auroc: Float
    positive: Float
    negative: Float
    num_positive: int
    num_negative: int
    num_either: int
    freedom: float


def covariance(y: Float, scores: Float) -> tuple[Float, Float]:
    """(AUROC [K], their covariance [K, K]) of K scores [N, K] of the same rows; nan with one class only."""
    below, above = _placements(y, scores)
    if not len(below) or not len(above):
        num_scores = scores.shape[1]
        return np.full(num_scores, np.nan), np.full((num_scores, num_scores), np.nan)
    # S10 / P + S01 / Q: the placement values of each class vary for themselves.
    return below.mean(axis=0), _variance_of_mean(below) + _variance_of_mean(above)


def clustered(y: Float, scores: Float, of_row: npt.NDArray[np.intp], num_units: int) -> Clustered:
    """K scores [N, K] of the same known rows, by the unit of each row [N]."""
    below, above = _placements(y, scores)
    units = [of_row[y == 1], of_row[y == 0]]
    sums = []
    for placements, of_class in zip((below, above), units, strict=True):
        # [U, K]; np.add.at adds every row, where `total[of_class] += ...` would keep one row of each unit
        total = np.zeros((num_units, scores.shape[1]))
        if len(placements):
            np.add.at(total, of_class, (placements - placements.mean(axis=0)) / len(placements))
        sums.append(total)
    is_defined = bool(len(below) and len(above))
    auroc = below.mean(axis=0) if is_defined else np.full(scores.shape[1], np.nan)
    num_rarer = min(effective_units(of_class) for of_class in units)
    recurs = len(np.unique(of_row)) < len(of_row)
    freedom = np.inf if num_rarer >= NORMAL_FROM and not recurs else num_rarer - 1
    num_positive, num_negative, num_either = (len(np.unique(rows)) for rows in (*units, of_row))
    return Clustered(auroc, sums[0], sums[1], num_positive, num_negative, num_either, freedom)


def clustered_covariance(parts: Clustered) -> Float:
    """Covariance [K, K] of the AUROCs (Obuchowski 1997); nan with fewer than two units of a class."""
    same, cross = _spread(parts.positive, parts.negative, [parts] * parts.positive.shape[1])
    # S10 / P + S01 / N + 2 S11 / (P N): a patient's positive and negative rows vary together.
    matrix: Float = same + cross + cross.T
    return matrix


def compare_clustered(
    by_finding: Sequence[Clustered], of_mean: npt.NDArray[np.bool_] | None = None
) -> list[Difference]:
    """The difference, second less first score, of each finding, then that of their mean.

    Degrees of freedom of the mean are Welch's and Satterthwaite's (1946) of its findings.

    Args:
        by_finding: C findings.
        of_mean: [C] those that the mean is over; all that have a variance where not given.
    """
    values = np.array([parts.auroc[1] - parts.auroc[0] for parts in by_finding])
    # [U, C] each
    positive, negative = (
        np.stack([part[:, 1] - part[:, 0] for part in side], axis=1)
        for side in ([p.positive for p in by_finding], [p.negative for p in by_finding])
    )
    return [student(*found) for found in _with_mean(values, positive, negative, by_finding, of_mean)]


def compare_independent(
    first: Sequence[Clustered], second: Sequence[Clustered], of_mean: npt.NDArray[np.bool_]
) -> list[Difference]:
    """The difference, second less first, of each finding and of the mean, where both have other patients.

    One score each. Variances add up, and degrees of freedom are Welch's and Satterthwaite's (1946).
    """
    differences = []
    for a, b in zip(*(_of_one_score(parts, of_mean) for parts in (first, second)), strict=True):
        variances, freedoms = np.array([a.variance, b.variance]), np.array([a.freedom, b.freedom])
        freedom = satterthwaite(variances, freedoms)
        differences.append(student(b.value - a.value, float(variances.sum()), freedom))
    return differences


def _of_one_score(parts: Sequence[Clustered], of_mean: npt.NDArray[np.bool_]) -> list[_Estimate]:
    """`_with_mean` of the AUROCs of one score."""
    values = np.array([found.auroc[0] for found in parts])
    sides = ([found.positive for found in parts], [found.negative for found in parts])
    positive, negative = (np.concatenate(side, axis=1) for side in sides)  # [U, C] each
    return _with_mean(values, positive, negative, parts, of_mean)


def _with_mean(
    values: Float,
    positive: Float,
    negative: Float,
    by_finding: Sequence[Clustered],
    of_mean: npt.NDArray[np.bool_] | None,
) -> list[_Estimate]:
    """(value, variance, degrees of freedom) of C numbers, then of their mean.

    Args:
        values: [C] AUROCs, or differences of two.
        positive: [U, C] what the positive rows of each unit add to their errors.
        negative: [U, C] likewise.
        by_finding: C times the counts of units and the degrees of freedom.
        of_mean: [C] numbers that the mean is over; all that have a variance where not given.
    """
    same, cross = _spread(positive, negative, by_finding)
    matrix = same + cross + cross.T
    freedom = np.array([parts.freedom for parts in by_finding])
    # the same least number of patients as for every interval
    has_variance = ~np.isnan(values) & (freedom >= MIN_UNITS - 1)
    variances = np.where(has_variance, np.diagonal(matrix), np.nan)
    found = [_Estimate(*map(float, row)) for row in zip(values, variances, freedom, strict=True)]
    used = ~np.isnan(variances) if of_mean is None else of_mean
    if not used.any():
        return [*found, _Estimate(np.nan, np.nan, np.nan)]
    # The mean's variance is the sum of all entries, those between
    # findings included, over their number squared; nan where one of them has none.
    freedom_of_mean = satterthwaite(np.maximum(variances[used], 0), freedom[used])
    mean_variance = float(matrix[np.ix_(used, used)].sum() / used.sum() ** 2)
    if np.isnan(variances[used]).any():
        mean_variance = np.nan
    return [*found, _Estimate(float(values[used].mean()), mean_variance, freedom_of_mean)]


def _spread(positive: Float, negative: Float, counts: Sequence[Clustered]) -> tuple[Float, Float]:
    """(products [K, K] of the sums of one class, and across classes), each with its n / (n - 1)."""
    of_positive, of_negative, of_either = (
        np.array([_unbiased(num) for num in numbers])
        for numbers in zip(*[(c.num_positive, c.num_negative, c.num_either) for c in counts], strict=True)
    )
    # Entry [a, b] gets the root of a's n / (n - 1) times that of b, so the diagonal n / (n - 1) itself.
    same = (positive.T @ positive) * np.sqrt(np.outer(of_positive, of_positive))
    same += (negative.T @ negative) * np.sqrt(np.outer(of_negative, of_negative))
    return same, (positive.T @ negative) * np.sqrt(np.outer(of_either, of_either))


def _unbiased(num: int) -> float:
    return num / (num - 1) if num > 1 else np.nan


def _placements(y: Float, scores: Float) -> tuple[Float, Float]:
    """DeLong's structural components (equations 4 and 5): V10 [P, K], V01 [Q, K]; each mean is the AUROC."""
    from scipy.stats import rankdata

    positive, negative = scores[y == 1], scores[y == 0]  # [P, K], [Q, K]
    num_positive, num_negative = len(positive), len(negative)
    if not num_positive or not num_negative:
        return positive[:0], negative[:0]
    # The midrank of a row among all rows counts those below it (a tie is half); its midrank within its own
    # class counts those of its class. The difference is the number of rows of the other class below it.
    ranks = rankdata(np.concatenate([positive, negative]), axis=0)  # [P + Q, K]
    num_negatives_below = ranks[:num_positive] - rankdata(positive, axis=0)  # [P, K]
    num_positives_below = ranks[num_positive:] - rankdata(negative, axis=0)  # [Q, K]
    return num_negatives_below / num_negative, 1 - num_positives_below / num_positive


def interval(auroc: float, variance: float, level: float = LEVEL) -> Interval:
    """Normal interval of an AUROC within [0, 1], as pROC's ci.auc gives it."""
    from scipy.stats import norm

    half_width = norm.ppf((1 + level) / 2) * np.sqrt(variance)
    return Interval(float(np.clip(auroc - half_width, 0, 1)), float(np.clip(auroc + half_width, 0, 1)))


def compare(y: Float, a: Float, b: Float) -> float:
    """Two-sided p-value of equal AUROC for two scores of the same rows; 1 where they never differ."""
    from scipy.stats import norm

    (first, second), matrix = covariance(y, np.stack([a, b], axis=1))
    # of a difference: both variances less twice the covariance, as both scores are of the same rows
    variance = matrix[0, 0] + matrix[1, 1] - 2 * matrix[0, 1]
    if first == second:  # also where the variance is zero, and the quotient below would be nan
        return 1.0
    # a difference without variance has p-value 0; rounding may put it below 0
    with np.errstate(divide="ignore"):
        return float(2 * norm.sf(abs(first - second) / np.sqrt(max(variance, 0.0))))


def _variance_of_mean(shares: Float) -> Float:
    """Covariance [K, K] of the means of shares [n, K]; nan where n is 1."""
    if len(shares) < 2:
        return np.full((shares.shape[1], shares.shape[1]), np.nan)
    return np.atleast_2d(np.cov(shares, rowvar=False)) / len(shares)
