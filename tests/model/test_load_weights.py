import json
import os
import urllib.error
import urllib.request
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from torchvision.models import ResNet18_Weights, get_model

from cxr.errors import CxrError
from cxr.findings import NIH_14
from cxr.model import checkpoint as checkpoints
from cxr.model.classifier import Classifier
from cxr.model.load_weights import load_weights

State = dict[str, Tensor]


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder of downloaded weights on a machine without a network."""

    def refuse(*_: object, **__: object) -> None:
        raise urllib.error.URLError("Temporary failure in name resolution")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    monkeypatch.setattr(torch.hub, "urlopen", refuse)
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path / "hub"))
    return tmp_path / "hub" / "checkpoints"


def plant(hub: Path) -> State:
    """Random weights where torchvision looks for those of ImageNet."""
    state: State = get_model("resnet18", weights=None).state_dict()
    hub.mkdir(parents=True)
    torch.save(state, hub / ResNet18_Weights.DEFAULT.url.rpartition("/")[2])
    return state


def test_imagenet_weights_come_through_torchvision_and_fill_the_whole_backbone(hub: Path) -> None:
    theirs, ours = plant(hub), Classifier("resnet18", 3)
    head = ours.head.weight.clone()
    report = load_weights(ours, "imagenet", ("a", "b", "c"))
    assert str(report) == "weights imagenet (resnet18): 122 tensors: 120 matched, 2 in the head; head new"
    loaded = ours.backbone.state_dict()
    assert loaded.keys() == {key for key in theirs if not key.startswith("fc.")}
    assert all(torch.equal(loaded[key], theirs[key]) for key in loaded)
    assert torch.equal(ours.head.weight, head)


def test_imagenet_weights_without_a_network_name_the_address_and_the_folder(hub: Path) -> None:
    with pytest.raises(CxrError) as error:
        load_weights(Classifier("resnet18", 1), "imagenet", ("Mass",))
    assert error.value.render() == (
        "error: model.weights: ImageNet weights of resnet18 cannot be downloaded: "
        "Temporary failure in name resolution\n"
        f"hint: download {ResNet18_Weights.DEFAULT.url} elsewhere into {hub}, "
        "or train from scratch with model.weights=none"
    )
    assert not any(path.is_file() for path in hub.rglob("*"))


def test_imagenet_weights_that_were_copied_in_part_are_an_error(hub: Path) -> None:
    plant(hub)
    file = next(hub.iterdir())
    os.truncate(file, file.stat().st_size // 2)
    with pytest.raises(CxrError, match=f"model.weights: {file}: is cut off") as error:
        load_weights(Classifier("resnet18", 1), "imagenet", ("Mass",))
    assert error.value.hint.startswith("delete it, then download https://")


def test_no_weights_leave_the_model_as_it_was() -> None:
    model = Classifier("resnet18", 1)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    assert str(load_weights(model, "none", ("Mass",))) == ("weights none: every tensor is random")
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


@pytest.fixture(scope="module")
def chexnet() -> Classifier:
    """A DenseNet-121 with a head for NIH's 14 findings and batch statistics of its own."""
    model = Classifier("densenet121", 14).eval()
    for name, buffer in model.backbone.named_buffers():
        if name.endswith(("running_mean", "running_var")):
            buffer.uniform_(0.5, 1.5)
    return model


def old_state(model: Classifier) -> State:
    """The state under the names of CheXNet checkpoints of 2017, of PyTorch 0.3 under DataParallel."""
    state = {}
    for key, value in model.state_dict().items():
        if key.startswith("backbone.") and not key.endswith("num_batches_tracked"):
            name = key.removeprefix("backbone.")
            for part in ("norm", "relu", "conv"):
                for number in "12":
                    name = (
                        name.replace(f".{part}{number}.", f".{part}.{number}.")
                        if "denselayer" in name
                        else name
                    )
            state[f"module.densenet121.{name}"] = value
        elif key.startswith("head."):
            state[f"module.densenet121.classifier.0.{key.removeprefix('head.')}"] = value
    return state


def images(size: int = 64) -> Tensor:
    return torch.randint(0, 256, (2, 1, size, size), generator=torch.Generator().manual_seed(0)).float()


@torch.inference_mode()
def test_old_chexnet_checkpoints_give_the_logits_they_gave(chexnet: Classifier, tmp_path: Path) -> None:
    state = old_state(chexnet)
    assert "module.densenet121.features.denseblock1.denselayer1.norm.1.weight" in state
    assert "module.densenet121.classifier.0.weight" in state
    torch.save(
        {"epoch": 7, "state_dict": state, "best_loss": 0.2, "optimizer": {"state": {}}},
        tmp_path / "m.pth.tar",
    )
    model = Classifier("densenet121", 14).eval()
    report = load_weights(model, str(tmp_path / "m.pth.tar"), NIH_14, NIH_14)
    assert (report.matched, report.in_head, report.total, report.head) == (
        604,
        2,
        606,
        "loaded for 14 findings",
    )
    assert all(name.endswith("num_batches_tracked") for name in report.missing)
    assert torch.equal(model(images()), chexnet(images()))


