"""An out-of-distribution (OOD) score for each image: how far it is from the validation images of training.

An image is three vectors: the classifier's pooled features, and the thumbnail and the texture of
`appearance`. For each vector the Mahalanobis distance to the validation images is computed (Lee et al. 2018).
The score is the largest of the three log distances, each scaled so that 0 is usual and 1 is the limit.
`ood_fit` fits the detector; no torch is imported. docs/out-of-distribution.md has the measurements.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from cxr.console import count

Float = npt.NDArray[np.float64]

PARTS = ("features", "thumbnail", "texture")

THUMBNAIL = 8
"""Width and height of the thumbnail."""

RATE = 0.01
"""Fraction of images like those of training that the limit is chosen to flag."""

ENOUGH_IMAGES = 300
"""With fewer the warning misses much (docs/out-of-distribution.md), which `cxr predict` says."""

_ARRAYS = ("mean", "scale", "directions", "variances", "rest")
"""Fields of a Gaussian, in their order; also the last part of the names of a checkpoint's tensors."""


@dataclass(frozen=True)
class Gaussian:
    """A normal distribution in d dimensions: exact in k directions, the same variance in every other.

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
        """[n] log(Mahalanobis distance / sqrt(d)) of values [n, d]."""
        scaled = (values - self.mean) / self.scale  # [n, d]
        along = scaled @ self.directions.T  # [n, k]
        # what the k directions do not explain, by Pythagoras; rounding may make it negative
        outside = np.maximum((scaled**2).sum(axis=1) - (along**2).sum(axis=1), 0)  # [n]
        # [n] the squared distance; 1e-9 keeps the logarithm of an image at the mean finite
        squared = (along**2 / self.variances).sum(axis=1) + outside / self.rest
        return np.asarray(0.5 * np.log(squared / values.shape[1] + 1e-9))


class MeasuredLimit(BaseModel):
    """The score above which `cxr predict` warns, and how often that is a false alarm."""

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
        # the share of held-out images that raised it, beside what was intended
        rate = self.alarms / self.num_images
        intended = max(RATE, 1 / (self.num_images + 1))  # few images cannot tell what is rarer
        of = f"{count(self.num_images, 'validation image')} of {count(self.num_patients, 'patient')}"
        return (
            f"intended for 1 in {round(1 / intended)} images of the training dataset; "
            f"measured: {rate:.1%} of {of}"
        )


@dataclass(frozen=True)
class OODDetector:
    """Scores images by their distance to the validation images of training.

    Attributes:
        gaussians: One for each of PARTS.
        middle: [3] mean of each part's log distance over images that it was not fitted on.
        reach: [3] from there to the part's limit.
        measured: The limit of the score, and its false alarms.
    """

    gaussians: tuple[Gaussian, ...]
    middle: Float
    reach: Float
    measured: MeasuredLimit

    def score(self, vectors: Float) -> Float:
        """[n] scores of vectors [n, d]: pooled features and `appearance.describe` side by side."""
        return largest(log_distances(self.gaussians, vectors), self.middle, self.reach)


def largest(distances: Float, middle: Float, reach: Float) -> Float:
    """[n] scores: the largest over the parts of log distances [n, 3], on their scale from middle to limit."""
    return np.asarray(((distances - middle) / reach).max(axis=1))


def log_distances(gaussians: Sequence[Gaussian], vectors: Float) -> Float:
    """[n, 3] log distance of each part of vectors [n, d]."""
    parts = split_parts(vectors, num_features=len(gaussians[0].mean))
    distances = [gaussian.log_distance(part) for gaussian, part in zip(gaussians, parts, strict=True)]
    # [n, 3]
    return np.stack(distances, axis=1)


def split_parts(vectors: Float, num_features: int) -> tuple[Float, Float, Float]:
    """Features [n, D], thumbnail [n, 64] and texture [n, k] of vectors [n, D + 64 + k]."""
    features, thumbnail, texture = np.split(vectors, [num_features, num_features + THUMBNAIL**2], axis=1)
    return features, thumbnail, texture


def to_arrays(detector: OODDetector) -> dict[str, npt.NDArray[np.float32]]:
    """The detector's arrays by name, as a checkpoint holds them."""
    arrays = {"middle": detector.middle, "reach": detector.reach}
    for part, gaussian in zip(PARTS, detector.gaussians, strict=True):
        arrays |= {f"{part}.{name}": getattr(gaussian, name) for name in _ARRAYS}
    return {name: np.ascontiguousarray(value, np.float32) for name, value in arrays.items()}


def from_arrays(
    measured: MeasuredLimit, arrays: Mapping[str, npt.NDArray[np.float32]], num_features: int
) -> OODDetector:
    """The detector that `to_arrays` took apart, for a classifier of `num_features` features.

    Raises:
        KeyError: An array is missing.
        ValueError: An array has another shape.
    """
    wide = {name: np.asarray(value, np.float64) for name, value in arrays.items()}
    # computed in float64 from what was stored in float32
    gaussians = tuple(Gaussian(*(wide[f"{part}.{name}"] for name in _ARRAYS)) for part in PARTS)
    # the texture's width depends on the image size, so that its mean sets it
    widths = (num_features, THUMBNAIL**2, len(gaussians[-1].mean))
    for part, gaussian, width in zip(PARTS, gaussians, widths, strict=True):
        num_kept = len(gaussian.variances)
        shapes = tuple(getattr(gaussian, name).shape for name in _ARRAYS)
        if shapes != ((width,), (width,), (num_kept, width), (num_kept,), (1,)):
            raise ValueError(f"familiarity.{part} has arrays of the shapes {shapes}")
    if wide["middle"].shape != (len(PARTS),) or wide["reach"].shape != (len(PARTS),):
        raise ValueError("familiarity.middle and familiarity.reach have other shapes")
    return OODDetector(gaussians, wide["middle"], wide["reach"], measured)
