"""Models of torchxrayvision through the command line, on generated images in ChestX-ray14's layout."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from cxr.model import xrv
from tests.helpers.commands import call, read_csv
from tests.helpers.models import Plant, xrv_logits

NIH, RSNA, CHEX = (f"xrv:densenet121-res224-{name}" for name in ("nih", "rsna", "chex"))


@pytest.fixture
def sized(nih_root: Path, tmp_path: Path) -> Path:
    """A tiny recipe for images of the size that the models take."""
    path = tmp_path / "sized.yaml"
    path.write_text(
        f"data: {{source: nih, root: {nih_root}}}\n"
        "image: {store_size: 48, size: 224}\n"
        f"store: {{path: {tmp_path / 'store'}}}\n"
        "model: {backbone: resnet18, weights: none, train_layers: head}\n"
        "train: {epochs: 1, batch_size: 20, precision: fp32}\n"
    )
    return path


@pytest.mark.figures
def test_eval_scores_a_model_as_it_is_and_names_findings_evaluated_and_left_out(
    plant: Plant, sized: Path, nih_root: Path, tmp_path: Path
) -> None:
    plant(CHEX)
    assert call("eval", CHEX, sized, "eval.interval=none", "--out", tmp_path / "out") == 0
    rows = read_csv(tmp_path / "out" / "predictions.csv")
    image = cv2.imread(str(next(nih_root.rglob(rows[0]["image"]))), cv2.IMREAD_GRAYSCALE)
    pixels = torch.nn.functional.interpolate(
        torch.from_numpy(image).float()[None, None], 224, mode="bilinear"
    )
    expected = torch.sigmoid(xrv_logits(CHEX, pixels))[0]
    outputs = xrv.find(CHEX).outputs
    ours = {name.removeprefix("p_"): float(value) for name, value in rows[0].items() if name.startswith("p_")}
    np.testing.assert_allclose(
        list(ours.values()), [expected[outputs.index(name)] for name in ours], atol=1e-4
    )
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    untrained = ("Emphysema", "Fibrosis", "Hernia", "Infiltration", "Mass", "Nodule", "Pleural_Thickening")
    evaluated = [row["finding"] for row in report["metrics"]]
    assert len(evaluated) == 7 and not set(evaluated) & set(untrained)
    left_out = next(note for note in report["notes"] if "was never trained for" in note)
    assert all(name in left_out for name in untrained)
    assert f"{CHEX} was trained on chex, not on images of nih" in report["notes"]
    assert report["about"]["probabilities"].endswith("op_norm is not applied, which changes no AUROC")
    assert report["thresholds"]["chosen_on"].startswith("validation rows (")
    assert not report["thresholds"]["optimistic"]


def test_the_dataset_it_was_trained_on_is_marked(plant: Plant, sized: Path, tmp_path: Path) -> None:
    plant(NIH)
    assert call("eval", NIH, sized, "eval.interval=none", "--out", tmp_path) == 0
    notes = json.loads((tmp_path / "report.json").read_text())["notes"]
    assert any(
        note.startswith(f"NOT A FAIR TEST: {NIH} was trained on nih, with another split") for note in notes
    )


def test_without_out_the_report_names_model_and_recipe(
    plant: Plant,
    sized: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    plant(RSNA)
    monkeypatch.chdir(tmp_path)
    assert call("eval", RSNA, sized, "eval.interval=none") == 0
    where = "runs/xrv_densenet121-res224-rsna_on_sized/eval_test/report.html"
    assert capsys.readouterr().out.endswith(f"report: {where}\n")
    assert (tmp_path / where).is_file()


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["image.size=96"], "error: {recipe}: image.size is 96, {model} takes images of 224 pixels\n"),
        (
            ["data.findings=[Mass]"],
            "error: {model}: was trained for none of the findings of this recipe: Mass\n",
        ),
        (
            ["model.stem=rgb", "train.lr=1"],
            "error: {model}: model.stem=rgb changes nothing: the file says what the",
        ),
        (["xrv:nothing"], "error: xrv:nothing: torchxrayvision has no such weights here\n"),
    ],
)
def test_what_does_not_fit_is_an_error(
    arguments: list[str], error: str, plant: Plant, sized: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plant(RSNA)
    assert call("eval", RSNA, sized, *arguments) == 2
    assert error.format(recipe=sized, model=RSNA) in capsys.readouterr().err


def test_without_a_recipe_there_is_nothing_to_evaluate(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("eval", RSNA) == 2
    assert capsys.readouterr().err == (
        f"error: {RSNA}: has no dataset to be evaluated on\n"
        f"hint: cxr eval {RSNA} nih_densenet121 data.root=FOLDER\n"
    )


def test_nothing_is_packed_for_weights_that_cannot_be_had(
    xrv_cache: Path, sized: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("eval", NIH, sized) == 2
    assert capsys.readouterr().err.startswith(f"error: {NIH}: cannot be downloaded: Temporary failure")
    assert not (tmp_path / "store").exists()


def test_a_run_is_compared_with_it_on_the_runs_own_rows(
    plant: Plant, sized: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plant(NIH)
    run = tmp_path / "run"
    assert call("train", sized, f"out={run}", "image.size=64") == 0
    assert call("compare", NIH, run, "eval.draws=100", "eval.interval=images") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert f"A: {NIH} B: {run} Evaluated on test rows" in said
    assert f"Note: NOT A FAIR TEST: {NIH} was trained on nih" in said


def test_training_starts_from_it_and_says_so(
    plant: Plant, sized: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plant(RSNA)
    model = (
        "model.backbone=densenet121",
        f"model.weights={RSNA}",
        "image.size=32",
        "data.findings=[Mass, Pneumonia]",
    )
    assert call("train", sized, f"out={tmp_path / 'run'}", *model) == 0
    said = " ".join(capsys.readouterr().err.split())
    report = f"weights {RSNA}: 727 tensors: 725 matched (under features.), 2 in the head"
    assert f"{report}; head loaded for 1 finding, new for 1: Mass" in said


def test_its_file_is_recognised_and_run_as_it_is_under_its_path_too(
    plant: Plant, nih_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, image = plant(RSNA), next(nih_root.rglob("*.png"))
    assert call("predict", path, image) == 2
    assert f"give a model of torchxrayvision by its name, such as {RSNA}, or add" in capsys.readouterr().err
    names = [name or f"output {place}" for place, name in enumerate(xrv.find(RSNA).outputs)]
    assert call("predict", path, image, "--head-findings", ",".join(names), "--format", "json") == 0
    said = capsys.readouterr()
    assert "pixels from -1024 to 1024, as torchxrayvision's models take them" in said.err
    assert call("predict", RSNA, image, "--format", "json") == 0
    theirs = json.loads(capsys.readouterr().out)["probabilities"]
    ours = json.loads(said.out)["probabilities"]
    np.testing.assert_allclose([ours[name] for name in theirs], list(theirs.values()), atol=1e-2)


def test_predict_prints_its_trained_findings_at_thresholds_of_one_half(
    plant: Plant, nih_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plant(RSNA)
    image = next(nih_root.rglob("*.png"))
    assert call("predict", RSNA, image, "--format", "json") == 0
    said = capsys.readouterr()
    answer = json.loads(said.out)
    assert said.err.startswith(
        f"{RSNA}: thresholds of 0.5, chosen on no images; probabilities: sigmoid of the raw"
    )
    assert answer["thresholds"] == {"Pneumonia": 0.5, "Lung Opacity": 0.5}
    assert call("predict", RSNA, image) == 0
    assert "Thresholds: fixed 0.5 for every finding." in capsys.readouterr().out
