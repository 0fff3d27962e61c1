"""Random changes of a batch on its device, drawn for each image; one resampling for training and evaluation.

`resample` maps the whole packed square to the model's input. Evaluation calls it without a map, training with
a random affine map, so both see the same interpolation: bilinear, black outside, pixel centres aligned.
"""

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from cxr.config.schema import TTA, Augment
from cxr.vision import five_crop


def resample(images: Tensor, size: int, theta: Tensor | None = None) -> Tensor:
    """Float images [B, 1, size, size] in [0, 255] from uint8 [B, S, S].

    Args:
        images: uint8 [B, S, S].
        size: Width and height of the result.
        theta: Affine maps [B, 2, 3] from output to input coordinates in [-1, 1]; None for the identity.
    """
    pixels = images.unsqueeze(1).float()
    packed_size = images.shape[-1]
    # An enlargement is interpolated first: grid_sample would mix the black outside into the enlarged border.
    if size > packed_size or (theta is None and size != packed_size):
        pixels = F.interpolate(pixels, size=(size, size), mode="bilinear", align_corners=False)
    if theta is None:
        return pixels
    grid = F.affine_grid(theta, [len(images), 1, size, size], align_corners=False)  # [B, size, size, 2]
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
    images: Tensor, size: int, config: Augment, seed: int, step: int, first: int = 0, num_global: int = 0
) -> Tensor:
    """Randomly flipped, rotated, shifted, scaled and brightened float images [B, 1, size, size] in [0, 255].

    The draws are a function of (seed, step) and an image's position in the global batch, so a resumed run and
    several processes draw what one uninterrupted process would.

    Args:
        images: uint8 [B, S, S].
        size: Width and height of the result.
        config: Probabilities and ranges.
        seed: The run's seed.
        step: The optimizer step.
        first: Position of the first of these images in the global batch.
        num_global: Images in the global batch; 0 when these are all.
    """
    num = num_global or len(images)
    # Fillers of the last share stand after the global batch: they take the draws of its first images.
    positions = torch.arange(first, first + len(images)) % num
    draws = draw(num, seed, step)[positions]  # [B, 11]

    # These are some sixty operations on a few numbers, each of which would be a kernel launch on a GPU: they
    # are computed on the host, and [B, 8] is copied at once.
    theta = affine(draws, config)
    contrast, brightness = jitter_factors(draws, config)
    values = torch.cat([theta.flatten(1), contrast[:, None], brightness[:, None]], dim=1)
    values = _to_device(values, images.device)

    theta = values[:, :6].view(-1, 2, 3)
    # the identity needs no grid: every augmentation that moves nothing takes the path of evaluation
    resampled = resample(images, size, None if _is_identity(config) else theta)
    if config.brightness == 0 and config.contrast == 0:
        return resampled
    return jitter(resampled, values[:, 6], values[:, 7])


def draw(num_images: int, seed: int, step: int) -> Tensor:
    """Uniform numbers [num_images, 11] in [0, 1) that are a function of (seed, step).

    Columns: 0 flip, 1 angle, 2-3 shift, 4 scale, 5 contrast, 6 brightness, 7 crop area, 8 crop ratio, 9-10
    crop position. A new one is added at the end: the others stay what they are.
    """
    # a large odd factor: draws of seed 0 at step 1 are not those of seed 1 at step 0
    generator = torch.Generator().manual_seed((seed * 0x9E3779B1 + step) % 2**63)
    return torch.rand(num_images, 11, generator=generator)


def _is_identity(config: Augment) -> bool:
    moves = config.flip or config.rotate or config.shift
    return not moves and config.scale == config.crop == (1.0, 1.0)


def affine(draws: Tensor, config: Augment) -> Tensor:
    """Maps [B, 2, 3] from output to input coordinates in [-1, 1]: crop, flip, rotate and scale, shift.

    The map goes from output to input, so the image's content moves by minus the shift, turns
    counter-clockwise by the angle, grows, is flipped, and the crop is taken last.
    """
    # Each of these is [B].
    flip = torch.where(draws[:, 0] < config.flip, -1.0, 1.0)
    angle = _between(draws[:, 1], -config.rotate, config.rotate) * (math.pi / 180)
    shift_x = _between(draws[:, 2], -2 * config.shift, 2 * config.shift)  # the image is 2 wide
    # as shares of the image's width and height, whichever way
    shift_y = _between(draws[:, 3], -2 * config.shift, 2 * config.shift)
    shrink = 1 / _between(draws[:, 4], *config.scale)  # content that grows is read from a smaller region

    # Rotation and scale, after the flip of x: [[cos, -sin], [sin, cos]] @ [[flip, 0], [0, 1]], as [B, 2, 2].
    cos, sin = torch.cos(angle) * shrink, torch.sin(angle) * shrink
    turn = torch.stack([cos * flip, -sin, sin * flip, cos], dim=1).view(-1, 2, 2)

    # The crop is the first map of a point p of the output: p -> side * p + middle. Then input = turn (side *
    # p + middle) + shift: the columns of `turn` are multiplied by the sides, and the middle is turned into
    # the shift.
    side, middle = crop_window(draws, config)  # [B, 2] each
    shift = torch.stack([shift_x, shift_y], dim=1) + (turn @ middle[..., None])[..., 0]
    return torch.cat([turn * side[:, None], shift[..., None]], dim=2)


def crop_window(draws: Tensor, config: Augment) -> tuple[Tensor, Tensor]:
    """(width and height as shares [B, 2], middle [B, 2] in [-1, 1]) of random resized crops in the image."""
    area = _between(draws[:, 7], *config.crop)  # [B] share of the image's area
    low, high = config.crop_ratio
    ratio = torch.exp(_between(draws[:, 8], math.log(low), math.log(high)))  # 1:2 as likely as 2:1
    ratio = torch.minimum(torch.maximum(ratio, area), 1 / area)  # a wider or higher crop would not fit
    side = torch.stack([torch.sqrt(area * ratio), torch.sqrt(area / ratio)], dim=1)
    # the middle may move by what the side leaves: a crop never leaves the image
    return side, (1 - side) * _between(draws[:, 9:11], -1.0, 1.0)


def jitter_factors(draws: Tensor, config: Augment) -> tuple[Tensor, Tensor]:
    """(contrast [B], a factor; brightness [B], added to values from 0 to 255)."""
    contrast = 1 + _between(draws[:, 5], -config.contrast, config.contrast)  # [B]
    return contrast, _between(draws[:, 6], -config.brightness, config.brightness) * 255


def jitter(images: Tensor, contrast: Tensor, brightness: Tensor) -> Tensor:
    """Images with contrast changed about each image's mean and brightness added, clamped to [0, 255]."""
    mean = images.mean(dim=(1, 2, 3))  # [B]
    # contrast * (image - mean) + mean + brightness, in one pass over the images: offset + image * contrast.
    offset = mean * (1 - contrast) + brightness
    return torch.addcmul(offset.view(-1, 1, 1, 1), images, contrast.view(-1, 1, 1, 1)).clamp_(0, 255)


def _to_device(values: Tensor, device: torch.device) -> Tensor:
    """The values on a device; to a GPU from page-locked memory, else the host would wait for the copy."""
    return values.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else values.to(device)


def _between(draws: Tensor, low: float, high: float) -> Tensor:
    """Draws from [0, 1) moved to [low, high)."""
    return low + (high - low) * draws
