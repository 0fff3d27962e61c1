"""The training loop, from top to bottom: the run, its epochs, their steps (step.py), validation.

The order of images, the learning rate and the augmentation are functions of (seed, step) and of the
validation metrics so far. No random state is kept, so a run that was stopped anywhere and is resumed computes
what the uninterrupted run computes, bit for bit on the CPU.
"""

import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.progress import Progress
from torch import nn

from cxr.config.schema import Config
from cxr.console import listening, progress, say
from cxr.data.dataset import Dataset
from cxr.data.loader import epoch_order, epoch_rows
from cxr.distributed import World
from cxr.errors import CxrError
from cxr.evaluation.predictions import Predictions
from cxr.evaluation.statistics import metrics
from cxr.model.classifier import Classifier
from cxr.model.history import epochs_since_best
from cxr.model.predict import predict_dataset
from cxr.signals import Stopped as Stopped
from cxr.signals import StopRequest, catch_signals
from cxr.training.begin import lock_folder, start_or_resume, wrap_model
from cxr.training.kernels import training_kernels
from cxr.training.loss import masked_bce
from cxr.training.loss_meter import READ_EVERY, LossMeter, Pace, check_weights, format_duration
from cxr.training.memory import explain_no_memory
from cxr.training.profile import StepProfiler
from cxr.training.runlog import RunLog, TextLog
from cxr.training.save import add_ood_score, number_or_none, save_state
from cxr.training.saver import Saver
from cxr.training.setup import TrainSetup, prepare
from cxr.training.state import TrainState, selection_metrics
from cxr.training.step import train_step
from cxr.training.tracking import Trackers


@dataclass(frozen=True)
class _Session:
    """What serves one call of `train` and is not saved with the state.

    Attributes:
        log: Numbers, for log.jsonl and trackers.
        saver: Writes checkpoints in a thread.
        request: Whether a signal has asked to stop.
        bar: Progress on the terminal.
        pace: Images per second so far.
        profiler: Traces some steps where train.profile asks for it.
    """

    log: RunLog
    saver: Saver
    request: StopRequest
    bar: Progress
    pace: Pace
    profiler: StepProfiler


def train(
    config: Config,
    dataset: Dataset,
    world: World,
    resume: bool = False,
    label_files: Sequence[Path] = (),
) -> Path:
    """Train to the end of the recipe; returns the run folder with best.safetensors, last.pt and log.jsonl.

    Args:
        config: The recipe.
        dataset: Rows, targets and pixels.
        world: The processes.
        resume: Whether to continue from last.pt.
        label_files: What the dataset was read from, for run.json.

    Raises:
        CxrError: A recipe or dataset that cannot be trained, a loss that is not finite, a full disk.
        Stopped: After SIGTERM, SIGHUP or Ctrl-C, with last.pt saved.
    """
    torch.manual_seed(config.seed)  # for random first weights, the only draw of the global generator
    text_log = TextLog()
    copy_messages = listening(text_log.note) if world.is_first else nullcontext()
    with training_kernels(config.train.deterministic), copy_messages:
        setup = prepare(config, dataset, world)
        # The folder is locked before a file in it is read or removed.
        with lock_folder(config.out, world.is_first), explain_no_memory(config), _log_early_end(text_log):
            state = start_or_resume(setup, resume, label_files)
            if world.is_first:
                text_log.open(config.out, resume)  # after a refusal to resume: train.log stays as it is
            _train_epochs(setup, state, text_log)
    return config.out


@contextmanager
def _log_early_end(text_log: TextLog) -> Iterator[None]:
    """Write to train.log why a training ends before its last epoch."""
    try:
        yield
    except (CxrError, Stopped) as end:
        if isinstance(end, Stopped):
            reason = f"stopped by {signal.Signals(end.signal).name}"
        else:
            reason = end.render()
        with suppress(CxrError):  # the log's disk may be the one that is full
            text_log.note(reason)
        raise


