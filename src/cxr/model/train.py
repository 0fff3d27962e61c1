"""TrainState, the step, and the one loop.

Order, learning rate and augmentation are functions of (seed, step) and of the validation figures so far, so a run that
is stopped anywhere and resumed computes what the straight run computes, bit for bit on the CPU.
"""

import json
import math
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.progress import Progress, TaskID
from torch import Tensor, nn

from cxr.config import Config
from cxr.config_file import render
from cxr.console import progress, say, warn
from cxr.data.augment import augment
from cxr.data.dataset import Dataset, preprocess
from cxr.data.loader import Batch, Loader, epoch_order
from cxr.data.residence import place
from cxr.data.splits import FOLDS, hash_names
from cxr.errors import CxrError
from cxr.evaluation import thresholds as operating_points
from cxr.evaluation.report import macro_auroc, score
from cxr.files import write_text
from cxr.model import checkpoint as checkpoints
from cxr.model.distributed import World
from cxr.model.loss import ClassWeights, class_weights, masked_bce
from cxr.model.optim import epochs_since_best, learning_rate
from cxr.model.predict import autocast_dtype, predict_dataset
from cxr.model.runlog import RunLog, StopRequest, catch_signals
from cxr.model.state import TrainState, average_weights, figures, new_state, restore, snapshot

_READ_LOSS_EVERY = 20


@dataclass(frozen=True)
class Run:
    """All that no step changes."""

    config: Config
    world: World
    dataset: Dataset
    loader: Loader
    weights: ClassWeights
    dtype: torch.dtype | None
    steps_per_epoch: int


class Stopped(Exception):
    """A signal asked the run to stop and it has saved itself; `signal` is its number."""

    def __init__(self, number: int) -> None:
        self.signal = number


def train(config: Config, dataset: Dataset, world: World, resume: bool = False) -> Path:
    """Train to the end of the recipe; returns the run folder with best.safetensors, last.pt and log.jsonl.

    Raises:
        CxrError: An impossible recipe or data set, a loss that is not finite, a full disk.
        Stopped: After SIGTERM or Ctrl-C, with last.pt saved.
    """
    torch.manual_seed(config.seed)
    torch.backends.cudnn.benchmark = True
    run = _prepare(config, dataset, world)
    state, report = new_state(config, dataset.targets.findings, run.weights, world)
    if world.is_first:
        say(str(report))
    if resume:
        restore(state, config, _images(dataset), checkpoints.load_resumable(config.out / checkpoints.LAST))
        if world.is_first:
            say(f"resuming at epoch {len(state.history) + 1}, step {state.step:,}")
    elif world.is_first:
        _start_folder(run)
    model = _wrap(state.model, run)
    with (
        closing(RunLog(config.out, state.step, len(state.history), world.is_first)) as log,
        catch_signals() as request,
        progress("{task.fields[status]}") as bar,
    ):
        while len(state.history) < config.train.epochs and not _has_stalled(run, state):
            _train_epoch(run, state, model, log, request, bar)
            _finish_epoch(run, state, log)
    return config.out


