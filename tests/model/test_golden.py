"""The losses of twenty steps are those that were written down: a redesign changes no figure."""

from pathlib import Path

import numpy as np
import pytest
import torch

from cxr.config import Config
from cxr.data.dataset import Dataset
from cxr.data.loader import epoch_order, visits
from cxr.model.run import prepare
from cxr.model.state import new_state, restore, snapshot
from cxr.model.train import train_step
from tests.model.conftest import ALONE, Recipe

GOLDEN = Path(__file__).parent / "golden"
STEPS = 20
RECIPES = {
    "resnet18": ("model.backbone=resnet18", "train.accumulate=2"),
    "densenet121": ("model.backbone=densenet121", "train.accumulate=1", "train.optimizer=adam", "model.stem=grey"),
}


def losses(config: Config, dataset: Dataset, num: int = STEPS) -> list[float]:
    """The losses of the first steps, float32 on one thread, with augmentation; then the sum of the averaged weights."""
    torch.manual_seed(config.seed)
    run = prepare(config, dataset, ALONE)
    state, _ = new_state(config, dataset.targets.findings, run.weights, ALONE)
    state.model.train()
    found: list[float] = []
    for epoch in range(num):
        order = epoch_order(visits(dataset.groups(), config.seed, epoch), config.seed, epoch)
        for batch in run.loader.batches(order, config.train.batch_size):
            found.append(float(train_step(run, state, state.model, batch)))
            if len(found) == num:
                averaged = sum(float(one.double().abs().sum()) for one in state.ema.parameters())
                return [*found, averaged]
    raise AssertionError("fewer steps than asked for")


@pytest.mark.parametrize("backbone", RECIPES)
def test_the_losses_of_twenty_steps_are_those_that_were_written_down(
    backbone: str, recipe: Recipe, dataset: Dataset, tmp_path: Path
) -> None:
    found = losses(recipe(tmp_path, *RECIPES[backbone]), dataset)
    written = [float(line) for line in (GOLDEN / f"{backbone}.txt").read_text().split()]
    # another processor adds in another order; on the same one the figures are equal to the last digit
    np.testing.assert_allclose(found, written, rtol=2e-4)
    assert np.mean(written[10:STEPS]) < 0.9 * written[0]  # it learns


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_half_precision_learns_what_float32_does(
    precision: str, recipe: Recipe, dataset: Dataset, tmp_path: Path
) -> None:
    found = losses(recipe(tmp_path, *RECIPES["resnet18"], f"train.precision={precision}"), dataset, 1)
    written = [float(line) for line in (GOLDEN / "resnet18.txt").read_text().split()]
    assert found[0] == pytest.approx(written[0], rel=1e-2)
    assert found[0] != written[0]


def test_the_scale_of_the_loss_in_float16_is_resumed(recipe: Recipe, dataset: Dataset, tmp_path: Path) -> None:
    config = recipe(tmp_path, "train.precision=fp16")
    run = prepare(config, dataset, ALONE)
    (before, _), (after, _) = (new_state(config, dataset.targets.findings, run.weights, ALONE) for _ in range(2))
    assert before.scaler and after.scaler
    before.scaler.scale(torch.zeros(1))  # which makes its scale
    before.scaler.update(7.0)
    before.optimizer.step()
    restore(after, config, run.identity, snapshot(before, config, run.identity))
    assert after.scaler.scale(torch.ones(1)) == before.scaler.get_scale() == 7
