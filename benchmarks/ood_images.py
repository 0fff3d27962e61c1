"""Images that are no upright frontal chest X-rays: what `benchmarks.ood` and its tests show to a model."""

from collections.abc import Iterator

import cv2
import numpy as np
import numpy.typing as npt
from skimage import data as pictures
from sklearn.datasets import load_sample_images

from cxr.images.grey import Grey
from cxr.images.prepare import Preprocess, prepare

Squares = npt.NDArray[np.uint8]

PHOTOS = ("camera", "astronaut", "coffee", "chelsea", "rocket", "moon", "coins", "page", "text", "brick",
          "grass", "gravel", "retina", "hubble_deep_field", "immunohistochemistry", "clock")  # fmt: skip
"""Photographs that come with scikit-image."""


def changed(squares: Squares) -> dict[str, Squares]:
    """The same radiographs [n, S, S] changed as they should not be, and mirrored, as most training does."""
    size = squares.shape[1]
    quarter = slice(size // 4, size - size // 4)
    middle = [np.asarray(cv2.resize(square[quarter, quarter], (size, size))) for square in squares]
    return {
        "inverted": np.asarray(255 - squares, np.uint8),
        "upside down": squares[:, ::-1],
        "turned by 90 degrees": np.rot90(squares, 1, (1, 2)),
        "turned by 270 degrees": np.rot90(squares, 3, (1, 2)),
        "their middle, magnified twice": np.stack(middle).astype(np.uint8),
        "mirrored (should not alarm)": squares[:, :, ::-1],
    }


def invented(size: int, num_images: int = 50, seed: int = 0) -> dict[str, Squares]:
    """Images [n, S, S] without anything of a radiograph in them."""
    draws = np.random.default_rng(seed)
    shape = (num_images, size, size)
    return {
        "blank": np.stack([np.full((size, size), grey, np.uint8) for grey in range(0, 256, 5)]),
        "white noise": draws.integers(0, 256, shape, dtype=np.uint8),
        "weak noise on grey": np.clip(draws.normal(128, 20, shape), 0, 255).astype(np.uint8),
        "photographs": photographs(size),
        "drawn patterns and text": np.stack([_pattern(size, number, draws) for number in range(num_images)]),
    }


def photographs(size: int) -> Squares:
    """Bundled pictures, whole and as two of their quarters, [n, S, S]."""
    colour = [np.asarray(getattr(pictures, name)()) for name in PHOTOS] + load_sample_images().images
    squares = [prepare(part, Preprocess(size)) for picture in colour for part in _parts(_grey(picture))]
    return np.stack(squares)


def _grey(picture: npt.NDArray[np.uint8]) -> Grey:
    if picture.ndim == 2:
        return picture
    return np.asarray(cv2.cvtColor(np.ascontiguousarray(picture[..., :3]), cv2.COLOR_RGB2GRAY), np.uint8)


def _parts(grey: Grey) -> Iterator[Grey]:
    height, width = grey.shape[0] // 2, grey.shape[1] // 2
    yield grey
    yield np.ascontiguousarray(grey[:height, :width])
    yield np.ascontiguousarray(grey[height:, width:])


def _pattern(size: int, number: int, draws: np.random.Generator) -> Squares:
    """A gradient, a checkerboard, 1/f noise, text or a wave, stretched to all grey values."""
    y, x = np.mgrid[:size, :size] / size
    angle, waves = draws.uniform(0, 2 * np.pi), draws.uniform(2, 16)
    along = np.cos(angle) * x + np.sin(angle) * y
    kind = number % 5
    if kind == 0:
        values = along
    elif kind == 1:
        values = (np.floor(x * waves) + np.floor(y * waves)) % 2
    elif kind == 2:
        frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(size), np.fft.fftfreq(size)))
        frequency[0, 0] = 1
        values = np.real(np.fft.ifft2(np.fft.fft2(draws.normal(size=(size, size))) / frequency))
    elif kind == 3:
        values = _text(size, draws).astype(np.float64)
    else:
        values = np.sin(2 * np.pi * waves * along)
    return np.asarray(np.rint(255 * (values - values.min()) / np.ptp(values)), np.uint8)


def _text(size: int, draws: np.random.Generator) -> Squares:
    page = np.zeros((256, 256), np.uint8)
    for line in range(8):
        letters = "".join(chr(letter) for letter in draws.integers(65, 91, 12))
        cv2.putText(page, letters, (5, 30 + 30 * line), cv2.FONT_HERSHEY_SIMPLEX, 1, (255,), 2)
    return np.asarray(cv2.resize(page, (size, size), interpolation=cv2.INTER_AREA), np.uint8)
