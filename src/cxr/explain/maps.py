"""Maps of what a model used: CAM, Grad-CAM, Grad-CAM++, occlusion and integrated gradients.

A map [h, w] covers the model's square evenly; `images.prepare.undo_prepare` lays it over the image's pixels.
"""

from collections.abc import Callable, Sequence
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from cxr.arrays import Float32
from cxr.data.augment import resample
from cxr.explain.integrated import integrate_gradients
from cxr.explain.scale import LEAST_TOP
from cxr.model.classifier import Classifier
from cxr.model.predict import feature_map, prediction

Method = Literal["cam", "gradcam", "gradcam++", "occlusion", "integrated"]

NAMES: dict[Method, str] = {
    "cam": "CAM (Zhou et al. 2016)",
    "gradcam": "Grad-CAM (Selvaraju et al. 2017)",
    "gradcam++": "Grad-CAM++ (Chattopadhyay et al. 2018)",
    "occlusion": "occlusion (Zeiler and Fergus 2014): probability lost under a grey square",
    "integrated": "integrated gradients (Sundararajan et al. 2017) from the image's mean grey",
}
METHODS: tuple[Method, ...] = get_args(Method)
UNITS: dict[Method, str] = {
    "cam": "to the logit",
    "gradcam": "",
    "gradcam++": "",
    "occlusion": "of probability lost",
    "integrated": "to the logit",
}
"""What values are, behind a number; nothing for scores without a unit."""
LEAST_TOPS: dict[Method, float] = {
    "cam": LEAST_TOP,
    "gradcam": 1e-9,
    "gradcam++": 1e-9,
    "occlusion": 0.1,
    "integrated": 1e-9,
}
"""Where all values of a map are smaller, none has the strongest colour. Scores without a unit have no such
value, and what a single pixel adds to a logit (integrated gradients) depends on how many there are."""
OF_FEATURES: tuple[Method, ...] = ("cam", "gradcam", "gradcam++")
"""Those that need no more than the feature map of the prediction."""

_PLACES = 12
"""Places along a side that occlusion tries, as far as the image has so many pixels."""
_PATCH_PLACES = 3
"""Width of a patch in those places: a smaller one hides too little."""
_OCCLUDED_AT_ONCE = 128
"""Images that are computed together."""


def compute_maps(
    classifier: Classifier,
    squares: Tensor,
    size: int,
    method: Method,
    dtype: torch.dtype | None = None,
    wanted: Sequence[Sequence[int]] | None = None,
) -> Float32:
    """Maps [B, C, h, w] of images uint8 [B, S, S] for all C findings.

    Args:
        classifier: In evaluation mode.
        squares: On the classifier's device.
        size: Width and height of the model's input.
        method: See NAMES. Values are contributions to the logit (cam, integrated), a positive score without a
            unit (gradcam, gradcam++), or probability lost (occlusion).
        dtype: Of the arithmetic, as `autocast_dtype` gives it; None is float32.
        wanted: For each image the numbers of the findings that are needed; None is all. Integrated gradients
            take a backward pass for each, so other maps are 0 there.
    """
    if method == "integrated":
        return integrate_gradients(classifier, resample(squares, size), wanted).cpu().numpy()
    if method == "occlusion":
        return _occlude(classifier, resample(squares, size), dtype).cpu().numpy()
    return map_features(classifier, feature_map(classifier, squares, size, dtype), method)


def map_features(classifier: Classifier, features: Tensor, method: Method) -> Float32:
    """Maps [B, C, h, w] by one of OF_FEATURES, of the feature map [B, D, h, w] of a prediction."""
    if method == "cam":
        with torch.inference_mode():
            return np.asarray(classifier.activation_maps(features).cpu().numpy(), np.float32)
    weigh = _weigh_gradcam if method == "gradcam" else _weigh_gradcam_plus_plus
    return _by_gradients(classifier, features, weigh).cpu().numpy()


