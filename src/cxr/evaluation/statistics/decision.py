"""Net benefit of calling images above a probability (Vickers and Elkin 2006), of all rows and of every draw.

Letters of the shapes as in `bootstrap`: N rows, C findings, U units, D draws; G probabilities of a grid.
"""

import numpy as np
import numpy.typing as npt

from cxr.evaluation.statistics.bootstrap import Resampling, draw_columns
from cxr.evaluation.statistics.metrics import Float

PROBABILITIES = np.round(
    [*np.arange(0.002, 0.0099, 0.002), *np.arange(0.01, 0.0999, 0.01), *np.arange(0.1, 0.501, 0.02)], 3
)
"""[G] threshold probabilities of a decision curve, closer together where rare findings need them."""


class NetBenefit:
    """One finding's true and false positives at each probability, by unit.

    Args:
        y: [N] of 1, 0, or nan (left out).
        p: [N] probabilities.
        of_row: [N] unit of each row.
        num_units: Units.
    """

    def __init__(self, y: Float, p: Float, of_row: npt.NDArray[np.intp], num_units: int) -> None:
        # [N] how many of the probabilities a row reaches: it is called at the first so many of them
        reached = np.searchsorted(PROBABILITIES, p, "right")
        self._positives = _count(reached[y == 1], of_row[y == 1], num_units)
        self._negatives = _count(reached[y == 0], of_row[y == 0], num_units)

    def draw(self, weights: Float) -> Float:
        """Net benefit [2, G, D] of the model and of calling every image, for weights [U, D].

        TP / n - FP / n * q / (1 - q) at a threshold probability q; calling none has 0. nan without a row.
        """
        positives, negatives = self._positives @ weights, self._negatives @ weights  # [G + 1, D]
        num = positives.sum(axis=0) + negatives.sum(axis=0)
        # [G, D] rows that reach the first, the second, ... probability
        true, false = (_sum_from_last(counts)[1:] for counts in (positives, negatives))
        # [G, 1] how many true positives one false positive costs
        odds = (PROBABILITIES / (1 - PROBABILITIES))[:, None]
        with np.errstate(invalid="ignore", divide="ignore"):
            # [G, D] who calls every image has all positive rows right and all negative rows wrong
            every = (positives.sum(axis=0) - odds * negatives.sum(axis=0)) / num
            return np.stack([(true - odds * false) / num, every])


def draw_net_benefit(y: Float, p: Float, resampling: Resampling) -> Float:
    """[C, 2, G, D] of the model and of calling every image in every draw, for labels and p [N, C]."""
    num, num_points = y.shape[1], len(PROBABILITIES)
    units = resampling.of_row, resampling.num_units
    found = [NetBenefit(y[:, c], p[:, c], *units) for c in range(num)]
    draws = draw_columns(
        resampling, num, lambda weights, c: list(found[c].draw(weights).reshape(2 * num_points, -1))
    )
    return draws.reshape(num, 2, num_points, -1)


def net_benefit(y: Float, p: Float) -> Float:
    """[2, G] of the rows of one finding [N]."""
    found = NetBenefit(y, p, np.zeros(len(y), np.intp), 1).draw(np.ones((1, 1)))
    return found[:, :, 0]


def _count(reached: npt.NDArray[np.intp], of_row: npt.NDArray[np.intp], num_units: int) -> "Float":
    """[G + 1, U] rows by how many probabilities they reach, a sparse matrix."""
    from scipy.sparse import csr_array

    shape = (len(PROBABILITIES) + 1, num_units)
    counts: Float = csr_array((np.ones(len(reached)), (reached, of_row)), shape)
    return counts


def _sum_from_last(counts: Float) -> Float:
    total: Float = np.cumsum(counts[::-1], axis=0)[::-1]
    return total