def _prepare(config: Config, dataset: Dataset, world: World) -> Run:
    for fold in ("train", "val"):
        if not len(dataset.rows(fold)):
            raise CxrError(
                f"data.split: no images for {fold}", "lower data.missing=skip losses or choose another split"
            )
    _check_last_batch(config, len(dataset.rows("train")), world)
    pixels, where = place(dataset.store, config.store.where, world.device, world.local_size)
    dtype = autocast_dtype(config.train.precision, world.device)
    weights = class_weights(dataset.select(dataset.rows("train")), config.loss.weighting, config.loss.pos_weight_cap)
    if world.is_first:
        processes = f" in each of {world.size} processes" if world.size > 1 else ""
        say(f"device {world.device}{processes}, {'bfloat16' if dtype else 'float32'}, {where}")
        if weights.one_class:
            warn(
                f"training rows hold one class only for {', '.join(weights.one_class)}: weights of 1, nothing to learn"
            )
    loader = Loader(pixels, dataset.index, dataset.targets, world.device)
    steps = -(-len(dataset.rows("train")) // config.train.batch_size)
    return Run(config, world, dataset, loader, weights.to(world.device), dtype, steps)


def _check_last_batch(config: Config, num_images: int, world: World) -> None:
    """One image whose last feature map is one pixel has no variance for batch norm to divide by."""
    last = num_images % config.train.batch_size or config.train.batch_size
    if last <= world.size and config.image.size < 64 and config.model.train_layers != "head":
        what = f"image.size: {config.image.size} is too small for a batch of one, which ends an epoch of {num_images:,}"
        raise CxrError(f"{what} in batches of {config.train.batch_size}", "image.size=64, or another train.batch_size")


def _wrap(model: nn.Module, run: Run) -> nn.Module:
    wrapped: nn.Module = model
    if run.world.size > 1:
        devices = [run.world.device] if run.world.device.type == "cuda" else None
        wrapped = nn.parallel.DistributedDataParallel(model, device_ids=devices)
    if run.config.train.compile:
        wrapped.compile()
    return wrapped


def _start_folder(run: Run) -> None:
    out = run.config.out
    for name in (checkpoints.BEST, checkpoints.LAST, "log.jsonl"):
        (out / name).unlink(missing_ok=True)
    write_text(out / "config.yaml", render(run.config))
    write_text(out / "counts.json", json.dumps(run.dataset.counts(), indent=2) + "\n")


def _train_epoch(
    run: Run, state: TrainState, model: nn.Module, log: RunLog, request: StopRequest, bar: Progress
) -> None:
    """Steps from where the state stands to the end of its epoch."""
    config, epoch = run.config, len(state.history)
    order = epoch_order(run.dataset.rows("train"), config.seed, epoch)
    done = state.step - epoch * run.steps_per_epoch
    task = bar.add_task(
        f"epoch {epoch + 1}/{config.train.epochs}",
        total=len(order),
        completed=min(len(order), done * config.train.batch_size),
        status=_describe(state.history),
        visible=run.world.is_first,
    )
    losses = _Losses(run, state, log, bar, task)
    model.train()
    for batch in run.loader.batches(order, config.train.batch_size, run.world.rank, run.world.size, done):
        losses.add(train_step(run, state, model, batch), min(batch.num_global, len(order)))
        _save_or_stop(run, state, losses, request)
    losses.finish()
    bar.remove_task(task)


def train_step(run: Run, state: TrainState, model: nn.Module, batch: Batch) -> Tensor:
    """One optimiser step; returns this process's part of the global batch's mean loss."""
    config, world = run.config, run.world
    rate = learning_rate(state.step, run.steps_per_epoch, figures(state, config), config.train)
    for group in state.optimizer.param_groups:
        group["lr"] = rate
    images = augment(
        batch.images, config.image.size, config.train.augment, config.seed, state.step, batch.first, batch.num_global
    )
    with torch.autocast(world.device.type, run.dtype, enabled=run.dtype is not None):
        logits = model(images)
    loss = masked_bce(logits, batch.y, batch.mask, run.weights) / max(1, batch.num_valid)
    (loss * world.size).backward()  # type: ignore[no-untyped-call]  # DDP averages over processes, the loss is a sum over them
    if config.train.grad_clip:
        nn.utils.clip_grad_norm_(model.parameters(), config.train.grad_clip)
    state.optimizer.step()
    state.optimizer.zero_grad()
    state.step += 1
    average_weights(state, config.train.ema)
    return loss.detach()


class _Losses:
    """Losses of an epoch, read late so that the GPU is not waited for; a loss that is not finite ends the run."""

    def __init__(self, run: Run, state: TrainState, log: RunLog, bar: Progress, task: TaskID) -> None:
        self.run, self.state, self.log, self.bar, self.task = run, state, log, bar, task
        self.every = _READ_LOSS_EVERY if run.world.device.type == "cuda" else 1
        self.waiting: list[tuple[int, float, Tensor, int]] = []
        self.num_images, self.begun = 0, time.monotonic()

    def add(self, loss: Tensor, num_images: int) -> None:
        rate = self.state.optimizer.param_groups[0]["lr"]
        self.waiting.append((self.state.step, rate, loss, num_images))
        if len(self.waiting) >= self.every:
            self.read()

    def read(self) -> None:
        """Read what waits, log every 20th step, and stop at the first loss that is not finite."""
        if not self.waiting:
            return
        values = self.run.world.sum(torch.stack([loss for _, _, loss, _ in self.waiting])).tolist()
        for (step, rate, _, num_images), value in zip(self.waiting, values, strict=True):
            if not math.isfinite(value):
                raise _not_finite(self.run, self.state, f"the loss is {value}", step, rate)
            self.state.loss_sum += value * num_images
            self.num_images += num_images
            self.bar.update(self.task, advance=num_images, status=f"loss {value:.4f} {_describe(self.state.history)}")
            if step % _READ_LOSS_EVERY == 0:
                self.log.write("step", step, {"loss": value, "lr": rate})
        self.waiting.clear()

    def finish(self) -> None:
        """Log the epoch's mean loss and rate."""
        self.read()
        seconds = time.monotonic() - self.begun
        self.log.write(
            "train",
            self.state.step,
            {
                "epoch": len(self.state.history) + 1,
                "loss": self.state.loss_sum / len(self.run.dataset.rows("train")),
                "images_per_second": self.num_images / seconds,
                "seconds": seconds,
            },
        )
        self.state.loss_sum = 0.0


def _check_weights(run: Run, state: TrainState) -> None:
    """Gradients can break the weights of a step whose loss was finite; such weights are neither judged nor saved."""
    tensors = [part for model in (state.model, state.ema) for part in model.state_dict().values()]
    sizes = torch._foreach_norm([part for part in tensors if part.is_floating_point()], math.inf)
    if not torch.stack(sizes).isfinite().all():
        rate = state.optimizer.param_groups[0]["lr"]
        raise _not_finite(run, state, "a weight is not finite", state.step, rate)


def _not_finite(run: Run, state: TrainState, what: str, step: int, rate: float) -> CxrError:
    last = run.config.out / checkpoints.LAST
    good = f"the last good checkpoint is {last}" if last.exists() else "no checkpoint was saved before"
    what = f"{what} at step {step:,} (epoch {len(state.history) + 1}), learning rate {rate:.3g}; {good}"
    return CxrError(f"{run.config.out}: {what}", "lower train.lr, set train.grad_clip=1 or train.precision=fp32")


def _save_or_stop(run: Run, state: TrainState, losses: _Losses, request: StopRequest) -> None:
    every = run.config.train.save_every
    stop = _is_stop_agreed(run.world, state.step, request)
    if stop or (every and state.step % every == 0):
        losses.read()
        _check_weights(run, state)
        save_last(run, state)
    if stop:
        raise Stopped(request.signal or 0)


def _is_stop_agreed(world: World, step: int, request: StopRequest) -> bool:
    """Whether any process was asked to stop; several processes ask each other every 20 steps only."""
    if world.size == 1:
        return request.signal is not None
    if step % _READ_LOSS_EVERY:
        return False
    return bool(world.sum(torch.tensor(float(request.signal is not None), device=world.device)) > 0)


def _finish_epoch(run: Run, state: TrainState, log: RunLog) -> None:
    """Validate, then save: 1. the best checkpoint, 2. the log, 3. last.pt; a kill between them only repeats them."""
    config, dataset = run.config, run.dataset
    begun = time.monotonic()
    _check_weights(run, state)
    run.world.copy_first(state.ema.buffers())  # without SyncBatchNorm each process has batch statistics of its own
    predictions, logits = predict_dataset(state.ema, run.loader, dataset, "val", config, run.world)
    points = operating_points.choose(predictions, config.eval.threshold)
    auroc = macro_auroc(score(predictions, points))
    targets = dataset.select(dataset.rows("val"))
    y, mask = (torch.from_numpy(part).to(logits.device) for part in (targets.y, targets.mask))
    loss = float(masked_bce(logits, y, mask, run.weights) / mask.sum().clamp(min=1))
    state.history.append({"auroc": auroc, "loss": loss})
    is_best = epochs_since_best(figures(state, config)) == 0
    if run.world.is_first:
        if is_best:
            checkpoints.save(config.out / checkpoints.BEST, _checkpoint(run, state, points))
        rate = state.optimizer.param_groups[0]["lr"]
        values = {"epoch": len(state.history), "lr": rate, "val_loss": loss, "val_auroc": _number(auroc)}
        log.write("epoch", state.step, {**values, "best": int(is_best), "seconds": time.monotonic() - begun})
        save_last(run, state)
        say(
            f"epoch {len(state.history)}/{config.train.epochs}: validation AUROC {auroc:.4f}, loss {loss:.4f}"
            f"{', best so far' if is_best else ''}"
        )
    run.world.wait()


def _checkpoint(run: Run, state: TrainState, points: operating_points.Thresholds) -> checkpoints.Checkpoint:
    dataset, config = run.dataset, run.config
    split = checkpoints.SplitIdentity(
        kind=dataset.split.kind,
        name=dataset.split.name,
        hashes=dict(dataset.split.hashes),
        num_images={fold: len(dataset.rows(fold)) for fold in FOLDS},
    )
    metadata = checkpoints.Metadata(
        config=config,
        findings=dataset.targets.findings,
        preprocess=preprocess(config),
        split=split,
        thresholds=operating_points.to_json(points),
        epoch=len(state.history),
        step=state.step,
        validation={name: _number(value) for name, value in state.history[-1].items()},
        versions=checkpoints.versions(),
    )
    ids = dataset.table.rows["patient_id"]
    seen = {
        fold: checkpoints.hash_patients(dataset.table.source, ids[dataset.rows(fold)].unique())
        for fold in ("train", "val")
    }
    return checkpoints.Checkpoint(state.ema, metadata, points, seen)


def save_last(run: Run, state: TrainState) -> None:
    """Write last.pt from the first process."""
    if not run.world.is_first:
        return
    checkpoints.save_resumable(run.config.out / checkpoints.LAST, snapshot(state, run.config, _images(run.dataset)))


def _images(dataset: Dataset) -> dict[str, str]:
    names = dataset.table.rows["image"]
    return {fold: hash_names(names.iloc[dataset.rows(fold)]) for fold in FOLDS}


def _has_stalled(run: Run, state: TrainState) -> bool:
    patience = run.config.train.early_stopping
    stalled = bool(patience) and epochs_since_best(figures(state, run.config)) >= patience
    if stalled and run.world.is_first:
        say(f"early stopping: no better validation figure for {patience} epochs")
    return stalled


def _describe(history: list[dict[str, float]]) -> str:
    return f"validation AUROC {history[-1]['auroc']:.4f}" if history else ""


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value
