"""cxr predict --calibrated."""

import csv
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import expit, logit

from cxr.evaluation.recalibration import Recalibration, to_json
from cxr.findings import NIH_14
from cxr.model import checkpoint as checkpoints
from tests.helpers.commands import call

Said = pytest.CaptureFixture[str]
INTERCEPT, SLOPE, LACKING = -0.5, 0.6, "Hernia"


@pytest.fixture(scope="module")
def calibrated(run: Path) -> Path:
    """The run's model with an intercept and a slope for every finding but Hernia."""
    is_lacking = [finding == LACKING for finding in NIH_14]
    lines = Recalibration(
        NIH_14,
        tuple(np.nan if lacks else INTERCEPT for lacks in is_lacking),
        tuple(np.nan if lacks else SLOPE for lacks in is_lacking),
        tuple("3 positive images, fewer than 10" if lacks else "" for lacks in is_lacking),
        "validation rows (500 images)",
    )
    return rewrite(run, to_json(lines), "calibrated")


def rewrite(run: Path, text: str, name: str) -> Path:
    checkpoint = checkpoints.load(run)
    metadata = checkpoint.metadata.model_copy(update={"temperatures": text})
    path = run.parent / f"{name}.safetensors"
    checkpoints.save(path, replace(checkpoint, metadata=metadata))
    return path


def predict_json(capsys: Said, *arguments: str | Path) -> dict[str, Any]:
    capsys.readouterr()
    assert call("predict", *arguments, "--format", "json") == 0
    predicted: dict[str, Any] = json.loads(capsys.readouterr().out)
    return predicted


def test_probabilities_and_thresholds_are_moved_by_the_line(
    calibrated: Path, nih_root: Path, capsys: Said
) -> None:
    image = min((nih_root / "images").iterdir())
    plain, moved = (
        predict_json(capsys, calibrated, image),
        predict_json(capsys, calibrated, image, "--calibrated"),
    )
    for name in ("probabilities", "thresholds"):
        for finding in NIH_14:
            before, after = plain[name][finding], moved[name][finding]
            expected = before if finding == LACKING else expit(INTERCEPT + SLOPE * logit(before))
            assert after == pytest.approx(expected), finding
    assert moved["above"] == plain["above"]
    assert moved["not_calibrated"] == [LACKING] and "not_calibrated" not in plain


def test_csv_and_table_name_the_findings_that_are_not_calibrated(
    calibrated: Path, nih_root: Path, capsys: Said
) -> None:
    image = min((nih_root / "images").iterdir())
    assert call("predict", calibrated, image, "--calibrated", "--format", "csv") == 0
    said = capsys.readouterr()
    (row,) = csv.DictReader(io.StringIO(said.out))
    assert row["not_calibrated"] == LACKING and list(row)[-1] == "not_calibrated"
    own = "the model's own probabilities, not calibrated: Hernia (3 positive images, fewer than 10)"
    assert own in " ".join(said.err.split())
    assert call("predict", calibrated, image, "--calibrated") == 0
    out = capsys.readouterr().out
    assert out.count("not calibrated") == 1 and "Calibrated" in out
    assert "calibrated: intercept and slope fitted on validation rows (500 images)." in out


OLD = json.dumps({"findings": NIH_14, "values": [1.25] * 14, "fitted_on": "validation rows (2 images)"})


def test_a_checkpoint_without_a_calibration_is_refused(run: Path, nih_root: Path, capsys: Said) -> None:
    image = min((nih_root / "images").iterdir())
    capsys.readouterr()
    assert call("predict", rewrite(run, OLD, "old"), image, "--calibrated") == 2
    said = capsys.readouterr()
    assert said.out == "" and "old.safetensors has a temperature of an earlier version alone" in said.err
    assert said.err.endswith("hint: leave --calibrated out, or train again\n")
    # two steps of training have too few validation images for any finding
    assert call("predict", run, image, "--calibrated") == 2
    error = capsys.readouterr().err
    assert f"error: --calibrated: {run} has no calibration: Atelectasis, Cardiomegaly" in error
    assert "fewer than 10)" in error and "hint: leave --calibrated out, or train with more" in error


def test_a_model_from_elsewhere_has_no_calibration(nih_root: Path, tmp_path: Path, capsys: Said) -> None:
    import torch
    from torchvision.models import resnet18

    torch.save(resnet18(num_classes=2).state_dict(), tmp_path / "m.pth")
    image = min((nih_root / "images").iterdir())
    assert call("predict", tmp_path / "m.pth", image, "--head-findings", "Mass,Edema", "--calibrated") == 2
    error = f"error: --calibrated: {tmp_path / 'm.pth'} has no calibration: no run of cxr trained it"
    assert capsys.readouterr().err.endswith(f"{error}\nhint: leave --calibrated out\n")
