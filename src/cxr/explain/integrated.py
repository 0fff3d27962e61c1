"""Integrated gradients (Sundararajan et al. 2017): what each pixel adds to the logit of a finding."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from cxr.model.classifier import Classifier

FEWEST_STEPS, MOST_STEPS = 32, 512
"""Images between baseline and image at which gradients are taken, doubled while they do not add up."""
TOLERANCE = 0.01
"""Of the difference of the logits, and in logits where that is below 1."""
_AT_ONCE = 32
"""Of the images between, how many are computed together: a backward pass keeps all that was computed."""


def integrate_gradients(
    classifier: Classifier, images: Tensor, wanted: Sequence[Sequence[int]] | None = None
) -> Tensor:
    """Attributions [B, C, S, S] of images [B, 1, S, S] in [0, 255].

    The baseline is the image's mean grey without any structure. Black would give dark places nothing,
    whatever the model sees there, and a pneumothorax is dark. The values of a map add up to the logit of the
    image less that of the baseline (completeness) within TOLERANCE: steps are doubled until they do, up to
    MOST_STEPS.

    Args:
        classifier: In evaluation mode; computes in float32, as gradients in half precision do not add up.
        images: On the classifier's device.
        wanted: For each image the numbers of its findings; other maps are 0. None is all.
    """
    num_findings = classifier.head.out_features
    result = torch.zeros(len(images), num_findings, *images.shape[2:], device=images.device)
    for number, image in enumerate(images):
        findings = list(range(num_findings)) if wanted is None else list(wanted[number])
        baseline = image.mean().expand_as(image)
        with torch.no_grad():
            # [2, F] logits at both ends, whose difference the map must add up to
            ends = classifier(torch.stack([image, baseline]))[:, findings]
        difference = ends[0] - ends[1]
        allowed = TOLERANCE * difference.abs().clamp(min=1)
        # A rule of twice the steps has other places: nothing of the map before can be kept.
        num_steps = FEWEST_STEPS
        maps = attribute(classifier, image, baseline, findings, num_steps)
        while num_steps < MOST_STEPS and ((maps.sum(dim=(1, 2)) - difference).abs() > allowed).any():
            num_steps *= 2
            maps = attribute(classifier, image, baseline, findings, num_steps)
        # a map that does not add up after MOST_STEPS is kept as it is
        result[number, findings] = maps
    return result


def attribute(
    classifier: Classifier, image: Tensor, baseline: Tensor, findings: Sequence[int], num_steps: int
) -> Tensor:
    """Attributions [F, S, S] of one image [1, S, S]: its difference to the baseline times the mean gradient.

    The mean is over the straight line between them, by Gauss and Legendre's rule of `num_steps` places.
    """
    # Both go from [-1, 1] to [0, 1]: places are shifted and halved, weights, which add up to 2, are halved.
    places, weights = np.polynomial.legendre.leggauss(num_steps)  # on [-1, 1]
    alphas = torch.tensor((1 + places) / 2, dtype=torch.float32, device=image.device).view(-1, 1, 1, 1)
    shares = torch.tensor(weights / 2, dtype=torch.float32, device=image.device)
    # [F, S, S]
    gradients = torch.zeros(len(findings), *image.shape[1:], device=image.device)
    for start in range(0, num_steps, _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        between = (baseline + alphas[part] * (image - baseline)).requires_grad_()  # [P, 1, S, S]
        with torch.enable_grad():
            logits = classifier(between)  # [P, C], once for all findings
            for number, finding in enumerate(findings):
                # The gradient of this sum is the weighted sum of the gradients of each place.
                summed = (logits[:, finding] * shares[part]).sum()
                (gradient,) = torch.autograd.grad(summed, between, retain_graph=True)
                # [P, 1, S, S] summed to [S, S]: shares have weighted the places already
                gradients[number] += gradient.sum(dim=(0, 1))
    # [F, S, S] * [1, S, S]
    return gradients * (image - baseline)
