import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from cxr.errors import CxrError
from cxr.training.loss import ClassWeights, logit_shift
from cxr.training.resume import restore
from cxr.training.state import TrainState, new_state, selection_metrics, snapshot, update_ema
from tests.helpers.models import ALONE, FINDINGS, Recipe

IMAGES = {"train": "a", "val": "b", "test": "c"}
WEIGHTS = ClassWeights(torch.tensor([0.9, 0.8, 1.0]), torch.tensor([0.1, 0.2, 1.0]), ("Pneumothorax",))


def start(make_recipe: Recipe, out: Path, *overrides: str) -> TrainState:
    return new_state(make_recipe(out, *overrides), FINDINGS, WEIGHTS, ALONE)[0]


def take_step(state: TrainState, seed: int) -> None:
    images = torch.rand(4, 1, 32, 32, generator=torch.Generator().manual_seed(seed)) * 255
    state.optimizer.zero_grad()
    state.model.train()(images).square().sum().backward()
    state.optimizer.step()
    state.step += 1


def floats(model: torch.nn.Module) -> dict[str, Tensor]:
    return {key: one.clone() for key, one in model.state_dict().items() if one.is_floating_point()}


def test_averaged_weights_are_the_running_average_computed_by_hand(
    make_recipe: Recipe, tmp_path: Path
) -> None:
    state = start(make_recipe, tmp_path)
    expected = {key: one.double() for key, one in floats(state.model).items()}
    for step in range(1, 6):
        take_step(state, step)
        update_ema(state, decay=0.4)
        decay = min(0.4, (1 + step) / (10 + step))
        now = floats(state.model)
        expected = {key: decay * one + (1 - decay) * now[key].double() for key, one in expected.items()}
    for key, one in floats(state.ema).items():
        torch.testing.assert_close(one.double(), expected[key], rtol=1e-4, atol=1e-6)
    assert int(state.ema.get_buffer("backbone.bn1.num_batches_tracked")) == 5


def test_without_averaging_the_model_itself_is_kept(make_recipe: Recipe, tmp_path: Path) -> None:
    state = start(make_recipe, tmp_path, "train.ema=0")
    assert state.ema is state.model
    assert snapshot(state, make_recipe(tmp_path), IMAGES)["ema"] is None


def test_the_model_starts_with_the_shift_that_undoes_its_weights(make_recipe: Recipe, tmp_path: Path) -> None:
    state = start(make_recipe, tmp_path)
    assert torch.equal(state.model.logit_shift, logit_shift(WEIGHTS))
    assert torch.equal(state.ema.logit_shift, logit_shift(WEIGHTS))


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_a_restored_state_resumes_as_if_nothing_had_happened(
    optimizer: str, make_recipe: Recipe, tmp_path: Path
) -> None:
    config = make_recipe(tmp_path, f"train.optimizer={optimizer}")
    state, other = (new_state(config, FINDINGS, WEIGHTS, ALONE)[0] for _ in range(2))
    take_step(state, 0)
    torch.save(snapshot(state, config, IMAGES), tmp_path / "last.pt")
    restore(other, config, IMAGES, torch.load(tmp_path / "last.pt", weights_only=True))
    for one in (state, other):
        take_step(one, 1)
        update_ema(one, 0.9)
    for mine, theirs in ((state.model, other.model), (state.ema, other.ema)):
        assert all(
            torch.equal(a, b) for a, b in zip(floats(mine).values(), floats(theirs).values(), strict=True)
        )
    assert (other.step, other.history) == (2, [])


def test_another_recipe_is_refused_with_every_key_that_differs(make_recipe: Recipe, tmp_path: Path) -> None:
    state = start(make_recipe, tmp_path)
    saved = snapshot(state, make_recipe(tmp_path), IMAGES)
    with pytest.raises(CxrError) as error:
        restore(state, make_recipe(tmp_path, "train.lr=0.5", "model.train_layers=head"), IMAGES, saved)
    assert error.value.render() == (
        f"error: {tmp_path}: model.train_layers was all and is now head\n"
        f"error: {tmp_path}: train.lr was 0.001 and is now 0.5\n"
        "hint: resume with the run's own config.yaml, or train again into another out=FOLDER"
    )


