import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as reference

from cxr.config.schema import Augment
from cxr.data.augment import affine, augment, crop_window, draw, resample, tta_versions

STILL = Augment(flip=0, rotate=0, shift=0, scale=(1, 1), brightness=0, contrast=0)
EVERYTHING = Augment(flip=0.5, rotate=30, shift=0.2, scale=(0.7, 1.4), brightness=0.2, contrast=0.5)
ALMOST_STILL = STILL.model_copy(update={"flip": 1e-12})
SEED, STEP = 3, 11
ROUNDING = 0.02
"""Grey levels: coordinates in [-1, 1] have 24 bits, so a position among 64 pixels is right to 1e-5 pixels of
at most 255 levels a pixel, and the matrices of both sides are rounded some times."""


Operator = Callable[..., object]


def pictures(num: int = 6, size: int = 40, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, (num, size, size), dtype=np.uint8))


def only(**changes: object) -> Augment:
    return STILL.model_copy(update=changes)


def between(share: float, low: float, high: float) -> float:
    return low + (high - low) * share


def moved(picture: Tensor, **changes: object) -> Tensor:
    """torchvision's affine map of a uint8 image: angle clockwise, translation of the content in pixels."""
    how = {"angle": 0.0, "translate": [0.0, 0.0], "scale": 1.0, "shear": [0.0, 0.0]} | changes
    bilinear = InterpolationMode.BILINEAR
    moved: Tensor = reference.affine(picture[None].float(), interpolation=bilinear, **how)
    return moved


def test_a_flip_is_torchvisions_and_comes_as_often_as_asked() -> None:
    images = pictures(200, 8)
    flipped = draw(200, SEED, STEP)[:, 0] < 0.3
    results = augment(images, 8, only(flip=0.3), SEED, STEP)
    assert 0.2 < flipped.float().mean() < 0.4
    for picture, flips, ours in zip(images, flipped, results, strict=True):
        expected = reference.horizontal_flip(picture[None]) if flips else picture[None]
        torch.testing.assert_close(ours, expected.float(), rtol=0, atol=ROUNDING)


def test_a_flip_of_every_picture_is_torchs() -> None:
    ours = augment(pictures(), 40, only(flip=1), SEED, STEP)
    torch.testing.assert_close(ours, pictures()[:, None].flip(-1).float(), rtol=0, atol=ROUNDING)


def test_a_rotation_is_torchvisions_and_counter_clockwise() -> None:
    images, results = pictures(), augment(pictures(), 40, only(rotate=40), SEED, STEP)
    for picture, draws, ours in zip(images, draw(6, SEED, STEP), results, strict=True):
        angle = between(float(draws[1]), -40, 40)
        torch.testing.assert_close(ours, moved(picture, angle=-angle), rtol=0, atol=ROUNDING)
        theirs = reference.rotate(picture[None].float(), angle, InterpolationMode.BILINEAR)
        torch.testing.assert_close(ours, theirs, rtol=0, atol=ROUNDING)


def test_a_shift_is_torchvisions_by_a_share_of_the_side_and_against_the_draw() -> None:
    images, results = pictures(), augment(pictures(), 40, only(shift=0.3), SEED, STEP)
    for picture, draws, ours in zip(images, draw(6, SEED, STEP), results, strict=True):
        right, down = (-40 * between(float(draws[column]), -0.3, 0.3) for column in (2, 3))
        torch.testing.assert_close(ours, moved(picture, translate=[right, down]), rtol=0, atol=ROUNDING)


def test_a_magnification_is_torchvisions() -> None:
    images, results = pictures(), augment(pictures(), 40, only(scale=(0.5, 2.0)), SEED, STEP)
    for picture, draws, ours in zip(images, draw(6, SEED, STEP), results, strict=True):
        grows = between(float(draws[4]), 0.5, 2.0)
        torch.testing.assert_close(ours, moved(picture, scale=grows), rtol=0, atol=ROUNDING)


def test_a_random_resized_crop_is_torchvisions_resized_crop() -> None:
    size, images, how = 60, pictures(size=60), only(crop=(0.3, 0.9), crop_ratio=(0.5, 2.0))
    sides, middles = crop_window(draw(6, SEED, STEP), how)
    results = augment(images, size, how, SEED, STEP)
    for picture, side, middle, ours in zip(images, sides, middles, results, strict=True):
        width, height = (float(share) * size for share in side)
        left, top = (
            (float(place) + 1) * size / 2 - length / 2
            for place, length in zip(middle, (width, height), strict=True)
        )
        expected = slow_crop(picture, left, top, width, height)
        np.testing.assert_allclose(ours[0].numpy(), expected, rtol=0, atol=ROUNDING)
        assert left > -1e-4 and top > -1e-4 and left + width < size + 1e-3 and top + height < size + 1e-3


