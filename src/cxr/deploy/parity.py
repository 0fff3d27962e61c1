"""An exported file beside PyTorch in float32: the largest difference of each output."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from cxr.arrays import AnyArray
from cxr.deploy.export_images import BATCH_SIZE, CheckImages
from cxr.deploy.graph_resize import ToSquare
from cxr.deploy.onnx_format import CALIBRATED, CAM, EMBEDDING, LOGIT, OOD_SCORE, PROBABILITY
from cxr.model.checkpoint import Checkpoint
from cxr.model.predict import feature_map, forward, ood_vectors

TOLERANCE = 1e-4
"""Largest difference of a probability in float32 with which a file is written."""

Values = Mapping[str, AnyArray]
Run = Callable[[AnyArray], Values]
"""Every output of images uint8 [N, H, W]."""


@dataclass(frozen=True)
class Resize:
    """The resize inside a file beside `images.prepare`, over images of their own sizes.

    Attributes:
        levels: Largest difference of a pixel of the square, in grey levels.
        probability: Largest difference of a probability that comes of it.
    """

    levels: int
    probability: float


def predict_float32(checkpoint: Checkpoint, squares: Tensor) -> dict[str, AnyArray]:
    """Every output of images uint8 [n, S, S] as `cxr predict` computes them, in float32.

    These are the functions of training and prediction; nothing of the exported graph is used.
    """
    config, classifier = checkpoint.metadata.config, checkpoint.classifier
    features = feature_map(classifier, squares, config.image.size, None)
    with torch.inference_mode():
        logits = classifier.classify(features)
        maps = classifier.activation_maps(features)
        embedding = features.float().mean(dim=(2, 3))
    averaged = logits
    if config.eval.tta != "none":
        averaged = forward(classifier, squares, config.image.size, None, config.eval.tta)
    probabilities = classifier.probabilities(averaged).numpy()  # float64
    values: dict[str, AnyArray] = {
        PROBABILITY: probabilities, LOGIT: logits.numpy(), CAM: maps.numpy(), EMBEDDING: embedding.numpy(),
    }  # fmt: skip
    if not checkpoint.recalibration.is_temperature:
        values[CALIBRATED] = checkpoint.recalibration.apply(probabilities)
    if checkpoint.ood is not None:
        vectors = ood_vectors(features, squares).numpy().astype(np.float64)
        values[OOD_SCORE] = checkpoint.ood.score(vectors)
    return values


def compare(checkpoint: Checkpoint, run: Run, images: CheckImages) -> dict[str, float]:
    """The largest difference of each output of a file over squares; nan where an output is not finite."""
    differences: dict[str, float] = {}
    for squares in torch.split(images.squares, BATCH_SIZE):
        expected = predict_float32(checkpoint, squares)
        for name, found in run(squares.numpy()).items():
            largest = float(np.abs(found - expected[name]).max())
            # np.fmax would forget a nan, which must be refused
            differences[name] = float(np.maximum(differences.get(name, 0.0), largest))
    return differences


def compare_resize(checkpoint: Checkpoint, run: Run, images: CheckImages) -> Resize | None:
    """How the resize inside differs from the one outside; None where only squares are known."""
    preprocess = checkpoint.metadata.preprocess
    to_square = ToSquare(preprocess.size, preprocess.fit)
    levels, probability = 0, 0.0
    for grey, square in zip(images.greys, images.squares, strict=bool(images.greys)):
        inside = to_square(torch.from_numpy(grey)[None])[0]
        levels = max(levels, int((inside - square).abs().max()))
        of_grey, of_square = run(grey[None])[PROBABILITY], run(square[None].numpy())[PROBABILITY]
        probability = max(probability, float(np.abs(of_grey - of_square).max()))
    return Resize(levels, probability) if images.greys else None


def is_equal(differences: Mapping[str, float]) -> bool:
    """Whether no probability differs by more than TOLERANCE; nan is no equality."""
    names = [name for name in (PROBABILITY, CALIBRATED) if name in differences]
    finite = all(np.isfinite(value) for value in differences.values())
    return finite and all(differences[name] <= TOLERANCE for name in names)
