"""Where the lungs are: by torchxrayvision's segmentation if its weights are at hand, else by a template."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal, get_args

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from cxr.arrays import Bool
from cxr.errors import CxrError

Lungs = Literal["auto", "template", "segmentation"]
CHOICES: tuple[Lungs, ...] = get_args(Lungs)

TEMPLATE_SIZE = 256
_LOBES = ((0.29, 0.46), (0.71, 0.46))  # middles of the two ellipses, across and down, as shares of the image
_REACH = (0.21, 0.39)
"""Half of their width and of their height."""
MARGIN = 0.04
"""Around the hull of the lungs, as a share of the image: lungs may be larger than what is found of them."""
_WEIGHTS = "pspnet_chestxray_best_model_4.pth"
_LEAST_SHARE = 0.05
"""Of the image that lungs fill at least; a segmentation of less has failed."""

Segment = Callable[[Tensor], Tensor]
"""Packed images uint8 [B, S, S] -> bool [B, S, S], True in the lungs."""


def draw_template() -> Bool:
    """[256, 256] two upright ellipses over an image without its padding."""
    ticks = (np.arange(TEMPLATE_SIZE) + 0.5) / TEMPLATE_SIZE
    mask = np.zeros((TEMPLATE_SIZE, TEMPLATE_SIZE), np.bool_)
    for across, down in _LOBES:
        # [256, 256] the ellipse's equation, 1 on its edge; middles of pixels are at (n + 0.5) / 256
        squared = ((ticks[None, :] - across) / _REACH[0]) ** 2 + ((ticks[:, None] - down) / _REACH[1]) ** 2
        mask |= squared <= 1
    return mask


def enclose(mask: Bool) -> Bool:
    """The convex hull of a mask [H, W] and a margin: both lungs, the heart between them, and their edges."""
    places = np.argwhere(mask)[:, ::-1].astype(np.int32)  # x before y, as OpenCV has it
    hull = np.zeros(mask.shape, np.uint8)
    if len(places):
        cv2.fillConvexPoly(hull, cv2.convexHull(places), 1)
        # a round brush this wide grows the hull by the margin on every side
        width = 2 * round(MARGIN * mask.shape[0]) + 1
        round_one = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width, width))
        return np.asarray(cv2.dilate(hull, round_one), np.bool_)
    return hull.astype(np.bool_)


def weights_path() -> Path:
    """Where torchxrayvision keeps the weights of its segmentation."""
    from torchxrayvision.utils import get_cache_dir

    return Path(get_cache_dir()) / _WEIGHTS


def open_segmentation(lungs: Lungs, device: torch.device) -> Segment | None:
    """The segmentation of ChestX-Det (Lian et al. 2021) in torchxrayvision; None for the template.

    Nothing is downloaded: `auto` takes it where its weights are in torchxrayvision's cache.

    Raises:
        CxrError: It is asked for and its weights are not there, or are damaged.
    """
    path = weights_path()
    if lungs == "template" or (lungs == "auto" and not path.is_file()):
        return None
    if not path.is_file():
        hint = "put the file of torchxrayvision's release v1 there, or use --lungs template"
        raise CxrError(f"{path}: no weights of the segmentation of lungs", hint)
    from torchxrayvision.baseline_models.chestx_det import PSPNet

    try:
        network = PSPNet().eval().to(device)  # it reads tensors alone, with weights_only
    except Exception as error:  # torch raises many kinds for a broken file
        problem = f"{path}: the segmentation cannot be read ({type(error).__name__})"
        raise CxrError(problem, "copy it again, or use --lungs template") from None
    sides = [network.targets.index(name) for name in ("Left Lung", "Right Lung")]

    def segment(images: Tensor) -> Tensor:
        scaled = (images[:, None].float() * (2 / 255) - 1) * 1024  # as the package scales its images
        scaled = functional.interpolate(scaled, size=(512, 512), mode="bilinear", align_corners=False)
        with torch.inference_mode():
            # [B, 1, h, w] the larger of both lungs' logits; above 0 is a probability above one half
            logits = network(scaled)[:, sides].amax(dim=1, keepdim=True)
        size = images.shape[-2:]
        return functional.interpolate(logits, size=size, mode="bilinear", align_corners=False)[:, 0] > 0

    return segment


def has_failed(mask: Tensor) -> Tensor:
    """[B] whether a segmentation [B, S, S] finds too little to be the lungs."""
    return mask.float().mean(dim=(1, 2)) < _LEAST_SHARE


def describe(segment: Segment | None) -> str:
    """What the lungs are, for a report."""
    if segment:
        return "torchxrayvision's segmentation of ChestX-Det (Lian et al. 2021), left and right lung"
    return (
        f"a fixed template: two ellipses with their middles at {_LOBES[0][0]:.0%} and {_LOBES[1][0]:.0%} of "
        f"the width and {_LOBES[0][1]:.0%} of the height, {2 * _REACH[0]:.0%} wide, {2 * _REACH[1]:.0%} high"
    )
