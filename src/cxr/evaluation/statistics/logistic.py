"""Logistic regression of labels on one logit, by Newton's method: the two numbers of a recalibration.

Everywhere `y` is [N] of 1 and 0, and `x` is [N] of logits of probabilities.
"""

from typing import NamedTuple

import numpy as np

from cxr.evaluation.statistics.metrics import Float

_TINY = 1e-12
"""Distance from 0 and 1 at which logits end, so that those of 0 and 1 are finite."""
_MAX_STEPS, _MAX_HALVINGS = 50, 30
_TOLERANCE = 1e-9
_FEWEST = 1e-10
"""Images' worth of information below which the classes are separated, and no finite line is the best."""


class Line(NamedTuple):
    """The recalibration logit p' = intercept + slope logit p."""

    intercept: float
    slope: float


NO_LINE = Line(np.nan, np.nan)


def logits(p: Float) -> Float:
    """log(p / (1 - p)), with p at least 1e-12 and at most 1 - 1e-12."""
    inside = np.clip(p, _TINY, 1 - _TINY)
    result: Float = np.log(inside / (1 - inside))
    return result


def sigmoid(x: Float) -> Float:
    """Probabilities of logits."""
    try:
        from scipy.special import expit
    except ModuleNotFoundError:  # cxr predict without torch is installed without scipy too
        return plain_sigmoid(x)
    p: Float = expit(x)
    return p


def plain_sigmoid(x: Float) -> Float:
    """As `sigmoid` without scipy; the last bit may differ."""
    p: Float = np.exp(-np.logaddexp(0, -x))
    return p


def fit_line(y: Float, x: Float) -> Line | None:
    """The line of the highest likelihood, without a penalty (Cox 1958; Platt 1999 without his prior).

    None where Newton's method does not converge: with one class only, equal logits, or logits that separate
    the classes without error, for which ever steeper lines are ever better.
    """
    spread = float(x.std()) if len(x) else 0.0
    if not 0 < y.sum() < len(y) or spread < _TOLERANCE:
        return None
    middle = float(x.mean())
    z = (x - middle) / spread  # of equal scale, so that the two numbers do not depend on each other much
    # Starts at the line that gives every image the share of positive ones.
    line = np.array([float(logits(y.mean())), 0.0])
    loss = _log_loss(y, line[0] + line[1] * z)
    for _ in range(_MAX_STEPS):
        p = sigmoid(line[0] + line[1] * z)
        # [N] each: the log-likelihood's derivative by a row's logit, and minus its second derivative
        residual, weight = y - p, p * (1 - p)
        gradient = np.array([residual.sum(), residual @ z])
        # Fisher's information [2, 2] of intercept and slope
        between = float(weight @ z)
        information = np.array([[weight.sum(), between], [between, weight @ z**2]])
        # Where a line separates the classes p runs to 0 and 1 and p (1 - p) to 0: no step is the last one.
        if np.linalg.eigvalsh(information)[0] < _FEWEST:
            return None
        step = np.linalg.solve(information, gradient)
        # The loss is convex: a step that raises it was too long, and half of it is tried.
        for _ in range(_MAX_HALVINGS):
            next_loss = _log_loss(y, line[0] + step[0] + (line[1] + step[1]) * z)
            if next_loss <= loss + _TOLERANCE:
                break
            step /= 2
        line, loss = line + step, next_loss
        if np.abs(step).max() < _TOLERANCE:
            # back to logits: a + b z is (a - b middle / spread) + (b / spread) x
            slope = float(line[1] / spread)
            return Line(float(line[0]) - slope * middle, slope)
    return None


def separate(y: Float, x: Float) -> bool:
    """Whether a logit parts the classes, all of one at or above it and all of the other at or below it."""
    positive, negative = x[y == 1], x[y == 0]
    if not len(positive) or not len(negative):
        return False
    return bool(positive.min() >= negative.max() or positive.max() <= negative.min())


def fit_intercept(y: Float, x: Float) -> float:
    """The intercept of the highest likelihood where the slope is 1; nan with one class only."""
    if not 0 < y.sum() < len(y):
        return np.nan
    from scipy.optimize import brentq

    # The sum of probabilities grows with the intercept, and is that of the labels at the best one.
    # At either bound all probabilities are beyond the share of positive images: the sign changes between.
    bound = float(np.abs(x).max()) + 1 + float(np.abs(logits(y.mean())))
    return float(brentq(lambda shift: (sigmoid(x + shift) - y).sum(), -bound, bound, xtol=1e-10))


def _log_loss(y: Float, x: Float) -> float:
    """Sum over images, exact for logits of any size."""
    # -log p is log(1 + e^x) - x for a positive image, log(1 + e^x) for a negative one
    return float((np.logaddexp(0, x) - y * x).sum())
