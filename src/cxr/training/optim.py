"""Optimiser, and the learning rate as a function of the step and of the validation figures so far."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from cxr.config.schema import Train
from cxr.model.history import count_plateaus


def build_optimizer(model: nn.Module, config: Train, device: torch.device) -> torch.optim.Optimizer:
    """The optimiser over what learns; weight decay falls on matrices and kernels, not on norms and biases."""
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups: list[dict[str, Any]] = [
        {"params": [one for one in learning if one.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [one for one in learning if one.ndim <= 1], "weight_decay": 0.0},
    ]
    fused = device.type == "cuda"
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=config.lr, momentum=0.9, nesterov=True, fused=fused)
    kind = torch.optim.AdamW if config.optimizer == "adamw" else torch.optim.Adam
    return kind(groups, lr=config.lr, fused=fused)


def learning_rate(step: int, steps_per_epoch: int, history: Sequence[float], config: Train) -> float:
    """The rate of a step (counted from 0); `history` holds the validation figure of each past epoch, higher is better.

    Linear warm-up, then cosine to zero at the last step, a tenth after each plateau, or constant.
    """
    warmup = config.warmup_epochs * steps_per_epoch
    rate = config.lr * min(1.0, (step + 1) / warmup) if warmup else config.lr
    if config.schedule == "plateau":
        return float(rate / 10 ** count_plateaus(history, config.patience))
    if config.schedule == "cosine" and step >= warmup:
        total = config.epochs * steps_per_epoch
        return rate * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1.0, total - warmup)))
    return rate
