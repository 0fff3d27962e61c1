"""An image described without a model: a small thumbnail, brightness, and detail at several scales."""

import torch
import torch.nn.functional as F
from torch import Tensor

from cxr.model.ood import THUMBNAIL

_MIN_SIZE = 8
_BLACK, _WHITE = 0.02, 0.98
_MIN_DETAIL = 0.003
"""Added to a root mean square difference before its logarithm: less than a grey value hardly counts."""


def describe(squares: Tensor) -> Tensor:
    """Float [B, 64 + k] of prepared images uint8 [B, S, S]: the `thumbnails`, then k numbers of `texture`."""
    grey = squares.float() / 255
    return torch.cat([thumbnails(grey), texture(grey)], dim=1)


def count(size: int) -> int:
    """How many numbers `describe` gives for images of `size` pixels."""
    return describe(torch.zeros(1, size, size, dtype=torch.uint8)).shape[1]


def thumbnails(grey: Tensor) -> Tensor:
    """[B, 64]: means over an 8 x 8 grid, row by row, normalised to mean 0 and deviation 1."""
    # [B, 64], row by row
    values = F.adaptive_avg_pool2d(grey[:, None], THUMBNAIL).flatten(1)
    centred = values - values.mean(dim=1, keepdim=True)
    # 0.02 keeps the noise of a constant image small
    return centred / (values.std(dim=1, correction=0, keepdim=True) + 0.02)


def texture(grey: Tensor) -> Tensor:
    """[B, k]: mean, deviation, fraction of black, fraction of white; then the detail at each scale.

    Detail is the logarithm of the root mean square difference of neighbours, along rows and along columns.
    Scales go from the image's S pixels to the last of at least 8, so k is a function of S.
    """
    values = [
        grey.mean(dim=(1, 2)),
        grey.std(dim=(1, 2), correction=0),
        (grey < _BLACK).float().mean(dim=(1, 2)),
        (grey > _WHITE).float().mean(dim=(1, 2)),
    ]
    while grey.shape[-1] >= _MIN_SIZE:
        for axis in (2, 1):  # neighbours along rows, then along columns
            # [B] root mean square of the differences of neighbours
            detail = grey.diff(dim=axis).square().mean(dim=(1, 2)).sqrt()
            values.append(torch.log(detail + _MIN_DETAIL))
        # the next scale has half the width and height
        grey = F.avg_pool2d(grey[:, None], 2)[:, 0]
    return torch.stack(values, dim=1)