def _train_epochs(setup: TrainSetup, state: TrainState, text_log: TextLog) -> None:
    """Train and validate from the state's epoch to the last; fit the OOD score at the end."""
    config, world = setup.config, setup.world
    num_epochs = config.train.epochs
    pace = Pace()
    with (
        Trackers(config, state.step, world.is_first) as trackers,
        Saver() as saver,
        catch_signals() as request,
        progress("{task.fields[status]}") as bar,
        StepProfiler(
            config.train.profile if world.is_first else 0,
            setup.steps_per_epoch,
            config.out,
            world.device,
            seconds_waited=lambda: pace.seconds_waited,
        ) as profiler,
    ):
        log = RunLog(config.out, state.step, len(state.history), world.is_first, text_log, trackers)
        session = _Session(log, saver, request, bar, pace, profiler)
        model = wrap_model(state.model, setup)
        while len(state.history) < num_epochs and not _stops_early(config, state, world.is_first):
            train_summary = _train_epoch(setup, state, model, session)
            _finish_epoch(setup, state, session, train_summary)
            # After the last epoch a signal is ignored: only the OOD score is missing, which takes seconds.
            if len(state.history) < num_epochs and _is_stop_agreed(world, request):
                saver.wait()
                raise Stopped(request.signal or signal.SIGTERM)
        saver.wait()  # best.safetensors is read again below
        add_ood_score(setup, state.ema)


def _stops_early(config: Config, state: TrainState, is_first: bool) -> bool:
    """Whether train.early_stopping ends the training: so many epochs were no better than the best before."""
    patience = config.train.early_stopping
    stops = bool(patience) and epochs_since_best(selection_metrics(state.history, config.train)) >= patience
    if stops and is_first:
        metric = "AUROC" if config.train.select == "auroc" else "loss"
        say(f"early stopping: the validation {metric} has not improved for {patience} epochs")
    return stops


def _train_epoch(setup: TrainSetup, state: TrainState, model: nn.Module, session: _Session) -> str:
    """Train from the state's step to the end of its epoch; returns loss and pace of the epoch as text."""
    config, world = setup.config, setup.world
    epoch = len(state.history)
    num_steps_taken = state.step - epoch * setup.steps_per_epoch  # more than 0 where a run is resumed

    # 1. Which rows, and in which order: functions of (seed, epoch). A resumed epoch draws the same order and
    #    leaves out the batches that it has trained on.
    rows = epoch_rows(setup.dataset.groups(), config.seed, epoch)
    order = epoch_order(rows, config.seed, epoch)
    batches = setup.loader.batches(order, config.train.batch_size, world.rank, world.size, num_steps_taken)
    task = session.bar.add_task(
        f"epoch {epoch + 1}/{config.train.epochs}",
        total=len(order),
        completed=min(len(order), num_steps_taken * config.train.batch_size),
        status="",
        visible=world.is_first,
    )
    losses = LossMeter(setup, state, session.log, session.bar, task, session.pace)

    # 2. The steps. Between them the host reads no number from the GPU, except in `losses`, every 20 steps.
    model.train()
    for batch in losses.timed(batches):
        profiled_before = session.profiler.seconds_taken
        with session.profiler.step():
            loss = train_step(setup, state, model, batch)
        losses.add(loss, min(batch.num_global, len(order)), session.profiler.seconds_taken - profiled_before)
        _save_or_stop(setup, state, losses, session)

    # 3. Nothing is validated or saved before every loss and weight is known to be finite. Then a save, if the
    #    last is a minute old, because validation takes time and may fail.
    losses.finish_steps()
    check_weights(state, config.out)
    if session.saver.is_due():
        _save_last(setup, state, session.saver)
    session.bar.remove_task(task)
    return losses.finish_epoch()


