import re

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import get_model
from torchvision.transforms.v2.functional import normalize

from cxr.model.classifier import IMAGENET_MEAN, IMAGENET_STD, Classifier, TrainLayers

BACKBONES = ("densenet121", "densenet169", "densenet201", "resnet18", "resnet34", "resnet50", "resnet101")


def grey(num: int = 2, size: int = 64, seed: int = 0) -> Tensor:
    pixels = torch.randint(0, 256, (num, 1, size, size), generator=torch.Generator().manual_seed(seed))
    return pixels.float()


@pytest.mark.parametrize("backbone", BACKBONES)
def test_logits_are_those_of_torchvisions_own_model(backbone: str) -> None:
    theirs = get_model(backbone, weights=None, num_classes=3).eval()
    ours = Classifier(backbone, 3).eval()
    state = {re.sub(r"^backbone\.(classifier|fc)\.", "head.", f"backbone.{key}"): one
             for key, one in theirs.state_dict().items()}  # fmt: skip
    missing, unexpected = ours.load_state_dict(state, strict=False)
    assert (set(missing), unexpected) == ({"mean", "std", "logit_shift"}, [])
    colour = normalize(grey().expand(-1, 3, -1, -1) / 255, list(IMAGENET_MEAN), list(IMAGENET_STD))
    with torch.inference_mode():
        torch.testing.assert_close(ours(grey()), theirs(colour), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("backbone", ["densenet121", "resnet18"])
def test_the_mean_of_an_activation_map_plus_the_bias_is_the_logit(backbone: str) -> None:
    model = Classifier(backbone, 5).eval()
    nn.init.normal_(model.head.bias)
    with torch.inference_mode():
        features = model.feature_map(grey(size=96))
        maps = model.activation_maps(features)
        assert maps.shape == (2, 5, 3, 3)
        torch.testing.assert_close(maps.mean(dim=(2, 3)) + model.head.bias, model(grey(size=96)))


def test_the_head_computes_in_float32_under_autocast() -> None:
    model = Classifier("resnet18", 3).eval()
    features = torch.randn(4, 512, 2, 2).bfloat16()
    with torch.autocast("cpu", torch.bfloat16), torch.inference_mode():
        logits = model.classify(features)
        assert model.feature_map(grey()).dtype == torch.bfloat16
    assert logits.dtype == torch.float32
    assert torch.equal(logits, model.head(features.float().mean(dim=(2, 3))))


def test_sure_probabilities_do_not_tie() -> None:
    logits = torch.linspace(15, 30, 400).repeat(2, 1).T
    assert len(set(Classifier("resnet18", 2).probabilities(logits)[:, 0].tolist())) == 400


def test_probabilities_have_the_weights_of_the_loss_undone() -> None:
    model = Classifier("resnet18", 2)
    model.logit_shift.copy_(torch.tensor([-2.0, 1.0]))
    logits = torch.randn(5, 2)
    torch.testing.assert_close(
        torch.logit(model.probabilities(logits)).float(), logits + torch.tensor([-2.0, 1.0])
    )


LAST_BLOCK = {"densenet121": ("features.denseblock4.", "features.norm5."), "resnet18": ("layer4.",)}


@pytest.mark.parametrize("backbone", ["densenet121", "resnet18"])
@pytest.mark.parametrize("which", ["all", "head", "last_block"])
def test_exactly_what_was_asked_for_learns(backbone: str, which: TrainLayers) -> None:
    model = Classifier(backbone, 3)
    model.set_trainable(which)
    before = {key: value.clone() for key, value in model.named_buffers()}
    model.train()(grey()).sum().backward()
    block = tuple(f"backbone.{name}" for name in LAST_BLOCK[backbone])
    learning = {"all": ("backbone.", "head."), "head": ("head.",), "last_block": ("head.", *block)}[which]
    with_gradient = {name for name, one in model.named_parameters() if one.grad is not None}
    assert with_gradient == {name for name, _ in model.named_parameters() if name.startswith(learning)}
    moved = {name for name, one in model.named_buffers() if not torch.equal(one, before[name])}
    assert moved == {name for name in before if name.startswith(learning) and name.startswith("backbone.")}


def test_frozen_parts_stay_frozen_through_evaluation_and_thaw_again() -> None:
    model = Classifier("resnet18", 3)
    model.set_trainable("last_block")
    model.eval().train()
    assert [model.backbone.training, model.backbone.get_submodule("layer4").training] == [False, True]
    model.set_trainable("all")
    assert all(module.training for module in model.modules())
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_the_last_block_learns_after_its_norms_are_replaced() -> None:
    model = Classifier("densenet121", 3)
    model.set_trainable("last_block")
    shared = nn.SyncBatchNorm.convert_sync_batchnorm(model).train()  # type: ignore[no-untyped-call]
    norms = {
        name: module.training
        for name, module in shared.named_modules()
        if isinstance(module, nn.SyncBatchNorm)
    }
    assert {name for name, training in norms.items() if training} == {
        name
        for name in norms
        if name.startswith(("backbone.features.denseblock4.", "backbone.features.norm5"))
    }
