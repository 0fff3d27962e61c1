"""Corruptions of an image at five strengths: MedMNIST-C's for chest radiographs, and some of radiography.

The kinds and strengths of MedMNIST-C (Di Salvo et al. 2024, arXiv 2406.17536) are those of its package
medmnistc for ChestMNIST, for images of 224 pixels; widths in pixels are scaled for another size. Its list of
blurs has a sixth kernel, which is left out. The others are ours, and so are their strengths.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image, ImageEnhance

from cxr.arrays import Float64
from cxr.images.grey import Grey

LEVELS = 5
_PUBLISHED_SIZE = 224
"""Pixels of the images that MedMNIST-C's strengths are for."""

Apply = Callable[[Grey, float, np.random.Generator], Grey]


@dataclass(frozen=True)
class Corruption:
    """A kind of corruption.

    Attributes:
        name: As in files and on the command line.
        strengths: Of the five levels.
        meaning: What a strength is.
        apply: Corrupts grey pixels [S, S] by a strength, with random numbers.
        is_published: Whether MedMNIST-C has it.
    """

    name: str
    strengths: tuple[float, ...]
    meaning: str
    apply: Apply
    is_published: bool = False


def corrupt(corruption: Corruption, level: int, grey: Grey, seed: int, row: int) -> Grey:
    """Grey pixels [S, S] at a level from 1 to 5; the draws depend on seed, kind and row, not on the level."""
    # the position among all kinds, so that a selection of kinds draws the same
    kind = list(CORRUPTIONS).index(corruption.name)
    rng = np.random.default_rng((seed, kind, row))
    return corruption.apply(grey, corruption.strengths[level - 1], rng)


def _to_grey(share: Float64) -> Grey:
    """Shares of white as grey levels; rounded down, as MedMNIST-C does."""
    return np.asarray(np.clip(share, 0, 1) * 255, np.uint8)


def _gaussian_noise(grey: Grey, strength: float, rng: np.random.Generator) -> Grey:
    # [H, W] of the same deviation everywhere
    return _to_grey(grey / 255 + rng.normal(0, strength, grey.shape))


def _speckle_noise(grey: Grey, strength: float, rng: np.random.Generator) -> Grey:
    share = grey / 255
    # in proportion to the grey value: black stays black
    return _to_grey(share + share * rng.normal(0, strength, grey.shape))


def _impulse_noise(grey: Grey, strength: float, rng: np.random.Generator) -> Grey:
    # both are drawn for every pixel: hits of a weaker level are hits of a stronger one, too
    is_hit, is_white = rng.random(grey.shape) < strength, rng.random(grey.shape) < 0.5
    return np.where(is_hit, np.where(is_white, np.uint8(255), np.uint8(0)), grey)


def _shot_noise(grey: Grey, strength: float, rng: np.random.Generator) -> Grey:
    # `strength` quanta make white: fewer quanta, more noise
    return _to_grey(rng.poisson(grey / 255 * strength) / strength)


def _gaussian_blur(grey: Grey, strength: float, rng: np.random.Generator) -> Grey:
    # the deviation that torchvision takes for a kernel, both scaled to the size of the image
    scale = grey.shape[0] / _PUBLISHED_SIZE
    deviation = (0.3 * ((strength - 1) * 0.5 - 1) + 0.8) * scale
    # odd, as a kernel has a middle
    width = 2 * max(1, round((strength - 1) / 2 * scale)) + 1
    return np.asarray(cv2.GaussianBlur(grey, (width, width), deviation), np.uint8)


def _brightness(grey: Grey, strength: float, rng: np.random.Generator) -> Grey:
    return np.asarray(ImageEnhance.Brightness(Image.fromarray(grey)).enhance(strength), np.uint8)


def _contrast(grey: Grey, strength: float, rng: np.random.Generator) -> Grey:
    return np.asarray(ImageEnhance.Contrast(Image.fromarray(grey)).enhance(strength), np.uint8)


def _gamma(grey: Grey, strength: float, rng: np.random.Generator) -> Grey:
    # 255.999, rounded down, as torchvision's table for Pillow has it
    return np.asarray(255.999 * (grey / 255) ** strength, np.uint8)


def _jpeg(grey: Grey, strength: float, rng: np.random.Generator) -> Grey:
    file = io.BytesIO()
    Image.fromarray(grey).save(file, "JPEG", quality=int(strength))
    return np.asarray(Image.open(file), np.uint8)


def _pixelate(grey: Grey, strength: float, rng: np.random.Generator) -> Grey:
    height, width = grey.shape
    smaller = max(1, int(width * strength)), max(1, int(height * strength))
    # the mean of each block, then the block at its full size: BOX both ways
    image = Image.fromarray(grey).resize(smaller, Image.Resampling.BOX)
    return np.asarray(image.resize((width, height), Image.Resampling.BOX), np.uint8)


def _rotate(grey: Grey, strength: float, rng: np.random.Generator) -> Grey:
    """By degrees to either side, black outside."""
    size = grey.shape[0]
    angle = strength if rng.random() < 0.5 else -strength
    middle = (size - 1) / 2  # of the pixels, whose middles are whole numbers for OpenCV
    turned = cv2.warpAffine(grey, cv2.getRotationMatrix2D((middle, middle), angle, 1), (size, size))
    return np.asarray(turned, np.uint8)