def test_some_findings_take_their_rows_of_the_head(chexnet: Classifier, tmp_path: Path) -> None:
    torch.save(old_state(chexnet), tmp_path / "m.pth")
    model = Classifier("densenet121", 2)
    report = load_weights(model, str(tmp_path / "m.pth"), ("Pneumonia", "Mass"), NIH_14)
    rows = [NIH_14.index("Pneumonia"), NIH_14.index("Mass")]
    assert report.head == "loaded for 2 findings"
    assert torch.equal(model.head.weight, chexnet.head.weight[rows])
    assert torch.equal(model.head.bias, chexnet.head.bias[rows])


def test_a_head_of_other_findings_is_new(chexnet: Classifier, tmp_path: Path) -> None:
    torch.save(old_state(chexnet), tmp_path / "m.pth")
    model = Classifier("densenet121", 1)
    head = model.head.weight.clone()
    report = load_weights(model, str(tmp_path / "m.pth"), ("Fracture",), NIH_14)
    assert report.head.startswith("new: none of its findings is used here (Atelectasis, ")
    assert torch.equal(model.head.weight, head)


def test_our_own_checkpoint_gives_backbone_and_head_rows(trained: Path) -> None:
    source = checkpoints.load(trained).classifier
    model = Classifier("resnet18", 2)
    report = load_weights(model, str(trained / checkpoints.BEST), ("Pneumothorax", "Cardiomegaly"))
    assert (report.matched, report.missing, report.head) == (120, (), "loaded for 2 findings")
    assert torch.equal(model.head.weight, source.head.weight[[2, 0]])
    assert torch.equal(
        model.backbone.get_parameter("conv1.weight"), source.backbone.get_parameter("conv1.weight")
    )
    assert (model.logit_shift == 0).all()


def test_weights_of_another_model_are_refused_and_change_nothing(tmp_path: Path) -> None:
    torch.save(get_model("resnet18", weights=None).state_dict(), tmp_path / "resnet18.pth")
    model = Classifier("resnet34", 1)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(CxrError) as error:
        load_weights(model, str(tmp_path / "resnet18.pth"), ("Mass",))
    assert error.value.render() == (
        f"error: model.weights: {tmp_path}/resnet18.pth: holds the tensors of a resnet18, not of a resnet34\n"
        "hint: set model.backbone=resnet18; "
        "the file has layer1.1.conv1.weight [64, 64, 3, 3], "
        "a resnet34 has layer1.2.conv1.weight [64, 64, 3, 3]"
    )
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


@pytest.mark.parametrize(
    ("name", "shape", "said"),
    [
        ("layer3.0.conv1.weight", None, r"119 of 120 tensors match; 1 missing \(layer3.0.conv1.weight\)"),
        ("layer3.0.conv1.weight", (3,), r"layer3.0.conv1.weight is \[3\], a resnet18 has \[256, 128, 3, 3\]"),
        ("conv1.weight", (64, 3, 3, 3), r"conv1.weight is \[64, 3, 3, 3\], a resnet18 has \[64, 3, 7, 7\]"),
        ("layer1.0.se.weight", (3,), r"1 that a resnet18 does not have \(layer1.0.se.weight\)"),
        ("extra.weight", (3,), "holds 1 tensor among its parts that a resnet18 does not have: extra.weight"),
    ],
)
def test_a_backbone_that_fits_in_part_is_refused(
    name: str, shape: tuple[int, ...] | None, said: str, tmp_path: Path
) -> None:
    state: State = get_model("resnet18", weights=None).state_dict()
    state.pop(name, None)
    torch.save(state | ({name: torch.zeros(shape)} if shape else {}), tmp_path / "m.pth")
    with pytest.raises(CxrError, match=said):
        load_weights(Classifier("resnet18", 1), str(tmp_path / "m.pth"), ("Mass",))


def test_the_safetensors_header_of_others_does_not_matter(trained: Path, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    state = checkpoints.load(trained).classifier.backbone.state_dict()
    save_file(
        {key: value.contiguous() for key, value in state.items()},
        tmp_path / "m.safetensors",
        {"format": "pt"},
    )
    report = load_weights(Classifier("resnet18", 1), str(tmp_path / "m.safetensors"), ("Effusion",))
    assert (report.matched, report.head) == (120, "new")


@pytest.mark.parametrize("stem", ["rgb", "grey"])
def test_a_run_hands_on_the_normalisation_that_it_began_with(stem: str, tmp_path: Path) -> None:
    first, second = Classifier("resnet18", 1), Classifier("resnet18", 1)
    first.mean.fill_(127.5)
    first.std.fill_(127.5 / 1024)
    if stem == "grey":
        first.fold_stem()
    header = {"cxr": json.dumps({"findings": ["Mass"]})}
    save_file(
        {key: value.contiguous() for key, value in first.state_dict().items()},
        tmp_path / "run.safetensors",
        header,
    )
    load_weights(second, str(tmp_path / "run.safetensors"), ["Mass"])
    images = torch.rand(2, 1, 32, 32) * 255
    torch.testing.assert_close(second.eval()(images), first.eval()(images))
