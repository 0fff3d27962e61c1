"""Metrics of operating points beside those of `metrics`: of a threshold, and of a fixed specificity.

Letters of the shapes as in `bootstrap`: N rows, C findings, U units, D draws, K distinct scores of positive
rows; G false-positive rates of a grid.
"""

from typing import NamedTuple

import numpy as np

from cxr.evaluation.statistics.bootstrap import Ranked, Resampling, Summed, draw_columns, rank
from cxr.evaluation.statistics.metrics import Float, rates

MAX_FALSE_RATE = 0.1
"""False-positive rate up to which the partial AUROC goes."""
FALSE_RATES: Float = np.array([0.05, 0.10])
"""[G] where the sensitivity is read off the ROC curve: at 95 and 90 % specificity."""
_SLACK = 1e-9  # rows; 0.1 x 30 counts as 3 rows, whatever its last digit as a float


class Rates(NamedTuple):
    """Of one confusion matrix; nan where a divisor is zero.

    Attributes:
        balanced_accuracy: Mean of sensitivity and specificity.
        mcc: Matthews' correlation of calls and labels, from -1 to 1.
        lr_positive: Sensitivity over (1 - specificity).
        lr_negative: (1 - sensitivity) over specificity.
    """

    balanced_accuracy: Float
    mcc: Float
    lr_positive: Float
    lr_negative: Float


class Drawn(NamedTuple):
    """What `draw_operating` gives.

    Attributes:
        rates: Each of `Rates` in every draw [C, D].
        partial_auroc: [C, D], standardised (McClish 1989).
        sensitivity: [C, G, D] at each of FALSE_RATES.
    """

    rates: dict[str, Float]
    partial_auroc: Float
    sensitivity: Float


def further_rates(tp: Float, fp: Float, fn: Float, tn: Float) -> Rates:
    """The metrics of one confusion matrix, or of many at once."""
    _, sensitivity, specificity, _, _ = rates(tp, fp, fn, tn)
    with np.errstate(invalid="ignore", divide="ignore"):
        margins = (tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)
        mcc = np.where(margins > 0, (tp * tn - fp * fn) / np.sqrt(margins), np.nan)
        positive = np.where(specificity < 1, sensitivity / (1 - specificity), np.nan)
        negative = np.where(specificity > 0, (1 - sensitivity) / specificity, np.nan)
    return Rates((sensitivity + specificity) / 2, mcc, positive, negative)


def partial_auroc(positives: Float, negatives: Float, max_false_rate: float = MAX_FALSE_RATE) -> Float:
    """Standardised area [D] below the ROC curve up to a false-positive rate (McClish 1989).

    0.5 is that of chance and 1 that of a perfect model, as scikit-learn's roc_auc_score(max_fpr=...).

    Args:
        positives: [K, D] of `Ranked.count`.
        negatives: [2K + 1, D] likewise.
        max_false_rate: Above 0 and at most 1.
    """
    num_positive, num_negative = positives.sum(axis=0), negatives[-1]
    most = max_false_rate * num_negative  # [D] false positives where the area ends
    # A positive score raises the curve where false positives number from x_0 (rows above it) to x_1 (ties
    # with it as well), in a straight line. Scores below the end of every draw add nothing.
    num_scores = _count_early(negatives[:-1:2], most)
    x_0, x_1 = negatives[: 2 * num_scores : 2], negatives[1 : 2 * num_scores : 2]  # [k, D]
    widths = most - x_0  # of the area behind a row, where nothing ties with it
    np.maximum(widths, 0, out=widths)
    ties = np.flatnonzero((x_1 != x_0).any(axis=1))  # few, or else there are few scores
    with np.errstate(invalid="ignore", divide="ignore"):
        # Behind a tie the curve is (x - x_0) / (x_1 - x_0) up to x_1, then 1: its integral up to the end.
        slanted = (widths[ties] ** 2 - np.maximum(most - x_1[ties], 0) ** 2) / (2 * (x_1[ties] - x_0[ties]))
        widths[ties] = np.where(x_1[ties] > x_0[ties], slanted, widths[ties])
        area = np.einsum("kd,kd->d", positives[:num_scores], widths) / (num_positive * num_negative)
    # Areas of chance, a triangle below the diagonal, and of a perfect model, all of the strip.
    least, largest = max_false_rate**2 / 2, max_false_rate
    standardised: Float = (1 + (area - least) / (largest - least)) / 2
    return np.where(num_positive * num_negative > 0, standardised, np.nan)


