"""Several readers and several images: is a model as good as readers are (Obuchowski and Rockette 1995)?

The model is the same for every reader, so the method is that of one treatment: it takes the J differences
d_j = model less reader j on the same images, and their covariance over patients. For two conditions with the
same readers (with and without help) d_j is the difference of a reader's two results; the test is then the
factorial one of Obuchowski and Rockette, as a test shows.

Letters of the shapes: N rows, U units (patients), K scores or raters, J readers.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cxr.evaluation.statistics.delong import Clustered, clustered, clustered_covariance
from cxr.evaluation.statistics.intervals import LEVEL, effective_units
from cxr.evaluation.statistics.metrics import Float, rates

CALL_METRICS = ("sensitivity", "specificity", "balanced_accuracy", "f1")
"""Metrics of calls; balanced accuracy is the AUROC of calls, the mean of sensitivity and specificity."""


class Difference(NamedTuple):
    """The mean difference, model less reader, of one analysis.

    Attributes:
        value: Mean of the differences.
        error: Its standard error.
        freedom: Degrees of freedom of Student's distribution; infinite for the normal one.
        low: Lower end of the 95 % interval.
        high: Upper end.
        p: Two-sided p-value of no difference.
        p_noninferior: One-sided p-value of "worse by the margin or more"; nan without a margin.
    """

    value: float
    error: float
    freedom: float
    low: float
    high: float
    p: float
    p_noninferior: float


def fixed_readers(differences: Float, covariance: Float, freedom: float, margin: float | None) -> Difference:
    """The analysis for these very readers: only patients vary.

    The variance of the mean is the mean of all entries of the covariance [J, J].
    """
    return _test(differences, float(covariance.mean()), freedom, margin)


def random_readers(differences: Float, covariance: Float, margin: float | None) -> Difference:
    """The analysis for readers like these: readers and patients vary (Hillis 2007, for one treatment).

    Var = (MS + J max(Cov2, 0)) / J, where MS is the variance of the d_j between readers and Cov2 the mean
    covariance of two different ones; degrees of freedom (J - 1) ((MS + J max(Cov2, 0)) / MS)^2.
    Undefined for a single reader.
    """
    num = len(differences)
    if num < 2:
        return _test(differences, np.nan, np.nan, margin)
    # MS: how much the readers differ
    spread = float(np.var(differences, ddof=1))
    # Cov2: mean of the J (J - 1) entries off the diagonal, which
    # readers share since they read the same patients
    between = float((covariance.sum() - np.trace(covariance)) / (num * (num - 1)))
    # A negative estimate of Cov2 counts as 0 (Hillis 2007).
    total = spread + num * max(between, 0.0)
    freedom = (num - 1) * (total / spread) ** 2 if spread > 0 else np.inf
    return _test(differences, total / num, freedom, margin)


def call_results(metric: str, y: Float, calls: Float, of_row: npt.NDArray[np.intp], num: int) -> Clustered:
    """One of CALL_METRICS of K raters' calls [N, K] of 0 and 1, taken apart by unit.

    Args:
        metric: One of CALL_METRICS.
        y: [N] reference, all known.
        calls: [N, K].
        of_row: [N] unit of each row.
        num: Units.
    """
    if metric == "balanced_accuracy":
        return clustered(y, calls, of_row, num)
    positive = y == 1
    # [K] each
    tp, fp = calls[positive].sum(axis=0), calls[~positive].sum(axis=0)
    fn, tn = positive.sum() - tp, (~positive).sum() - fp
    f1, sensitivity, specificity, _, _ = rates(tp, fp, fn, tn)
    if metric == "sensitivity":
        # [N, K] what a row adds to the error: its distance from the mean, over the number of rows
        shares = (calls - sensitivity) / max(1, positive.sum())
        return _by_unit(sensitivity, shares, positive, (positive,), of_row, num)
    if metric == "specificity":
        shares = (1 - calls - specificity) / max(1, (~positive).sum())
        return _by_unit(specificity, shares, ~positive, (~positive,), of_row, num)
    # the derivative of 2 TP / (2 TP + FP + FN) by each row: its divisor is TP + FP + P
    divisor = tp + fp + positive.sum()
    # A positive row with call c adds 2 c above and c + 1 below, a negative one nothing above and c below.
    with np.errstate(invalid="ignore", divide="ignore"):
        of_positive, of_negative = ((2 - f1) * calls - f1) / divisor, -f1 * calls / divisor
    shares = np.where(positive[:, None], of_positive, of_negative)
    return _by_unit(f1, shares, np.ones(len(y), bool), (positive, ~positive), of_row, num)


def _by_unit(
    values: Float,
    shares: Float,
    rows: npt.NDArray[np.bool_],
    classes: Sequence[npt.NDArray[np.bool_]],
    of_row: npt.NDArray[np.intp],
    num: int,
) -> Clustered:
    """Values [K] whose error is the sum of the shares [N, K] of rows, with the freedom of the classes."""
    sums = np.zeros((num, shares.shape[1]))
    # [U, K], every row added; `sums[of_row] += ...` would keep one row of each unit
    np.add.at(sums, of_row[rows], shares[rows])
    units = len(np.unique(of_row[rows]))
    freedom = min(effective_units(of_row[each]) for each in classes) - 1
    # the shares of both classes stand in `positive`; `negative` adds nothing to the variance
    return Clustered(values, sums, np.zeros_like(sums), units, 2, 2, freedom)


def differences_of(results: Clustered, is_paired: bool = False) -> tuple[Float, Float]:
    """(differences [J], their covariance [J, J]) of results of raters.

    Of 1 + J results the first less each of the others; where `is_paired`, of 2 J results the first J less the
    last J, each reader's from his own.
    """
    num = len(results.auroc) // 2 if is_paired else len(results.auroc) - 1
    # [J, 1 + J] or [J, 2 J]: each line takes one result less another
    first = np.eye(num) if is_paired else np.ones((num, 1))
    contrast = np.hstack([first, -np.eye(num)])
    # the covariance of a linear map C of results with covariance S is C S C^T
    return contrast @ results.auroc, contrast @ clustered_covariance(results) @ contrast.T


def _test(differences: Float, variance: float, freedom: float, margin: float | None) -> Difference:
    """Student's test of the mean difference; nan where there is no variance to test with."""
    from scipy.stats import norm, t

    value = float(differences.mean())
    if np.isnan(value) or not variance > 0 or not freedom > 0:
        return Difference(value, np.nan, np.nan, np.nan, np.nan, np.nan, np.nan)
    error = float(np.sqrt(variance))
    law = norm if np.isinf(freedom) else t(freedom)
    width = float(law.ppf((1 + LEVEL) / 2)) * error
    # one-sided: how likely so good a result is where the model is worse by exactly the margin
    p_noninferior = np.nan if margin is None else float(law.sf((value + margin) / error))
    p = min(1.0, 2 * float(law.sf(abs(value) / error)))
    # metrics lie between 0 and 1, so that their differences cannot be larger
    low, high = float(max(value - width, -1.0)), float(min(value + width, 1.0))
    return Difference(value, error, float(freedom), low, high, p, p_noninferior)
