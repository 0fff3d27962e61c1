"""Random changes of a batch on its own device, drawn for each image; one resampling for training and prediction.

`resample` maps the whole packed square onto the model's input. Evaluation calls it with the identity, training with a
random affine map, so both see the same interpolation: bilinear, black outside, pixel centres aligned.
"""

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from cxr.config.schema import TTA, Augment
from cxr.vision import five_crop


def resample(images: Tensor, size: int, theta: Tensor | None = None) -> Tensor:
    """Float images [B, 1, size, size] in [0, 255] from uint8 [B, S, S]; theta [B, 2, 3] maps output to input."""
    pixels = images.unsqueeze(1).float()
    enlarges, same = size > images.shape[-1], size == images.shape[-1]
    if enlarges or (
        theta is None and not same
    ):  # before grid_sample, which would mix black into an enlarged border
        pixels = F.interpolate(pixels, size=(size, size), mode="bilinear", align_corners=False)
    if theta is None:
        return pixels
    grid = F.affine_grid(theta, [len(images), 1, size, size], align_corners=False)
    return F.grid_sample(pixels, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def tta_versions(images: Tensor, size: int, tta: TTA) -> Iterator[Tensor]:
    """Versions [B, 1, size, size] of images uint8 [B, S, S], whose logits test-time augmentation averages.

    none yields the whole image; flip its mirror image too; ten_crop the four corners and the centre in full
    resolution and their mirror images (Krizhevsky et al. 2012), where S must be larger than size.
    """
    if tta == "ten_crop":
        crops = five_crop(images.unsqueeze(1).float(), [size, size])
    else:
        crops = (resample(images, size),)
    for crop in crops:
        yield crop
        if tta != "none":
            yield crop.flip(-1)


def augment(
    images: Tensor, size: int, how: Augment, seed: int, step: int, first: int = 0, of: int = 0
) -> Tensor:
    """Randomly flipped, rotated, shifted, scaled and brightened float images [B, 1, size, size] in [0, 255].

    What is drawn is a function of (seed, step) and the image's place in the global batch, so that a resumed run and
    several processes draw what one straight process would.

    Args:
        images: uint8 [B, S, S].
        size: Width and height of the result.
        how: Probabilities and ranges.
        seed: The run's seed.
        step: The optimiser step.
        first: Place of the first of these images in the global batch.
        of: Images in the global batch; 0 when these are all.
    """
    num = of or len(images)
    draws = draw(num, seed, step)[torch.arange(first, first + len(images)) % num]
    # computed on the host and copied at once: on a GPU each of these some sixty small steps would be a launch
    theta, (contrast, brightness) = affine(draws, how), jitter_factors(draws, how)
    values = _to_device(
        torch.cat([theta.flatten(1), contrast[:, None], brightness[:, None]], dim=1), images.device
    )
    resampled = resample(images, size, None if _is_still(how) else values[:, :6].view(-1, 2, 3))
    return (
        resampled
        if how.brightness == 0 and how.contrast == 0
        else jitter(resampled, values[:, 6], values[:, 7])
    )


def draw(num_images: int, seed: int, step: int) -> Tensor:
    """Uniform numbers [num_images, 11] in [0, 1) that are a function of (seed, step)."""
    generator = torch.Generator().manual_seed((seed * 0x9E3779B1 + step) % 2**63)
    return torch.rand(num_images, 11, generator=generator)


def _is_still(how: Augment) -> bool:
    return how.flip == 0 and how.rotate == 0 and how.shift == 0 and how.scale == how.crop == (1.0, 1.0)


def affine(draws: Tensor, how: Augment) -> Tensor:
    """Maps [B, 2, 3] from output to input coordinates in [-1, 1]: crop, flip, then rotate and scale, then shift.

    The content of the image thus moves by minus the shift, turns counter-clockwise by the angle, grows, is flipped,
    and the crop is taken last.
    """
    flip = torch.where(draws[:, 0] < how.flip, -1.0, 1.0)
    angle = _between(draws[:, 1], -how.rotate, how.rotate) * (math.pi / 180)
    low, high = how.scale
    shrink = 1 / _between(draws[:, 4], low, high)
    cos, sin = torch.cos(angle) * shrink, torch.sin(angle) * shrink
    shift_x, shift_y = (_between(draws[:, column], -2 * how.shift, 2 * how.shift) for column in (2, 3))
    turn = torch.stack([cos * flip, -sin, sin * flip, cos], dim=1).view(-1, 2, 2)
    side, middle = crop_window(draws, how)
    shift = torch.stack([shift_x, shift_y], dim=1) + (turn @ middle[..., None])[..., 0]
    return torch.cat([turn * side[:, None], shift[..., None]], dim=2)


def crop_window(draws: Tensor, how: Augment) -> tuple[Tensor, Tensor]:
    """(width and height as shares [B, 2], middle [B, 2] in [-1, 1]) of random resized crops inside the image."""
    area = _between(draws[:, 7], *how.crop)
    ratio = torch.exp(_between(draws[:, 8], math.log(how.crop_ratio[0]), math.log(how.crop_ratio[1])))
    ratio = torch.minimum(torch.maximum(ratio, area), 1 / area)  # a wider or higher one would not fit
    side = torch.stack([torch.sqrt(area * ratio), torch.sqrt(area / ratio)], dim=1)
    return side, (1 - side) * _between(draws[:, 9:11], -1.0, 1.0)


def jitter_factors(draws: Tensor, how: Augment) -> tuple[Tensor, Tensor]:
    """(contrast [B], a factor; brightness [B], added to values from 0 to 255)."""
    contrast = 1 + _between(draws[:, 5], -how.contrast, how.contrast)
    return contrast, _between(draws[:, 6], -how.brightness, how.brightness) * 255


def jitter(images: Tensor, contrast: Tensor, brightness: Tensor) -> Tensor:
    """Images with contrast changed about each image's mean and brightness shifted, clamped to [0, 255]."""
    mean = images.mean(dim=(1, 2, 3))
    offset = mean * (1 - contrast) + brightness
    return torch.addcmul(offset.view(-1, 1, 1, 1), images, contrast.view(-1, 1, 1, 1)).clamp_(0, 255)


def _to_device(values: Tensor, device: torch.device) -> Tensor:
    """On a GPU from page-locked memory, else the host would wait for the copy."""
    return values.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else values.to(device)


def _between(draws: Tensor, low: float, high: float) -> Tensor:
    return low + (high - low) * draws
