import tracemalloc

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import torch

from cxr.explain.cam import Colour, activation_map, encode_png, overlay
from cxr.images.grey import Grey
from cxr.images.prepare import Fit, Preprocess, undo_fit
from cxr.model.classifier import Classifier

FITS: list[Fit] = ["pad", "squash", "crop"]


def radiograph(height: int = 200, width: int = 300) -> Grey:
    return np.tile(np.linspace(20, 220, width).astype(np.uint8), (height, 1))


def colourfulness(picture: Colour) -> npt.NDArray[np.int16]:
    return np.asarray(np.ptp(picture.astype(np.int16), axis=2))


@torch.inference_mode()
def test_the_mean_of_a_map_plus_the_bias_is_the_logit() -> None:
    classifier = Classifier("resnet18", 4).eval()
    features = classifier.feature_map(torch.rand(2, 1, 96, 96) * 255)
    logits = classifier.classify(features)
    for image in range(2):
        for finding in range(4):
            cam = activation_map(classifier, features[image], finding)
            assert cam.shape == (3, 3)
            bias = classifier.head.bias[finding].item()
            assert cam.mean() + bias == pytest.approx(logits[image, finding].item(), abs=1e-5)


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("shape", [(200, 300), (300, 200), (64, 64), (1, 50)])
def test_an_overlay_has_the_files_own_pixels_and_a_caption_below(fit: Fit, shape: tuple[int, int]) -> None:
    picture = overlay(radiograph(*shape), np.ones((7, 7), np.float32), Preprocess(64, fit), "Mass 0.900")
    assert picture.dtype == np.uint8
    assert picture.shape[1:] == (shape[1], 3)
    assert shape[0] < picture.shape[0] <= shape[0] + 40


@pytest.mark.parametrize("fit", FITS)
def test_what_does_not_speak_for_the_finding_stays_the_radiograph(fit: Fit) -> None:
    grey = radiograph()
    picture = overlay(grey, -np.ones((7, 7), np.float32), Preprocess(64, fit), "")
    np.testing.assert_array_equal(picture[:200], cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR))


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("centre", [(1, 1), (1, 5), (5, 2), (3, 3)])
def test_the_hottest_cell_lies_where_the_model_saw_it(fit: Fit, centre: tuple[int, int]) -> None:
    height, width = 210, 350
    cam = np.full((7, 7), -1.0, np.float32)
    cam[centre] = 1.0
    picture = overlay(np.full((height, width), 128, np.uint8), cam, Preprocess(70, fit), "")[:height]
    side = {"pad": max(height, width), "crop": min(height, width), "squash": 0}[fit]
    tall, wide = (side or height), (side or width)
    row = (centre[0] + 0.5) / 7 * tall - (tall - height) / 2
    column = (centre[1] + 0.5) / 7 * wide - (wide - width) / 2
    assert 0 <= row < height and 0 <= column < width
    where = np.argwhere(colourfulness(picture) > 0.9 * colourfulness(picture).max())
    np.testing.assert_allclose(where.mean(axis=0), (row, column), atol=tall / 14)


def test_an_overlay_is_a_png_of_the_same_pixels() -> None:
    picture = overlay(radiograph(), np.eye(7, dtype=np.float32), Preprocess(64), "Mass 0.900")
    decoded = cv2.imdecode(np.frombuffer(encode_png(picture), np.uint8), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(np.asarray(decoded), picture)


@pytest.mark.parametrize(
    ("height", "width", "shown"), [(40, 60, (40, 60)), (90, 60, (45, 30)), (400, 210, (80, 42))]
)
def test_the_overlay_of_a_large_image_is_drawn_on_a_smaller_copy(
    height: int, width: int, shown: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cxr.explain.cam.MAX_PIXELS", 3600)
    grey = np.tile(np.linspace(0, 255, width), (height, 1)).astype(np.uint8)
    how, cam = Preprocess(32), np.zeros((4, 4), np.float32)
    picture = overlay(grey, cam, how, "x")
    assert picture.shape[1] == shown[1]
    expected = cv2.resize(grey, shown[::-1], interpolation=cv2.INTER_AREA)
    np.testing.assert_array_equal(picture[: shown[0], :, 0], expected)


def test_an_overlay_is_the_same_drawn_some_rows_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    grey = np.random.default_rng(0).integers(0, 256, (50, 40), dtype=np.uint8)
    cam = np.random.default_rng(1).normal(size=(7, 7)).astype(np.float32)
    whole = overlay(grey, cam, Preprocess(32), "caption")
    monkeypatch.setattr("cxr.images.grey._BLOCK_PIXELS", 170)
    np.testing.assert_array_equal(overlay(grey, cam, Preprocess(32), "caption"), whole)


@pytest.mark.parametrize("shape", [(20, 300_000), (300_000, 20), (60, 9000)])
def test_a_long_thin_image_takes_no_square_of_memory(shape: tuple[int, int]) -> None:
    tracemalloc.start()
    picture = overlay(np.full(shape, 90, np.uint8), np.eye(7, dtype=np.float32), Preprocess(64), "Mass 0.900")
    assert tracemalloc.get_traced_memory()[1] < 40 * picture.size + 10_000_000
    tracemalloc.stop()
    assert picture.shape[1] == shape[1]
    assert picture.shape[0] <= 2 * shape[0] + 40


@pytest.mark.parametrize("shape", [(300, 200), (200, 300), (30, 400), (400, 30)])
def test_a_part_is_enlarged_as_the_whole(shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    cam = np.random.default_rng(0).normal(size=(7, 7)).astype(np.float32)
    whole = undo_fit(cam, shape, "pad")
    monkeypatch.setattr("cxr.images.prepare._MAX_ENLARGED_PIXELS", 0)
    np.testing.assert_allclose(undo_fit(cam, shape, "pad"), whole, atol=1e-5)