def slow_crop(
    picture: Tensor, left: float, top: float, width: float, height: float
) -> npt.NDArray[np.float64]:
    """The window resampled to the picture's own size, pixel by pixel."""
    size = len(picture)
    rows, columns = (
        start + (np.arange(size) + 0.5) * length / size - 0.5
        for start, length in ((top, height), (left, width))
    )
    return np.array([[pick(picture.numpy(), row, column) for column in columns] for row in rows])


@settings(deadline=None, max_examples=30)
@given(st.floats(0.05, 1), st.floats(0.1, 1), st.integers(0, 1000))
def test_a_random_resized_crop_keeps_the_area_and_lies_inside(area: float, ratio: float, seed: int) -> None:
    how = only(crop=(area, area), crop_ratio=(ratio, 1 / ratio))
    side, middle = crop_window(draw(50, seed, STEP), how)
    torch.testing.assert_close(side.prod(dim=1), torch.full((50,), area), rtol=1e-4, atol=0)
    assert side.max() <= 1 + 1e-5 and (middle.abs() + side).max() <= 1 + 1e-5


def test_a_change_of_brightness_is_a_shift_of_all_grey_levels() -> None:
    images, results = pictures(), augment(pictures(), 40, only(brightness=0.4), SEED, STEP)
    for picture, draws, ours in zip(images, draw(6, SEED, STEP), results, strict=True):
        expected = (picture[None].float() + 255 * between(float(draws[6]), -0.4, 0.4)).clamp(0, 255)
        torch.testing.assert_close(ours, expected, rtol=0, atol=1e-3)


def test_a_change_of_contrast_is_torchvisions_about_the_mean() -> None:
    images, results = pictures(), augment(pictures(), 40, only(contrast=0.6), SEED, STEP)
    for picture, draws, ours in zip(images, draw(6, SEED, STEP), results, strict=True):
        contrast = between(float(draws[5]), 0.4, 1.6)
        expected = 255 * reference.adjust_contrast(picture[None].float() / 255, contrast)
        torch.testing.assert_close(ours, expected, rtol=0, atol=1e-3)


def slow(
    picture: npt.NDArray[np.uint8], size: int, draws: list[float], how: Augment
) -> npt.NDArray[np.float64]:
    """An augmented image, pixel by pixel: shifted, turned, magnified, flipped; contrast, then brightness."""
    height = len(picture)
    angle = math.radians(between(draws[1], -how.rotate, how.rotate))
    grows = between(draws[4], *how.scale)
    right, down = (-height * between(draws[column], -how.shift, how.shift) for column in (2, 3))
    result = np.zeros((size, size))
    for row in range(size):
        for column in range(size):
            across, along = ((place + 0.5) * height / size - height / 2 for place in (column, row))
            across = -across if draws[0] < how.flip else across
            across, along = across / grows, along / grows
            (
                across,
                along,
            ) = (  # the place in the picture from which a turn counter-clockwise brings this pixel
                across * math.cos(angle) - along * math.sin(angle),
                across * math.sin(angle) + along * math.cos(angle),
            )
            result[row, column] = pick(
                picture, along - down + height / 2 - 0.5, across - right + height / 2 - 0.5
            )
    contrast = 1 + between(draws[5], -how.contrast, how.contrast)
    brightness = 255 * between(draws[6], -how.brightness, how.brightness)
    result = (result - result.mean()) * contrast + result.mean() + brightness
    return np.asarray(result.clip(0, 255))


def pick(picture: npt.NDArray[np.uint8], row: float, column: float) -> float:
    """Bilinear value between pixel centres, black outside."""
    top, left = math.floor(row), math.floor(column)
    value = 0.0
    for near, side in ((top, 1 - (row - top)), (top + 1, row - top)):
        for close, share in ((left, 1 - (column - left)), (left + 1, column - left)):
            if 0 <= near < len(picture) and 0 <= close < len(picture):
                value += side * share * float(picture[near, close])
    return value


@pytest.mark.parametrize("size", [24, 17])
def test_everything_together_equals_a_slow_loop_over_pixels(size: int) -> None:
    images, results = pictures(8, 24), augment(pictures(8, 24), size, EVERYTHING, SEED, STEP)
    for picture, draws, ours in zip(images, draw(8, SEED, STEP).tolist(), results, strict=True):
        np.testing.assert_allclose(
            ours[0], slow(picture.numpy(), size, draws, EVERYTHING), rtol=0, atol=2 * ROUNDING
        )


def test_the_same_seed_and_step_draw_the_same_and_others_do_not() -> None:
    draws = [draw(4, seed, step) for seed in range(4) for step in range(25)]
    assert len({tuple(each.flatten().tolist()) for each in draws}) == 100
    torch.manual_seed(5)
    assert torch.equal(draw(4, 2, 7), draws[2 * 25 + 7])


def test_drawing_leaves_the_global_random_state_alone() -> None:
    before = torch.get_rng_state()
    augment(pictures(), 32, EVERYTHING, SEED, STEP)
    assert torch.equal(torch.get_rng_state(), before)


