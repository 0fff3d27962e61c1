import numpy as np
import pytest
import torch
from PIL import Image
from skimage.util import random_noise
from torchvision.transforms import functional

from cxr.explain.corruptions import CORRUPTIONS, LEVELS, corrupt
from cxr.images.grey import Grey


def image(size: int = 224) -> Grey:
    """A smooth picture with an edge, from black to white."""
    ticks = np.linspace(0, 1, size)
    smooth = 127 * (1 + np.sin(9 * ticks[:, None]) * np.cos(7 * ticks[None, :]))
    smooth[-size // 3 :, -size // 3 :] = 255
    return smooth.astype(np.uint8)


def apply(name: str, level: int, grey: Grey | None = None, row: int = 0) -> Grey:
    return corrupt(CORRUPTIONS[name], level, image() if grey is None else grey, 0, row)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_every_kind_keeps_the_shape_and_moves_further_with_its_strength(name: str) -> None:
    changed = [apply(name, level) for level in range(1, LEVELS + 1)]
    assert all(one.shape == (224, 224) and one.dtype == np.uint8 for one in changed)
    distances = [np.abs(one.astype(float) - image()).mean() for one in changed]
    assert 0 < distances[0] < distances[-1]
    assert len(CORRUPTIONS[name].strengths) == LEVELS


def test_published_strengths_are_those_of_medmnistc_for_chest_images() -> None:
    # medmnistc/corruptions/registry.py, chestmnist
    published = {
        "pixelate": [0.30, 0.25, 0.20, 0.15, 0.10],
        "jpeg": [50, 30, 15, 10, 7],
        "gaussian_noise": [0.04, 0.08, 0.12, 0.18, 0.26],
        "speckle_noise": [0.05, 0.15, 0.2, 0.35, 0.45],
        "impulse_noise": [0.01, 0.03, 0.06, 0.09, 0.17],
        "shot_noise": [60, 25, 18, 10, 5],
        "gaussian_blur": [3, 5, 7, 9, 11],
        "brightness_up": [1.1, 1.2, 1.3, 1.4, 1.5],
        "brightness_down": [0.9, 0.8, 0.7, 0.6, 0.5],
        "contrast_up": [1.1, 1.2, 1.3, 1.4, 1.6],
        "contrast_down": [0.9, 0.8, 0.7, 0.6, 0.4],
        "gamma_up": [1.1, 1.2, 1.3, 1.4, 1.6],
        "gamma_down": [0.9, 0.8, 0.7, 0.6, 0.4],
    }
    ours = {name: list(kind.strengths) for name, kind in CORRUPTIONS.items() if kind.is_published}
    assert ours == published


@pytest.mark.parametrize("level", [1, 5])
def test_brightness_contrast_gamma_and_blur_are_those_of_torchvision(level: int) -> None:
    picture = Image.fromarray(image())
    references = {
        "brightness_up": functional.adjust_brightness,
        "contrast_down": functional.adjust_contrast,
        "gamma_up": functional.adjust_gamma,
        "gamma_down": functional.adjust_gamma,
    }
    for name, reference in references.items():
        expected = np.asarray(reference(picture, CORRUPTIONS[name].strengths[level - 1]))
        assert np.abs(apply(name, level).astype(int) - expected).max() <= 1, name
    kernel = int(CORRUPTIONS["gaussian_blur"].strengths[level - 1])
    blurred = functional.gaussian_blur(torch.from_numpy(image())[None].float(), [kernel, kernel])[0].numpy()
    assert np.abs(apply("gaussian_blur", level) - blurred).max() <= 1.5


def test_noise_has_the_moments_of_its_strength() -> None:
    grey = np.full((400, 400), 128, np.uint8)
    for level, deviation in enumerate(CORRUPTIONS["gaussian_noise"].strengths[:3], 1):
        assert apply("gaussian_noise", level, grey).std() == pytest.approx(255 * deviation, rel=0.03)
    speckled = apply("speckle_noise", 2, grey)
    assert speckled.std() == pytest.approx(128 * 0.15, rel=0.03)
    # photons: a variance of grey / 255 / strength, in shares of white
    assert apply("shot_noise", 1, grey).std() == pytest.approx(255 * np.sqrt(128 / 255 / 60), rel=0.03)


def test_impulse_noise_hits_as_many_pixels_as_that_of_scikit_image() -> None:
    grey = np.full((400, 400), 128, np.uint8)
    ours = apply("impulse_noise", 5, grey)
    draws = np.random.default_rng(0)
    noisy = random_noise(grey / 255, mode="s&p", amount=0.17, rng=draws)  # type: ignore[no-untyped-call]  # scikit-image's
    theirs = noisy * 255
    for value in (0, 255):
        assert (ours == value).mean() == pytest.approx((theirs == value).mean(), rel=0.05)
    assert set(np.unique(ours)) == {0, 128, 255}


def test_pixels_of_a_pixelated_image_are_means_of_blocks() -> None:
    grey = np.arange(100, dtype=np.uint8).reshape(10, 10)
    pixelated = apply("pixelate", 3, np.tile(grey, (1, 1)))  # 0.2: two pixels a side
    assert pixelated[0, 0] == round(grey[:5, :5].mean()) and (pixelated[:5, :5] == pixelated[0, 0]).all()


def test_geometry_markers_inversion_and_bits() -> None:
    middle = np.zeros((101, 101), np.uint8)
    middle[50, 50] = 255
    assert apply("rotation", 5, middle)[50, 50] == 255
    cropped = apply("crop", 5, image(100))
    assert np.abs(cropped[50, 50].astype(int) - image(100)[50, 50]) < 12
    assert (apply("inversion", 5) == 255 - image()).all()
    levels = [len(np.unique(apply("bit_depth", level))) for level in range(1, 6)]
    assert levels == [2**bits for bits in (6, 5, 4, 3, 2)]
    assert {0, 255} <= set(np.unique(apply("bit_depth", 5, np.arange(256, dtype=np.uint8).reshape(16, 16))))


def test_a_marker_is_a_white_letter_of_the_stated_height_in_an_upper_corner() -> None:
    black = np.zeros((300, 300), np.uint8)
    sides = set()
    for row in range(12):
        marked = apply("marker", 5, black, row) > 128
        rows, columns = np.flatnonzero(marked.any(axis=1)), np.flatnonzero(marked.any(axis=0))
        assert (rows[-1] - rows[0] + 1) / 300 == pytest.approx(0.16, abs=0.01) and rows[-1] < 100
        sides.add(bool(columns.mean() > 150))
        assert columns[-1] < 100 or columns[0] > 200
    assert sides == {True, False}


def test_draws_depend_on_the_row_and_not_on_other_kinds() -> None:
    assert (apply("gaussian_noise", 1) == apply("gaussian_noise", 1)).all()
    assert (apply("gaussian_noise", 1) != apply("gaussian_noise", 1, row=1)).any()
    # the same pixels are hit, and more of them
    hit = [apply("impulse_noise", level) != image() for level in (1, 5)]
    assert hit[1][hit[0]].all() and hit[1].sum() > hit[0].sum()
