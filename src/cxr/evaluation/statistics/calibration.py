"""Whether probabilities are right: metrics of one finding, their bootstrap draws, and what luck alone gives.

`y` is [N] of 1, 0 or nan (unknown, left out) and `p` is [N] of probabilities.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cxr.evaluation.statistics.bootstrap import Resampling, draw_columns
from cxr.evaluation.statistics.logistic import NO_LINE, fit_intercept, fit_line, logits, sigmoid
from cxr.evaluation.statistics.metrics import CALIBRATION_BINS, Float

Indices = npt.NDArray[np.intp]

_SMALLEST = float(np.finfo(np.float64).eps)
"""Where log losses end, as scikit-learn's do: a probability of 0 of a positive image costs 36 and not inf."""
_NUM_SIMULATED, _SEED = 200, 0
_MAX_CELLS = 400


class Calibration(NamedTuple):
    """How right the probabilities of one finding are; nan = undefined.

    Attributes:
        observed_expected: Positive images over the sum of probabilities, 1 at best.
        in_the_large: The intercept where the slope is 1, 0 at best (Van Calster et al. 2019).
        intercept: Of the logistic recalibration together with the slope, 0 at best (Cox 1958).
        slope: Of the logistic recalibration, 1 at best; below 1 probabilities are too extreme.
        brier_skill: 1 less the Brier score over that of the share of positive images; 1 at best.
        log_loss: Mean of -log of the probability of what the label says.
    """

    observed_expected: float
    in_the_large: float
    intercept: float
    slope: float
    brier_skill: float
    log_loss: float


class CalibrationErrors(NamedTuple):
    """Distances between shares and probabilities in bins, which luck alone keeps from 0.

    Attributes:
        ece: Over equally wide bins, see `metrics.calibration_error`.
        debiased: Root of the debiased squared error over bins of equally many rows (Kumar et al. 2019).
    """

    ece: float
    debiased: float


def measure(y: Float, p: Float, resampling: Resampling | None) -> tuple[list[Calibration], dict[str, Float]]:
    """(C times the metrics of all rows, each metric in every draw [C, D]; no draws without resampling).

    Args:
        y: [N, C] labels.
        p: [N, C] probabilities.
        resampling: What is drawn.
    """
    of_row, num_units = (resampling.of_row, resampling.num_units) if resampling else _as_one(len(y))
    sums = []
    for c in range(y.shape[1]):
        # Unknown rows are left out here, not later: the fits below know no nan.
        known = ~np.isnan(y[:, c])
        sums.append(_Sums(y[known, c], p[known, c], of_row[known], num_units))
    points = [each.point() for each in sums]
    if resampling is None:
        return points, {}
    draws = draw_columns(resampling, len(sums), lambda weights, column: sums[column].draw(weights))
    return points, {name: draws[:, number] for number, name in enumerate(Calibration._fields)}


def _as_one(num_rows: int) -> tuple[Indices, int]:
    """Rows that all belong to one unit."""
    return np.zeros(num_rows, np.intp), 1


class _Sums:
    """One finding's sums per unit U, of which every metric of a draw is a function.

    Slopes and intercepts of a draw are those of all rows after one step of Newton's method on the draw's rows
    (Moulton and Zeger 1991), since the step needs nothing but sums of scores and information.
    """

    def __init__(self, y: Float, p: Float, of_row: Indices, num_units: int) -> None:
        x = logits(p)
        self.line, self.shift = fit_line(y, x) or NO_LINE, fit_intercept(y, x)
        # Centred and scaled logits: the draws' 2 x 2 systems are then far from singular.
        self.middle, self.spread = (float(x.mean()), float(x.std()) or 1.0) if len(x) else (0.0, 1.0)
        z = (x - self.middle) / self.spread
        # [N] what the fitted line, and the fitted shift, say of each row
        on_line, shifted = sigmoid(self.line.intercept + self.line.slope * x), sigmoid(x + self.shift)
        weight = on_line * (1 - on_line)
        rows = [
            # what the ratios of sums need
            np.ones(len(y)), y, p, (p - y) ** 2, _losses(y, p),
            # score (gradient) and information (negative Hessian) of the line's two numbers
            y - on_line, (y - on_line) * z, weight, weight * z, weight * z**2,
            # the same of the shift alone
            y - shifted, shifted * (1 - shifted),
        ]  # fmt: skip
        self._sums = np.stack([np.bincount(of_row, row, num_units) for row in rows])  # [12, U]

    def point(self) -> Calibration:
        """Of all rows."""
        # One draw that takes each unit once; its Newton step is 0 but
        # for rounding, so the fits themselves are given.
        drawn = [float(metric[0]) for metric in self.draw(np.ones((self._sums.shape[1], 1)))]
        return Calibration(*drawn)._replace(
            in_the_large=self.shift, intercept=self.line.intercept, slope=self.line.slope
        )

    def draw(self, weights: Float) -> list[Float]:
        """The metrics [D] of each draw in the order of Calibration, for weights [U, D]."""
        # [12, U] @ [U, D]: each name below is [D]
        num, positive, expected, squares, losses, *newton = self._sums @ weights
        g_0, g_1, w_00, w_01, w_11, g_shift, w_shift = newton
        with np.errstate(invalid="ignore", divide="ignore"):
            # nan in a draw of one class only, where no line is the best
            share = np.where((positive > 0) & (positive < num), positive / num, np.nan)
            # added to what has no share in its formula, so that it is nan in the same draws
            both = np.where(np.isnan(share), np.nan, 0)
            # 1. the step: information [[w_00, w_01], [w_01, w_11]] into the score (g_0, g_1)
            determinant = w_00 * w_11 - w_01**2
            step_0 = (w_11 * g_0 - w_01 * g_1) / determinant
            step_1 = (w_00 * g_1 - w_01 * g_0) / determinant
            # 2. back from centred and scaled logits
            slope = self.line.slope + step_1 / self.spread
            # the line's value at the middle logit, where z is 0
            height = self.line.intercept + self.line.slope * self.middle + step_0
            return [
                np.where(expected > 0, positive / expected, np.nan),
                self.shift + g_shift / w_shift + both,
                height - slope * self.middle + both,
                slope + both,
                1 - squares / num / (share * (1 - share)),  # Brier score over that of the share itself
                np.where(num > 0, losses / num, np.nan),
            ]


