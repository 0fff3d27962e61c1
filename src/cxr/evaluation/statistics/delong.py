"""Variance and comparison of AUROCs without resampling (DeLong et al. 1988), by midranks (Sun and Xu 2014).

Every row counts as independent, which images of one patient are not: the patient bootstrap is the default for
that.
"""

import numpy as np

from cxr.evaluation.statistics.intervals import LEVEL, Interval
from cxr.evaluation.statistics.metrics import Float


def covariance(y: Float, scores: Float) -> tuple[Float, Float]:
    """(AUROC [K], their covariance [K, K]) of K scores [N, K] of the same rows; nan with one class only."""
    from scipy.stats import rankdata

    positive, negative = scores[y == 1], scores[y == 0]  # [P, K], [Q, K]
    num_positive, num_negative, num_scores = len(positive), len(negative), scores.shape[1]
    if not num_positive or not num_negative:
        return np.full(num_scores, np.nan), np.full((num_scores, num_scores), np.nan)
    # The midrank of a row among all rows counts those below it (a tie is half); its midrank within its own
    # class counts those of its class. The difference is the number of rows of the other class below it.
    ranks = rankdata(np.concatenate([positive, negative]), axis=0)  # [P + Q, K]
    num_negatives_below = ranks[:num_positive] - rankdata(positive, axis=0)  # [P, K]
    num_positives_below = ranks[num_positive:] - rankdata(negative, axis=0)  # [Q, K]
    # DeLong's structural components V10 and V01 (equations 4 and 5): the mean of each is the AUROC.
    below = num_negatives_below / num_negative
    above = 1 - num_positives_below / num_positive
    return below.mean(axis=0), _variance_of_mean(below) + _variance_of_mean(above)


def interval(auroc: float, variance: float, level: float = LEVEL) -> Interval:
    """Normal interval of an AUROC within [0, 1], as pROC's ci.auc gives it."""
    from scipy.stats import norm

    half_width = norm.ppf((1 + level) / 2) * np.sqrt(variance)
    return Interval(float(np.clip(auroc - half_width, 0, 1)), float(np.clip(auroc + half_width, 0, 1)))


def compare(y: Float, a: Float, b: Float) -> float:
    """Two-sided p-value of equal AUROC for two scores of the same rows; 1 where they never differ."""
    from scipy.stats import norm

    (first, second), matrix = covariance(y, np.stack([a, b], axis=1))
    variance = matrix[0, 0] + matrix[1, 1] - 2 * matrix[0, 1]
    if first == second:  # also where the variance is zero, and the quotient below would be nan
        return 1.0
    with np.errstate(
        divide="ignore"
    ):  # a difference without variance has p-value 0; rounding may put it below 0
        return float(2 * norm.sf(abs(first - second) / np.sqrt(max(variance, 0.0))))


def _variance_of_mean(shares: Float) -> Float:
    """Covariance [K, K] of the means of shares [n, K]; nan where n is 1."""
    if len(shares) < 2:
        return np.full((shares.shape[1], shares.shape[1]), np.nan)
    return np.atleast_2d(np.cov(shares, rowvar=False)) / len(shares)
