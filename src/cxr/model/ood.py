"""How unlike the validation images of its training an image is: a score, its alarm limit, and how often that errs.

An image is three vectors: the classifier's pooled features, and the thumbnail and the texture of `appearance`. For each
the Mahalanobis distance to the validation images is taken (Lee et al. 2018), with the covariance shrunk towards a
multiple of the identity (Ledoit and Wolf 2004), so that it is well-conditioned for fewer images than features. The
score is the largest of the three logarithms, each on a scale where 0 is usual and 1 is its own limit.
docs/out-of-distribution.md has the measurements.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from cxr.console import count
from cxr.model.appearance import THUMBNAIL

Float = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

PARTS = ("features", "thumbnail", "texture")
RATE = 0.01
"""Share of images like those of training that the limit is chosen to flag."""

MIN_PATIENTS = 30
"""With fewer a limit would be a guess."""

ENOUGH_IMAGES = 300
"""With fewer the warning misses much (docs/out-of-distribution.md), which `cxr predict` says."""

MOST_IMAGES = 2000
"""As many validation images are looked at; ChestX-ray14 has 11,000, and the limit gains little beyond."""

_FOLDS = 3
_DIRECTIONS = 64
_LEAST_SCALE = 1e-2


@dataclass(frozen=True)
class Gaussian:
    """A shrunk normal distribution in d dimensions, its covariance exact in k directions and round in the rest.

    Attributes:
        mean: [d].
        scale: [d] deviation of each value, by which it is divided first.
        directions: [k, d] orthonormal.
        variances: [k] along them, after shrinkage.
        rest: [1] variance in every other direction.
    """

    mean: Float
    scale: Float
    directions: Float
    variances: Float
    rest: Float

    def log_distance(self, values: Float) -> Float:
        """[n] logarithm of the Mahalanobis distance over the square root of d, of values [n, d]."""
        scaled = (values - self.mean) / self.scale
        along = scaled @ self.directions.T
        outside = np.maximum((scaled**2).sum(axis=1) - (along**2).sum(axis=1), 0)
        squared = (along**2 / self.variances).sum(axis=1) + outside / self.rest
        return np.asarray(0.5 * np.log(squared / values.shape[1] + 1e-9))


class Measured(BaseModel):
    """Where the alarm begins and how often it errs."""

    model_config = ConfigDict(frozen=True)
    limit: FiniteFloat
    """A score above it raises the warning."""
    alarms: int = Field(ge=0)
    """Images that raised it although neither they nor their patient took part in the fit."""
    num_images: int = Field(ge=1)
    """Validation images on which that was counted."""
    num_patients: int = Field(ge=1)
    """Their patients."""

    def __str__(self) -> str:
        rate = self.alarms / self.num_images
        meant = max(RATE, 1 / (self.num_images + 1))  # few images cannot tell what is rarer
        return (
            f"meant to be raised by 1 in {round(1 / meant)} images of the training archive; measured: {rate:.1%} of "
            f"{count(self.num_images, 'validation image')} of {count(self.num_patients, 'patient')}"
        )


@dataclass(frozen=True)
class Familiarity:
    """What tells whether an image is like those of training.

    Attributes:
        gaussians: One for each of PARTS.
        middle: [3] mean of each part's log distance over images it was not fitted on.
        reach: [3] from there to the part's limit.
        measured: The limit of the score, and its false alarms.
    """

    gaussians: tuple[Gaussian, ...]
    middle: Float
    reach: Float
    measured: Measured

    def score(self, values: Float) -> Float:
        """[n] scores of values [n, d]: pooled features and `appearance.describe` side by side."""
        return _score(_log_distances(self.gaussians, values), self.middle, self.reach)


def whole_patients(rows: Integers, patients: npt.ArrayLike, most: int) -> Integers:
    """At most `most` of the rows [n] of `patients` [n], in their order: all images of patients drawn at random."""
    names, numbers, counts = np.unique(
        np.asarray(patients, dtype=str), return_inverse=True, return_counts=True
    )
    order = np.random.default_rng(0).permutation(len(names))
    taken = order[np.cumsum(counts[order]) <= most]
    return rows[np.isin(numbers, taken)]


def fit(values: Float, width: int, patients: Sequence[str]) -> Familiarity | None:
    """The Familiarity of validation images, or None where there are fewer than MIN_PATIENTS patients.

    The limit comes from cross-fitting: each image is scored by a fit on other patients. Its rate of false alarms is
    measured by doing all of that on one half of the patients and counting in the other half, both ways.

    Args:
        values: [n, d], pooled features and `appearance.describe` side by side.
        width: How many of the d are features.
        patients: n ids.
    """
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # comes with scikit-learn

    numbers = np.unique(np.asarray(patients, dtype=str), return_inverse=True)[1]
    num_patients = int(numbers.max()) + 1 if len(numbers) else 0
    values = np.asarray(values, np.float64)
    if num_patients < MIN_PATIENTS or not np.isfinite(values).all():
        return None
    groups = np.random.default_rng(0).permutation(num_patients)[numbers]
    alarms = 0
    with threadpool_limits(
        1, user_api="blas"
    ):  # three times as fast for a few hundred rows, as fast for 2,000
        for half in (groups % 2 == 0, groups % 2 == 1):
            part = _fit(values[half], width, groups[half] // 2, 0)
            alarms += int((part.score(values[~half]) > part.measured.limit).sum())
        return _fit(values, width, groups, alarms)


def _fit(values: Float, width: int, groups: Integers, alarms: int) -> Familiarity:
    """Fitted on all rows, its limit on scores of rows left out; `groups` numbers the patients at random."""
    held_out = np.empty((len(values), len(PARTS)))
    for number in range(_FOLDS):
        away = groups % _FOLDS == number
        held_out[away] = _log_distances(_gaussians(values[~away], width), values[away])
    middle = held_out.mean(axis=0)
    reach = np.maximum(_limits(held_out) - middle, 1e-6)
    num_patients = len(np.unique(groups))
    measured = Measured(limit=1.0, alarms=alarms, num_images=len(values), num_patients=num_patients)
    return Familiarity(_gaussians(values, width), middle, reach, measured)


def _limits(held_out: Float) -> Float:
    """[3] limits of the log distances [n, 3], so that about RATE of the images are above any of them.

    They are the r-th largest distance of each part, with r as large as the images above any allow: a common limit
    would leave it to the part with the most unusual images to set it for all. Where there are too few images even for
    the second largest, it is a common limit in deviations, which fewer images exceed by chance.
    """
    allowed = max(0, math.floor((len(held_out) + 1) * RATE) - 1)  # as a conformal prediction counts
    ordered = np.sort(held_out, axis=0)[::-1]
    nums_above = [int((held_out > ordered[rank]).any(axis=1).sum()) for rank in range(allowed + 1)]
    rank = max(rank for rank, num in enumerate(nums_above) if num <= allowed)
    if rank > 0:
        return np.asarray(ordered[rank])
    middle, spread = held_out.mean(axis=0), held_out.std(axis=0)
    largest = np.sort(_score(held_out, middle, np.maximum(spread, 1e-6)))[::-1]
    return np.asarray(middle + largest[allowed] * spread)


def _score(log_distances: Float, middle: Float, reach: Float) -> Float:
    return np.asarray(((log_distances - middle) / reach).max(axis=1))


def _split(values: Float, width: int) -> tuple[Float, Float, Float]:
    features, thumbnail, texture = np.split(values, [width, width + THUMBNAIL**2], axis=1)
    return features, thumbnail, texture


def _log_distances(gaussians: Sequence[Gaussian], values: Float) -> Float:
    parts = _split(values, len(gaussians[0].mean))
    return np.stack([g.log_distance(part) for g, part in zip(gaussians, parts, strict=True)], axis=1)


def _gaussians(values: Float, width: int) -> tuple[Gaussian, ...]:
    """One a part; a mirrored thumbnail is as familiar as the image itself."""
    features, thumbnail, texture = _split(values, width)
    mirrored = thumbnail.reshape(-1, THUMBNAIL, THUMBNAIL)[:, :, ::-1].reshape(len(thumbnail), -1)
    return tuple(fit_gaussian(part) for part in (features, np.concatenate([thumbnail, mirrored]), texture))


def fit_gaussian(rows: Float) -> Gaussian:
    """The shrunk normal distribution of rows [n, d], exact in the 64 directions in which the rows vary most.

    The covariance [d, d] is Ledoit and Wolf's: (1 - s) S + s t I, with S the covariance of the rows, t its mean
    variance and s the share that they estimate. The variances of the other d - 64 directions become their mean.
    """
    from scipy.linalg import eigh
    from sklearn.covariance import LedoitWolf  # a prediction fits nothing and need not import it

    # 1. divide each value by its deviation; a value that hardly varies keeps a hundredth of the largest one
    mean, scale = rows.mean(axis=0), rows.std(axis=0)
    scale = np.maximum(scale, max(_LEAST_SCALE * float(scale.max()), 1e-6))
    scaled = (rows - mean) / scale
    # 2. the shrunk covariance, without its inverse, which is not used
    covariance = LedoitWolf(store_precision=False, assume_centered=True).fit(scaled).covariance_
    # 3. of its d eigenvectors the last, widest ones; `variances` [k] and `vectors` [d, k]
    width = len(covariance)
    num_kept = min(width, _DIRECTIONS)
    variances, vectors = eigh(covariance, subset_by_index=(width - num_kept, width - 1))
    # 4. the mean variance of the others, as the trace is the sum of all d. Where there are no others, float32 leaves
    #    a rounding error outside the directions, which a tiny variance here would make large
    others = width - num_kept
    rest = float(np.trace(covariance) - variances.sum()) / others if others else float(variances[0])
    return Gaussian(
        mean=mean,
        scale=scale,
        directions=vectors.T,
        variances=np.maximum(variances, 1e-6),
        rest=np.array([max(rest, 1e-6)]),
    )


def to_arrays(familiarity: Familiarity) -> dict[str, npt.NDArray[np.float32]]:
    """Its arrays by name, as a checkpoint holds them."""
    arrays = {
        f"{part}.{name}": value
        for part, gaussian in zip(PARTS, familiarity.gaussians, strict=True)
        for name, value in vars(gaussian).items()
    }
    arrays |= {"middle": familiarity.middle, "reach": familiarity.reach}
    return {name: np.ascontiguousarray(value, np.float32) for name, value in arrays.items()}


def from_arrays(measured: Measured, arrays: Mapping[str, npt.NDArray[np.float32]], width: int) -> Familiarity:
    """What `to_arrays` took apart, for a classifier of `width` features.

    Raises:
        KeyError: An array is missing.
        ValueError: An array is of another shape.
    """
    wide = {name: np.asarray(value, np.float64) for name, value in arrays.items()}
    gaussians = tuple(
        Gaussian(*(wide[f"{part}.{name}"] for name in ("mean", "scale", "directions", "variances", "rest")))
        for part in PARTS
    )
    widths = (width, THUMBNAIL**2, len(gaussians[-1].mean))
    for part, gaussian, size in zip(PARTS, gaussians, widths, strict=True):
        num = len(gaussian.variances)
        shapes = tuple(value.shape for value in vars(gaussian).values())
        if shapes != ((size,), (size,), (num, size), (num,), (1,)):
            raise ValueError(f"familiarity.{part} has arrays of the shapes {shapes}")
    if wide["middle"].shape != (len(PARTS),) or wide["reach"].shape != (len(PARTS),):
        raise ValueError("familiarity.middle and familiarity.reach have other shapes")
    return Familiarity(gaussians, wide["middle"], wide["reach"], measured)
