"""Weights of torchxrayvision, planted where that package keeps them; it is also the reference."""

import os
import pickle
import re
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.models import resnet18, resnet50

from cxr.errors import CxrError
from cxr.findings import CHEXPERT_5, NIH_14
from cxr.model import xrv
from cxr.model.classifier import Classifier
from cxr.model.load_weights import load_weights
from cxr.weights.files import open_weights
from tests.helpers.models import Plant, grey, xrv_logits

ALL, NIH, RSNA, CHEX = (f"xrv:densenet121-res224-{name}" for name in ("all", "nih", "rsna", "chex"))


def test_the_models_are_those_that_torchxrayvision_publishes() -> None:
    from torchxrayvision.models import model_urls

    published = {name: entry for name, entry in model_urls.items() if "-res" in name}
    assert {name: model.url for name, model in xrv.PRETRAINED.items()} == {
        name: entry["weights_url"] for name, entry in published.items()
    }
    for name, entry in published.items():
        points = dict(zip(entry["labels"], entry["op_threshs"], strict=True))
        trained = tuple("" if np.isnan(points[label]) else label for label in entry["labels"])
        assert (xrv.PRETRAINED[name].outputs, xrv.PRETRAINED[name].size) == (
            trained,
            entry["input_resolution"],
        )


def test_the_cache_folder_is_torchxrayvisions_own(xrv_cache: Path) -> None:
    from torchxrayvision.utils import get_cache_dir

    assert xrv.path_of(xrv.find(NIH)).parent == xrv_cache == Path(get_cache_dir())


@pytest.mark.parametrize("stem", ["rgb", "grey"])
@pytest.mark.parametrize("zipped", [False, True])
@torch.inference_mode()
def test_the_logits_are_torchxrayvisions(stem: str, zipped: bool, plant: Plant) -> None:
    plant(ALL, zipped=zipped)
    findings = xrv.find(ALL).trained
    model = Classifier("densenet121", len(findings)).eval()
    report = load_weights(model, ALL, findings)
    if stem == "grey":
        model.fold_stem()
    expected = xrv_logits(ALL, grey(224))
    assert expected.std() > 0.1
    torch.testing.assert_close(model(grey(224)), expected, rtol=0, atol=1e-4)
    assert str(report).startswith(f"weights {ALL}: 727 tensors: 725 matched (under features.), 2 in the head")
    assert report.head == "loaded for 18 findings"


@torch.inference_mode()
def test_the_resnet_is_read_from_its_state_dict(plant: Plant) -> None:
    weights = "xrv:resnet50-res512-all"
    net = resnet50(num_classes=18)
    net.conv1 = nn.Conv2d(1, 64, 7, stride=2, padding=3, bias=False)
    for norm in (part for part in net.modules() if isinstance(part, nn.BatchNorm2d)):
        norm.momentum = 1.0  # batch statistics of one batch, as after training
    net((grey(64) / 127.5 - 1) * 1024)
    plant(weights, net.state_dict(), zipped=True)
    model = Classifier("resnet50", 2).eval()
    assert load_weights(model, weights, ("Hernia", "Mass")).head == "loaded for 2 findings"
    torch.testing.assert_close(
        model(grey(512)), xrv_logits(weights, grey(512))[:, [13, 12]], rtol=0, atol=1e-4
    )


def test_heads_go_by_the_name_of_the_finding(plant: Plant, densenet: nn.Module) -> None:
    plant(CHEX)
    model = Classifier("densenet121", 5)
    assert load_weights(model, CHEX, CHEXPERT_5).head == "loaded for 5 findings"
    rows = [0, 10, 1, 4, 7]  # Pleural Effusion is the package's Effusion
    assert torch.equal(model.head.weight, densenet.get_parameter("classifier.weight")[rows])
    assert torch.equal(model.head.bias, densenet.get_parameter("classifier.bias")[rows])


def test_findings_without_a_trained_output_start_new(plant: Plant, densenet: nn.Module) -> None:
    plant(RSNA)
    model = Classifier("densenet121", 3)
    before = model.head.weight.clone()
    report = load_weights(model, RSNA, ("Mass", "Pneumonia", "Support Devices"))
    assert report.head == "loaded for 1 finding, new for 2: Mass, Support Devices"
    assert torch.equal(model.head.weight[[0, 2]], before[[0, 2]])
    assert torch.equal(model.head.weight[1], densenet.get_parameter("classifier.weight")[8])


def test_without_a_network_the_address_and_the_folder_are_named(xrv_cache: Path) -> None:
    with pytest.raises(CxrError) as error:
        load_weights(Classifier("densenet121", 14), NIH, NIH_14)
    assert error.value.render() == (
        f"error: {NIH}: cannot be downloaded: Temporary failure in name resolution\n"
        "hint: download https://github.com/mlmed/torchxrayvision/releases/download/v1/"
        f"nih-densenet121-d121-tw-lr001-rot45-tr15-sc15-seed0-best.pt elsewhere into {xrv_cache}"
    )
    assert list(xrv_cache.iterdir()) == []