def _crop(grey: Grey, strength: float, rng: np.random.Generator) -> Grey:
    """A share of each side cut off, and the rest enlarged."""
    size = grey.shape[0]
    cut = round(strength * size)
    kept = grey[cut : size - cut, cut : size - cut]
    return np.asarray(cv2.resize(kept, (size, size), interpolation=cv2.INTER_LINEAR), np.uint8)


def _marker(grey: Grey, strength: float, rng: np.random.Generator) -> Grey:
    """A white L or R, as high as a share of the image, in the upper corner at its side."""
    size, letter = grey.shape[0], "LR"[rng.integers(2)]
    ink = _draw_letter(letter)
    height = max(1, round(strength * size))
    shape = max(1, round(ink.shape[1] * height / ink.shape[0])), height  # width, height
    white = np.asarray(cv2.resize(ink, shape, interpolation=cv2.INTER_AREA), np.uint8)
    margin = round(0.03 * size)
    # the image is seen from the front: the patient's left is at the right
    left = size - margin - shape[0] if letter == "L" else margin
    marked = grey.copy()
    place = marked[margin : margin + height, left : left + shape[0]]
    # the brighter of both: black around the letter covers nothing of the image
    np.maximum(place, white[: place.shape[0], : place.shape[1]], out=place)
    return marked


def _draw_letter(letter: str) -> Grey:
    """A letter in white on black, without margins; sizes of fonts differ between versions of OpenCV."""
    canvas = np.zeros((200, 200), np.uint8)
    cv2.putText(canvas, letter, (40, 150), cv2.FONT_HERSHEY_SIMPLEX, 4, 255, 16, cv2.LINE_AA)
    rows, columns = np.flatnonzero(canvas.max(axis=1) > 127), np.flatnonzero(canvas.max(axis=0) > 127)
    return np.asarray(canvas[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1], np.uint8)


def _invert(grey: Grey, strength: float, rng: np.random.Generator) -> Grey:
    """Mixed with its negative; a strength of 1 is the negative."""
    return np.asarray(np.rint((1 - strength) * grey + strength * (255.0 - grey)), np.uint8)


def _bit_depth(grey: Grey, strength: float, rng: np.random.Generator) -> Grey:
    """As many grey levels as so many bits hold, from black to white."""
    # 2^bits levels are 2^bits - 1 steps, so that black stays 0 and white stays 255
    steps = 2 ** int(strength) - 1
    return np.asarray(np.rint(np.floor(grey / 256 * (steps + 1)) / steps * 255), np.uint8)


CORRUPTIONS = {
    corruption.name: corruption
    for corruption in (
        Corruption("gaussian_noise", (0.04, 0.08, 0.12, 0.18, 0.26), "deviation, share of white",
                   _gaussian_noise, True),
        Corruption("speckle_noise", (0.05, 0.15, 0.2, 0.35, 0.45), "deviation, share of the grey value",
                   _speckle_noise, True),
        Corruption("impulse_noise", (0.01, 0.03, 0.06, 0.09, 0.17), "share of black and white pixels",
                   _impulse_noise, True),
        Corruption("shot_noise", (60, 25, 18, 10, 5), "quanta of white", _shot_noise, True),
        Corruption("gaussian_blur", (3, 5, 7, 9, 11), "kernel, pixels of 224", _gaussian_blur, True),
        Corruption("brightness_up", (1.1, 1.2, 1.3, 1.4, 1.5), "factor", _brightness, True),
        Corruption("brightness_down", (0.9, 0.8, 0.7, 0.6, 0.5), "factor", _brightness, True),
        Corruption("contrast_up", (1.1, 1.2, 1.3, 1.4, 1.6), "factor about the mean", _contrast, True),
        Corruption("contrast_down", (0.9, 0.8, 0.7, 0.6, 0.4), "factor about the mean", _contrast, True),
        Corruption("gamma_up", (1.1, 1.2, 1.3, 1.4, 1.6), "exponent", _gamma, True),
        Corruption("gamma_down", (0.9, 0.8, 0.7, 0.6, 0.4), "exponent", _gamma, True),
        Corruption("jpeg", (50, 30, 15, 10, 7), "quality", _jpeg, True),
        Corruption("pixelate", (0.3, 0.25, 0.2, 0.15, 0.1), "share of the pixels of a side", _pixelate, True),
        Corruption("rotation", (2, 5, 10, 15, 30), "degrees to either side", _rotate),
        Corruption("crop", (0.02, 0.04, 0.06, 0.08, 0.1), "share cut off each side", _crop),
        Corruption("marker", (0.04, 0.06, 0.08, 0.12, 0.16), "height of an L or R in its corner", _marker),
        Corruption("inversion", (0.2, 0.4, 0.6, 0.8, 1), "share of the negative", _invert),
        Corruption("bit_depth", (6, 5, 4, 3, 2), "bits", _bit_depth),
    )
}  # fmt: skip
"""By name."""
