"""Sets of labels with a stated coverage: split-conformal prediction within each class.

Vovk 2012, "Conditional validity of inductive conformal predictors"; Sadinle, Lei and Wasserman 2019, "Least
ambiguous set-valued classifiers with bounded error levels". Everywhere `y` is [N] of 1, 0 or nan (unknown,
left out) and `p` is [N] of scores, higher meaning more likely.
"""

from typing import NamedTuple

import numpy as np

from cxr.evaluation.statistics.metrics import Float

_SLACK = 1e-9  # images; 0.9 x 10 counts as 9, whatever its last digit as a float


class Limits(NamedTuple):
    """Which labels are in the set of an image: present where p >= lowest, absent where p <= highest."""

    lowest: float
    highest: float


class SetShares(NamedTuple):
    """Of the images of one finding; nan without an image of the kind.

    Attributes:
        coverage_positive: Positive images whose set has `present`.
        coverage_negative: Negative images whose set has `absent`.
        coverage: Images whose set has their label.
        mean_size: Labels in a set, from 0 to 2.
        both: Images whose set has both labels, which decides nothing.
        empty: Images whose set has neither.
    """

    coverage_positive: Float
    coverage_negative: Float
    coverage: Float
    mean_size: Float
    both: Float
    empty: Float


def fit_limits(y: Float, p: Float, level: float) -> Limits:
    """Limits by which a new image's set has its label with at least this probability, whatever the label.

    Of n images of a class, the label may be missed by the k = floor((n + 1) (1 - level)) that fit it worst.
    With k = 0, too few images, every set has it.

    Args:
        y: [N] labels of images that no metric is computed on.
        p: [N] their scores, between 0 and 1.
        level: The coverage, such as 0.9.
    """
    # [P], [Q] scores of either class, those that fit their label worst first
    positive, negative = np.sort(p[y == 1]), np.sort(p[y == 0])[::-1]
    # Scores are between 0 and 1: these limits put both labels into every set.
    lowest, highest = 0.0, 1.0
    missed = int((len(positive) + 1) * (1 - level) + _SLACK)
    if missed:
        lowest = float(positive[missed - 1])
    missed = int((len(negative) + 1) * (1 - level) + _SLACK)
    if missed:
        highest = float(negative[missed - 1])
    return Limits(lowest, highest)


def sum_sets(y: Float, p: Float, limits: Limits) -> Float:
    """[6, N] what `set_shares` needs of each row: its class, its label in its set, both labels, neither."""
    has_present, has_absent = p >= limits.lowest, p <= limits.highest
    positive, negative = y == 1, y == 0
    either = positive | negative
    rows = (positive, positive & has_present, negative, negative & has_absent,
            either & has_present & has_absent, either & ~has_present & ~has_absent)  # fmt: skip
    return np.array(rows, np.float64)


def set_shares(sums: Float) -> SetShares:
    """From the sums [6, ...] of `sum_sets` over rows."""
    num_positive, right_positive, num_negative, right_negative, both, empty = sums
    with np.errstate(invalid="ignore", divide="ignore"):
        num = np.where(num_positive + num_negative > 0, num_positive + num_negative, np.nan)
        return SetShares(
            np.where(num_positive > 0, right_positive / num_positive, np.nan),
            np.where(num_negative > 0, right_negative / num_negative, np.nan),
            (right_positive + right_negative) / num,
            # a set has one label, one more where it is both, one less where it is neither
            1 + (both - empty) / num,
            both / num,
            empty / num,
        )