def _by_gradients(
    classifier: Classifier, features: Tensor, weigh: Callable[[Tensor, Tensor], Tensor]
) -> Tensor:
    """Maps [B, C, h, w]: the positive part of the features' sum, weighted by gradients of each logit."""
    leaf = features.clone().float().requires_grad_()  # a clone, as tensors of inference mode have no gradient
    with torch.enable_grad():
        logits = classifier.classify(leaf)
    maps = []
    for finding in range(logits.shape[1]):
        # images do not depend on each other, so the gradient of the sum is the gradient of each
        (gradient,) = torch.autograd.grad(logits[:, finding].sum(), leaf, retain_graph=True)
        weights = weigh(leaf.detach(), gradient)  # [B, D]
        # relu: what speaks against the finding is no part of the map (equation 2 of Grad-CAM)
        maps.append(torch.einsum("bdhw,bd->bhw", leaf.detach(), weights).relu())
    return torch.stack(maps, dim=1)


def _weigh_gradcam(features: Tensor, gradient: Tensor) -> Tensor:
    # [B, D], alpha of equation 1: the gradient averaged over the places of a channel
    return gradient.mean(dim=(2, 3))


def _weigh_gradcam_plus_plus(features: Tensor, gradient: Tensor) -> Tensor:
    """Equation 19, for the score exp(logit), whose higher derivatives are powers of the gradient."""
    squared, cubed = gradient**2, gradient**3
    # [B, D, h, w]; 0 where the gradient is, and 0 / 0 would make the whole map nan
    below = 2 * squared + (features.sum(dim=(2, 3), keepdim=True) * cubed)
    alpha = torch.where(below != 0, squared / torch.where(below != 0, below, torch.ones_like(below)), 0)
    # [B, D]: the weights, of places where the logit rises with the channel
    return (alpha * gradient.relu()).sum(dim=(2, 3))


def _occlude(classifier: Classifier, images: Tensor, dtype: torch.dtype | None) -> Tensor:
    """Probability lost [B, C, n, n] when a square of the image's mean grey hides part of [B, 1, S, S]."""
    size, num_images = images.shape[-1], len(images)
    num = min(_PLACES, size)
    # [num + 1] pixels at which the places begin and end; they need not divide the size
    edges = [round(place * size / num) for place in range(num + 1)]
    reach = _PATCH_PLACES // 2
    # [B, 1, 1, 1] the mean grey of each image
    fill = images.mean(dim=(2, 3), keepdim=True)
    places = [(row, column) for row in range(num) for column in range(num)]
    # places that are computed together, so that about 128 images fill a batch
    step = max(1, _OCCLUDED_AT_ONCE // num_images)
    with prediction(), torch.autocast(images.device.type, dtype, enabled=dtype is not None):
        whole = classifier.probabilities(classifier(images))  # [B, C]
        lost = torch.zeros(*whole.shape, num, num, device=images.device)
        for start in range(0, len(places), step):
            part = places[start : start + step]
            hidden = images.repeat(len(part), 1, 1, 1)  # [P * B, 1, S, S], place after place
            for number, (row, column) in enumerate(part):
                # the patch is cut at the border of the image
                top, bottom = edges[max(0, row - reach)], edges[min(num, row + reach + 1)]
                left, right = edges[max(0, column - reach)], edges[min(num, column + reach + 1)]
                hidden[number * num_images : (number + 1) * num_images, :, top:bottom, left:right] = fill
            # [P, B, C]
            after = classifier.probabilities(classifier(hidden)).view(len(part), *whole.shape)
            for (row, column), p in zip(part, after, strict=True):
                lost[:, :, row, column] = (whole - p).float()
    return lost


def randomise(classifier: Classifier, seed: int = 0) -> Classifier:
    """The same network with first weights in place of the trained ones (Adebayo et al. 2018)."""
    # The caller's random numbers go on as if nothing had been drawn.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        fresh = Classifier(classifier.name, classifier.head.out_features, classifier.stem)
    device = classifier.head.weight.device
    return fresh.eval().to(device).to(memory_format=torch.channels_last)