def test_other_images_are_refused(make_recipe: Recipe, tmp_path: Path) -> None:
    state, config = start(make_recipe, tmp_path), make_recipe(tmp_path)
    with pytest.raises(CxrError, match=r"the images in .* are not those that the run began with"):
        restore(state, config, IMAGES | {"train": "d"}, snapshot(state, config, IMAGES))


def test_what_does_not_change_the_result_may_differ(make_recipe: Recipe, tmp_path: Path) -> None:
    state = start(make_recipe, tmp_path)
    saved = snapshot(state, make_recipe(tmp_path), IMAGES)
    moved = (
        "data.root=/elsewhere",
        "store.path=/fast",
        "store.where=ram",
        "store.workers=2",
        "train.save_every=9",
    )
    restore(state, make_recipe(tmp_path / "other", *moved), IMAGES, saved)


def test_the_metric_that_selects_is_auroc_or_minus_the_loss(make_recipe: Recipe, tmp_path: Path) -> None:
    state = start(make_recipe, tmp_path)
    state.history = [{"auroc": 0.7, "loss": 0.3}, {"auroc": float("nan"), "loss": 0.2}]
    assert selection_metrics(state.history, make_recipe(tmp_path).train) == [0.7, float("-inf")]
    assert selection_metrics(state.history, make_recipe(tmp_path, "train.select=loss").train) == [-0.3, -0.2]


Change = Callable[[dict[str, Any]], object]


def without(key: str) -> Change:
    return lambda saved: saved.pop(key)


FAULTS: dict[str, tuple[Change, str]] = {
    **{f"no {key}": (without(key), f"{key} cannot be used")
       for key in ("model", "optimizer", "step", "history", "loss_sum", "config", "images")},
    "step as text": (lambda saved: saved.update(step="9"), "step cannot be used"),
    "step -1": (lambda saved: saved.update(step=-1), "step cannot be used"),
    "a history without losses": (
        lambda saved: saved.update(history=[{"auroc": 0.5}]),
        "history cannot be used",
    ),
    "a history that is none": (lambda saved: saved.update(history=[3]), "history cannot be used"),
    "a config that is cut": (
        lambda saved: saved.update(config=saved["config"][:50]),
        "config cannot be used",
    ),
    "a config that is a list": (lambda saved: saved.update(config="[]"), "config cannot be used"),
    "images as a list": (lambda saved: saved.update(images=["a"]), "images cannot be used"),
    "weights that are lists": (lambda saved: saved["model"].update(mean=[1.0]), "model cannot be used"),
    "a tensor less": (lambda saved: saved["model"].pop("head.bias"), "head.bias is missing"),
    "a tensor of another shape": (
        lambda saved: saved["model"].update({"head.bias": torch.zeros(9)}),
        "should be",
    ),
    "no average": (lambda saved: saved.update(ema=None), "is damaged: "),
    "averages of another shape": (
        lambda saved: saved["ema"].update({"head.bias": torch.zeros(9)}),
        "should be",
    ),
    "no moments": (lambda saved: saved["optimizer"].pop("state"), "optimizer cannot be used"),
    "no groups": (lambda saved: saved["optimizer"].pop("param_groups"), "is damaged: 'param_groups'"),
    "moments of no parameter": (lambda saved: saved["optimizer"]["state"].update({999: {}}), "moments are"),
    "a moment less": (
        lambda saved: saved["optimizer"]["state"][0].pop("exp_avg"),
        "moments are step, exp_avg_sq",
    ),
    "a moment of another shape": (
        lambda saved: saved["optimizer"]["state"][0].update(exp_avg=torch.zeros(2)),
        "exp_avg of parameter 0 has another kind or shape",
    ),
}  # fmt: skip


def test_a_last_pt_whose_values_cannot_be_used_is_an_error(make_recipe: Recipe, tmp_path: Path) -> None:
    config = make_recipe(tmp_path, "train.optimizer=adamw")
    state = new_state(config, FINDINGS, WEIGHTS, ALONE)[0]
    take_step(state, 0)
    for fault, (change, what) in FAULTS.items():
        saved = copy.deepcopy(snapshot(state, config, IMAGES))
        change(saved)
        with pytest.raises(CxrError) as error:
            restore(state, config, IMAGES, saved)
        (problem,) = error.value.problems
        assert problem.startswith(f"{tmp_path}/last.pt: is damaged: ") and what in problem, fault
    restore(state, config, IMAGES, snapshot(state, config, IMAGES))
