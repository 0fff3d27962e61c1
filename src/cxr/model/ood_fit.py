"""Validation images -> OODDetector: its distributions, its limits, and how often they raise a false alarm."""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from cxr.model.ood import (
    PARTS,
    RATE,
    THUMBNAIL,
    Float,
    Gaussian,
    MeasuredLimit,
    OODDetector,
    largest,
    log_distances,
    split_parts,
)

Integers = npt.NDArray[np.int64]

MIN_PATIENTS = 30
"""With fewer a limit would be a guess."""

MAX_IMAGES = 2000
"""As many validation images take part; ChestX-ray14 has 11,000, and the limit gains little beyond."""

_NUM_FOLDS = 3
_NUM_DIRECTIONS = 64
_MIN_SCALE = 1e-2  # of the largest deviation
_MIN_VARIANCE = 1e-6


def draw_patients(rows: Integers, patients: npt.ArrayLike, max_images: int) -> Integers:
    """All rows of patients drawn at random, at most `max_images` of the rows [n] of `patients` [n]."""
    ids = np.asarray(patients, dtype=str)
    names, numbers, num_images = np.unique(ids, return_inverse=True, return_counts=True)
    order = np.random.default_rng(0).permutation(len(names))
    # whole patients in random order, as long as all of their images fit
    drawn = order[np.cumsum(num_images[order]) <= max_images]
    return rows[np.isin(numbers, drawn)]


def fit_detector(vectors: Float, num_features: int, patients: Sequence[str]) -> OODDetector | None:
    """The detector of validation images, or None where there are fewer than MIN_PATIENTS patients.

    The limit comes from cross-fitting: each image is scored by a fit on other patients. Its rate of false
    alarms is measured by doing all of that on one half of the patients and counting in the other half, both
    ways.

    Args:
        vectors: [n, d], pooled features and `appearance.describe` side by side.
        num_features: How many of the d are features.
        patients: n ids.
    """
    from threadpoolctl import threadpool_limits

    numbers = np.unique(np.asarray(patients, dtype=str), return_inverse=True)[1]
    num_patients = int(numbers.max()) + 1 if len(numbers) else 0
    vectors = np.asarray(vectors, np.float64)
    if num_patients < MIN_PATIENTS or not np.isfinite(vectors).all():
        return None
    # patients are numbered at random, so that `group % 2` is a random half and `group % 3` a random third
    groups = np.random.default_rng(0).permutation(num_patients)[numbers]
    alarms = 0
    # one thread is three times as fast for a few hundred rows, and as fast for 2,000
    with threadpool_limits(1, user_api="blas"):
        for half in (groups % 2 == 0, groups % 2 == 1):
            # // 2 numbers a half's patients 0, 1, 2, ...: `group % 3` is then a random third of them, too
            detector = _cross_fit(vectors[half], num_features, groups[half] // 2, alarms=0)
            scores = detector.score(vectors[~half])
            alarms += int((scores > detector.measured.limit).sum())
        return _cross_fit(vectors, num_features, groups, alarms)


def _cross_fit(vectors: Float, num_features: int, groups: Integers, alarms: int) -> OODDetector:
    """Fitted on all rows, its limit on scores of rows left out; `groups` numbers the patients at random."""
    held_out = np.empty((len(vectors), len(PARTS)))  # log distances
    for fold in range(_NUM_FOLDS):
        is_out = groups % _NUM_FOLDS == fold
        held_out[is_out] = log_distances(_fit_parts(vectors[~is_out], num_features), vectors[is_out])
    # [3] the scale of the scores: 0 at the mean of images that no fit has seen, 1 at the limit
    middle = held_out.mean(axis=0)
    reach = np.maximum(_limits(held_out) - middle, 1e-6)
    measured = MeasuredLimit(
        limit=1.0,  # on the scale of middle and reach
        alarms=alarms,
        num_images=len(vectors),
        num_patients=len(np.unique(groups)),
    )
    return OODDetector(_fit_parts(vectors, num_features), middle, reach, measured)


def _limits(held_out: Float) -> Float:
    """[3] limits of the log distances [n, 3], so that about RATE of the images are above any of them.

    They are the r-th largest distance of each part, with r as large as the images above any allow: a common
    limit would leave it to the part with the most unusual images to set it for all. Where there are too few
    images even for the second largest, it is a common limit in deviations, which fewer images exceed by
    chance.
    """
    allowed = max(0, math.floor((len(held_out) + 1) * RATE) - 1)  # as a conformal prediction counts
    ordered = np.sort(held_out, axis=0)[::-1]  # [n, 3], each part's largest first
    nums_above = [int((held_out > ordered[rank]).any(axis=1).sum()) for rank in range(allowed + 1)]
    rank = max(rank for rank, num in enumerate(nums_above) if num <= allowed)
    if rank > 0:
        return np.asarray(ordered[rank])
    middle, spread = held_out.mean(axis=0), held_out.std(axis=0)
    scores = np.sort(largest(held_out, middle, np.maximum(spread, 1e-6)))[::-1]
    return np.asarray(middle + scores[allowed] * spread)


def _fit_parts(vectors: Float, num_features: int) -> tuple[Gaussian, ...]:
    """One Gaussian for each part; a mirrored thumbnail counts as much as the image's own."""
    features, thumbnail, texture = split_parts(vectors, num_features)
    # [n, 8, 8] and mirrored: a radiograph that is turned over is nothing unusual
    squares = thumbnail.reshape(-1, THUMBNAIL, THUMBNAIL)
    mirrored = squares[:, :, ::-1].reshape(len(thumbnail), -1)
    thumbnails = np.concatenate([thumbnail, mirrored])
    return fit_gaussian(features), fit_gaussian(thumbnails), fit_gaussian(texture)


def fit_gaussian(rows: Float) -> Gaussian:
    """The shrunk normal distribution of rows [n, d], exact in the 64 directions in which the rows vary most.

    The covariance [d, d] is Ledoit and Wolf's: (1 - s) S + s t I, with S the covariance of the rows, t its
    mean variance and s the share that they estimate. The variances of the other d - 64 directions become
    their mean.
    """
    from scipy.linalg import eigh
    from sklearn.covariance import LedoitWolf  # a prediction fits nothing and need not import it

    # 1. divide each value by its deviation; a value that hardly varies keeps a hundredth of the largest one
    mean, scale = rows.mean(axis=0), rows.std(axis=0)
    scale = np.maximum(scale, max(_MIN_SCALE * float(scale.max()), 1e-6))
    scaled = (rows - mean) / scale
    # 2. the shrunk covariance, without its inverse, which is not used
    covariance = LedoitWolf(store_precision=False, assume_centered=True).fit(scaled).covariance_
    # 3. of its d eigenvectors the last, widest ones; `variances` [k] and `vectors` [d, k]
    width = len(covariance)
    num_kept = min(width, _NUM_DIRECTIONS)
    variances, vectors = eigh(covariance, subset_by_index=(width - num_kept, width - 1))
    # 4. the mean variance of the others, as the trace is the sum of all d. Where there are no others, float32
    #    leaves a rounding error outside the directions, which a tiny variance here would make large
    others = width - num_kept
    rest = float(np.trace(covariance) - variances.sum()) / others if others else float(variances[0])
    return Gaussian(
        mean=mean,
        scale=scale,
        directions=vectors.T,
        variances=np.maximum(variances, _MIN_VARIANCE),
        rest=np.array([max(rest, _MIN_VARIANCE)]),
    )
