"""Intervals of balanced accuracy, MCC, likelihood ratios and the partial AUROC.

Where sensitivity or specificity is exactly 0 or 1 it is the same in every draw, so that draws of what is made
of both would tell of the other alone. There the bounds of both are combined (MOVER, Zou and Donner 2008).
"""

from collections.abc import Mapping

import numpy as np

from cxr.evaluation.statistics.intervals import (
    NONE,
    Interval,
    UnitCounts,
    correlation_interval,
    interval,
    likelihood_interval,
)
from cxr.evaluation.statistics.metrics import Float
from cxr.evaluation.statistics.operating import MAX_FALSE_RATE


def rate_intervals(cells: Float, draws: Mapping[str, Float], units: UnitCounts) -> dict[str, Interval]:
    """Of each of `operating.Rates`; none of MCC where sensitivity or specificity is exactly 0 or 1.

    Args:
        cells: TP, FP, FN, TN [4] of all rows.
        draws: [D] of each metric.
        units: Effective number of patients.
    """
    tp, fp, fn, tn = cells
    if not tp + fn or not fp + tn:
        return {}
    sensitivity, specificity = tp / (tp + fn), tn / (fp + tn)
    if tp and fp and fn and tn:
        # No rate is at 0 or 1 here: the draws vary, and each metric has its own scale.
        balanced = interval((sensitivity + specificity) / 2, draws["balanced_accuracy"], units.rarer)
        mcc = (tp * tn - fp * fn) / np.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
        ratios = {
            "lr_positive": sensitivity / (1 - specificity),
            "lr_negative": (1 - sensitivity) / specificity,
        }
        return {
            "balanced_accuracy": balanced,
            "mcc": correlation_interval(float(mcc), draws["mcc"], units.rarer),
            **{name: likelihood_interval(value, draws[name], units.rarer) for name, value in ratios.items()},
        }
    # One of both is constant, so that the draws of their mean are those of the other.
    totals = 2 * draws["balanced_accuracy"]
    is_constant = sensitivity in (0, 1)
    # A constant rate has constant draws, for which `interval` gives the exact bound.
    true = interval(
        sensitivity, totals * 0 + sensitivity if is_constant else totals - specificity, units.positive
    )
    rest = interval(
        specificity, totals - sensitivity if is_constant else totals * 0 + specificity, units.negative
    )
    # bounds of 1 - sensitivity and 1 - specificity
    missed, false = (Interval(1 - bounds.high, 1 - bounds.low) for bounds in (true, rest))
    # MOVER: distances from point to bound add up as standard errors do, and a mean halves their sum
    below = np.hypot(sensitivity - true.low, specificity - rest.low) / 2
    above = np.hypot(true.high - sensitivity, rest.high - specificity) / 2
    middle = (sensitivity + specificity) / 2
    return {
        "balanced_accuracy": Interval(float(middle - below), float(middle + above)),
        "mcc": NONE,
        "lr_positive": _ratio_interval(sensitivity, true, 1 - specificity, false),
        "lr_negative": _ratio_interval(1 - sensitivity, missed, specificity, rest),
    }


def partial_interval(point: float, draws: Float, num_patients: float) -> Interval:
    """Of a standardised partial AUROC, on the logit scale of the share of the largest area that it is."""
    # standardised = (1 + (share f - f^2 / 2) / (f - f^2 / 2)) / 2, which is a straight line of the share
    lowest, highest = (_standardise(share) for share in (0.0, 1.0))
    share, drawn = (point - lowest) / (highest - lowest), (draws - lowest) / (highest - lowest)
    low, high = interval(float(np.clip(share, 0, 1)), drawn, num_patients)
    return Interval(lowest + (highest - lowest) * low, lowest + (highest - lowest) * high)


def _standardise(share: float) -> float:
    least = MAX_FALSE_RATE**2 / 2
    return (1 + (share * MAX_FALSE_RATE - least) / (MAX_FALSE_RATE - least)) / 2


def _ratio_interval(above: float, of_above: Interval, below: float, of_below: Interval) -> Interval:
    """Of a quotient of two shares with these intervals; of 0 the upper bound, of a divisor of 0 none."""
    if not below or np.isnan([*of_above, *of_below]).any():
        return NONE
    if not above:
        return Interval(0.0, of_above.high / below)
    with np.errstate(divide="ignore"):
        a, b = np.log(above), np.log(below)
        (a_low, a_high), (b_low, b_high) = np.log(of_above), np.log(of_below)
        # MOVER of log(above) - log(below): the lower bound takes the upper one of what is subtracted
        low, high = a - b - np.hypot(a - a_low, b_high - b), a - b + np.hypot(a_high - a, b - b_low)
        return Interval(float(np.exp(low)), float(np.exp(high)))
