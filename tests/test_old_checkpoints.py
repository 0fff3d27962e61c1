"""Checkpoints of other programs, run as they are: cxr eval OLD.pth.tar CONFIG, cxr predict OLD.pth.tar IMAGE."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import nn
from torchvision.models import resnet18
from torchvision.transforms.v2.functional import normalize

from cxr.data.augment import resample
from cxr.findings import NIH_14
from cxr.model.classifier import Classifier
from cxr.model.load_weights import load_weights
from tests.helpers.commands import call, read_csv


def grey(path: Path) -> "cv2.typing.MatLike":
    pixels = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    assert pixels is not None
    return pixels


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint like those of the CheXNet reproductions: 14 outputs behind a sigmoid, names nowhere."""
    torch.manual_seed(0)
    net = torchvision_resnet(14)
    path = tmp_path_factory.mktemp("old") / "m.pth.tar"
    state = {f"module.{name}": value for name, value in net.state_dict().items()}
    torch.save(
        {"epoch": 3, "state_dict": state, "optimizer": {"state": {0: {"exp_avg": torch.zeros(3)}}}}, path
    )
    return path


def torchvision_resnet(outputs: int, last: str = "Sigmoid") -> nn.Module:
    net: nn.Module = resnet18(weights=None)
    net.fc = nn.Sequential(nn.Linear(512, outputs), getattr(nn, last)())
    return net.eval()


