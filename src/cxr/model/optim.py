"""Optimiser, and the learning rate as a function of the step and of the validation figures so far."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from cxr.config import Train


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


def count_plateaus(history: Sequence[float], patience: int) -> int:
    """How often `patience` epochs in a row brought no better figure than the best before them."""
    best, stalled, plateaus = -math.inf, 0, 0
    for figure in history:
        if figure > best:
            best, stalled = figure, 0
        else:
            stalled += 1
        if stalled >= patience:
            plateaus, stalled = plateaus + 1, 0
    return plateaus


def epochs_since_best(history: Sequence[float]) -> int:
    """Epochs after the first one with the best figure."""
    return len(history) - 1 - max(range(len(history)), key=lambda epoch: history[epoch]) if history else 0
