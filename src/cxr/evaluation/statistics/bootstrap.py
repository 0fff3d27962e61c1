"""Bootstrap draws through one weighted kernel: a draw is a vector of how often each patient was drawn.

Rows are summed per patient once. Every draw is then a column of a matrix product, and no resampled copy of
the predictions is ever made. With weights of 1 each metric equals scikit-learn's.

Letters of the shapes: N rows (images), C findings, U units (patients or images), D draws, K distinct scores.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Literal, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from cxr.config.schema import Eval
from cxr.evaluation.statistics.metrics import GROUP_METRICS, Float, Point, group_rates, rates

Unit = Literal["patients", "images"]
_T = TypeVar("_T")

RESAMPLED = tuple(metric for metric in Point._fields if metric != "ece")
"""Metrics with intervals; resampled rows are always worse calibrated than the rows, so ECE has none."""
_DRAWS_PER_BLOCK = 128  # drawn from one seed, so that another number would make other draws


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
        """How often each unit was drawn [U, up to 128 draws], block after block."""
        for start in range(0, self.num_draws, _DRAWS_PER_BLOCK):
            num_draws = min(_DRAWS_PER_BLOCK, self.num_draws - start)
            yield _draw_block(self.num_units, self.seed, start, num_draws).astype(np.float64)


@lru_cache(maxsize=8)  # 1,000 draws: every table of a report takes the same ones
def _draw_block(num_units: int, seed: int, start: int, num_draws: int) -> npt.NDArray[np.uint8 | np.uint16]:
    """How often each unit was drawn [U, D], not to be changed; 4 MB for 30,000 patients."""
    # A block's numbers depend on the seed and its first draw alone, never on the blocks before it.
    generator = np.random.default_rng((seed, start))
    drawn = generator.integers(num_units, size=(num_draws, num_units))
    # Draw d has cells d * U to d * U + U - 1, so that one bincount counts every draw of the block.
    cells = drawn + np.arange(num_draws)[:, None] * num_units
    counts = np.bincount(cells.ravel(), minlength=num_draws * num_units)
    by_draw = counts.reshape(num_draws, num_units)
    kind = np.uint8 if by_draw.max() < 256 else np.uint16  # kept for all tables: an eighth of int64's memory
    return np.ascontiguousarray(by_draw.T).astype(kind)


def resample_units(names: npt.ArrayLike, unit: Unit, num_draws: int, seed: int) -> Resampling:
    """A resampling of the units named in each row; the order of the rows does not matter."""
    unique, of_row = np.unique(np.asarray(names, dtype=str), return_inverse=True)
    return Resampling(unit, of_row.ravel(), len(unique), num_draws, seed)


def resampling_of(rows: pd.DataFrame, config: Eval) -> tuple[Resampling | None, list[str]]:
    """(the resampling that eval.interval asks for, notes); None where it asks for no bootstrap.

    Where the patient of any image is unknown, images are drawn in place of patients.

    Args:
        rows: [N] with `image` and `patient_id`.
        config: Its `interval`, `draws` and `draw_seed` are used.
    """
    if config.interval not in ("patients", "images"):
        return None, []
    num_unknown = int((rows["patient_id"] == "").sum())
    unit: Unit = "images" if num_unknown else config.interval
    notes = []
    if num_unknown and config.interval == "patients":
        images = "no image has" if num_unknown == len(rows) else f"{num_unknown:,} images have no"
        notes.append(
            f"{images} patient_id, so images were drawn: intervals are too narrow where patients recur"
        )
    names = rows["image" if unit == "images" else "patient_id"]
    resampling = resample_units(names, unit, config.draws, config.draw_seed)
    if resampling.num_units < 2:
        return None, [*notes, f"no intervals: there is only one of the {unit} to draw from"]
    return resampling, notes


class Ranked:
    """One finding, ready for the weighted AUROC and average precision of any number of draws.

    Let s_0 > s_1 > ... > s_(K-1) be the distinct scores of the positive rows. Every negative row falls in one
    of 2K + 1 bins: bin 2k holds those between s_(k-1) and s_k, bin 2k + 1 those that tie with s_k. Both
    metrics are sums over the positive scores, which are few, of products with the number of negative rows
    above them.

    Args:
        y: [N] of 1, 0, or nan (left out).
        p: [N] scores.
        of_row: [N] unit of each row.
        num_units: Units.
    """

    def __init__(self, y: Float, p: Float, of_row: npt.NDArray[np.intp], num_units: int) -> None:
        from scipy.sparse import csr_array

        positive, negative = y == 1, y == 0  # [N], both False where y is nan
        # np.unique sorts upwards, so scores are negated: scores[k] = -s_k [K]; group [P] is each positive's k
        scores, group = np.unique(-p[positive], return_inverse=True)
        num_scores = len(scores)
        # [Q] positive scores above each negative row, and those above or equal to it. Their sum is its bin:
        # 2k where both are k (between two scores), 2k + 1 where they are k and k + 1 (a tie with s_k).
        num_above = np.searchsorted(scores, -p[negative], "left")
        num_not_below = np.searchsorted(scores, -p[negative], "right")
        bins = num_above + num_not_below
        # Rows are summed per unit here, once: a sparse matrix adds up entries of the same cell.
        # [K, U] positive rows at each score, and [2K + 1, U] negative rows in each bin, of each unit
        ones = np.ones(len(y))
        self._positives = csr_array(
            (ones[positive], (group.ravel(), of_row[positive])), (num_scores, num_units)
        )
        self._negatives = csr_array(
            (ones[negative], (bins, of_row[negative])), (2 * num_scores + 1, num_units)
        )

    def auroc(self, weights: Float) -> Float:
        """AUROC [D] for weights [U, D]; nan where a draw holds one class only."""
        positives, negatives = self.count(weights)
        return _auroc(positives, negatives)

    def auroc_and_precision(self, weights: Float) -> tuple[Float, Float]:
        """(AUROC, average precision) [D] for weights [U, D]; nan where a draw holds one class only."""
        positives, negatives = self.count(weights)
        auroc = _auroc(positives, negatives)
        num_scores = len(positives)
        if not num_scores:  # no positive row at all
            return auroc, np.full_like(auroc, np.nan)
        # [K, D] rows called positive at threshold s_k: positive ones, and negative ones (bins up to 2k + 1)
        true = running_sum(positives)
        false = negatives[1::2]
        # A draw without a row at s_k or above divides 0 by 0, where its 0 positives must add 0 and not nan.
        with np.errstate(invalid="ignore", divide="ignore"):
            precision = np.where(positives > 0, true / (true + false), 0.0)
            # Each score adds its precision times the recall gained there: positives[k] of true[-1] in all.
            average_precision = np.einsum("kd,kd->d", positives, precision) / true[-1]
        return auroc, np.where(np.isnan(auroc), np.nan, average_precision)

    def count(self, weights: Float) -> tuple[Float, Float]:
        """(positive rows at each score [K, D], negative rows in each bin and those above it [2K + 1, D])."""
        return self._positives @ weights, running_sum(self._negatives @ weights)


def running_sum(counts: Float) -> Float:
    """Sums [K, D] of the first 1, 2, ..., K rows of counts [K, D], exact for whole numbers.

    np.cumsum along the first axis goes down one column after the other, which lie far apart in memory.
    """
    num_rows, num_draws = counts.shape
    length = max(1, int(np.sqrt(num_rows)))
    num_blocks = -(-num_rows // length)
    padded = np.zeros((num_blocks * length, num_draws))
    padded[:num_rows] = counts
    blocks = padded.reshape(num_blocks, length, num_draws)
    # 1. within each block of rows, all blocks at once
    for place in range(1, length):
        blocks[:, place] += blocks[:, place - 1]
    # 2. the sum of all earlier blocks on top of each
    blocks[1:] += np.cumsum(blocks[:-1, -1], axis=0)[:, None]
    return padded[:num_rows]


def _auroc(positives: Float, negatives: Float) -> Float:
    """AUROC [D]: one minus the share of (positive, negative) pairs with the negative above; a tie is half."""
    # [K, D] negative rows above s_k (bins up to 2k), and those that tie with it as well (bins up to 2k + 1)
    above, not_below = negatives[:-1:2], negatives[1::2]
    # A negative row above is in both sums, a tie in the second alone: half of their sum counts a tie half.
    lost = np.einsum("kd,kd->d", positives, above) + np.einsum("kd,kd->d", positives, not_below)
    num_pairs = positives.sum(axis=0) * negatives[-1]  # [D]; the last bin's running sum is every negative row
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(num_pairs > 0, 1 - lost / (2 * num_pairs), np.nan)


class Summed:
    """One finding's counts per unit, ready for every metric that is a function of sums over rows.

    Attributes:
        sums: [6, U] true positives, false positives, false negatives, true negatives, squared errors and
            probabilities of each unit.
    """

    def __init__(
        self, y: Float, p: Float, threshold: float, of_row: npt.NDArray[np.intp], num_units: int
    ) -> None:
        called = p >= threshold  # [N]
        squares = np.where(np.isnan(y), 0.0, (p - y) ** 2)
        # [N] each: true positives, false positives, false negatives, true negatives
        cells = [(y == 1) & called, (y == 0) & called, (y == 1) & ~called, (y == 0) & ~called]
        expected = np.where(np.isnan(y), 0.0, p)
        rows = [*(cell.astype(np.float64) for cell in cells), squares, expected]
        self.sums = np.stack([np.bincount(of_row, row, num_units) for row in rows])  # [6, U]

    def metrics(self, weights: Float) -> list[Float]:
        """F1, sensitivity, specificity, PPV, NPV and Brier score, each [D], for weights [U, D]."""
        *cells, squares, _ = self.sums @ weights  # [6, U] @ [U, D]
        num_rows = np.sum(cells, axis=0)  # [D] known rows of each draw
        with np.errstate(invalid="ignore", divide="ignore"):
            return [*rates(*cells), np.where(num_rows > 0, squares / num_rows, np.nan)]

    def cells(self, weights: Float) -> Float:
        """True positives, false positives, false negatives and true negatives [4, D] for weights [U, D]."""
        counts: Float = self.sums[:4] @ weights
        return counts


def draw_metrics(y: Float, p: Float, thresholds: Float, resampling: Resampling) -> dict[str, Float]:
    """Each of RESAMPLED in every draw [C, D], for labels and probabilities [N, C]; nan = undefined."""
    ranked = rank(y, p, resampling)
    units = resampling.of_row, resampling.num_units
    summed = [Summed(y[:, c], p[:, c], float(thresholds[c]), *units) for c in range(y.shape[1])]

    def compute(weights: Float, column: int) -> list[Float]:
        """In the order of RESAMPLED."""
        return [*ranked[column].auroc_and_precision(weights), *summed[column].metrics(weights)]

    draws = draw_columns(resampling, y.shape[1], compute)
    return {name: draws[:, number] for number, name in enumerate(RESAMPLED)}


def draw_group_metrics(y: Float, p: Float, thresholds: Float, resampling: Resampling) -> dict[str, Float]:
    """Each of GROUP_METRICS in every draw [C, D]; nan = undefined."""
    units = resampling.of_row, resampling.num_units
    summed = [Summed(y[:, c], p[:, c], float(thresholds[c]), *units).sums for c in range(y.shape[1])]
    # One product for all findings: their matrices are small, and the weights would be read for each.
    every = np.concatenate(summed)  # [6 C, U]
    drawn = [(every @ weights).reshape(len(summed), 6, -1) for weights in resampling.counts()]
    tp, fp, fn, tn, _, expected = np.concatenate(drawn, axis=2).transpose(1, 0, 2)  # each [C, D]
    return dict(zip(GROUP_METRICS, group_rates(tp, fp, fn, tn, expected), strict=True))


def draw_auroc(y: Float, p: Float, resampling: Resampling) -> Float:
    """AUROC in every draw [C, D]; nan = undefined."""
    return measure_auroc(y, p, resampling)[1]


def measure_auroc(y: Float, p: Float, resampling: Resampling) -> tuple[Float, Float]:
    """(AUROC of the rows [C], AUROC in every draw [C, D]), nan = undefined; the rows are ranked once."""
    ranked = rank(y, p, resampling)
    once = np.ones((resampling.num_units, 1))  # each unit taken once is the rows themselves
    points = np.array([finding.auroc(once)[0] for finding in ranked])  # [C]
    draws = draw_columns(resampling, y.shape[1], lambda weights, column: [ranked[column].auroc(weights)])
    return points, draws[:, 0]


def rank(y: Float, p: Float, resampling: Resampling) -> list[Ranked]:
    """One for each finding of labels and scores [N, C]."""
    return _in_threads(
        lambda c: Ranked(y[:, c], p[:, c], resampling.of_row, resampling.num_units), y.shape[1]
    )


def draw_columns(
    resampling: Resampling, num_columns: int, compute: Callable[[Float, int], Sequence[Float]]
) -> Float:
    """`compute(weights, column)` of every column and draw, as [C, metrics, D]."""
    from threadpoolctl import threadpool_limits

    blocks = []
    # Each thread here would else start a thread of BLAS per core, and these wait for each other.
    with threadpool_limits(1, "blas"):
        for weights in resampling.counts():
            compute_column = partial(compute, weights)
            blocks.append(np.array(_in_threads(compute_column, num_columns)))  # [C, metrics, up to 128]
    return np.concatenate(blocks, axis=2)  # [C, metrics, D]


def _in_threads(work: Callable[[int], _T], num: int) -> list[_T]:
    """`work(0)` to `work(num - 1)`, a thread per core; NumPy and SciPy release Python's lock."""
    with ThreadPoolExecutor(max(1, min(num, os.cpu_count() or 1))) as pool:
        return list(pool.map(work, range(num)))
