"""Activation checkpointing: blocks keep only their input, and compute the rest again in the backward pass.

torchvision's `memory_efficient` does so for DenseNets, but its batch norms move their running statistics a
second time when they compute again. Here they do not, so the weights and statistics of a run are those of one
without it.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from torchvision.models.densenet import _DenseLayer
from torchvision.models.resnet import BasicBlock, Bottleneck


def recompute_blocks(model: nn.Module) -> None:
    """Let every residual block or dense layer of a model keep only its input; names and tensors stay."""
    for block in model.modules():
        if type(block) in (_DenseLayer, BasicBlock, Bottleneck):
            # the class is exchanged, not the module: hooks, names and tensors stay
            block.__class__ = _recomputed(type(block))  # type: ignore[arg-type]


@cache
def _recomputed(kind: type[nn.Module]) -> type[nn.Module]:
    """A subclass of a block's class whose training forward is checkpointed."""

    class Recomputed(kind):  # type: ignore[valid-type, misc, unused-ignore]
        def forward(self, inputs: Tensor | list[Tensor]) -> Tensor:
            if not (self.training and torch.is_grad_enabled()):
                result: Tensor = super().forward(inputs)
                return result
            contexts = partial(_contexts, self)
            if isinstance(inputs, list):  # a dense block appends to its list later
                inputs = list(inputs)
            # nothing in these blocks draws random numbers, and asking a GPU for its state would wait for it
            result = checkpoint(
                super().forward, inputs, use_reentrant=False, preserve_rng_state=False, context_fn=contexts
            )
            return result

    Recomputed.__name__ = Recomputed.__qualname__ = f"Recomputed{kind.__name__.lstrip('_')}"
    return Recomputed


def _contexts(block: nn.Module) -> tuple[AbstractContextManager[Any], AbstractContextManager[Any]]:
    """(around the forward pass, around the second one)."""
    return nullcontext(), _frozen_statistics(block)


@contextmanager
def _frozen_statistics(block: nn.Module) -> Iterator[None]:
    """Normalise by the batch's own statistics, as in training, and move the running ones by nothing."""
    norms = [part for part in block.modules() if isinstance(part, nn.BatchNorm2d)]
    before = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        # running = (1 - momentum) running + momentum batch, and no count
        norm.momentum, norm.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for norm, (momentum, number) in zip(norms, before, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, number
