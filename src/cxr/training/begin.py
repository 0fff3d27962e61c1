"""How a run begins: its folder, its first or its resumed state, and the model that the steps call."""

import json
import shlex
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import torch
from torch import nn

from cxr.config.render import render
from cxr.config.schema import Config, Train
from cxr.console import count, say, warn
from cxr.data.dataset import Dataset
from cxr.device import name_device
from cxr.errors import CxrError
from cxr.files import clear_leftovers, explain_os_errors, only_one, write_text
from cxr.model import checkpoint as checkpoints
from cxr.report.run_files import COUNTS, CURVES, LOG, RECIPE, TEXT_LOG, TRACKER_RUNS, read_lines
from cxr.report.run_record import RECORD
from cxr.training.compiled import Compiled
from cxr.training.continued import command_from_weights, describe_changes
from cxr.training.graphed import can_replay, record_graphs
from cxr.training.profile import PROFILE, TRACE
from cxr.training.record import add_session, write_record
from cxr.training.resume import restore
from cxr.training.setup import TrainSetup
from cxr.training.state import TrainState, new_state


def lock_folder(out: Path, is_first: bool) -> AbstractContextManager[None]:
    """Keep other trainings out of the run folder, where checkpoints would mix; the first process locks it."""
    if not is_first:
        return nullcontext()
    with explain_os_errors(out):
        out.mkdir(parents=True, exist_ok=True)
    return only_one(out / ".lock", f"{out}: another process is training in this folder")


def start_or_resume(setup: TrainSetup, resume: bool, label_files: Sequence[Path] = ()) -> TrainState:
    """The state before the first step, or as last.pt has it; the run folder is ready for the log.

    `label_files` are the tables and lists that the dataset was read from, for run.json.

    Raises:
        CxrError: First weights that cannot be loaded; a last.pt that is damaged or of another run.
    """
    config, world = setup.config, setup.world
    findings = setup.dataset.targets.findings
    if world.is_first:
        clear_leftovers(config.out)
    if not resume:
        state, report = new_state(config, findings, setup.weights, world)
        if world.is_first:
            say(str(report))
            _start_folder(config, setup.dataset)
            write_record(setup, label_files)
        return state

    # last.pt holds every tensor: first weights are not loaded again, and may be gone.
    model_config = config.model.model_copy(update={"weights": "none"})
    state, _ = new_state(config.model_copy(update={"model": model_config}), findings, setup.weights, world)
    saved = checkpoints.load_resumable(config.out / checkpoints.LAST)
    before = restore(state, config, setup.identity, saved, setup.steps_per_epoch)
    # types were checked: now whether the numbers fit together
    _check_step(state, setup.steps_per_epoch, config.out)
    if world.is_first:
        _write_recipe(config)  # the folder or the data may have moved, the schedule may be longer
        add_session(setup)
        _warn_other_device(saved, world.device)
        _report_resumed(config, before, state)
    return state


def _report_resumed(config: Config, before: Train, state: TrainState) -> None:
    """Print where a run is resumed, under which other schedule, or how one that has ended is continued."""
    num_epochs = len(state.history)
    changes = describe_changes(config.train, before)
    for change in changes:
        say(change)
    if changes:
        say("every step so far is as this recipe takes it: the result equals a straight run")
    # else nothing is left to train, and the ways to train on are told
    if num_epochs < config.train.epochs:
        say(f"resuming at epoch {num_epochs + 1}, step {state.step:,}")
        return
    say(f"finished already, after {count(num_epochs, 'epoch')}")
    if config.train.schedule == "cosine":
        say(f"to train on, with a new schedule: {command_from_weights(config)}")
    else:
        recipe = shlex.quote(str(config.out / RECIPE))
        say(f"to train on: cxr train {recipe} --resume train.epochs={2 * num_epochs}")


def _start_folder(config: Config, dataset: Dataset) -> None:
    """Remove the files of an earlier run, write config.yaml and counts.json."""
    own = (checkpoints.BEST, checkpoints.LAST, LOG, TEXT_LOG, CURVES, TRACKER_RUNS, TRACE, PROFILE, RECORD)
    for name in own:
        (config.out / name).unlink(missing_ok=True)
    _write_recipe(config)
    write_text(config.out / COUNTS, json.dumps(dataset.counts(), indent=2) + "\n")


def _write_recipe(config: Config) -> None:
    """Write config.yaml, unless it has this very text."""
    path = config.out / RECIPE
    text = render(config)
    if read_lines(path) != text.splitlines():
        write_text(path, text)


def _check_step(state: TrainState, steps_per_epoch: int, out: Path) -> None:
    """Refuse a step outside the epoch after the finished ones, which only a damaged last.pt holds."""
    num_epochs = len(state.history)
    if not num_epochs * steps_per_epoch <= state.step <= (num_epochs + 1) * steps_per_epoch:
        problem = f"is damaged: step {state.step:,} is not in epoch {num_epochs + 1}"
        hint = "train again with --overwrite, or into another out=FOLDER"
        raise CxrError(f"{out / checkpoints.LAST}: {problem}", hint)


def _warn_other_device(saved: Mapping[str, object], device: torch.device) -> None:
    """Warn where a run is resumed on another device, which adds floats in another order."""
    before, now = saved.get("device"), name_device(device)
    if before not in (None, now):  # None: an earlier version, which did not note it
        consequence = "its last digits will differ from there on"
        warn(f"resuming on {now}; the run was on {before} before, and {consequence}")


def wrap_model(model: nn.Module, setup: TrainSetup) -> nn.Module:
    """The model as the steps call it: inside DDP for several processes, compiled, or with CUDA graphs.

    Raises:
        CxrError: train.cuda_graphs=true where they cannot be used.
    """
    config, world = setup.config.train, setup.world
    if can_replay(setup.config, world):
        return record_graphs(model, setup.config, world, setup.dtype)
    wrapped = model
    if world.size > 1:
        device_ids = [world.device] if world.device.type == "cuda" else None
        # No buffers are sent before each forward pass: batch statistics are shared inside it, or each process
        # keeps its own until validation, where the first one's are copied.
        wrapped = nn.parallel.DistributedDataParallel(model, device_ids=device_ids, broadcast_buffers=False)
    if not config.compile:
        return wrapped
    num_images_per_process = -(-config.batch_size // world.size)  # rounded up, as loader.cut does
    return Compiled(wrapped, -(-num_images_per_process // config.accumulate), config.compile)
