"""Bootstrap draws through one weighted kernel: a draw is a vector of how often each patient was drawn.

Rows are summed per patient once; every draw is then a column of a matrix product, and no resampled copy of the
predictions is ever made. With weights of 1 each figure equals scikit-learn's.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Literal, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from cxr.config.schema import Eval
from cxr.evaluation.statistics.metrics import Float, Point, rates

Unit = Literal["patients", "images"]
_T = TypeVar("_T")

RESAMPLED = tuple(figure for figure in Point._fields if figure != "ece")
"""Figures with intervals; resampled rows are always worse calibrated than the rows, so ECE has none."""
_BLOCK = 128
"""Draws computed together: their counts of 30,000 patients take 30 MB, and a patient's share stays in the cache."""


@dataclass(frozen=True)
class Resampling:
    """What is drawn with replacement, and how often.

    Attributes:
        unit: patients (all images of a drawn patient come along) or images.
        of_row: [N] number of each row's unit; units are numbered in the order of their sorted names.
        num_units: Units; each draw takes as many.
        num_draws: Draws.
        seed: Two resamplings of the same units with the same seed draw the same.
    """

    unit: Unit
    of_row: npt.NDArray[np.intp]
    num_units: int
    num_draws: int
    seed: int

    def describe(self) -> str:
        """As `bootstrap over 2,797 patients (1,000 draws, seed 0)`."""
        return f"bootstrap over {self.num_units:,} {self.unit} ({self.num_draws:,} draws, seed {self.seed})"

    def counts(self) -> Iterator[Float]:
        """How often each unit was drawn [num_units, up to 128 draws], block after block."""
        for start in range(0, self.num_draws, _BLOCK):
            generator = np.random.default_rng((self.seed, start))
            num = min(_BLOCK, self.num_draws - start)
            drawn = generator.integers(self.num_units, size=(num, self.num_units))
            place = drawn + np.arange(num)[:, None] * self.num_units
            counts = np.bincount(place.ravel(), minlength=num * self.num_units).reshape(num, self.num_units)
            yield np.ascontiguousarray(counts.T, np.float64)


def resample_units(names: npt.ArrayLike, unit: Unit, num_draws: int, seed: int) -> Resampling:
    """A resampling of the units named in each row; the order of the rows does not matter."""
    unique, of_row = np.unique(np.asarray(names, dtype=str), return_inverse=True)
    return Resampling(unit, of_row.ravel(), len(unique), num_draws, seed)


def resampling_of(rows: pd.DataFrame, how: Eval) -> tuple[Resampling | None, list[str]]:
    """The resampling that eval.interval asks for, and notes; over images where a patient is unknown; None for others.

    Args:
        rows: [N] with `image` and `patient_id`.
        how: Its `interval`, `draws` and `draw_seed` count.
    """
    if how.interval not in ("patients", "images"):
        return None, []
    unnamed = int((rows["patient_id"] == "").sum())
    unit: Unit = "images" if unnamed else how.interval
    notes = []
    if unnamed and how.interval == "patients":
        what = "no image has" if unnamed == len(rows) else f"{unnamed:,} images have no"
        notes.append(
            f"{what} patient_id, so images were drawn: intervals are too narrow where patients recur"
        )
    names = rows["image" if unit == "images" else "patient_id"]
    resampling = resample_units(names, unit, how.draws, how.draw_seed)
    if resampling.num_units < 2:
        return None, [*notes, f"no intervals: there is only one of the {unit} to draw from"]
    return resampling, notes


class Ranked:
    """One finding, ready for the weighted AUROC and average precision of any number of draws.

    With s_0 > s_1 > ... the distinct scores of positive rows, a negative row falls in bin 2k if its score lies between
    s_k and s_(k-1), and in bin 2k + 1 if it ties with s_k. Both figures are sums over the scores of positive rows
    alone, which are few, of products with the number of negative rows above them.

    Args:
        y: [N] of 1, 0, or nan (left out).
        p: [N] scores.
        of_row: [N] unit of each row.
        num_units: Units.
    """

    def __init__(self, y: Float, p: Float, of_row: npt.NDArray[np.intp], num_units: int) -> None:
        from scipy.sparse import csr_array

        positive, negative = y == 1, y == 0
        scores, group = np.unique(-p[positive], return_inverse=True)
        bins = np.searchsorted(scores, -p[negative], "left") + np.searchsorted(scores, -p[negative], "right")
        ones, num = np.ones(len(y)), len(scores)
        self._positives = csr_array((ones[positive], (group.ravel(), of_row[positive])), (num, num_units))
        self._negatives = csr_array((ones[negative], (bins, of_row[negative])), (2 * num + 1, num_units))

    def auroc(self, weights: Float) -> Float:
        """AUROC [D] for weights [num_units, D]; nan where a draw holds one class only."""
        positives, negatives = self._count(weights)
        return _auroc(positives, negatives)

    def figures(self, weights: Float) -> tuple[Float, Float]:
        """(AUROC, average precision) [D] for weights [num_units, D]; nan where a draw holds one class only."""
        positives, negatives = self._count(weights)
        true, not_below = np.cumsum(positives, axis=0), negatives[1::2]
        with np.errstate(invalid="ignore", divide="ignore"):
            precision = np.where(positives > 0, true / (true + not_below), 0.0)
            mean_precision = (
                np.einsum("kd,kd->d", positives, precision) / true[-1] if len(true) else negatives[-1]
            )
        auroc = _auroc(positives, negatives)
        return auroc, np.where(np.isnan(auroc), np.nan, mean_precision)

    def _count(self, weights: Float) -> tuple[Float, Float]:
        """(positive rows at each score [K, D], negative rows in the bins so far [2K + 1, D])."""
        return self._positives @ weights, np.cumsum(self._negatives @ weights, axis=0)