def _losses(y: Float, p: Float) -> Float:
    inside = np.clip(p, _SMALLEST, 1 - _SMALLEST)
    losses: Float = -np.log(np.where(y == 1, inside, 1 - inside))
    return losses


def measure_errors(y: Float, p: Float) -> CalibrationErrors:
    """The errors of all rows; nan without a known one."""
    known = ~np.isnan(y)
    bins = _Bins(p[known])
    return CalibrationErrors(*(float(error[0]) for error in bins.errors(y[known][bins.order][:, None])))


def simulate_errors(y: Float, p: Float) -> CalibrationErrors:
    """The mean errors of a perfect model with these probabilities, whose labels they were drawn for.

    200 times; labels are drawn independently, so that images of one patient, which resemble each other, would
    make both larger.
    """
    bins = _Bins(p[~np.isnan(y)])
    if not len(bins.order):
        return CalibrationErrors(np.nan, np.nan)
    # The number of positive rows is drawn of up to 400 groups of neighbours, which are in the same bins and
    # have nearly the same probability: the variance of a group is too large by sum (p_i - mean)^2 alone.
    # 1. group neighbours: a new group starts where its number, or either bin, changes
    num_together = max(1, len(bins.order) // _MAX_CELLS)
    cells = np.arange(len(bins.order)) // num_together
    starts = _starts(cells, bins.wide, bins.equal)
    sizes = np.diff(np.append(starts, len(bins.order)))
    # 2. draw how many rows of each group are positive [M, 200], at the group's mean probability [M]
    means = np.clip(np.add.reduceat(bins.p, starts) / sizes, 0, 1)
    shape = (len(starts), _NUM_SIMULATED)
    drawn = np.random.default_rng(_SEED).binomial(sizes[:, None], means[:, None], shape)
    # 3. measure each set of labels as the true one is measured
    simulated = bins.errors(drawn.astype(np.float64), starts)
    return CalibrationErrors(*(float(error.mean()) for error in simulated))


class _Bins:
    """Rows in the order of their probabilities, and the two kinds of bins that they fall in.

    Attributes:
        order: [N] which sorts them.
        p: [N] sorted.
        wide: [N] number of the equally wide bin of each.
        equal: [N] number of the bin of equally many rows of each; equal probabilities are in one bin.
    """

    def __init__(self, p: Float) -> None:
        self.order = np.argsort(p, kind="stable")
        self.p = p[self.order]
        last = CALIBRATION_BINS - 1
        # A probability of 1 would be in a bin after the last one.
        self.wide = np.minimum((self.p * CALIBRATION_BINS).astype(np.intp), last)
        inner = np.linspace(0, 1, CALIBRATION_BINS + 1)[1:-1]
        # Many equal probabilities make equal edges; without np.unique
        # there would be bins that nothing falls in.
        edges = np.unique(np.quantile(self.p, inner)) if len(p) else inner
        self.equal = np.searchsorted(edges, self.p, "right")

    def errors(self, positive: Float, starts: Indices | None = None) -> tuple[Float, Float]:
        """(ECE [R], debiased error [R]) of R sets of labels.

        Args:
            positive: [M, R] positive rows in M groups of neighbours, each within one bin of either kind.
            starts: [M] first row of each group; every row is one group where it is not given.
        """
        num = len(self.p)
        if not num:
            return np.array([np.nan]), np.array([np.nan])
        starts = np.arange(num) if starts is None else starts
        shares, expected, sizes = self._shares(positive, starts, self.wide)
        # size times (share - mean p) is the sum of y - p in the bin [B, R]
        ece = np.abs(sizes * (shares - expected)).sum(axis=0) / num
        shares, expected, sizes = self._shares(positive, starts, self.equal)
        # The square of a share's error holds its variance, which is taken off (Kumar et al. 2019);
        # that of a single row cannot be estimated.
        variances = shares * (1 - shares) / np.maximum(sizes - 1, 1)
        squared = (sizes * ((shares - expected) ** 2 - variances))[sizes[:, 0] > 1].sum(axis=0) / num
        return ece, np.sqrt(np.maximum(squared, 0))

    def _shares(self, positive: Float, starts: Indices, bins: Indices) -> tuple[Float, Float, Float]:
        """(share of positive rows [B, R], mean probability [B, 1], rows [B, 1]) of bins that hold rows."""
        # [B] the group with which each bin starts; reduceat sums from
        # each start to the next, so none may be empty
        first = _starts(bins[starts])
        sizes = np.diff(np.append(starts[first], len(self.p)))[:, None].astype(np.float64)
        expected = np.add.reduceat(self.p, starts[first])[:, None] / sizes
        return np.add.reduceat(positive, first, axis=0) / sizes, expected, sizes


def _starts(*numbers: Indices) -> Indices:
    """The first place, and every place at which one of the numbers [N] is another than before."""
    # The number before the first one is made another, so that the first place is always a start.
    changes = np.any([np.diff(each, prepend=each[0] - 1) != 0 for each in numbers], axis=0)
    return np.flatnonzero(changes)
