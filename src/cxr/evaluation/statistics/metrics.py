"""Point estimates of one finding by scikit-learn, on plain arrays; what is undefined is nan, never a warning.

Everywhere `y` is [N] of 1, 0 or nan (unknown, left out) and `p` is [N] of scores, higher meaning more likely.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Float = npt.NDArray[np.float64]

CALIBRATION_BINS = 15
"""Equally wide bins of probability over which the calibration error is summed (Guo et al. 2017)."""


GROUP_METRICS = ("sensitivity", "false_positive_rate", "ppv", "observed_expected")
"""Of subgroups, beside the AUROC; the last is positive rows over the sum of probabilities."""


class AtThreshold(NamedTuple):
    """Metrics of one operating point, nan where the divisor is zero.

    That is: no positive row (f1, sensitivity), no negative row (specificity), no row called positive (ppv) or
    negative (npv).
    """

    f1: float
    sensitivity: float
    specificity: float
    ppv: float
    npv: float


class Point(NamedTuple):
    """Every metric of one finding."""

    auroc: float
    average_precision: float
    f1: float
    sensitivity: float
    specificity: float
    ppv: float
    npv: float
    brier: float
    ece: float


def count(y: Float) -> tuple[int, int]:
    """Number of known rows and of positive ones."""
    return int(np.count_nonzero(~np.isnan(y))), int(np.count_nonzero(y == 1))


def point(y: Float, p: Float, threshold: float) -> Point:
    """Every metric; the operating point calls a row positive for p >= threshold."""
    ranking = auroc(y, p), average_precision(y, p)
    return Point(*ranking, *at_threshold(y, p, threshold), brier(y, p), calibration_error(y, p))


def auroc(y: Float, p: Float) -> float:
    """Area under the ROC curve, ties are half (scikit-learn's roc_auc_score); nan with one class only."""
    from sklearn.metrics import roc_auc_score

    labels, scores = _known(y, p)
    return float(roc_auc_score(labels, scores)) if _has_both_classes(labels) else np.nan


def average_precision(y: Float, p: Float) -> float:
    """Mean precision over recall steps, not interpolated (scikit-learn's); nan with one class only."""
    from sklearn.metrics import average_precision_score

    labels, scores = _known(y, p)
    if not _has_both_classes(labels):
        return np.nan
    return min(1.0, float(average_precision_score(labels, scores)))  # rounding may put the sum above 1


def at_threshold(y: Float, p: Float, threshold: float) -> AtThreshold:
    """F1, sensitivity, specificity and predictive values when a row is called positive for p >= threshold."""
    from sklearn.metrics import confusion_matrix

    labels, scores = _known(y, p)
    if not len(labels):
        return AtThreshold(*[np.nan] * 5)
    # Naming both labels keeps the table 2 x 2 where rows and calls hold one of them alone.
    (tn, fp), (fn, tp) = confusion_matrix(labels, scores >= threshold, labels=[0, 1]).astype(np.float64)
    return AtThreshold(*(float(metric) for metric in rates(tp, fp, fn, tn)))


def rates(tp: Float, fp: Float, fn: Float, tn: Float) -> tuple[Float, Float, Float, Float, Float]:
    """The metrics of AtThreshold for one confusion matrix, or for many at once."""
    # Without a positive row F1 says nothing, though a false positive keeps its divisor from zero.
    f1 = np.where(np.asarray(tp + fn) > 0, _ratio(2 * tp, 2 * tp + fp + fn), np.nan)
    return f1, _ratio(tp, tp + fn), _ratio(tn, tn + fp), _ratio(tp, tp + fp), _ratio(tn, tn + fn)


def group_rates(
    tp: Float, fp: Float, fn: Float, tn: Float, expected: Float
) -> tuple[Float, Float, Float, Float]:
    """GROUP_METRICS of a confusion matrix and of the sum of the probabilities of its rows."""
    return _ratio(tp, tp + fn), _ratio(fp, fp + tn), _ratio(tp, tp + fp), _ratio(tp + fn, expected)


def at_prevalence(right: float, missed: float, wrong: float, refused: float, prevalence: float) -> float:
    """Share of right calls where a share `prevalence` of the rows has the class that is called (Bayes' rule).

    With the cells TP, FN, FP, TN it is the PPV, with TN, FP, FN, TP and 1 - prevalence the NPV; nan where one
    of the classes has no row or nothing is called.
    """
    if not right + missed or not wrong + refused or not right + wrong:
        return np.nan
    # shares of all rows at this prevalence that are called rightly, and wrongly
    true = prevalence * right / (right + missed)
    false = (1 - prevalence) * wrong / (wrong + refused)
    return float(true / (true + false)) if true + false > 0 else np.nan


def brier(y: Float, p: Float) -> float:
    """Mean squared difference of probability and label (Brier 1950); nan without a known row."""
    from sklearn.metrics import brier_score_loss

    labels, scores = _known(y, p)
    return float(brier_score_loss(labels, scores, pos_label=1)) if len(labels) else np.nan


def calibration_error(y: Float, p: Float) -> float:
    """Mean over rows of |share positive - mean p| in their bin (ECE, Naeini et al. 2015)."""
    labels, scores = _known(y, p)
    if not len(labels):
        return np.nan
    # a score of exactly 1 belongs to the last bin, not to one after it
    bins = np.minimum((scores * CALIBRATION_BINS).astype(np.intp), CALIBRATION_BINS - 1)
    # [bins] sum of p - y, which is the number of rows times (mean p - share positive): weighted already
    excess = np.bincount(bins, scores - labels, CALIBRATION_BINS)
    return float(np.abs(excess).sum() / len(labels))


def macro_mean(values: Sequence[float]) -> float:
    """Mean over the findings whose metric is defined, all with the same weight; nan when none is."""
    defined = [value for value in values if not np.isnan(value)]
    return float(np.mean(defined)) if defined else np.nan


def _known(y: Float, p: Float) -> tuple[npt.NDArray[np.int64], Float]:
    known = ~np.isnan(y)
    return y[known].astype(np.int64), p[known]


def _has_both_classes(y: npt.NDArray[np.int64]) -> bool:
    return bool(0 < y.sum() < len(y))


def _ratio(part: Float, whole: Float) -> Float:
    with np.errstate(invalid="ignore", divide="ignore"):
        # np.where computes both sides: the division by 0 is done, and thrown away
        ratio: Float = np.where(np.asarray(whole) > 0, np.divide(part, whole), np.nan)
    return ratio
