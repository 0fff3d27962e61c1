"""A run that is continued for more epochs equals a straight one, or is refused with the reason."""

import shutil
from pathlib import Path

import pytest

from cxr.data.dataset import Dataset
from cxr.errors import CxrError
from cxr.model import checkpoint as checkpoints
from cxr.training import train as loop
from cxr.training.train import Stopped, train
from tests.helpers.models import ALONE, Recipe
from tests.training.test_train import assert_same_run, at_step, read_log, terminate

FLAT = ("train.schedule=constant", "model.train_layers=head")


@pytest.mark.parametrize("schedule", ["constant", "plateau"])
def test_a_finished_run_continues_as_the_straight_run_of_more_epochs(
    schedule: str, make_recipe: Recipe, dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = (f"train.schedule={schedule}", "model.train_layers=head", "train.lr=1e-2")
    straight = train(make_recipe(tmp_path / "straight", *own, "train.epochs=4"), dataset, ALONE)
    train(make_recipe(tmp_path / "run", *own, "train.epochs=2"), dataset, ALONE)
    config = make_recipe(tmp_path / "run", *own, "train.epochs=4")
    capsys.readouterr()
    assert_same_run(train(config, dataset, ALONE, resume=True), straight)
    said = capsys.readouterr().err
    assert "train.epochs was 2 and is now 4\nevery step so far is as this recipe takes it" in said
    assert "resuming at epoch 3, step 10\n" in said
    assert "epochs: 4 " in (config.out / "config.yaml").read_text()


def test_a_run_under_cosine_is_not_continued_and_stays(
    make_recipe: Recipe, dataset: Dataset, trained: Path
) -> None:
    before = {path.name: path.read_bytes() for path in trained.iterdir() if path.is_file()}
    with pytest.raises(CxrError) as error:
        train(make_recipe(trained, "train.epochs=6"), dataset, ALONE, resume=True)
    assert error.value.render() == (
        f"error: {trained}: train.epochs was 3 and is now 6: under schedule=cosine the learning rate in epoch 1 "
        "would have been 0.000999, not 0.000996, so this is no continuation of the run\n"
        f"hint: for a new schedule from its weights: cxr train {trained}/config.yaml model.weights={trained} "
        "out=FOLDER"
    )
    assert before == {path.name: path.read_bytes() for path in trained.iterdir() if path.is_file()}


def test_a_run_that_was_stopped_in_its_warm_up_may_become_longer_under_cosine(
    make_recipe: Recipe, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = ("train.warmup_epochs=1", "model.train_layers=head")
    straight = train(make_recipe(tmp_path / "straight", *own, "train.epochs=2"), dataset, ALONE)
    with monkeypatch.context() as patch, pytest.raises(Stopped):
        patch.setattr(loop, "train_step", at_step(3, terminate))
        train(make_recipe(tmp_path / "run", *own, "train.epochs=9"), dataset, ALONE)
    config = make_recipe(tmp_path / "run", *own, "train.epochs=2")
    assert_same_run(train(config, dataset, ALONE, resume=True), straight)


def test_a_run_that_has_stopped_early_continues_with_more_patience(
    make_recipe: Recipe, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    aurocs = [0.6, 0.7, 0.7, 0.9, 0.5]
    for name in ("run", "straight"):
        patience = 1 if name == "run" else 0
        chosen = iter(aurocs)
        monkeypatch.setattr("cxr.evaluation.statistics.metrics.macro_mean", lambda _, draw=chosen: next(draw))
        own = (*FLAT, "train.epochs=5")
        train(make_recipe(tmp_path / name, *own, f"train.early_stopping={patience}"), dataset, ALONE)
        if name == "run":
            assert len(read_log(tmp_path / "run", "epoch")) == 3
            train(make_recipe(tmp_path / "run", *own), dataset, ALONE, resume=True)
    assert_same_run(tmp_path / "run", tmp_path / "straight")


@pytest.fixture(scope="module")
def flat_run(make_recipe: Recipe, dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of three epochs whose second is worse than its first, and whose third is the best."""
    aurocs = iter([0.7, 0.6, 0.8])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cxr.evaluation.statistics.metrics.macro_mean", lambda _: next(aurocs))
        out = tmp_path_factory.mktemp("flat") / "run"
        return train(make_recipe(out, *FLAT, "train.epochs=3"), dataset, ALONE)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ("train.epochs=1", "train.epochs was 3 and is now 1: the run has trained 3 epochs already"),
        ("train.early_stopping=1", "is now 1: the run would have ended after epoch 2"),
        (
            "train.warmup_epochs=2",
            "under schedule=constant the learning rate in epoch 1 would have been 0.0001,",
        ),
        ("train.schedule=cosine", "train.schedule was constant and is now cosine: under schedule=cosine"),
        (
            "train.schedule=plateau",
            "under schedule=plateau the learning rate in epoch 3 would have been 0.0001,",
        ),
    ],
)
def test_a_schedule_under_which_the_run_would_have_been_another_is_refused(
    changed: str, reason: str, make_recipe: Recipe, dataset: Dataset, flat_run: Path
) -> None:
    before = (flat_run / checkpoints.LAST).read_bytes()
    with pytest.raises(CxrError) as error:
        train(make_recipe(flat_run, *FLAT, "train.epochs=3", changed), dataset, ALONE, resume=True)
    assert reason in error.value.problems[0]
    assert (flat_run / checkpoints.LAST).read_bytes() == before


def test_a_damaged_step_is_no_endless_comparison(
    make_recipe: Recipe, dataset: Dataset, flat_run: Path, tmp_path: Path
) -> None:
    run = shutil.copytree(flat_run, tmp_path / "run")
    saved = checkpoints.load_resumable(run / checkpoints.LAST)
    checkpoints.save_resumable(run / checkpoints.LAST, saved | {"step": 10**18})
    with pytest.raises(CxrError, match=r"last\.pt: is damaged: step"):
        train(make_recipe(run, *FLAT, "train.epochs=5"), dataset, ALONE, resume=True)
