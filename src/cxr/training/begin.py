"""How a run begins: its folder, its first or its resumed state, and the model that the steps call."""

import json
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn

from cxr.config.render import render
from cxr.console import count, say, warn
from cxr.device import name_device
from cxr.errors import CxrError
from cxr.files import clear_leftovers, explain_os_errors, only_one, write_text
from cxr.model import checkpoint as checkpoints
from cxr.report.run_files import COUNTS, LOG, RECIPE, TEXT_LOG, read_lines
from cxr.training.compiled import Compiled
from cxr.training.profile import PROFILE, TRACE
from cxr.training.run import Run
from cxr.training.state import TrainState, new_state, restore


def alone_in_folder(run: Run) -> AbstractContextManager[None]:
    """Two runs in one folder would mix their checkpoints and their logs."""
    out = run.config.out
    if not run.world.is_first:
        return nullcontext()
    with explain_os_errors(out):
        out.mkdir(parents=True, exist_ok=True)
    return only_one(out / ".lock", f"{out}: another process is training in this folder")


def begin(run: Run, resume: bool) -> TrainState:
    """The state before the first step, or as last.pt has it."""
    config, world = run.config, run.world
    none = {"model": config.model.model_copy(update={"weights": "none"})}
    begin = config.model_copy(update=none) if resume else config  # last.pt holds every tensor
    state, report = new_state(begin, run.dataset.targets.findings, run.weights, world)
    if world.is_first:
        clear_leftovers(config.out)
        if not resume:
            say(str(report))
    if resume:
        saved = checkpoints.load_resumable(config.out / checkpoints.LAST)
        restore(state, config, run.identity, saved)
        _check_step(run, state)
        if world.is_first:
            _note_recipe(run)
            _say_where_it_began(saved, world.device)
            finished = len(state.history) >= config.train.epochs
            where = f"epoch {len(state.history) + 1}, step {state.step:,}"
            say(
                f"finished already, after {count(len(state.history), 'epoch')}"
                if finished
                else f"resuming at {where}"
            )
    elif world.is_first:
        _start_folder(run)
    return state


def _say_where_it_began(saved: Mapping[str, object], device: torch.device) -> None:
    """Warn where a run goes on on another card, which adds in another order."""
    before, now = saved.get("device"), name_device(device)
    if before not in (None, now):  # which earlier versions did not note
        warn(
            f"resuming on {now}; the run was on {before} before, and its last digits will differ from there on"
        )


def wrap(model: nn.Module, run: Run) -> nn.Module:
    """The model as several processes, or torch.compile, need it."""
    wrapped: nn.Module = model
    if run.world.size > 1:
        devices = [run.world.device] if run.world.device.type == "cuda" else None
        # statistics are shared in the forward pass, or each process has its own until validation
        wrapped = nn.parallel.DistributedDataParallel(model, device_ids=devices, broadcast_buffers=False)
    config = run.config.train
    if config.compile:
        share = -(-config.batch_size // run.world.size)
        return Compiled(wrapped, -(-share // config.accumulate), config.compile)
    return wrapped


def _check_step(run: Run, state: TrainState) -> None:
    """A state is of its epoch: after as many steps as the epochs that are finished take, and at most one epoch more."""
    epochs, steps = len(state.history), run.steps_per_epoch
    if not epochs * steps <= state.step <= (epochs + 1) * steps:
        what = f"{run.config.out / checkpoints.LAST}: is damaged: step {state.step:,} is not in epoch {epochs + 1}"
        raise CxrError(what, "train again with --overwrite, or into another out=FOLDER")


def _note_recipe(run: Run) -> None:
    """Write config.yaml where it is another: the folder or the data may have moved since."""
    path, text = run.config.out / RECIPE, render(run.config)
    if read_lines(path) != text.splitlines():
        write_text(path, text)


def _start_folder(run: Run) -> None:
    out = run.config.out
    for name in (checkpoints.BEST, checkpoints.LAST, LOG, TEXT_LOG, TRACE, PROFILE):
        (out / name).unlink(missing_ok=True)
    _note_recipe(run)
    write_text(out / COUNTS, json.dumps(run.dataset.counts(), indent=2) + "\n")