def _save_or_stop(setup: TrainSetup, state: TrainState, losses: LossMeter, session: _Session) -> None:
    """After each step: save last.pt where it is time or a signal has asked to stop; raise `Stopped` then."""
    save_every = setup.config.train.save_every
    # Whether to stop is a collective of all processes, which waits for the GPU: they ask only now and then,
    # and all at the same step, or they would wait for each other forever.
    is_poll_step = setup.world.size == 1 or state.step % READ_EVERY == 0
    stop = is_poll_step and _is_stop_agreed(setup.world, session.request)
    session.saver.check()  # a full disk ends the run at the next step, not at the next save
    if stop or (save_every and state.step % save_every == 0):
        losses.read()
        check_weights(state, setup.config.out)
        _save_last(setup, state, session.saver)
        losses.skip_time()
    if stop:
        session.saver.wait()
        raise Stopped(session.request.signal or signal.SIGTERM)


def _is_stop_agreed(world: World, request: StopRequest) -> bool:
    """Whether any process was asked to stop."""
    is_requested = request.signal is not None
    if world.size == 1:
        return is_requested  # without a tensor, so that the host need not wait for the GPU
    return bool(world.sum(torch.tensor(float(is_requested), device=world.device)) > 0)


def _save_last(setup: TrainSetup, state: TrainState, saver: Saver) -> None:
    """Write last.pt alone, from the first process."""
    if setup.world.is_first:
        save_state(setup, state, None, saver)


def _finish_epoch(setup: TrainSetup, state: TrainState, session: _Session, train_summary: str) -> None:
    """Validate the EMA, then save 1. best.safetensors where it is the best so far, 2. last.pt.

    In this order a kill between the two files only repeats the validation.
    """
    config, world = setup.config, setup.world
    started = time.monotonic()
    # Where batch statistics are not shared, each process has its own: all validate with those of the first.
    world.copy_first(state.ema.buffers())
    auroc, loss, predictions = validate(setup, state.ema)
    # Every process decides by the same bits, or one would stop early and the others wait for it.
    auroc, loss = world.agree([auroc, loss])
    state.history.append({"auroc": auroc, "loss": loss})
    if world.is_first:
        is_best = epochs_since_best(selection_metrics(state.history, config.train)) == 0
        save_state(setup, state, predictions if is_best else None, session.saver)
        session.pace.validation_seconds = time.monotonic() - started
        values = {
            "epoch": len(state.history),
            "lr": state.optimizer.param_groups[0]["lr"],
            "val_loss": loss,
            "val_auroc": number_or_none(auroc),
            "best": int(is_best),
            "seconds": session.pace.validation_seconds,
        }
        session.log.write("epoch", state.step, values)

        epoch = f"epoch {len(state.history)}/{config.train.epochs}"
        say(f"{epoch}: validation AUROC {auroc:.4f}, loss {loss:.4f}{', best so far' if is_best else ''}")
        num_epochs_left = config.train.epochs - len(state.history)
        num_images_left = num_epochs_left * sum(setup.dataset.visits())
        seconds_left = session.pace.seconds_left(num_images_left, num_epochs_left)
        say(f"  {train_summary}{f', {format_duration(seconds_left)} left' if seconds_left else ''}")
    world.wait()


def validate(setup: TrainSetup, classifier: Classifier) -> tuple[float, float, Predictions]:
    """(macro AUROC, mean loss, predictions) of the validation rows, by the functions of `cxr eval`."""
    predictions, logits = predict_dataset(
        classifier, setup.loader, setup.dataset, "val", setup.config, setup.world
    )
    targets = setup.dataset.select(setup.dataset.rows("val"))
    y = torch.from_numpy(targets.y).to(logits.device)  # [N, C]
    mask = torch.from_numpy(targets.mask).to(logits.device)
    loss = masked_bce(logits, y, mask, setup.weights) / mask.sum().clamp(min=1)
    # The report's AUROC without its other metrics, which take a second.
    columns = range(len(predictions.findings))
    aurocs = [metrics.auroc(predictions.y[:, column], predictions.p[:, column]) for column in columns]
    return metrics.macro_mean(aurocs), float(loss), predictions
