import cv2
import numpy as np
import pytest
import torch

from cxr.explain.cam import activation_maps
from cxr.explain.overlay_png import encode_png
from cxr.images.prepare import undo_fit
from cxr.model.classifier import Classifier


@torch.inference_mode()
@pytest.mark.parametrize("backbone", ["resnet18", "resnet50", "densenet121"])
def test_the_mean_of_a_map_plus_the_bias_is_the_logit(backbone: str) -> None:
    classifier = Classifier(backbone, 4).eval()
    features = classifier.feature_map(torch.rand(2, 1, 96, 96) * 255)
    logits = classifier.classify(features).numpy()
    for image in range(2):
        maps = activation_maps(classifier, features[image])
        assert maps.shape == (4, 3, 3)
        bias = classifier.head.bias.detach().numpy()
        np.testing.assert_allclose(maps.mean(axis=(1, 2)) + bias, logits[image], atol=1e-4)


def test_an_overlay_is_a_png_of_the_same_pixels() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    decoded = cv2.imdecode(np.frombuffer(encode_png(picture), np.uint8), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(np.asarray(decoded), picture)


@pytest.mark.parametrize("shape", [(300, 200), (200, 300), (30, 400), (400, 30)])
def test_a_part_is_enlarged_as_the_whole(shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    cam = np.random.default_rng(0).normal(size=(7, 7)).astype(np.float32)
    whole = undo_fit(cam, shape, "pad")
    monkeypatch.setattr("cxr.images.prepare._MAX_ENLARGED_PIXELS", 0)
    np.testing.assert_allclose(undo_fit(cam, shape, "pad"), whole, atol=1e-5)
