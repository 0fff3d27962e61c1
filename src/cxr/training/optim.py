"""The optimizer, and the learning rate as a function of the step and of the validation metrics so far."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from cxr.config.schema import Train
from cxr.model.history import count_plateaus


def build_optimizer(model: nn.Module, config: Train, device: torch.device) -> torch.optim.Optimizer:
    """The optimizer of the parameters that are trained; weights of norms and biases do not decay."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    matrices = [parameter for parameter in trained if parameter.ndim > 1]  # and convolution kernels
    vectors = [parameter for parameter in trained if parameter.ndim <= 1]  # biases, and all of norms
    groups: list[dict[str, Any]] = [
        {"params": matrices, "weight_decay": config.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    fused = device.type == "cuda"  # one kernel for all parameters
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=config.lr, momentum=0.9, nesterov=True, fused=fused)
    adam = torch.optim.AdamW if config.optimizer == "adamw" else torch.optim.Adam
    return adam(groups, lr=config.lr, fused=fused)


def learning_rate(step: int, steps_per_epoch: int, history: Sequence[float], config: Train) -> float:
    """The learning rate of a step.

    Linear warm-up, then cosine to zero at the last step, a tenth after each plateau, or constant.

    Args:
        step: Counted from 0.
        steps_per_epoch: Optimizer steps of an epoch.
        history: The validation metric of each past epoch; higher is better.
        config: For lr, schedule, epochs, warmup_epochs and patience.
    """
    # in steps; step + 1 below, as a rate of 0 would waste the first batch
    warmup = config.warmup_epochs * steps_per_epoch
    rate = config.lr * min(1.0, (step + 1) / warmup) if warmup else config.lr
    if config.schedule == "plateau":
        return float(rate / 10 ** count_plateaus(history, config.patience))
    if config.schedule == "cosine" and step >= warmup:
        total = config.epochs * steps_per_epoch
        # from the full rate after the warm-up down to 0 at the end of the last epoch
        return rate * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1.0, total - warmup)))
    return rate
