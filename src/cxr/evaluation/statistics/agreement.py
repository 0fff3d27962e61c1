"""Calls against a reference: F1, sensitivity, specificity, predictive values and Cohen's kappa by patient.

Letters of the shapes: N rows, K columns of calls, U units (patients or images), D draws.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from cxr.evaluation.statistics.bootstrap import Resampling
from cxr.evaluation.statistics.intervals import (
    NONE,
    Interval,
    UnitCounts,
    count_units,
    interval,
    metric_interval,
)
from cxr.evaluation.statistics.metrics import Float, rates

METRICS = ("f1", "sensitivity", "specificity", "ppv", "npv", "kappa")


class Scored(NamedTuple):
    """A metric, its draws [D], the patients behind it, and what a perfect kappa is bounded by.

    Attributes:
        value: nan where it is undefined.
        draws: [D], nan where a draw does not define it.
        units: Effective numbers of patients.
        chance: Agreement that is expected by chance, from the margins of the table; used by kappa alone.
    """

    value: float
    draws: Float
    units: UnitCounts
    chance: float = np.nan


def score_calls(references: Float, calls: Float, resampling: Resampling) -> list[dict[str, Scored]]:
    """Each of METRICS for K columns of calls [N, K] against references [N, K].

    A row without one of both (nan) is left out of its column.
    """
    num_columns = references.shape[1]
    # [4, K, U] cells of the table of each column and unit: every draw of them all is then one product
    sums = np.zeros((4, num_columns, resampling.num_units))
    units = []
    for column in range(num_columns):
        known = ~np.isnan(references[:, column]) & ~np.isnan(calls[:, column])
        # an unknown row has y = nan, so that it falls in none of the four cells
        y, called = np.where(known, references[:, column], np.nan), known & (calls[:, column] == 1)
        cells = ((y == 1) & called, (y == 0) & called, (y == 1) & ~called, (y == 0) & ~called)
        # [4, U]: of true positives, false positives, false negatives and true negatives of each unit
        sums[:, column] = [np.bincount(resampling.of_row, cell, resampling.num_units) for cell in cells]
        units.append(count_units(y, called, resampling))
    drawn = np.concatenate([sums @ weights for weights in resampling.counts()], axis=2)  # [4, K, D]
    # Each unit taken once is the rows themselves: the point estimates need no scikit-learn here.
    counts = sums.sum(axis=2)  # [4, K]
    points, draws, chance = _metrics(counts), _metrics(drawn), _chance(counts)
    return [
        {name: Scored(float(points[name][k]), draws[name][k], units[k], float(chance[k])) for name in METRICS}
        for k in range(num_columns)
    ]


def scored_interval(metric: str, scored: Scored) -> Interval:
    """The 95 % interval of one of METRICS."""
    if metric == "kappa":
        return kappa_interval(scored.value, scored.draws, scored.units, scored.chance)
    return metric_interval(metric, scored.value, scored.draws, scored.units)


def kappa_interval(kappa: float, draws: Float, units: UnitCounts, chance: float) -> Interval:
    """Interval of Cohen's kappa, symmetric on the scale of the logit of (1 + kappa) / 2.

    Perfect agreement has no standard deviation. Its lower bound is the kappa of the exact bound of the share
    of agreement (Clopper and Pearson 1934), at the chance agreement of the margins. Calls that are all alike
    have a kappa of 0 in every draw, which says nothing of its error: there is no interval.
    """
    if np.isnan(kappa) or not units.called or not units.not_called:
        return NONE
    # Every draw of perfect agreement is perfect, too. The bound of the share a of agreement is exact,
    # and kappa = (a - e) / (1 - e) carries it over at the chance agreement e.
    if abs(kappa - 1) < 1e-12:
        low, _ = interval(1.0, np.ones(len(draws)), units.either)
        return Interval((low - chance) / (1 - chance), 1.0)
    # (1 + kappa) / 2 takes -1 to 1 to the 0 to 1 that a logit needs; the bounds are taken back below.
    low, high = interval((1 + kappa) / 2, (1 + draws) / 2, units.rarer)
    return Interval(2 * low - 1, 2 * high - 1)


def _metrics(cells: Float) -> Mapping[str, Float]:
    """Each of METRICS for counts [4, ...] of true and false positives, false and true negatives."""
    tp, fp, fn, tn = cells
    return dict(zip(METRICS, (*rates(tp, fp, fn, tn), _kappa(cells)), strict=True))


def _kappa(cells: Float) -> Float:
    """Cohen's kappa (1960): agreement beyond chance over what is possible; nan where chance is certain."""
    tp, _, _, tn = cells
    total = cells.sum(axis=0)
    chance = _chance(cells)
    with np.errstate(invalid="ignore", divide="ignore"):
        agreement = (tp + tn) / total
        kappa: Float = np.where(chance < 1, (agreement - chance) / (1 - chance), np.nan)
    return kappa


def _chance(cells: Float) -> Float:
    """Agreement that the margins alone give."""
    tp, fp, fn, tn = cells
    total = cells.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        # margins of the reference times those of the calls: both say yes, or both say no
        share: Float = ((tp + fn) * (tp + fp) + (fp + tn) * (fn + tn)) / total**2
    return share