def theirs(path: Path, pixels: torch.Tensor) -> list[float]:
    """Its probabilities for grey pixels, by torchvision's own network and normalisation."""
    net = torchvision_resnet(14)
    state = torch.load(path)["state_dict"]
    net.load_state_dict({name.removeprefix("module."): value for name, value in state.items()})
    colour = normalize(pixels.expand(-1, 3, -1, -1) / 255, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    with torch.inference_mode():
        return list(net(colour)[0].tolist())


@pytest.mark.figures
def test_an_old_checkpoint_is_evaluated_as_it_is(
    old: Path, recipe: Path, nih_root: Path, tmp_path: Path
) -> None:
    assert (
        call("eval", old, recipe, "model.head_findings=nih14", "eval.interval=none", "--out", tmp_path) == 0
    )
    rows = read_csv(tmp_path / "predictions.csv")
    square = cv2.resize(grey(next(nih_root.rglob(rows[0]["image"]))), (32, 32), interpolation=cv2.INTER_AREA)
    ours = [float(rows[0][f"p_{name}"]) for name in NIH_14]
    np.testing.assert_allclose(ours, theirs(old, torch.from_numpy(square).float()[None, None]), atol=1e-5)


def test_the_report_says_what_a_file_leaves_unknown(old: Path, recipe: Path, tmp_path: Path) -> None:
    names = "[Mass, Hernia, a, b, c, d, e, f, g, h, i, j, k, l]"
    assert (
        call("eval", old, recipe, f"model.head_findings={names}", "eval.interval=none", "--out", tmp_path)
        == 0
    )
    report = json.loads((tmp_path / "report.json").read_text())
    notes = "\n".join(report["notes"])
    assert (
        f"{old}: what it was trained on is unknown, so the check for patients of its training is off: it may have been"
        in notes
    )
    assert f"{old}: its outputs are assumed to be Mass, Hernia, a, b, " in notes
    assert "in the order of model.head_findings; in another order every metric is wrong" in notes
    assert (
        "assumed: torchvision's resnet18 with average pooling, pixels normalised by ImageNet's mean and"
        in notes
    )
    assert "was never trained for Atelectasis, " in notes
    assert {row["finding"] for row in report["metrics"]} == {"Mass", "Hernia"}
    assert report["about"]["trained on"] == "unknown: the file does not say"
    assert report["about"]["model"] == f"resnet18 of {old}, 14 outputs named by model.head_findings"


def test_predict_runs_an_old_checkpoint_and_says_what_it_assumes(
    old: Path, nih_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = next(nih_root.rglob("*.png"))
    assert call("predict", old, image, "--head-findings", "nih14", "--format", "json") == 0
    said = capsys.readouterr()
    answer = json.loads(said.out)
    assert list(answer["probabilities"]) == list(NIH_14) and set(answer["thresholds"].values()) == {0.5}
    square = cv2.resize(grey(image), (256, 256), interpolation=cv2.INTER_LINEAR)
    pixels = resample(torch.from_numpy(square)[None], 224)
    np.testing.assert_allclose(list(answer["probabilities"].values()), theirs(old, pixels), atol=0.02)
    assert f"{old}: thresholds of 0.5, chosen on no images; probabilities: sigmoid of each output" in said.err
    assert (
        f"{old}: assumed: torchvision's " in said.err
        and "with average pooling, pixels normalised by" in said.err
    )
    assert "deviation, images padded to squares of 224 pixels; what it was trained on is unknown" in said.err
    assert "in the order of --head-findings; in another order every metric is wrong" in said.err


def says(old: Path, error: str, hint: str, key: str) -> str:
    return f"error: {old}: {error.format(option=key.rstrip('= '))}\nhint: {hint.format(key=key)}\n"


@pytest.mark.parametrize(
    ("arguments", "error", "hint"),
    [
        ([], "does not say what its outputs are (state_dict.module.fc.0: 14 outputs)",
         "add {key}nih14 or {key}chexpert14 or {key}[A,B,...], in their order"),
        (["chexpert5"], "{option} names 5 findings, the file has state_dict.module.fc.0: 14 outputs",
         "name the outputs of the head, all of them and in their order"),
    ],
)  # fmt: skip
def test_outputs_without_names_are_asked_for(
    arguments: list[str], error: str, hint: str, old: Path, recipe: Path, nih_root: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    named = [f"model.head_findings={name}" for name in arguments]
    store = tmp_path / "store"
    assert call("eval", old, recipe, *named, f"store.path={store}") == 2
    assert capsys.readouterr().err == says(old, error, hint, "model.head_findings=")
    assert not store.exists()
    named = [text for name in arguments for text in ("--head-findings", name)]
    assert call("predict", old, next(nih_root.rglob("*.png")), *named) == 2
    assert capsys.readouterr().err == says(old, error, hint, "--head-findings ")


def test_a_head_that_is_no_sigmoid_per_output_is_refused(
    nih_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image, path = next(nih_root.rglob("*.png")), tmp_path / "m.pth"
    torch.save(torchvision_resnet(2, "Softmax"), path)
    assert call("predict", path, image, "--head-findings", "A,B") == 2
    assert "holds a layer of another kind: torch.nn.modules.activation.Softmax" in capsys.readouterr().err
    torch.save(torchvision_resnet(2).state_dict(), path)
    assert call("predict", path, image, "--head-findings", "Normal, Pneumonia") == 2
    assert "of which one is No Finding: that is a softmax of two classes" in capsys.readouterr().err
    assert call("predict", path, image, "--head-findings", "Pneumonia") == 2
    assert "two outputs for one finding are a softmax" in capsys.readouterr().err
    assert call("predict", path, image, "--head-findings", "Mass,Pneumonia") == 0


def test_a_file_with_more_than_a_network_and_a_head_is_trained_from_but_not_run(
    old: Path, nih_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = torch.load(old)["state_dict"] | {"attention.weight": torch.zeros(3, 3, 1, 1)}
    torch.save({"state_dict": state}, tmp_path / "m.pth")
    load_weights(Classifier("resnet18", 1), str(tmp_path / "m.pth"), ("Mass",))
    assert call("predict", tmp_path / "m.pth", next(nih_root.rglob("*.png")), "--head-findings", "nih14") == 2
    said = capsys.readouterr().err
    assert (
        "holds 1 tensor that a resnet18 with a linear head does not have, such as state_dict.attention.weight"
        in said
    )


def test_names_for_a_model_that_has_its_own_are_refused(
    run: Path, nih_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for model in (run, run / "best.safetensors", "xrv:densenet121-res224-rsna"):
        assert call("predict", model, next(nih_root.rglob("*.png")), "--head-findings", "nih14") == 2
        assert f"error: --head-findings: {model} names its findings already" in capsys.readouterr().err
    assert call("eval", run, "model.head_findings=nih14") == 2
    assert "model cannot change after training" in capsys.readouterr().err


def test_an_old_checkpoint_is_compared_with_a_run(
    old: Path, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        call("compare", old, run, "model.head_findings=nih14", "eval.draws=100", "eval.interval=images") == 0
    )
    said = " ".join(capsys.readouterr().out.split())
    assert f"A: {old} B: {run} Evaluated on test rows" in said
    assert f"Note: {old}: what it was trained on is unknown" in said


def test_an_old_checkpoint_without_a_recipe_is_told_what_to_add(
    old: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("eval", old) == 2
    assert capsys.readouterr().err == (
        f"error: {old}: has no dataset to be evaluated on\n"
        f"hint: cxr eval {old} nih_densenet121 data.root=FOLDER model.head_findings=nih14\n"
    )


def test_where_no_rows_are_for_validation_the_thresholds_say_so(
    old: Path, nih_root: Path, tmp_path: Path
) -> None:
    table = tmp_path / "labels.csv"
    images = sorted(nih_root.rglob("*.png"))
    lines = [f"{path},p{place},test,{place % 2}" for place, path in enumerate(images)]
    table.write_text("\n".join(["image,patient_id,split,Mass", *lines]))
    config = tmp_path / "test_only.yaml"
    config.write_text(
        f"data: {{source: table, root: {tmp_path}, csv: labels.csv, split: column}}\n"
        f"image: {{store_size: 32, size: 32}}\nstore: {{path: {tmp_path / 'store'}}}\n"
    )
    assert (
        call(
            "eval", old, config, "model.head_findings=nih14", "eval.interval=none", "--out", tmp_path / "out"
        )
        == 0
    )
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["thresholds"]["chosen_on"] == "not chosen: fixed"
    assert f"{old}: thresholds of 0.5, chosen on no images: none is for validation" in report["notes"]


def test_check_refuses_the_weights_that_train_would(
    old: Path, recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = (f"model.weights={old}", "model.backbone=resnet34")
    assert call("check", recipe, *weights, "--quick", "--out", tmp_path / "check") == 1
    assert "holds the tensors of a resnet18, not of a resnet34" in " ".join(capsys.readouterr().out.split())
    store, out = tmp_path / "store", tmp_path / "run"
    assert call("train", recipe, *weights, f"store.path={store}", f"out={out}") == 2
    assert "holds the tensors of a resnet18, not of a resnet34" in capsys.readouterr().err
    assert not store.exists() and not out.exists()
