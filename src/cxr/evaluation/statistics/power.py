"""How wide the interval of an AUROC will be, and how often a paired comparison will find a difference.

Scores are taken to be binormal with equal variances. The variance of an AUROC is then a function of it and of
the numbers of positive and negative images (Bamber 1975; Hanley and McNeil 1982, equation 2), and so is the
covariance of two models' AUROCs on the same images, given the correlation of their scores (Hanley and McNeil
1983; Obuchowski and McClish 1997). Images are independent here; `Design` allows for those of one patient.
"""

from dataclasses import dataclass

import numpy as np

from cxr.evaluation.statistics.intervals import LEVEL, Interval

ALPHA = 1 - LEVEL
"""Two-sided level of the test."""
_MOST_PATIENTS = 10_000_000


@dataclass(frozen=True)
class Design:
    """A planned test set.

    Attributes:
        num_patients: Patients.
        prevalence: Share of positive images.
        images: Images of each patient.
        within: Correlation of the images of a patient, from 0 (as good as images of others) to 1.
    """

    num_patients: int
    prevalence: float
    images: float = 1.0
    within: float = 0.0

    @property
    def num_effective(self) -> float:
        """Independent images that are worth as much: all over the design effect 1 + (m - 1) r (Kish 1965)."""
        return self.num_patients * self.images / (1 + (self.images - 1) * self.within)

    @property
    def num_positive(self) -> float:
        """Of them positive."""
        return self.num_effective * self.prevalence

    @property
    def num_negative(self) -> float:
        """Of them negative."""
        return self.num_effective * (1 - self.prevalence)

    @property
    def num_rarer(self) -> float:
        """Of them of the rarer class."""
        return min(self.num_positive, self.num_negative)


def auroc_covariance(a: float, b: float, correlation: float, design: Design) -> float:
    """Covariance of the AUROCs of two models on the same images; the variance where a = b and it is 1.

    Args:
        a: The true AUROC of one model.
        b: That of the other.
        correlation: Of both models' scores, within positive and within negative images.
        design: The test set.
    """
    # Scores of a positive and a negative image are compared in pairs. Two pairs share both images, the
    # positive one, or the negative one; pairs that share none add nothing.
    # Half of a comparison's noise is that of each image, so that
    # pairs which share one are half as correlated.
    same_pair = _both(a, b, correlation) - a * b
    same_image = _both(a, b, correlation / 2) - a * b
    num_positive, num_negative = design.num_positive, design.num_negative
    sharing = same_pair + (num_negative - 1 + num_positive - 1) * same_image
    return sharing / (num_positive * num_negative)


def difference_error(a: float, b: float, correlation: float, design: Design) -> float:
    """Standard error of the difference of two models' AUROCs on the same images."""
    variances = [auroc_covariance(auroc, auroc, 1.0, design) for auroc in (a, b)]
    # Rounding may put the difference of equal models below 0.
    return float(np.sqrt(max(sum(variances) - 2 * auroc_covariance(a, b, correlation, design), 0.0)))


def power(a: float, b: float, correlation: float, design: Design) -> float:
    """Share of test sets in which the two-sided test at 5 % finds a difference."""
    from scipy.stats import norm

    if a == b:
        return ALPHA
    error = difference_error(a, b, correlation, design)
    if not error:
        return 1.0
    limit, ratio = norm.isf(ALPHA / 2), abs(a - b) / error
    # Both tails: the second one is a significant difference of the wrong sign.
    return float(norm.sf(limit - ratio) + norm.cdf(-limit - ratio))


def detectable_difference(error: float, freedom: float, target: float = 0.8) -> float:
    """The true difference that a test with this standard error finds in a share `target` of samples."""
    from scipy.stats import norm, t

    if not freedom > 0:
        return float("nan")
    if np.isinf(freedom):
        return float((norm.isf(ALPHA / 2) + norm.ppf(target)) * error)
    return float((t.isf(ALPHA / 2, freedom) + t.ppf(target, freedom)) * error)


def num_patients_needed(a: float, b: float, correlation: float, design: Design, target: float) -> int | None:
    """The fewest patients with at least this power; None where ten million have less."""

    def reaches(num: int) -> bool:
        tried = Design(num, design.prevalence, design.images, design.within)
        return tried.num_rarer >= 2 and power(a, b, correlation, tried) >= target

    # Power grows with the patients: 1. double until it is reached, 2. halve the gap.
    low, high = 1, 2
    while not reaches(high):
        low, high = high, 2 * high
        if high > _MOST_PATIENTS:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if reaches(middle) else (middle, high)
    return high


def smallest_difference(auroc: float, correlation: float, design: Design, target: float) -> float | None:
    """The smallest rise above an AUROC that is found with this power; None where a rise to 1 is not."""
    low, high = 0.0, 1 - auroc - 1e-9
    if power(auroc, auroc + high, correlation, design) < target:
        return None
    # 40 halvings leave 1e-12 of the range.
    for _ in range(40):
        middle = (low + high) / 2
        is_enough = power(auroc, auroc + middle, correlation, design) >= target
        low, high = (low, middle) if is_enough else (middle, high)
    return high


def expected_interval(value: float, error: float, num: float) -> Interval:
    """About a share or an AUROC, on the logit scale with Student's quantile, as in reports."""
    from scipy.special import expit, logit, stdtrit

    # Delta method, as in `intervals.interval`: the logit's slope is 1 / (value (1 - value)).
    half_width = stdtrit(num - 1, (1 + LEVEL) / 2) * error / (value * (1 - value))
    return Interval(*(float(expit(logit(value) + sign * half_width)) for sign in (-1, 1)))


def expected_auroc_interval(auroc: float, design: Design) -> Interval:
    """The interval that a test set is expected to give."""
    error = np.sqrt(auroc_covariance(auroc, auroc, 1.0, design))
    return expected_interval(auroc, float(error), design.num_rarer)


def expected_share_interval(share: float, num: float) -> Interval:
    """Of a sensitivity or specificity among so many independent images of its class."""
    return expected_interval(share, float(np.sqrt(share * (1 - share) / (num - 1))), num)


def _both(a: float, b: float, correlation: float) -> float:
    """Probability that two comparisons of images, with this correlation, are both won: by normal scores."""
    from scipy.stats import multivariate_normal, norm

    joint = multivariate_normal(cov=[[1, correlation], [correlation, 1]], allow_singular=True)
    return float(joint.cdf([norm.ppf(a), norm.ppf(b)]))
