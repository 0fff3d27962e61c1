import functools
import itertools
import json
import os
import re
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from cxr.config.schema import Config
from cxr.data.dataset import Dataset
from cxr.data.loader import Batch, Loader
from cxr.errors import CxrError
from cxr.files import only_one
from cxr.labels.targets import Targets
from cxr.model import checkpoint as checkpoints
from cxr.training import train as loop
from cxr.training.loss import class_weights
from cxr.training.profile import StepProfiler
from cxr.training.saver import Saver
from cxr.training.setup import TrainSetup
from cxr.training.state import TrainState, new_state
from cxr.training.step import train_step
from cxr.training.train import Stopped, train
from tests.helpers.commands import call
from tests.helpers.models import ALONE, HEAD, Recipe, Start

Step = Callable[[TrainSetup, TrainState, nn.Module, Batch], Tensor]


def read_log(run: Path, kind: str) -> list[dict[str, float]]:
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [line for line in lines if line["kind"] == kind]


def same(one: object, other: object) -> bool:
    """Equal bit for bit, down to every tensor and number."""
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return torch.equal(one, other)
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


@functools.lru_cache(maxsize=2)  # 200 MB each
def load_straight(run: Path) -> tuple[dict[str, object], checkpoints.Checkpoint]:
    """(last.pt, best.safetensors) of a run that no test changes."""
    return checkpoints.load_resumable(run / checkpoints.LAST), checkpoints.load(run)


def assert_same_run(run: Path, straight: Path) -> None:
    """The same weights, averages, moments, metrics and log."""
    ours, mine = checkpoints.load_resumable(run / checkpoints.LAST), checkpoints.load(run)
    theirs, best = load_straight(straight)
    for part in ("model", "ema", "optimizer", "history", "step", "loss_sum"):
        assert same(ours[part], theirs[part]), part
    assert same(mine.classifier.state_dict(), best.classifier.state_dict())
    assert (mine.thresholds, mine.metadata.epoch) == (best.thresholds, best.metadata.epoch)
    for kind, names in (
        ("train", ("epoch", "step", "loss")),
        ("epoch", ("epoch", "lr", "val_loss", "val_auroc")),
    ):
        lines, expected = read_log(run, kind), read_log(straight, kind)
        assert [[line[name] for name in names] for line in lines] == [
            [one[name] for name in names] for one in expected
        ]


def at_step(number: int, act: Callable[[], None]) -> Step:
    """The training step, with something happening after step `number`."""
    taken = itertools.count(1)

    def step(run: TrainSetup, state: TrainState, model: nn.Module, batch: Batch) -> Tensor:
        loss = train_step(run, state, model, batch)
        if next(taken) == number:
            act()
        return loss

    return step


def terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def crash() -> None:
    raise SystemExit("killed")


