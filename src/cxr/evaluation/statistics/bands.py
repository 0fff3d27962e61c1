"""ROC and precision-recall curves on a grid, with pointwise 95 % intervals by patient.

Letters of the shapes: N rows, U units (patients or images), D draws, B bins of scores, G places of the grid.
"""

from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cxr.evaluation.statistics.bootstrap import Resampling
from cxr.evaluation.statistics.intervals import LEVEL, effective_units, interval
from cxr.evaluation.statistics.metrics import Float

GRID: Float = np.linspace(0, 1, 101)
_NUM_CUTS = 200
"""Scores of each class at which the curves of draws are computed; those of the rows use every score."""
_NUM_BLOCKS = 3
"""Blocks of draws: a standard deviation of 384 draws is known to 4 %, and more could not be seen."""


class Band(NamedTuple):
    """A curve, each [G]; nan where it is undefined.

    Attributes:
        x: False-positive rate from 0 to 1, or recall from 0.01 to 1.
        y: Sensitivity, or precision.
        low: Lower end of its interval at this x alone; nan without resampling.
        high: Upper end.
    """

    x: Float
    y: Float
    low: Float
    high: Float


def curve_bands(y: Float, p: Float, resampling: Resampling | None) -> tuple[Band, Band] | None:
    """(ROC, precision-recall) of one finding, labels [N] with nan for unknown; None with one class only.

    Between two scores counts are interpolated, so that the ROC is straight and the precision is not (Davis
    and Goadrich 2006). The sensitivity has the intervals of `interval` for the patients of the rarer class;
    as it never falls along the curve, neither do its bounds. Precision has percentile intervals (Efron 1979),
    as the delta method fails near 1, and where no negative row is called the exact bound.
    """
    known = ~np.isnan(y)
    labels, scores = y[known], p[known]
    if len(np.unique(labels)) < 2:
        return None
    # [K + 1] each: rows of either class that are called at the 0, 1, ..., K highest distinct scores
    true, false = (_count_above(scores[labels == label], np.unique(scores)) for label in (1, 0))
    roc, precision = _curves(true, false)
    if resampling is None:
        nothing = np.full(len(GRID), np.nan)
        # At a recall of 0 nothing is called and a precision is 0 / 0: that curve has no place for it.
        return (Band(GRID, roc, nothing, nothing), Band(GRID[1:], precision, nothing[1:], nothing[1:]))
    of_row = resampling.of_row[known]
    num_positive, num_negative = (effective_units(of_row[labels == label]) for label in (1, 0))
    draws = [_curves(*counts) for counts in _draw_counts(labels, scores, of_row, resampling)]
    drawn_roc, drawn_precision = (np.array(each) for each in zip(*draws, strict=True))  # [D, G], [D, G - 1]
    return (
        _rising_band(roc, drawn_roc, min(num_positive, num_negative)),
        _percentile_band(precision, drawn_precision, num_positive),
    )


def _count_above(scores: Float, thresholds: Float) -> Float:
    """[K + 1] how many scores reach each of K rising thresholds, from the highest down; 0 above all."""
    # Thresholds are taken from the highest down, as a curve is drawn from its lower left corner.
    ordered = np.sort(scores)
    reached = len(scores) - np.searchsorted(ordered, thresholds[::-1], "left")
    return np.concatenate([[0.0], reached.astype(np.float64)])


def _curves(true: Float, false: Float) -> tuple[Float, Float]:
    """(sensitivity at GRID [G], precision at GRID[1:] [G - 1]) of rising counts of called rows [K]."""
    num_positive, num_negative = true[-1], false[-1]
    if not num_positive or not num_negative:  # a draw of one class
        return np.full(len(GRID), np.nan), np.full(len(GRID) - 1, np.nan)
    # where the curve rises straight up, interp takes its upper end: the last of equal places
    roc = np.interp(GRID, false / num_negative, true / num_positive)
    # backwards, so that the last of equal places is the one with the fewest false positives
    # [G - 1] true positives at each recall; the false ones between two scores are on a straight line
    wanted = GRID[1:] * num_positive
    false_there = np.interp(-wanted, -true[::-1], false[::-1])
    return roc, wanted / (wanted + false_there)


def _draw_counts(
    labels: Float, scores: Float, of_row: npt.NDArray[np.intp], resampling: Resampling
) -> Iterator[tuple[Float, Float]]:
    """(true, false positives [B + 1]) of every draw, at cuts between which no curve bends visibly."""
    from scipy.sparse import csr_array

    # Quantiles of each class, so that the rarer one has as many cuts as the frequent one.
    shares = np.linspace(0, 1, _NUM_CUTS)
    quantiles = [np.quantile(scores[labels == label], shares, method="lower") for label in (1, 0)]
    cuts = np.unique(np.concatenate(quantiles))  # [B], rising
    bins = len(cuts) - np.searchsorted(cuts, scores, "right")  # 0 holds the highest scores
    # Rows are summed per unit once, as in `Ranked`: every draw is then a column of a product.
    summed = []
    for label in (1, 0):
        rows = labels == label
        shape = (len(cuts) + 1, resampling.num_units)
        summed.append(csr_array((np.ones(rows.sum()), (bins[rows], of_row[rows])), shape))  # [B + 1, U]
    for weights in islice(resampling.counts(), _NUM_BLOCKS):
        # [B + 1, D] rows called at the first 1, 2, ... bins, from the highest scores down
        true, false = (np.cumsum(sums @ weights, axis=0) for sums in summed)
        # Every curve starts where nothing is called.
        start = np.zeros(1)
        for draw in range(weights.shape[1]):
            yield np.concatenate([start, true[:, draw]]), np.concatenate([start, false[:, draw]])


def _rising_band(y: Float, draws: Float, num_units: float) -> Band:
    """The band of a curve [G] that never falls: bounds never fall either."""
    bounds = np.array([interval(float(y[place]), draws[:, place], num_units) for place in range(len(y))])
    # A lower bound holds at all places to its right, an upper
    # bound at all to its left; fmax and fmin skip nan.
    low = np.fmax.accumulate(bounds[:, 0])
    high = np.fmin.accumulate(bounds[::-1, 1])[::-1]
    return Band(GRID, y, np.fmin(low, y), np.fmax(high, y))


def _percentile_band(y: Float, draws: Float, num_positive: float) -> Band:
    """The band of the precision [G - 1] at GRID[1:], for an effective number of positive patients."""
    # [defined draws, G - 1]; a draw of one class alone is nan everywhere
    defined = draws[~np.isnan(draws).any(axis=1)]
    if len(defined) <= len(draws) / 2:
        nothing = np.full(len(y), np.nan)
        return Band(GRID[1:], y, nothing, nothing)
    low, high = np.quantile(defined, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    # all called rows are positive: as many patients without an exception as the recall has reached
    exact = ((1 - LEVEL) / 2) ** (1 / np.maximum(1, GRID[1:] * num_positive))
    low = np.where(y == 1, np.minimum(low, exact), low)
    return Band(GRID[1:], y, np.minimum(low, y), np.maximum(high, y))
