"""A run of one table evaluated on another: equal file names alone are no shared images."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from cxr.config.load import load
from cxr.data.dataset import open_dataset
from cxr.errors import CxrError
from cxr.evaluation.report import Report
from cxr.model.evaluate import evaluate_runs
from cxr.training.train import train
from tests.helpers.fakes import write_lines
from tests.helpers.models import ALONE

NUM = 30


def write_table(root: Path, seed: int, patients: bool) -> Path:
    """A table of NUM images whose names are 000.png and so on, and whose pixels are noise of the seed."""
    root.mkdir(parents=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (NUM, 32, 32), np.uint8)
    for row, image in enumerate(pixels):
        cv2.imwrite(str(root / f"{row:03}.png"), image)
    lines = [f"{row:03}.png,{row % 2},{row // 2 % 2}" + f",{root.name}{row}" * patients for row in range(NUM)]
    write_lines(root / "labels.csv", ["image,Mass,Nodule" + ",patient_id" * patients, *lines])
    return root


@pytest.fixture(scope="module", params=[True, False], ids=["patients", "no patients"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on a table `own`, in the folder above it."""
    above = tmp_path_factory.mktemp("tables")
    for name, seed in (("own", 1), ("other", 2)):
        write_table(above / name, seed, request.param)
    (above / "moved").symlink_to(above / "own")
    unnamed = "" if request.param else ", columns: {patient: null}"
    (above / "recipe.yaml").write_text(
        f"data: {{source: table, root: {above / 'own'}, csv: labels.csv, split: random{unnamed}"
        f"}}\nout: {above / 'run'}\nstore: {{path: {above / 'store'}}}\nimage: {{store_size: 32, size: 32}}\n"
        "model: {backbone: resnet18, weights: none, train_layers: head}\n"
        "train: {epochs: 1, batch_size: 8, precision: fp32}\n"
    )
    config = load(above / "recipe.yaml")
    return train(config, open_dataset(config), ALONE)


def evaluate(run: Path, name: str, *overrides: str) -> Report:
    data = [
        "data.source=table",
        f"data.root={run.parent / name}",
        f"store.path={run.parent / f'store_{name}'}",
    ]
    report, _ = evaluate_runs([run], [*data, "eval.interval=none", *overrides], "test")
    return report


def test_another_table_with_the_same_file_names_is_another_table(run: Path) -> None:
    report = evaluate(run, "other")
    assert not report.optimistic
    assert not [note for note in report.notes if "thresholds were chosen on" in note or "FAIR" in note]
    assert any("another dataset than the model was trained on" in note for note in report.notes)


def test_the_same_table_is_known_wherever_it_lies_and_however_it_is_split(run: Path) -> None:
    assert not evaluate(run, "moved").optimistic
    with pytest.raises(CxrError, match="to be evaluated were in the model's train rows"):
        evaluate(run, "moved", "data.split_seed=5")
