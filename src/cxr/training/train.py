"""TrainState, the step, and the one loop.

Order, learning rate and augmentation are functions of (seed, step) and of the validation figures so far, so a run that
is stopped anywhere and resumed computes what the straight run computes, bit for bit on the CPU.
"""

import signal
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.progress import Progress
from torch import Tensor, nn

from cxr.config.schema import Config
from cxr.console import listening, progress, say
from cxr.data.augment import augment
from cxr.data.dataset import Dataset, Listed
from cxr.data.loader import Batch, epoch_order, visits
from cxr.data.sampling import check_judgeable, count_steps
from cxr.distributed import World
from cxr.errors import CxrError
from cxr.evaluation.predictions import Predictions
from cxr.evaluation.statistics import metrics
from cxr.labels.splits import FOLDS
from cxr.model import checkpoint as checkpoints
from cxr.model.classifier import Classifier
from cxr.model.history import epochs_since_best
from cxr.model.predict import predict_dataset
from cxr.patient_hash import hasher_from_environment
from cxr.signals import StopRequest, catch_signals
from cxr.training.begin import alone_in_folder, begin, wrap
from cxr.training.best import complete_best, number_or_none, save_state
from cxr.training.compiled import Compiled
from cxr.training.kernels import training_kernels
from cxr.training.loss import masked_bce
from cxr.training.loss_meter import READ_EVERY, LossMeter, Pace, check_weights, say_time
from cxr.training.memory import explain_no_memory
from cxr.training.optim import learning_rate
from cxr.training.profile import StepProfiler
from cxr.training.run import Run, identify, prepare
from cxr.training.runlog import RunLog, TextLog
from cxr.training.saver import Saver
from cxr.training.state import TrainState, average_weights, check_resumable, figures


class Stopped(Exception):
    """A signal asked the run to stop and it has saved itself; `signal` is its number."""

    def __init__(self, number: int) -> None:
        self.signal = number


def train(config: Config, dataset: Dataset, world: World, resume: bool = False) -> Path:
    """Train to the end of the recipe; returns the run folder with best.safetensors, last.pt and log.jsonl.

    Raises:
        CxrError: An impossible recipe or data set, a loss that is not finite, a full disk.
        Stopped: After SIGTERM, SIGHUP or Ctrl-C, with last.pt saved.
    """
    torch.manual_seed(config.seed)
    text = TextLog()
    hears = listening(text.note) if world.is_first else nullcontext()
    with training_kernels(config.train.deterministic), hears:
        run = prepare(config, dataset, world)
        with alone_in_folder(run), explain_no_memory(config), _noting_the_end(text):
            state = begin(run, resume)
            if world.is_first:
                text.open(config.out, resume)
            _run_epochs(run, state, text)
    return config.out


@contextmanager
def _noting_the_end(text: TextLog) -> Iterator[None]:
    """Note in train.log why a training ends before its time."""
    try:
        yield
    except (CxrError, Stopped) as end:
        with suppress(CxrError):  # of the log itself, whose disk is full
            text.note(
                end.render() if isinstance(end, CxrError) else f"stopped by {signal.Signals(end.signal).name}"
            )
        raise


def check_before_packing(config: Config, listed: Listed, world: World, resume: bool) -> None:
    """Refuse what cannot be trained, or resumed, before a weight is fetched or a file packed.

    Raises:
        CxrError: No training or validation images, none to tell epochs apart by, a last batch too small; under
            `resume`, a damaged last.pt, one of another recipe, other images or other labels.
    """
    hasher_from_environment()
    planned = listed.plan()
    images = {fold: len(planned.rows(fold)) for fold in FOLDS}
    if listed.is_certain or not (images["train"] and images["val"]):
        count_steps(config, images, planned.visits(), world.size)
    check_judgeable(config, planned.select(planned.rows("val")))
    if resume:
        known = identify(planned) if listed.is_certain else {}
        check_resumable(config, known, checkpoints.load_resumable(config.out / checkpoints.LAST))


@dataclass(frozen=True)
class _Session:
    """What stands beside a training while it runs."""

    log: RunLog
    saver: Saver
    request: StopRequest
    bar: Progress
    pace: Pace
    profiler: StepProfiler


