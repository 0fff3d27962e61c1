"""The resize inside an exported graph beside `prepare`, which cv2 does."""

import numpy as np
import pytest
import torch

from cxr.arrays import AnyArray
from cxr.deploy.graph_resize import ToSquare
from cxr.images.grey import Grey
from cxr.images.prepare import Fit, Preprocess, prepare

SHAPES = (
    (300, 200), (201, 333), (64, 64), (128, 128), (128, 90), (192, 192), (256, 64), (40, 30), (32, 32), (20, 100),
    (64, 63), (1, 1), (1, 90), (900, 1), (97, 101),
)  # fmt: skip
"""Portrait, landscape, the square itself, whole factors, smaller ones, one side longer, lines, odd sizes."""


def squares(grey: Grey, fit: Fit) -> tuple[AnyArray, AnyArray]:
    """(the square inside the graph, that of `prepare`)."""
    inside = ToSquare(64, fit)(torch.from_numpy(grey)[None])[0].numpy()
    return inside, prepare(grey, Preprocess(64, fit=fit)).astype(np.float32)


@pytest.mark.parametrize("fit", ["pad", "crop", "squash"])
@pytest.mark.parametrize("shape", SHAPES)
def test_noise_of_any_size_differs_by_at_most_one_level(shape: tuple[int, int], fit: Fit) -> None:
    grey = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    inside, outside = squares(grey, fit)
    assert np.abs(inside - outside).max() <= 1
    assert np.array_equal(inside, inside.round())


@pytest.mark.parametrize("fit", ["pad", "crop", "squash"])
@pytest.mark.parametrize("factor", [1, 2, 3, 4])
def test_whole_factors_are_equal(factor: int, fit: Fit) -> None:
    grey = np.random.default_rng(1).integers(0, 256, (64 * factor, 64 * factor), np.uint8)
    inside, outside = squares(grey, fit)
    assert np.array_equal(inside, outside)


@pytest.mark.parametrize("fit", ["pad", "crop"])
def test_padding_and_cropping_are_at_the_same_pixels(fit: Fit) -> None:
    for width in range(1, 200, 7):
        white = np.full((100, width), 255, np.uint8)
        inside, outside = squares(white, fit)
        assert np.array_equal(inside, outside), width


def test_a_batch_is_its_images() -> None:
    images = torch.randint(0, 256, (3, 50, 70), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    to_square = ToSquare(32, "pad")
    assert torch.equal(to_square(images), torch.cat([to_square(image[None]) for image in images]))