def sensitivity_at(positives: Float, negatives: Float, false_rates: Float = FALSE_RATES) -> Float:
    """Sensitivity [G, D] where the ROC curve, in straight lines between thresholds, has these rates.

    At a rate where the curve rises it is the highest, so that the specificity is at least 1 less the rate.

    Args:
        positives: [K, D] of `Ranked.count`.
        negatives: [2K + 1, D] likewise.
        false_rates: [G] rising.
    """
    num_scores, num_draws = positives.shape
    num_positive, num_negative = positives.sum(axis=0), negatives[-1]
    found = np.full((len(false_rates), num_draws), np.nan)
    if not num_scores:
        return found
    above, not_below = negatives[:-1:2], negatives[1::2]  # [K, D] false positives before and after each score
    draws = np.arange(num_draws)
    for place, rate in enumerate(false_rates):
        most = rate * num_negative + _SLACK  # [D] false positives
        # Scores are passed in full where the false positives that tie with them are allowed, too.
        num_early = _count_early(not_below, most)
        is_passed = not_below[:num_early] <= most
        true = positives[:num_early].sum(axis=0, where=is_passed)
        # The next score, if there is one, is passed in part: along a straight line from x_0 to x_1.
        following = np.minimum(is_passed.sum(axis=0), num_scores - 1)
        x_0, x_1 = above[following, draws], not_below[following, draws]
        with np.errstate(invalid="ignore", divide="ignore"):
            part = np.where((most > x_0) & (x_1 > most), (most - x_0) / (x_1 - x_0), 0.0)
            sensitivity = (true + part * positives[following, draws]) / num_positive
        found[place] = np.where(num_positive * num_negative > 0, sensitivity, np.nan)
    return found


def _count_early(false: Float, most: Float) -> int:
    """How many of rising counts [K, D] are at most `most` [D] in any draw; they are the first."""
    low, high = 0, len(false)
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if (false[middle] <= most).any() else (low, middle)
    return low


def draw_operating(y: Float, p: Float, thresholds: Float, resampling: Resampling) -> Drawn:
    """Every metric in every draw, for labels and scores [N, C] and thresholds [C]; nan = undefined."""
    ranked = rank(y, p, resampling)
    units = resampling.of_row, resampling.num_units
    summed = [Summed(y[:, c], p[:, c], float(thresholds[c]), *units) for c in range(y.shape[1])]
    draws = draw_columns(resampling, y.shape[1], lambda w, c: _metrics(ranked[c], summed[c], w))
    num = len(Rates._fields)
    # draws [C, metrics, D] in the order of `_metrics`
    by_name = {name: draws[:, number] for number, name in enumerate(Rates._fields)}
    return Drawn(by_name, draws[:, num], draws[:, num + 1 :])


def draw_sensitivity(y: Float, p: Float, false_rate: float, resampling: Resampling | None) -> Float:
    """Sensitivity [C, D] at one false-positive rate in every draw; of the rows themselves [C, 1] without."""
    if resampling is None:
        resampling = _whole(len(y))
    ranked, rates_asked = rank(y, p, resampling), np.array([false_rate])

    def compute(weights: Float, column: int) -> list[Float]:
        return list(sensitivity_at(*ranked[column].count(weights), rates_asked))

    return draw_columns(resampling, y.shape[1], compute)[:, 0]


def _whole(num_rows: int) -> Resampling:
    """One unit of all rows, which the only draw takes once."""
    return Resampling("images", np.zeros(num_rows, np.intp), 1, 1, 0)


def operating_points(y: Float, p: Float, thresholds: Float) -> tuple[Drawn, Float]:
    """(the metrics of the rows themselves, in place of D = 1 draw; TP, FP, FN, TN [C, 4])."""
    whole = _whole(len(y))
    columns = range(y.shape[1])
    # [4, 1] of each finding: one draw of the one unit that all rows belong to
    cells = [
        Summed(y[:, c], p[:, c], float(thresholds[c]), whole.of_row, 1).cells(np.ones((1, 1)))
        for c in columns
    ]
    return draw_operating(y, p, thresholds, whole), np.array(cells).reshape(-1, 4)


def _metrics(ranked: Ranked, summed: Summed, weights: Float) -> list[Float]:
    """`Rates`, the partial AUROC, then the sensitivities, [D] each."""
    counts = ranked.count(weights)
    sensitivities = sensitivity_at(*counts)
    return [*further_rates(*summed.cells(weights)), partial_auroc(*counts), *sensitivities]