def _run_epochs(run: Run, state: TrainState, text: TextLog) -> None:
    config, world = run.config, run.world
    model, pace = wrap(state.model, run), Pace()
    num_traced = config.train.profile if world.is_first else 0
    with (
        closing(RunLog(config.out, state.step, len(state.history), world.is_first, text)) as log,
        Saver() as saver,
        catch_signals() as request,
        progress("{task.fields[status]}") as bar,
        StepProfiler(
            num_traced, run.steps_per_epoch, config.out, world.device, lambda: pace.waited
        ) as profiler,
    ):
        session = _Session(log, saver, request, bar, pace, profiler)
        while len(state.history) < config.train.epochs and not _has_stalled(run, state):
            learned = _train_epoch(run, state, model, session)
            _finish_epoch(run, state, session, learned)
            if len(state.history) < config.train.epochs and _is_stop_agreed(world, request):
                saver.wait()
                raise Stopped(request.signal or signal.SIGTERM)
        saver.wait()
        complete_best(run, state)


def _train_epoch(run: Run, state: TrainState, model: nn.Module, session: _Session) -> str:
    """Steps from where the state stands to the end of its epoch; returns the epoch's loss and pace in words."""
    config, epoch = run.config, len(state.history)
    order = epoch_order(visits(run.dataset.groups(), config.seed, epoch), config.seed, epoch)
    done = state.step - epoch * run.steps_per_epoch
    task = session.bar.add_task(
        f"epoch {epoch + 1}/{config.train.epochs}",
        total=len(order),
        completed=min(len(order), done * config.train.batch_size),
        status="",
        visible=run.world.is_first,
    )
    losses = LossMeter(run, state, session.log, session.bar, task, session.pace)
    model.train()
    batches = run.loader.batches(order, config.train.batch_size, run.world.rank, run.world.size, done)
    for batch in losses.waiting_for(batches):
        with session.profiler.step():
            loss = train_step(run, state, model, batch)
        losses.add(loss, min(batch.num_global, len(order)))
        _save_or_stop(run, state, losses, session)
    losses.stop()
    check_weights(run, state)
    if session.saver.is_due():  # validation may fail, and takes its time
        save_last(run, state, session.saver)
    session.bar.remove_task(task)
    return losses.finish()


def train_step(run: Run, state: TrainState, model: nn.Module, batch: Batch) -> Tensor:
    """One optimiser step; returns this process's part of the global batch's mean loss."""
    config, world = run.config, run.world
    rate = learning_rate(state.step, run.steps_per_epoch, figures(state, config), config.train)
    for group in state.optimizer.param_groups:
        group["lr"] = rate
    loss = torch.zeros((), device=world.device)
    parts = batch.split(config.train.accumulate)
    for part in parts:
        with _no_sync(model, part is not parts[-1]):
            loss += _backward(run, state, model, part)
    if state.scaler:
        state.scaler.unscale_(state.optimizer)
    if config.train.grad_clip:
        nn.utils.clip_grad_norm_(model.parameters(), config.train.grad_clip)
    if state.scaler:
        state.scaler.step(
            state.optimizer
        )  # left out where a gradient has overflowed; the scale is then halved
        state.scaler.update()
    else:
        state.optimizer.step()
    state.optimizer.zero_grad()
    state.step += 1
    average_weights(state, config.train.ema)
    return loss


def _backward(run: Run, state: TrainState, model: nn.Module, part: Batch) -> Tensor:
    """Add the gradients of some images; returns their part of the global batch's mean loss."""
    config, world = run.config, run.world
    how, size = config.train.augment, config.image.size
    images = augment(part.images, size, how, config.seed, state.step, part.first, part.num_global)
    with torch.autocast(world.device.type, run.dtype, enabled=run.dtype is not None):
        logits = model(images)
    loss = masked_bce(logits, part.y, part.mask, run.weights) / max(1, part.num_valid)
    total = loss * world.size  # DDP averages, the loss is a sum over processes
    total = state.scaler.scale(total) if state.scaler else total
    total.backward()  # type: ignore[no-untyped-call]
    return loss.detach()


