"""What an image looks like before any model sees it: a small thumbnail, brightness, and detail at several scales."""

import torch
import torch.nn.functional as F
from torch import Tensor

THUMBNAIL = 8
"""Width and height of the thumbnail; its values come first in `describe`."""

_SMALLEST = 8
_BLACK, _WHITE = 0.02, 0.98
_QUIET = 0.003
"""Added to a root mean square difference before its logarithm: below one grey value of 255 all is alike."""


def describe(squares: Tensor) -> Tensor:
    """Float [B, 64 + k] of prepared images uint8 [B, S, S]: the `thumbnails`, then k numbers of `texture`."""
    grey = squares.float() / 255
    return torch.cat([thumbnails(grey), texture(grey)], dim=1)


def count(size: int) -> int:
    """How many numbers `describe` gives for images of `size` pixels."""
    return describe(torch.zeros(1, size, size, dtype=torch.uint8)).shape[1]


def thumbnails(grey: Tensor) -> Tensor:
    """[B, 64] means over an 8 x 8 grid, row by row, less their mean and by their deviation: the layout of the image."""
    values = F.adaptive_avg_pool2d(grey[:, None], THUMBNAIL).flatten(1)
    centred = values - values.mean(dim=1, keepdim=True)
    return centred / (values.std(dim=1, correction=0, keepdim=True) + 0.02)


def texture(grey: Tensor) -> Tensor:
    """[B, k]: mean, deviation, share of black, share of white; then the detail at each scale, each half the last.

    Detail is the logarithm of the root mean square difference of neighbours, along rows and along columns. Scales go
    from the image's own S pixels to the last of at least 8, so k is a function of S.
    """
    extremes = [(grey < _BLACK).float(), (grey > _WHITE).float()]
    values = [
        grey.mean(dim=(1, 2)),
        grey.std(dim=(1, 2), correction=0),
        *(share.mean(dim=(1, 2)) for share in extremes),
    ]
    while grey.shape[-1] >= _SMALLEST:
        values += [
            torch.log(grey.diff(dim=axis).square().mean(dim=(1, 2)).sqrt() + _QUIET) for axis in (2, 1)
        ]
        grey = F.avg_pool2d(grey[:, None], 2)[:, 0]
    return torch.stack(values, dim=1)