def test_a_download_lies_where_torchxrayvision_looks(
    plant: Plant, xrv_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, asked = plant(RSNA).rename(xrv_cache.parent / "server.pt"), []

    def download(url: str, to: str) -> None:
        asked.append(url)
        shutil.copy(source, to)

    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    for _ in range(2):
        load_weights(Classifier("densenet121", 1), RSNA, ("Pneumonia",))
    assert asked == [xrv.find(RSNA).url]
    assert [path.name for path in xrv_cache.iterdir()] == [xrv.find(RSNA).file]


def test_a_download_that_is_no_model_is_not_kept(xrv_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        torch.hub, "download_url_to_file", lambda _, to: Path(to).write_text("<html>Not found")
    )
    with pytest.raises(CxrError, match=f"{NIH}: https://.* gave no model"):
        load_weights(Classifier("densenet121", 1), NIH, ("Mass",))
    assert list(xrv_cache.iterdir()) == []


class Trap:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


def trapped(densenet: nn.Module, path: Path) -> Any:  # noqa: ANN401
    import copy

    model = copy.copy(densenet)
    model.__dict__ = densenet.__dict__ | {"note": Trap(path)}
    return model


@pytest.mark.parametrize("form", ["legacy", "zip", "bare"])
def test_a_file_with_code_is_refused_and_not_run(
    form: str, plant: Plant, densenet: nn.Module, xrv_cache: Path, tmp_path: Path
) -> None:
    sprung, path = tmp_path / "sprung", xrv_cache / xrv.find(NIH).file
    if form == "bare":
        path.write_bytes(pickle.dumps(Trap(sprung)))
    else:
        plant(NIH, trapped(densenet, sprung), zipped=form == "zip")
    with pytest.raises(CxrError) as error:
        load_weights(Classifier("densenet121", 1), NIH, ("Mass",))
    asks = "asks for posix.mkdir, which is no part of a model"
    what = "is a pickle that torch.save did not write" if form == "bare" else asks
    assert error.value.problems == (f"{path}: is no model of torchxrayvision: it {what}",)
    assert error.value.hint == f"delete it, then it is downloaded again from {xrv.find(NIH).url}"
    assert not sprung.exists()


def test_a_file_saved_on_a_gpu_is_read_without_one(
    plant: Plant, densenet: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.serialization, "location_tag", lambda _: "cuda:0")
    file, expected = open_weights(str(plant(NIH))), densenet.state_dict()
    assert file.tensors.keys() == expected.keys()
    assert all(torch.equal(file.read(name), expected[name]) for name in expected)


def test_a_torchscript_file_is_refused(xrv_cache: Path) -> None:
    with zipfile.ZipFile(xrv_cache / xrv.find(NIH).file, "w") as file:
        for name in ("data.pkl", "constants.pkl", "code/__torch__.py"):
            file.writestr(f"program/{name}", b"")
    with pytest.raises(CxrError, match="is no model of torchxrayvision: it is a TorchScript program"):
        load_weights(Classifier("densenet121", 1), NIH, ("Mass",))


@pytest.mark.parametrize("content", [b"", b"\x80\x02 cut off", b"PK\x03\x04 cut off", b"<html>"])
def test_a_broken_file_is_an_error(content: bytes, xrv_cache: Path) -> None:
    (xrv_cache / xrv.find(NIH).file).write_bytes(content)
    with pytest.raises(CxrError, match=r"seed0-best\.pt: is no model of torchxrayvision: "):
        load_weights(Classifier("densenet121", 1), NIH, ("Mass",))


def test_a_file_of_another_model_is_refused_by_name(plant: Plant) -> None:
    path = plant(NIH, resnet18())
    with pytest.raises(CxrError) as error:
        load_weights(Classifier("densenet121", 1), NIH, ("Mass",))
    first = f"{path}: is not {NIH}: features.conv0.weight is not there, not (64, 1, 7, 7)"
    assert error.value.problems[0] == first


@pytest.mark.parametrize(
    ("weights", "what"),
    [
        ("xrv:densenet121-res224-padchest", "torchxrayvision has no such weights here"),
        ("xrv:resnet50-res512-all", "xrv:resnet50-res512-all: is a resnet50, model.backbone is densenet121"),
    ],
)
def test_a_wrong_name_is_an_error(weights: str, what: str) -> None:
    with pytest.raises(CxrError, match=what):
        load_weights(Classifier("densenet121", 1), weights, ("Mass",))


@pytest.mark.parametrize(
    ("weights", "source", "note"),
    [
        (
            NIH,
            "nih",
            "NOT A FAIR TEST: .*-nih was trained on nih, with another split: it may have been trained on",
        ),
        (RSNA, "nih", r"NOT A FAIR TEST: .* trained on rsna \(rsna: images of nih\)"),
        (NIH, "chexpert", "was trained on nih, not on images of chexpert"),
        (
            NIH,
            "table",
            "was trained on nih; where these images are of those, it may have been trained on these",
        ),
    ],
)
def test_patients_it_may_have_seen_are_told(weights: str, source: str, note: str) -> None:
    assert re.search(note, xrv.note_on_patients(xrv.find(weights), source))
