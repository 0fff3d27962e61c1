from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from torch import Tensor

from cxr.explain import integrated
from cxr.explain.integrated import MOST_STEPS, TOLERANCE, attribute, integrate_gradients
from cxr.explain.maps import compute_maps
from cxr.images.read import read_file
from cxr.model import checkpoint as checkpoints
from cxr.model.classifier import Classifier


@pytest.fixture(scope="module")
def classifier(run: Path) -> Classifier:
    return checkpoints.load(run).classifier


@pytest.fixture(scope="module")
def images(nih_root: Path) -> Tensor:
    files = sorted((nih_root / "images").iterdir())[:2]
    pixels = np.stack([read_file(file)[8:40, 8:40] for file in files])
    return torch.from_numpy(pixels)[:, None].float()


def differences(classifier: Classifier, images: Tensor) -> Tensor:
    """The logits less those of the mean greys [B, C]."""
    with torch.no_grad():
        logits: Tensor = classifier(images) - classifier(images.mean((2, 3), keepdim=True).expand_as(images))
    return logits


def test_attributions_add_up_to_the_difference_of_the_logits(classifier: Classifier, images: Tensor) -> None:
    wanted = [0, 3]
    summed = integrate_gradients(classifier, images, [wanted, wanted]).sum(dim=(2, 3))[:, wanted]
    expected = differences(classifier, images)[:, wanted]
    assert expected.abs().min() > 1e-3
    assert ((summed - expected).abs() <= TOLERANCE * expected.abs().clamp(min=1)).all()


def test_steps_are_doubled_while_attributions_do_not_add_up(
    classifier: Classifier, images: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = []

    def record(model: Classifier, image: Tensor, baseline: Tensor, findings: list[int], num: int) -> Tensor:
        steps.append(num)
        return torch.zeros(len(findings), *image.shape[1:])  # adds up to nothing

    monkeypatch.setattr(integrated, "attribute", record)
    monkeypatch.setattr(integrated, "TOLERANCE", 1e-9)
    integrate_gradients(classifier, images[:1], [[0]])
    assert steps == [32, 64, 128, 256, MOST_STEPS]


def test_a_linear_model_has_its_weights_as_gradients(images: Tensor) -> None:
    class Linear(torch.nn.Module):
        head = torch.nn.Linear(1, 2)

        def forward(self, x: Tensor) -> Tensor:
            return torch.stack([x[:, 0, 4, 5] * 3, x.sum(dim=(1, 2, 3))], dim=1)

    maps = integrate_gradients(cast(Classifier, Linear()), images)
    centred = images[:, 0] - images.mean(dim=(1, 2, 3))[:, None, None]
    torch.testing.assert_close(maps[:, 1], centred, atol=1e-3, rtol=1e-4)
    torch.testing.assert_close(maps[:, 0, 4, 5], 3 * centred[:, 4, 5])
    assert torch.count_nonzero(maps[:, 0]) == len(images)


def test_maps_that_are_not_wanted_are_zero(classifier: Classifier, images: Tensor) -> None:
    squares = images[:, 0].to(torch.uint8)
    maps = compute_maps(classifier, squares, 32, "integrated", wanted=[[1], []])
    assert maps[0, 1].any() and not maps[0, [0, *range(2, maps.shape[1])]].any() and not maps[1].any()


def test_integrated_gradients_are_those_of_captum(classifier: Classifier, images: Tensor) -> None:
    captum = pytest.importorskip("captum.attr", reason="captum is not installed: pip install 'cxr[explain]'")
    baseline = images[:1].mean().expand_as(images[:1])
    method = captum.IntegratedGradients(classifier)
    theirs = method.attribute(images[:1], baseline, target=2, n_steps=32, method="gausslegendre")
    ours = attribute(classifier, images[0], baseline[0], [2], 32)
    torch.testing.assert_close(ours, theirs[0].detach(), atol=1e-6, rtol=1e-3)
