"""Changes of single grey levels that raise a model's loss: FGSM and PGD."""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from cxr.data.augment import resample
from cxr.data.loader import Rows
from cxr.model.classifier import Classifier

Attack = Literal["fgsm", "pgd"]
ATTACKS: tuple[Attack, ...] = get_args(Attack)
RADII = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Grey levels of 255 that each pixel may change by at most."""
STEPS = 10
STEP_SHARE = 2.5 / STEPS
"""A step of PGD as a share of the radius, so that it can cross the ball (Madry et al. 2018)."""
MAX_BATCH = 32
"""Images whose gradients are computed at once."""


@dataclass(frozen=True)
class Attacker:
    """Attacks a classifier at its input, with the labels of dataset rows.

    Attributes:
        classifier: In evaluation mode.
        size: Width and height of its input.
        y: [n, C] of 1, 0 or nan (unknown, no part of the loss).
        rows: [n] dataset rows of these labels, ascending.
        seed: Of PGD's random start, which also depends on the row.
    """

    classifier: Classifier
    size: int
    y: "np.ndarray[tuple[int, ...], np.dtype[np.float64]]"
    rows: Rows
    seed: int

    def attack(self, images: Tensor, rows: Rows, kind: Attack, radius: float) -> Tensor:
        """Float images [B, size, size] that differ by at most the radius and stay in 0 to 255.

        Args:
            images: Packed, uint8 [B, S, S], of dataset rows [B].
            rows: These.
            kind: One of ATTACKS.
            radius: In grey levels of 255.
        """
        # [B, C] labels of these rows, which are found by halving, as they ascend
        known = self.y[np.searchsorted(self.rows, rows)].astype(np.float32)
        labels = torch.from_numpy(known).to(images.device)
        parts = []
        for start in range(0, len(rows), MAX_BATCH):
            part = slice(start, start + MAX_BATCH)
            clean = resample(images[part], self.size)
            if kind == "fgsm":
                parts.append(self._fgsm(clean, labels[part], radius))
            else:
                parts.append(self._pgd(clean, labels[part], rows[part], radius))
        return torch.cat(parts)[:, 0]  # [B, S, S], the one channel taken off

    def _fgsm(self, clean: Tensor, labels: Tensor, radius: float) -> Tensor:
        """One step by the sign of the gradient (Goodfellow et al. 2015)."""
        return (clean + radius * self._sign(clean, labels)).clamp(0, 255)

    def _pgd(self, clean: Tensor, labels: Tensor, rows: Rows, radius: float) -> Tensor:
        """Steps from a random start, each back into the ball and the range (Madry et al. 2018)."""
        # Both limits at once: a step back into this box is back into the ball and into the grey levels.
        low, high = (clean - radius).clamp(min=0), (clean + radius).clamp(max=255)
        shape = tuple(clean.shape[1:])
        # A generator for each row, so that a batch of another size attacks the same image in the same way.
        starts = [np.random.default_rng((self.seed, int(row))).uniform(-1, 1, shape) for row in rows]
        noise = torch.from_numpy(np.stack(starts)).to(clean)
        attacked = (clean + radius * noise).clamp(low, high)
        for _ in range(STEPS):
            attacked = (attacked + STEP_SHARE * radius * self._sign(attacked, labels)).clamp(low, high)
        return attacked

    def _sign(self, images: Tensor, labels: Tensor) -> Tensor:
        """Sign of the gradient of the loss [B, 1, S, S] on known labels, in float32; 0 where it is 0."""
        leaf = images.clone().requires_grad_()
        with torch.enable_grad():
            logits = self.classifier(leaf) + self.classifier.logit_shift
            known = ~labels.isnan()
            # nan labels become 0 with a weight of 0: they would else make every gradient nan
            losses = functional.binary_cross_entropy_with_logits(
                logits, labels.nan_to_num().to(logits), known.to(logits), reduction="sum"
            )
            # images do not depend on each other, so the gradient of the sum is the gradient of each
            (gradient,) = torch.autograd.grad(losses, leaf)
        return gradient.sign()