def _no_sync(model: nn.Module, accumulating: bool) -> AbstractContextManager[None]:
    """Let processes exchange gradients only after the last part of a batch."""
    model = model.model if isinstance(model, Compiled) else model
    if accumulating and isinstance(model, nn.parallel.DistributedDataParallel):
        return model.no_sync()
    return nullcontext()


def _save_or_stop(run: Run, state: TrainState, losses: LossMeter, session: _Session) -> None:
    every = run.config.train.save_every
    asks = run.world.size == 1 or state.step % READ_EVERY == 0
    stop = asks and _is_stop_agreed(run.world, session.request)
    session.saver.check()
    if stop or (every and state.step % every == 0):
        losses.read()
        check_weights(run, state)
        save_last(run, state, session.saver)
        losses.skip_time()
    if stop:
        session.saver.wait()
        raise Stopped(session.request.signal or signal.SIGTERM)


def _is_stop_agreed(world: World, request: StopRequest) -> bool:
    """Whether any process was asked to stop; one alone need not wait for its device to say so."""
    if world.size == 1:
        return request.signal is not None
    return bool(world.sum(torch.tensor(float(request.signal is not None), device=world.device)) > 0)


def _finish_epoch(run: Run, state: TrainState, session: _Session, learned: str) -> None:
    """Validate, then save 1. the best checkpoint, 2. last.pt; a kill between them only repeats the validation."""
    config, begun = run.config, time.monotonic()
    run.world.copy_first(state.ema.buffers())  # where statistics are not shared, each process has its own
    auroc, loss, predictions = validate(run, state.ema)
    auroc, loss = run.world.agree([auroc, loss])
    state.history.append({"auroc": auroc, "loss": loss})
    is_best = epochs_since_best(figures(state, config)) == 0
    if run.world.is_first:
        rate = state.optimizer.param_groups[0]["lr"]
        save_state(run, state, predictions if is_best else None, session.saver)
        session.pace.validation_seconds = time.monotonic() - begun
        values = {
            "epoch": len(state.history),
            "lr": rate,
            "val_loss": loss,
            "val_auroc": number_or_none(auroc),
        }
        seconds = session.pace.validation_seconds
        session.log.write("epoch", state.step, {**values, "best": int(is_best), "seconds": seconds})
        best = ", best so far" if is_best else ""
        of = f"epoch {len(state.history)}/{config.train.epochs}"
        say(f"{of}: validation AUROC {auroc:.4f}, loss {loss:.4f}{best}")
        epochs = config.train.epochs - len(state.history)
        left = session.pace.seconds_left(epochs * sum(run.dataset.visits()), epochs)
        say(f"  {learned}{f', {say_time(left)} left' if left else ''}")
    run.world.wait()


def validate(run: Run, classifier: Classifier) -> tuple[float, float, Predictions]:
    """(macro AUROC, mean loss, predictions) of the validation rows, by the functions that `cxr eval` calls."""
    predictions, logits = predict_dataset(classifier, run.loader, run.dataset, "val", run.config, run.world)
    targets = run.dataset.select(run.dataset.rows("val"))
    y, mask = (torch.from_numpy(part).to(logits.device) for part in (targets.y, targets.mask))
    loss = masked_bce(logits, y, mask, run.weights) / mask.sum().clamp(min=1)
    each = [metrics.auroc(predictions.y[:, c], predictions.p[:, c]) for c in range(len(predictions.findings))]
    return (
        metrics.macro_mean(each),
        float(loss),
        predictions,
    )  # as in the report, whose other figures take a second


def save_last(run: Run, state: TrainState, saver: Saver) -> None:
    """Write last.pt from the first process."""
    if run.world.is_first:
        save_state(run, state, None, saver)


def _has_stalled(run: Run, state: TrainState) -> bool:
    patience = run.config.train.early_stopping
    stalled = bool(patience) and epochs_since_best(figures(state, run.config)) >= patience
    if stalled and run.world.is_first:
        say(f"early stopping: no better validation figure for {patience} epochs")
    return stalled