@pytest.fixture
def per_epoch(dataset: Dataset) -> int:
    """Steps of an epoch under the tiny recipe."""
    return -(-len(dataset.rows("train")) // 8)


def test_a_run_stopped_by_sigterm_resumes_as_the_straight_run(
    make_recipe: Recipe, dataset: Dataset, trained: Path, per_epoch: int, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    number = per_epoch + 3  # in the second epoch
    with monkeypatch.context() as patch:
        patch.setattr(loop, "train_step", at_step(number, terminate))
        with pytest.raises(Stopped) as stopped:
            train(make_recipe(tmp_path), dataset, ALONE)
    assert (stopped.value.signal, read_step(tmp_path)) == (signal.SIGTERM, number)
    train(make_recipe(tmp_path), dataset, ALONE, resume=True)
    assert_same_run(tmp_path, trained)


def read_step(run: Path) -> int:
    """The step in last.pt, 0 where there is none."""
    last = run / checkpoints.LAST
    return int(str(checkpoints.load_resumable(last)["step"])) if last.exists() else 0


def test_a_run_that_dies_between_best_and_last_resumes_as_the_straight_run(
    make_recipe: Recipe,
    dataset: Dataset,
    trained_head: Path,
    per_epoch: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = make_recipe(tmp_path, HEAD)
    saves, save = itertools.count(1), checkpoints.save_resumable  # before the first validation and after each

    def save_last(path: Path, saved: dict[str, object]) -> None:
        crash() if next(saves) == 2 else save(path, saved)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "save_resumable", save_last)
        with pytest.raises(SystemExit):
            train(config, dataset, ALONE)
    assert checkpoints.load(tmp_path).metadata.epoch == 1
    assert (read_step(tmp_path), len(read_log(tmp_path, "epoch"))) == (per_epoch, 1)
    train(config, dataset, ALONE, resume=True)
    assert_same_run(tmp_path, trained_head)


def peek_step(last: Path) -> int:
    """The step of a last.pt, whose tensors are not read."""
    return int(torch.load(last, weights_only=True, mmap=True)["step"])


def test_a_run_killed_in_the_middle_of_an_epoch_resumes_as_the_straight_run(
    make_recipe: Recipe, trained: Path, per_epoch: int, tmp_path: Path, start: Start,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    config = make_recipe(tmp_path / "run", "train.save_every=2", "device=cpu")
    process, last = start(config, launcher=("-m", "tests.helpers.narrow")), config.out / checkpoints.LAST
    while process.poll() is None and (not last.exists() or peek_step(last) <= per_epoch):
        process.send_signal(signal.SIGCONT)
        time.sleep(0.2)
        process.send_signal(signal.SIGSTOP)  # it would be over before last.pt is read
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert per_epoch < read_step(config.out) < 3 * per_epoch
    capsys.readouterr()  # what training the straight run printed
    assert call("train", tmp_path / "recipe.yaml", "--resume") == 0
    said = capsys.readouterr()
    assert "resuming at epoch 2" in said.err and said.out.startswith(str(config.out / checkpoints.BEST))
    assert_same_run(config.out, trained)


def test_an_epoch_whose_validation_fails_is_not_lost(
    make_recipe: Recipe,
    dataset: Dataset,
    trained_head: Path,
    per_epoch: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(loop, "validate", lambda *_: crash())
        train(make_recipe(tmp_path, HEAD), dataset, ALONE)
    assert read_step(tmp_path) == per_epoch
    train(make_recipe(tmp_path, HEAD), dataset, ALONE, resume=True)
    assert_same_run(tmp_path, trained_head)


def test_two_runs_in_one_folder_are_refused(make_recipe: Recipe, dataset: Dataset, tmp_path: Path) -> None:
    with (
        only_one(tmp_path / ".lock", "taken"),
        pytest.raises(CxrError, match="another process is training in this"),
    ):
        train(make_recipe(tmp_path), dataset, ALONE)
    assert not list(tmp_path.iterdir())


def test_saving_tracing_and_computing_twice_change_nothing(
    make_recipe: Recipe, dataset: Dataset, trained: Path, tmp_path: Path
) -> None:
    beside = ("train.save_every=3", "train.profile=2", "model.checkpointing=true", "train.deterministic=true")
    assert_same_run(train(make_recipe(tmp_path, *beside), dataset, ALONE), trained)
    assert "aten::convolution" in (tmp_path / "profile.txt").read_text()
    assert json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    assert "profile of 2 steps" in (tmp_path / "train.log").read_text()


def test_what_a_training_says_is_in_its_log_with_the_time(trained: Path) -> None:
    lines = (trained / "train.log").read_text().splitlines()
    assert [line[25:].partition(" ")[0] for line in lines[:3]] == ["device", "weights", "first"]
    epochs = [
        line for line in lines if re.search(r" epoch \d/3: validation AUROC \d\.\d{4}, loss \d\.\d{4}", line)
    ]
    paces = [line for line in lines if re.search(r"  training loss \S+, lr \S+, [\d,]+ images/s", line)]
    assert (len(epochs), len(paces)) == (3, 3)
    assert [" left" in line for line in paces] == [True, True, False]
    assert max(len(line[25:]) for line in lines) <= 80
    logged = read_log(trained, "train")
    assert all(0 <= line["waiting_share"] <= 1 and line["images_per_second"] > 0 for line in logged)


def test_a_training_that_ends_early_says_why_in_its_log(
    make_recipe: Recipe, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "train_step", at_step(1, terminate))
    with pytest.raises(Stopped):
        train(make_recipe(tmp_path), dataset, ALONE)
    assert (tmp_path / "train.log").read_text().endswith(" stopped by SIGTERM\n")


def test_parts_of_a_batch_add_up_to_its_gradient(
    make_recipe: Recipe, dataset: Dataset, tmp_path: Path
) -> None:
    weights = {}
    for parts in (1, 3):
        own = (f"train.accumulate={parts}", HEAD, "train.epochs=1", "train.grad_clip=0")
        run = train(make_recipe(tmp_path / str(parts), *own), dataset, ALONE)
        weights[parts] = checkpoints.load_resumable(run / checkpoints.LAST)["model"]
    torch.testing.assert_close(weights[1], weights[3], rtol=1e-4, atol=1e-6)


def test_the_best_checkpoint_is_of_the_best_epoch(trained: Path) -> None:
    lines = read_log(trained, "epoch")
    best = max(lines, key=lambda line: line["val_auroc"])
    metadata = checkpoints.load(trained).metadata
    assert (metadata.epoch, metadata.step) == (best["epoch"], best["step"])
    assert metadata.validation == {"auroc": best["val_auroc"], "loss": best["val_loss"]}
    assert [line["best"] for line in lines][int(best["epoch"]) - 1] == 1


def test_the_lowest_loss_selects_when_asked(make_recipe: Recipe, dataset: Dataset, tmp_path: Path) -> None:
    run = train(make_recipe(tmp_path, "train.select=loss", "train.schedule=plateau", HEAD), dataset, ALONE)
    losses = [line["val_loss"] for line in read_log(run, "epoch")]
    assert checkpoints.load(run).metadata.epoch == 1 + losses.index(min(losses))


def test_training_ends_early_after_epochs_without_a_better_metric(
    make_recipe: Recipe, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures = iter([0.6, 0.7, 0.7, 0.65, 0.9])
    monkeypatch.setattr("cxr.evaluation.statistics.metrics.macro_mean", lambda _: next(figures))
    config = make_recipe(tmp_path, "train.early_stopping=2", "train.epochs=5", HEAD)
    train(config, dataset, ALONE)
    assert [line["val_auroc"] for line in read_log(tmp_path, "epoch")] == [0.6, 0.7, 0.7, 0.65]
    assert checkpoints.load(tmp_path).metadata.epoch == 2
    before = (tmp_path / checkpoints.LAST).read_bytes()
    train(config, dataset, ALONE, resume=True)
    assert (tmp_path / checkpoints.LAST).read_bytes() == before


def test_a_loss_that_is_not_a_number_ends_the_run_and_poisons_nothing(
    make_recipe: Recipe, dataset: Dataset, per_epoch: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = Loader.batches

    def poisoned(self: Loader, order: np.ndarray, *how: int) -> object:
        for place, batch in enumerate(batches(self, order, *how)):
            yield replace(batch, y=batch.y * float("nan")) if place == 3 else batch

    monkeypatch.setattr(Loader, "batches", poisoned)
    with pytest.raises(CxrError) as error:
        train(make_recipe(tmp_path, "train.save_every=1", "train.schedule=constant", HEAD), dataset, ALONE)
    assert error.value.render() == (
        f"error: {tmp_path}: the loss is nan at step 4 (epoch 1), learning rate 0.001; "
        f"the last good checkpoint is {tmp_path}/last.pt\n"
        "hint: lower train.lr, set train.grad_clip=1 or train.precision=fp32"
    )
    assert read_step(tmp_path) == 3
    assert all_finite(checkpoints.load_resumable(tmp_path / checkpoints.LAST)["model"])


def all_finite(state: object) -> bool:
    assert isinstance(state, Mapping)
    return all(bool(one.isfinite().all()) for one in state.values())


@pytest.mark.parametrize("save_every", [0, 5])
def test_weights_that_break_in_the_last_step_of_an_epoch_are_neither_validated_nor_saved(
    save_every: int,
    make_recipe: Recipe,
    dataset: Dataset,
    per_epoch: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert per_epoch == 5
    taken = itertools.count(1)

    def step(run: TrainSetup, state: TrainState, model: nn.Module, batch: Batch) -> Tensor:
        loss = train_step(run, state, model, batch)
        if next(taken) == 2 * per_epoch:
            state.model.head.weight.data[0, 0] = torch.inf
        return loss

    monkeypatch.setattr(loop, "train_step", step)
    with pytest.raises(CxrError, match=rf"a weight is not finite at step {2 * per_epoch} \(epoch 2\)"):
        train(make_recipe(tmp_path, f"train.save_every={save_every}", HEAD), dataset, ALONE)
    assert read_step(tmp_path) == per_epoch
    assert checkpoints.load(tmp_path).metadata.epoch == 1


def test_an_absurd_learning_rate_ends_in_an_error(
    make_recipe: Recipe, dataset: Dataset, tmp_path: Path
) -> None:
    with pytest.raises(CxrError, match=r"not finite|the loss is (nan|inf)") as error:
        train(
            make_recipe(tmp_path, "train.lr=1e30", "train.optimizer=sgd", "train.grad_clip=0"), dataset, ALONE
        )
    assert "lower train.lr" in error.value.hint


def test_a_changed_recipe_is_refused_on_resuming_and_the_run_stays(
    make_recipe: Recipe, dataset: Dataset, trained: Path
) -> None:
    before = {path.name: path.read_bytes() for path in trained.iterdir() if path.is_file()}
    with pytest.raises(CxrError, match=r"train.lr was 0.001 and is now 0.5"):
        train(make_recipe(trained, "train.lr=0.5"), dataset, ALONE, resume=True)
    assert before == {path.name: path.read_bytes() for path in trained.iterdir() if path.is_file()}


def test_other_images_are_refused_on_resuming(make_recipe: Recipe, dataset: Dataset, trained: Path) -> None:
    fold = dataset.assigned.copy()
    fold[dataset.rows("train")[0]] = ""
    with pytest.raises(CxrError, match=r"the images in .* are not those that the run began with"):
        train(make_recipe(trained), replace(dataset, assigned=fold), ALONE, resume=True)


def test_other_labels_are_refused_on_resuming(make_recipe: Recipe, dataset: Dataset, trained: Path) -> None:
    other = replace(dataset, targets=replace(dataset.targets, y=1 - dataset.targets.y))
    with pytest.raises(CxrError, match=r"the labels in .* are not those that the run began with"):
        train(make_recipe(trained), other, ALONE, resume=True)


def test_a_step_that_is_in_no_epoch_is_refused_on_resuming(
    make_recipe: Recipe, dataset: Dataset, tmp_path: Path
) -> None:
    config = make_recipe(tmp_path, "train.epochs=1", HEAD)
    saved = checkpoints.load_resumable(train(config, dataset, ALONE) / checkpoints.LAST)
    checkpoints.save_resumable(tmp_path / checkpoints.LAST, saved | {"step": 10**9})
    with pytest.raises(CxrError, match=r"last\.pt: is damaged: step 1,000,000,000 is not in epoch 2"):
        train(config, dataset, ALONE, resume=True)


def test_a_full_disk_for_the_best_checkpoint_names_it_and_the_run_can_be_resumed(
    make_recipe: Recipe, dataset: Dataset, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = make_recipe(small_disk, "train.epochs=1", HEAD)
    (small_disk / "ballast").write_bytes(bytes(3 << 19))  # 0.5 MiB is left
    with (
        monkeypatch.context() as patch,
        pytest.raises(CxrError, match=r"best\.safetensors: the disk is full"),
    ):
        patch.setattr(Saver, "is_due", lambda _: False)  # so that last.pt is not the first
        train(config, dataset, ALONE)
    left = {path.name for path in small_disk.iterdir() if path.is_file()} - {"ballast", "curves.png"}
    assert left == {"config.yaml", "counts.json", "log.jsonl", "run.json", "train.log"}


def test_validation_rows_of_one_class_cannot_select_by_auroc(
    make_recipe: Recipe, dataset: Dataset, tmp_path: Path
) -> None:
    y = dataset.targets.y.copy()
    y[dataset.rows("val")] = 0
    other = replace(dataset, targets=replace(dataset.targets, y=y))
    with pytest.raises(CxrError, match="validation rows hold one class only") as error:
        train(make_recipe(tmp_path), other, ALONE)
    assert "train.select=loss" in error.value.hint
    train(make_recipe(tmp_path, "train.epochs=1", "train.select=loss", HEAD), other, ALONE)


def test_a_finding_of_one_class_trains_and_is_named(
    make_recipe: Recipe, dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    y = dataset.targets.y.copy()
    y[:, 0] = 0
    targets = Targets(dataset.targets.findings, y, dataset.targets.mask)
    run = train(make_recipe(tmp_path, "train.epochs=1", HEAD), replace(dataset, targets=targets), ALONE)
    warning = "warning: training rows hold one class only for Cardiomegaly: weights of 1, nothing to learn"
    assert warning in capsys.readouterr().err
    assert np.isfinite(read_log(run, "train")[0]["loss"])
    assert checkpoints.load(run).thresholds.fallback == ("Cardiomegaly",)


def test_no_validation_rows_is_an_error(make_recipe: Recipe, dataset: Dataset, tmp_path: Path) -> None:
    fold = np.where(dataset.assigned == "val", "train", dataset.assigned)
    with pytest.raises(CxrError, match=r"data.split: no images for val"):
        train(make_recipe(tmp_path / "run"), replace(dataset, assigned=fold), ALONE)
    assert not (tmp_path / "run").exists()


def test_a_last_batch_too_small_for_batch_norm_is_an_error(
    make_recipe: Recipe, dataset: Dataset, tmp_path: Path
) -> None:
    num = len(dataset.rows("train"))
    with pytest.raises(CxrError) as error:
        train(make_recipe(tmp_path / "run", f"train.batch_size={num - 1}"), dataset, ALONE)
    assert error.value.render() == (
        "error: image.size: 32 is too small for a batch of one, "
        f"which ends an epoch of {num} in batches of {num - 1}\n"
        "hint: image.size=64, or another train.batch_size"
    )
    train(
        make_recipe(tmp_path / "run", f"train.batch_size={num - 1}", "image.size=64", "train.epochs=1"),
        dataset,
        ALONE,
    )


def make_run(config: Config, dataset: Dataset) -> tuple[TrainSetup, TrainState]:
    loader = Loader(dataset.store.pixels, dataset.index, dataset.targets, ALONE.device)
    weights = class_weights(dataset.select(dataset.rows("train")), config.loss.weighting)
    run = TrainSetup(config, ALONE, dataset, loader, weights, None, 5)
    return run, new_state(config, dataset.targets.findings, weights, ALONE)[0]


STILL = "{flip: 0, rotate: 0, shift: 0, scale: [1, 1], brightness: 0, contrast: 0}"


def test_a_step_is_torchs_step_on_the_mean_loss_of_the_cells_that_count(
    make_recipe: Recipe, dataset: Dataset, tmp_path: Path
) -> None:
    config = make_recipe(
        tmp_path,
        "train.ema=0",
        "train.grad_clip=0",
        "loss.weighting=none",
        "train.optimizer=sgd",
        "train.weight_decay=0",
        "train.warmup_epochs=0",
        "train.schedule=constant",
        "image.size=64",
        f"train.augment={STILL}",
    )
    (run, state), (_, other) = make_run(config, dataset), make_run(config, dataset)
    other.model.load_state_dict(state.model.state_dict())
    batch = next(iter(run.loader.batches(dataset.rows("train"), 8)))
    loss = train_step(run, state, state.model, batch)
    reference = torch.optim.SGD(other.model.parameters(), 1e-3, momentum=0.9, nesterov=True)
    logits = other.model(batch.images.unsqueeze(1).float())
    expected = nn.functional.binary_cross_entropy_with_logits(logits, batch.y)
    expected.backward()  # type: ignore[no-untyped-call]
    reference.step()
    torch.testing.assert_close(loss, expected.detach())
    for ours, theirs in zip(state.model.parameters(), other.model.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


def test_labels_of_masked_cells_change_no_weight(
    make_recipe: Recipe, dataset: Dataset, tmp_path: Path
) -> None:
    rng, weights = np.random.default_rng(0), []
    mask = rng.random(dataset.targets.mask.shape) < 0.7
    for noise in (0, 1):
        y = np.where(mask, dataset.targets.y, noise).astype(np.float32)
        masked = replace(dataset, targets=Targets(dataset.targets.findings, y, mask))
        torch.manual_seed(0)
        run, state = make_run(make_recipe(tmp_path), masked)
        for batch in itertools.islice(run.loader.batches(dataset.rows("train"), 8), 2):
            train_step(run, state, state.model, batch)
        weights.append(state.model.state_dict())
    assert same(*weights)


def test_gradients_are_clipped(make_recipe: Recipe, dataset: Dataset, tmp_path: Path) -> None:
    config = make_recipe(tmp_path, "train.grad_clip=0.01", "train.optimizer=sgd", "train.weight_decay=0",
                    "train.warmup_epochs=0", "train.lr=1.0", "train.schedule=constant")  # fmt: skip
    run, state = make_run(config, dataset)
    before = [one.detach().clone() for one in state.model.parameters()]
    train_step(run, state, state.model, next(iter(run.loader.batches(dataset.rows("train"), 8))))
    moves = [(one - old).flatten() for one, old in zip(state.model.parameters(), before, strict=True)]
    assert torch.cat(moves).norm().item() == pytest.approx(1.9 * 0.01, rel=1e-2)  # Nesterov: 1 + momentum


def test_a_new_run_replaces_the_old_ones_files(make_recipe: Recipe, dataset: Dataset, tmp_path: Path) -> None:
    config = make_recipe(tmp_path, "train.epochs=1", HEAD)
    for _ in range(2):
        train(config, dataset, ALONE)
    assert [line["epoch"] for line in read_log(tmp_path, "epoch")] == [1]
    files = {path.name for path in tmp_path.iterdir() if path.is_file()}
    assert files == {
        "best.safetensors", "last.pt", "log.jsonl", "run.json", "train.log", "config.yaml", "counts.json", "curves.png",
    }  # fmt: skip
    assert re.search(r"^seed: 0", (tmp_path / "config.yaml").read_text(), re.MULTILINE)


def test_starting_a_trace_is_no_part_of_the_pace(
    make_recipe: Recipe, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, start_trace, hours = time.monotonic, StepProfiler._start, [0]

    def start_in_an_hour(profiler: StepProfiler) -> None:
        hours[0] += 1
        start_trace(profiler)

    monkeypatch.setattr(time, "monotonic", lambda: clock() + 3600 * hours[0])
    monkeypatch.setattr(StepProfiler, "_start", start_in_an_hour)
    train(make_recipe(tmp_path, "train.epochs=1", "train.profile=2"), dataset, ALONE)
    (line,) = (
        json.loads(text) for text in (tmp_path / "log.jsonl").read_text().splitlines() if '"train"' in text
    )
    assert line["seconds"] > 3600
    assert line["images_per_second"] > 1  # within the hour it would be 0.01
