"""Point estimates of one finding by scikit-learn, on plain arrays; what is undefined is nan, never a warning.

Everywhere `y` is [N] of 1, 0 or nan (unknown, left out) and `p` is [N] of scores, higher meaning more likely.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Float = npt.NDArray[np.float64]


class AtThreshold(NamedTuple):
    """Figures of one operating point; nan where the rows hold no positive (f1, sensitivity) or no negative."""

    f1: float
    sensitivity: float
    specificity: float


def count(y: Float) -> tuple[int, int]:
    """Number of known rows and of positive ones."""
    return int(np.count_nonzero(~np.isnan(y))), int(np.count_nonzero(y == 1))


def auroc(y: Float, p: Float) -> float:
    """Area under the ROC curve, ties counting half (scikit-learn's roc_auc_score); nan with one class only."""
    from sklearn.metrics import roc_auc_score

    labels, scores = _known(y, p)
    return float(roc_auc_score(labels, scores)) if _has_both_classes(labels) else np.nan


def average_precision(y: Float, p: Float) -> float:
    """Mean precision over recall steps, not interpolated (scikit-learn's); nan with one class only."""
    from sklearn.metrics import average_precision_score

    labels, scores = _known(y, p)
    return float(average_precision_score(labels, scores)) if _has_both_classes(labels) else np.nan


def at_threshold(y: Float, p: Float, threshold: float) -> AtThreshold:
    """F1, sensitivity and specificity when a row is called positive for p >= threshold."""
    from sklearn.metrics import confusion_matrix

    labels, scores = _known(y, p)
    if not len(labels):
        return AtThreshold(np.nan, np.nan, np.nan)
    (tn, fp), (fn, tp) = confusion_matrix(labels, scores >= threshold, labels=[0, 1]).tolist()
    f1 = _ratio(2 * tp, 2 * tp + fp + fn) if tp + fn else np.nan
    return AtThreshold(f1, _ratio(tp, tp + fn), _ratio(tn, tn + fp))


def macro_mean(values: Sequence[float]) -> float:
    """Mean over the findings whose figure is defined, each weighing the same; nan when none is."""
    defined = [value for value in values if not np.isnan(value)]
    return float(np.mean(defined)) if defined else np.nan


def _known(y: Float, p: Float) -> tuple[npt.NDArray[np.int64], Float]:
    known = ~np.isnan(y)
    return y[known].astype(np.int64), p[known]


def _has_both_classes(y: npt.NDArray[np.int64]) -> bool:
    return bool(0 < y.sum() < len(y))


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else np.nan