@given(num=st.integers(1, 13), world=st.integers(1, 5), step=st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_shares_draw_what_the_whole_batch_would(num: int, world: int, step: int) -> None:
    images = pictures(num, 12)
    whole = augment(images, 12, EVERYTHING, SEED, step)
    share = -(-num // world)
    for rank in range(world):
        first = rank * share
        part = images[first : first + share]
        padded = torch.cat(
            [part, images[:1].expand(share - len(part), 12, 12)]
        )  # as the loader fills a share
        ours = augment(padded, 12, EVERYTHING, SEED, step, first, num)
        torch.testing.assert_close(ours[: len(part)], whole[first : first + len(part)], rtol=0, atol=1e-3)


@pytest.mark.parametrize("size", [20, 40, 64])
def test_nothing_asked_for_is_exactly_what_evaluation_sees(size: int) -> None:
    assert torch.equal(augment(pictures(), size, STILL, SEED, STEP), resample(pictures(), size))


@pytest.mark.parametrize("size", [13, 20, 39, 40, 41, 64, 80])
def test_a_map_that_moves_nothing_gives_what_evaluation_sees(size: int) -> None:
    ours = augment(pictures(), size, ALMOST_STILL, SEED, STEP)
    torch.testing.assert_close(ours, resample(pictures(), size), rtol=0, atol=ROUNDING)


def test_resampling_to_the_same_size_is_exact() -> None:
    assert torch.equal(resample(pictures(), 40), pictures()[:, None].float())


@pytest.mark.parametrize("size", [20, 33, 64])
def test_resampling_is_torchvisions_without_antialias(size: int) -> None:
    theirs = reference.resize(
        pictures()[:, None].float(), [size, size], InterpolationMode.BILINEAR, antialias=False
    )
    torch.testing.assert_close(resample(pictures(), size), theirs, rtol=0, atol=1e-3)


@pytest.mark.parametrize("level", [0, 255, None])
@pytest.mark.parametrize("size", [12, 16, 40])
def test_values_stay_grey_levels(level: int | None, size: int) -> None:
    images = pictures(50, 16) if level is None else torch.full((50, 16, 16), level, dtype=torch.uint8)
    for how in (EVERYTHING, EVERYTHING.model_copy(update={"brightness": 0, "contrast": 0})):
        results = augment(images, size, how, SEED, STEP)
        assert results.shape == (50, 1, size, size)
        assert results.dtype == torch.float32
        assert float(results.min()) >= 0
        assert float(results.max()) <= 255 * (1 + 1e-6)  # interpolation weights sum to 1 within rounding


def test_maps_are_the_identity_in_the_middle_of_their_ranges() -> None:
    middle = torch.full((1, 11), 0.5)
    identity = torch.eye(3)[None, :2]
    torch.testing.assert_close(affine(middle, EVERYTHING.model_copy(update={"scale": (0.5, 1.5)})), identity)


class Launches(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the operators that work on tensors of a device, as each would be one launch or more."""

    def __init__(self, kind: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.kind, self.names = kind, list[str]()

    def __torch_dispatch__(
        self,
        func: Operator,
        types: object,
        args: tuple[object, ...] = (),
        kwargs: dict[str, object] | None = None,
    ) -> object:
        out = func(*args, **(kwargs or {}))
        if isinstance(out, torch.Tensor) and out.device.type == self.kind and not out._is_view():
            self.names.append(str(func))
        return out


def test_a_batch_is_augmented_in_few_launches() -> None:
    with Launches("meta") as launches:  # as a GPU would be asked
        result = augment(pictures().to("meta"), 33, EVERYTHING, SEED, STEP)
    assert (result.device.type, result.shape) == ("meta", (len(pictures()), 1, 33, 33))
    assert 5 < len(launches.names) <= 20, launches.names


@pytest.mark.cuda
def test_the_gpu_augments_as_the_cpu_does(gpu: torch.device) -> None:
    ours = augment(pictures().to(gpu), 33, EVERYTHING, SEED, STEP)
    torch.testing.assert_close(ours.cpu(), augment(pictures(), 33, EVERYTHING, SEED, STEP), rtol=0, atol=0.1)


def test_a_single_view_is_the_whole_image() -> None:
    (view,) = tta_versions(pictures(), 32, "none")
    torch.testing.assert_close(view, resample(pictures(), 32))


def test_flip_adds_the_mirror_image() -> None:
    view, mirrored = tta_versions(pictures(), 32, "flip")
    torch.testing.assert_close(mirrored, view.flip(-1))


def test_ten_crops_are_those_of_torchvision() -> None:
    views = list(tta_versions(pictures(size=40), 32, "ten_crop"))
    expected = reference.ten_crop(pictures(size=40)[:, None], [32, 32])
    for own in expected:
        assert any(torch.equal(view, own.float()) for view in views)
    assert len(views) == len(expected) == 10
