"""One optimizer step: learning rate, gradients of the micro-batches, update, EMA."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn

from cxr.data.augment import augment
from cxr.data.loader import Batch
from cxr.training.compiled import Compiled
from cxr.training.loss import masked_bce
from cxr.training.optim import learning_rate
from cxr.training.setup import TrainSetup
from cxr.training.state import TrainState, selection_metrics, update_ema


def train_step(setup: TrainSetup, state: TrainState, model: nn.Module, batch: Batch) -> Tensor:
    """Take one optimizer step; returns this process's part of the global batch's mean loss, on the device."""
    config = setup.config

    # 1. The learning rate is a function of the step: it is set here, and never read from the optimizer.
    past_metrics = selection_metrics(state.history, config.train)
    rate = learning_rate(state.step, setup.steps_per_epoch, past_metrics, config.train)
    for group in state.optimizer.param_groups:
        group["lr"] = rate

    # 2. Gradients, added up over the micro-batches of this process's share of the batch. DDP sums them over
    #    the processes during a backward pass: only in the last one, once a step.
    loss = torch.zeros((), device=setup.world.device)
    micro_batches = batch.split(config.train.accumulate)
    for micro_batch in micro_batches:
        is_last = micro_batch is micro_batches[-1]
        with nullcontext() if is_last else _keep_gradients_local(model):
            loss += _backward(setup, state, model, micro_batch)

    # 3. The update; the order matters. Without float16 the scaler does nothing but call the optimizer.
    state.scaler.unscale_(state.optimizer)
    if config.train.grad_clip:
        nn.utils.clip_grad_norm_(model.parameters(), config.train.grad_clip)
    # Where a gradient has overflowed, step() leaves the update out and update() halves the scale.
    state.scaler.step(state.optimizer)
    state.scaler.update()
    state.optimizer.zero_grad()

    # 4. The EMA, whose decay depends on the new step number.
    state.step += 1
    update_ema(state, config.train.ema)
    return loss


def _backward(setup: TrainSetup, state: TrainState, model: nn.Module, batch: Batch) -> Tensor:
    """Add the gradients of a micro-batch; returns its part of the global batch's mean loss."""
    config, world = setup.config, setup.world
    # Drawn by (seed, step) and each image's position in the global batch: any number of processes and
    # micro-batches sees the same images. uint8 [B, S, S] -> float [B, 1, size, size].
    images = augment(
        batch.images,
        config.image.size,
        config.train.augment,
        config.seed,
        state.step,
        batch.first,
        batch.num_global,
    )
    with torch.autocast(world.device.type, setup.dtype, enabled=setup.dtype is not None):
        logits = model(images)  # [B, C]
    # The denominator counts the known cells of the global batch, not of this micro-batch: the sum over
    # micro-batches and processes is then the mean over the batch, however its masked cells are spread.
    loss = masked_bce(logits, batch.y, batch.mask, setup.weights) / max(1, batch.num_valid)
    # DDP divides gradients by the number of processes, but this loss is a sum over them: multiply it back.
    objective = state.scaler.scale(loss * world.size)
    objective.backward()  # type: ignore[no-untyped-call]
    return loss.detach()


def _keep_gradients_local(model: nn.Module) -> AbstractContextManager[None]:
    """DDP's `no_sync`, also around a compiled model; without DDP, nothing."""
    model = model.model if isinstance(model, Compiled) else model
    return model.no_sync() if isinstance(model, nn.parallel.DistributedDataParallel) else nullcontext()
