import json
from pathlib import Path

import pytest
import torch

from cxr.config import Config
from cxr.data.dataset import Dataset
from cxr.evaluation.report import macro_auroc
from cxr.model import checkpoint as checkpoints
from cxr.model.distributed import join_world
from cxr.model.evaluate import evaluate_runs
from cxr.model.train import train
from tests.model.conftest import ALONE, Recipe, Start

TWO = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "cxr")


def read_log(run: Path, kind: str) -> list[dict[str, float]]:
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [line for line in lines if line["kind"] == kind]


def test_without_torchrun_the_world_is_this_process() -> None:
    with join_world() as world:
        values = torch.ones(2)
        assert (world.rank, world.size, world.is_first) == (0, 1, True)
        assert world.sum(values) is values
        world.copy_first([values])
        world.wait()


def launch(config: Config, start: Start) -> str:
    process = start(config, launcher=TWO)
    out, err = process.communicate()
    assert process.returncode == 0, err
    assert out.count("next: cxr eval") == 1
    return err


def test_two_processes_with_frozen_norms_learn_what_one_does(
    recipe: Recipe, dataset: Dataset, tmp_path: Path, start: Start
) -> None:
    overrides = ("model.train_layers=head", "train.lr=1e-2", "train.batch_size=6")
    train(recipe(tmp_path / "one", *overrides), dataset, ALONE)
    err = launch(recipe(tmp_path / "two", *overrides), start)
    assert err.count("2 processes") == 1
    for kind, names in (("train", ("step", "loss")), ("epoch", ("val_loss", "val_auroc"))):
        one, two = (
            [[line[name] for name in names] for line in read_log(tmp_path / run, kind)] for run in ("one", "two")
        )
        assert two == [pytest.approx(values, abs=1e-6) for values in one]
    one_head, two_head = (checkpoints.load(tmp_path / run).classifier.head for run in ("one", "two"))
    torch.testing.assert_close(two_head.weight, one_head.weight, rtol=0, atol=1e-6)


def test_two_processes_with_batch_statistics_of_their_own_judge_the_checkpoint_they_save(
    recipe: Recipe, tmp_path: Path, start: Start
) -> None:
    config = recipe(tmp_path / "run", "train.epochs=2")
    launch(config, start)
    report, _ = evaluate_runs([config.out], ["eval.interval=none"], "val")
    epochs = read_log(config.out, "epoch")
    assert [line["epoch"] for line in epochs] == [1, 2]
    best = checkpoints.load(config.out).metadata
    assert best.validation == {"auroc": macro_auroc(report), "loss": epochs[best.epoch - 1]["val_loss"]}
    assert not [path for path in config.out.iterdir() if path.name.endswith(".tmp")]
