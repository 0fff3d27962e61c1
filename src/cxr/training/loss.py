"""Masked, weighted binary cross-entropy as a sum, its class weights, and the logit shift that undoes them."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from cxr.labels.targets import Targets

Weighting = Literal["chexnet", "pos_weight", "none"]


@dataclass(frozen=True)
class ClassWeights:
    """Weights [C] of positive and negative cells, and the findings with one class only in training rows."""

    positive: Tensor
    negative: Tensor
    one_class: tuple[str, ...]

    def to(self, device: torch.device) -> "ClassWeights":
        """The same weights on another device."""
        return ClassWeights(self.positive.to(device), self.negative.to(device), self.one_class)


def class_weights(
    targets: Targets, weighting: Weighting, cap: float = 20.0, visits: npt.NDArray[np.float64] | None = None
) -> ClassWeights:
    """Weights per finding from training targets [N, C]; a finding with one class only keeps weights of 1.

    `chexnet`: w+ = |N| / (|P| + |N|), w- = |P| / (|P| + |N|) (Rajpurkar et al. 2017, section 2.1, there for
    the binary pneumonia model; section 5's 14-label model is unweighted). `pos_weight`: w+ = min(|N| / |P|,
    cap), w- = 1. Soft targets count in part on both sides; masked cells do not count. `visits` [N] is how
    often an epoch visits each row: P and N are what the training sees.
    """
    times = np.ones((1, 1)) if visits is None else visits[:, None]
    positive = (targets.y * targets.mask * times).sum(axis=0, dtype=np.float64)  # |P| [C]
    negative = (targets.mask * times).sum(axis=0) - positive  # |N| [C]
    has_both = (positive > 0) & (negative > 0)
    one_class = tuple(name for name, has in zip(targets.findings, has_both, strict=True) if not has)
    plus, minus = np.ones_like(positive), np.ones_like(positive)
    # `out` and `where`: findings of one class keep their 1, and nothing is divided by 0.
    if weighting == "chexnet":
        total = positive + negative
        np.divide(negative, total, out=plus, where=has_both)
        np.divide(positive, total, out=minus, where=has_both)
    elif weighting == "pos_weight":
        np.divide(negative, positive, out=plus, where=has_both)
        np.minimum(plus, cap, out=plus, where=has_both)
    return ClassWeights(torch.from_numpy(plus).float(), torch.from_numpy(minus).float(), one_class)


def masked_bce(logits: Tensor, y: Tensor, mask: Tensor, weights: ClassWeights) -> Tensor:
    """Sum of w+ y softplus(-z) + w- (1 - y) softplus(z) over the unmasked cells of [B, C], a scalar.

    The caller divides it by the number of unmasked cells of the global batch.
    """
    # [B, C]; softplus(-z) is -log sigmoid(z), without overflow
    losses = weights.positive * y * F.softplus(-logits) + weights.negative * (1 - y) * F.softplus(logits)
    # where, not a product: 0 times inf would be nan
    return torch.where(mask, losses, 0).sum()


def logit_shift(weights: ClassWeights) -> Tensor:
    """The number [C] that is added to logits so that weighted training gives unweighted probabilities.

    The weighted loss is least at odds p'/(1 - p') = (w+/w-) p/(1 - p), so p = p' w- / (p' w- + (1 - p') w+),
    which adds log(w-/w+) to the logit (Elkan 2001, theorem 2). Ranking within a finding is unchanged.
    """
    return torch.log(weights.negative) - torch.log(weights.positive)