def _auroc(positives: Float, negatives: Float) -> Float:
    """One minus the share of pairs of a positive and a negative row where the negative is above; a tie is half."""
    above, not_below = negatives[:-1:2], negatives[1::2]  # with a higher score, and those that tie as well
    lost = np.einsum("kd,kd->d", positives, above) + np.einsum("kd,kd->d", positives, not_below)
    pairs = positives.sum(axis=0) * negatives[-1]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(pairs > 0, 1 - lost / (2 * pairs), np.nan)


class Summed:
    """One finding's counts per unit, ready for every figure that is a function of sums over rows."""

    def __init__(
        self, y: Float, p: Float, threshold: float, of_row: npt.NDArray[np.intp], num_units: int
    ) -> None:
        called, squares = p >= threshold, np.where(np.isnan(y), 0.0, (p - y) ** 2)
        cells = [(y == 1) & called, (y == 0) & called, (y == 1) & ~called, (y == 0) & ~called]
        rows = [*(cell.astype(np.float64) for cell in cells), squares]
        self._sums = np.stack([np.bincount(of_row, row, num_units) for row in rows])

    def figures(self, weights: Float) -> list[Float]:
        """F1, sensitivity, specificity, PPV, NPV and Brier score, each [D]."""
        *cells, squares = self._sums @ weights
        num = np.sum(cells, axis=0)
        with np.errstate(invalid="ignore", divide="ignore"):
            return [*rates(*cells), np.where(num > 0, squares / num, np.nan)]


def draw_figures(y: Float, p: Float, thresholds: Float, resampling: Resampling) -> dict[str, Float]:
    """Each of RESAMPLED in every draw [C, num_draws], for labels and probabilities [N, C]; nan = undefined."""
    of_row, num = resampling.of_row, resampling.num_units
    ranked = _rank(y, p, resampling)
    summed = [Summed(y[:, c], p[:, c], float(thresholds[c]), of_row, num) for c in range(y.shape[1])]
    draws = _draw(
        resampling, y.shape[1], lambda c, weights: [*ranked[c].figures(weights), *summed[c].figures(weights)]
    )
    return {name: draws[:, place] for place, name in enumerate(RESAMPLED)}


def draw_auroc(y: Float, p: Float, resampling: Resampling) -> Float:
    """AUROC in every draw [C, num_draws], nan = undefined."""
    ranked = _rank(y, p, resampling)
    return _draw(resampling, y.shape[1], lambda c, weights: [ranked[c].auroc(weights)])[:, 0]


def _rank(y: Float, p: Float, resampling: Resampling) -> list[Ranked]:
    return _in_threads(
        lambda c: Ranked(y[:, c], p[:, c], resampling.of_row, resampling.num_units), y.shape[1]
    )


def _draw(resampling: Resampling, num: int, figures: Callable[[int, Float], Sequence[Float]]) -> Float:
    """`figures(c, weights)` of every column and draw, as [num, figures, num_draws]."""
    blocks = [np.array(_in_threads(partial(_call, figures, weights), num)) for weights in resampling.counts()]
    return np.concatenate(blocks, axis=2)


def _call(figures: Callable[[int, Float], Sequence[Float]], weights: Float, column: int) -> Sequence[Float]:
    return figures(column, weights)


def _in_threads(work: Callable[[int], _T], num: int) -> list[_T]:
    """`work(0)` to `work(num - 1)` in as many threads as there are cores; NumPy and SciPy let each other run."""
    with ThreadPoolExecutor(max(1, min(num, os.cpu_count() or 1))) as pool:
        return list(pool.map(work, range(num)))
