"""All that a training step changes: how it starts, how it is averaged, what last.pt holds of it."""

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from cxr.config.schema import Config, Train
from cxr.device import name_device
from cxr.distributed import World
from cxr.errors import CxrError
from cxr.model.batch_norm import share_statistics, shares_statistics
from cxr.model.classifier import Classifier
from cxr.model.load_report import LoadReport
from cxr.model.load_weights import load_weights
from cxr.model.recompute import recompute_blocks
from cxr.patient_hash import hasher_from_environment
from cxr.training.loss import ClassWeights, logit_shift
from cxr.training.optim import build_optimizer


@dataclass
class _EmaTensors:
    """Tensors of the EMA and of the model, in the same order; listing them takes milliseconds, so once."""

    ema_floats: list[Tensor]
    model_floats: list[Tensor]
    ema_counts: list[Tensor]
    model_counts: list[Tensor]


@dataclass
class TrainState:
    """All that a step changes.

    Attributes:
        model: The weights that are trained.
        ema: Their exponential moving average, which is validated and saved; the model itself where train.ema
            is 0.
        optimizer: With its moments.
        step: Steps taken.
        history: The validation metrics of each finished epoch, so its length is the epoch's number.
        loss_sum: Sum of the losses of the images seen in this epoch, for the log.
        scaler: Scales the loss in float16, whose small gradients would else become 0; else disabled.
        ema_tensors: Found at the first step.
    """

    model: Classifier
    ema: Classifier
    optimizer: torch.optim.Optimizer
    step: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    loss_sum: float = 0.0
    scaler: torch.amp.GradScaler = field(default_factory=lambda: torch.amp.GradScaler("cpu", enabled=False))
    ema_tensors: _EmaTensors | None = field(default=None, repr=False)


def new_state(
    config: Config, findings: tuple[str, ...], weights: ClassWeights, world: World
) -> tuple[TrainState, LoadReport]:
    """(the state before the first step, which of the first weights were loaded).

    Raises:
        CxrError: First weights that cannot be loaded, or whose stem is another than model.stem.
    """
    # 1. The weights.
    model = Classifier(config.model.backbone, len(findings))
    with world.first_alone():  # a download is made once
        report = load_weights(model, config.model.weights, findings, config.model.head_findings)
    if config.model.stem == "grey" and model.stem == "rgb":
        model.fold_stem()
    if config.model.stem != model.stem:
        raise CxrError(f"model.weights: {config.model.weights} has a grey stem", "set model.stem=grey")
    model.set_trainable(config.model.train_layers)
    # undoes the class weights in every probability, from the first validation on
    model.logit_shift.copy_(logit_shift(weights))
    if shares_statistics(config.train, config.model, world.size):
        share_statistics(model)
    model.to(world.device).to(memory_format=torch.channels_last)

    # 2. The EMA is copied before the blocks are wrapped: it is only evaluated, and recomputes nothing.
    # it is never trained: without gradients, and in evaluation mode
    ema = copy.deepcopy(model).requires_grad_(False).eval() if config.train.ema else model
    if config.model.checkpointing:
        recompute_blocks(model)

    # 3. The optimizer is built last: its parameters are those on the device.
    optimizer = build_optimizer(model, config.train, world.device)
    scaler = torch.amp.GradScaler(world.device.type, enabled=config.train.precision == "fp16")
    return TrainState(model, ema, optimizer, scaler=scaler), report


@torch.no_grad()
def update_ema(state: TrainState, decay: float) -> None:
    """Move the EMA's weights and batch statistics towards the model's.

    ema = d * ema + (1 - d) * model with d = min(decay, (1 + step) / (10 + step)): random first weights would
    else dominate the average for 1 / (1 - decay) steps.
    """
    if state.ema is state.model:
        return
    if state.ema_tensors is None:
        state.ema_tensors = _list_tensors(state.ema, state.model)
    tensors = state.ema_tensors
    # 0.82 after the first step (1 - 2 / 11), and less from step to step
    weight = 1 - min(decay, (1 + state.step) / (10 + state.step))
    # `_foreach` functions are one kernel for hundreds of tensors. Counts of batches cannot be averaged.
    torch._foreach_lerp_(tensors.ema_floats, tensors.model_floats, weight)
    torch._foreach_copy_(tensors.ema_counts, tensors.model_counts)


def _list_tensors(ema: Classifier, model: Classifier) -> _EmaTensors:
    tensors = _EmaTensors([], [], [], [])
    for average, current in zip(ema.state_dict().values(), model.state_dict().values(), strict=True):
        # counts of batches are whole numbers
        if average.is_floating_point():
            tensors.ema_floats.append(average)
            tensors.model_floats.append(current)
        else:
            tensors.ema_counts.append(average)
            tensors.model_counts.append(current)
    return tensors


def snapshot(state: TrainState, config: Config, images: dict[str, str]) -> dict[str, object]:
    """What last.pt holds; `images` are the hashes of `run.identify`. Tensors are not copied."""
    return {
        "model": state.model.state_dict(),
        "ema": None if state.ema is state.model else state.ema.state_dict(),
        "optimizer": state.optimizer.state_dict(),
        "step": state.step,
        "history": state.history,
        "loss_sum": state.loss_sum,
        "scaler": state.scaler.state_dict() or None,  # of a disabled one: {}
        "config": config.model_dump_json(),
        "images": images,
        "patient_key": hasher_from_environment().key_id if config.train.remember_patients else "",
        "device": name_device(state.model.head.weight.device),
    }


def selection_metrics(history: Sequence[dict[str, float]], config: Train) -> list[float]:
    """The validation metric of each epoch that train.select names; higher is better, -inf stands for nan."""
    if config.select == "auroc":
        values = [epoch["auroc"] for epoch in history]
    else:
        # negative, so that higher is better for both
        values = [-epoch["loss"] for epoch in history]
    return [-math.inf if math.isnan(value) else value for value in values]
