"""CUDA graphs of the forward and backward pass: one launch each in place of some 1,700.

A step of DenseNet-121 launches more kernels than a slow host can keep up with: on a small batch, or beside a
fast GPU, the GPU then waits for the host most of the time. The kernels of a pass are recorded once and
replayed with each batch.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import torch
from torch import Tensor, nn

from cxr.config.schema import Config
from cxr.console import say, warn
from cxr.distributed import World
from cxr.errors import CxrError
from cxr.text import shorten

_ROOM = 1.1
"""Free memory, over twice that of a pass: the graphs keep theirs, and a smaller last batch needs its own."""


class Graphed(nn.Module):
    """A model whose full batches replay CUDA graphs; a smaller last batch takes it as it is.

    Weights are read where they lie, so that an optimizer that updates them in place is seen. Gradients lie in
    memory that the next replay overwrites: they are used up, and set to none, once a step.

    Args:
        model: In training mode, on the GPU.
        sample: Any images [B, 1, S, S] of a full batch, as the model takes them.
        dtype: Of autocast; None is float32.

    Raises:
        torch.OutOfMemoryError: The graphs' memory does not fit.
    """

    def __init__(self, model: nn.Module, sample: Tensor, dtype: torch.dtype | None) -> None:
        super().__init__()
        self.model, self.size = model, len(sample)
        _make_ready(sample.device)
        # graphs keep no casts of weights from one pass to the next, as these change
        autocast = torch.autocast(sample.device.type, dtype, enabled=dtype is not None, cache_enabled=False)
        with _keeping_buffers(model), autocast:
            whole = cast(_Whole, torch.cuda.make_graphed_callables(_Whole(model), (sample,)))
        self.replay = whole.forward  # no module, whose parameters would count twice
        torch.cuda.empty_cache()  # what the passes before the recording took

    def forward(self, images: Tensor) -> Tensor:
        """The model's logits [B, C] of images [B, 1, S, S]."""
        logits: Tensor = self.replay(images) if len(images) == self.size else self.model(images)
        return logits


@contextmanager
def _keeping_buffers(model: nn.Module) -> Iterator[None]:
    """Put back the statistics of batch norm, for which passes that try something count as training."""
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
    try:
        yield
    finally:
        for buffer, before in buffers:
            buffer.copy_(before)


def _make_ready(device: torch.device) -> None:
    """Let torch not warn of what recording does on purpose."""
    # the passes before the recording run on a stream of their own
    torch.autograd.graph.set_warn_on_accumulate_grad_stream_mismatch(False)
    # autograd's thread needs the GPU's context before the first matrix product in it
    torch.ones((), device=device, requires_grad=True).mul(1).backward()  # type: ignore[no-untyped-call]


class _Whole(nn.Module):
    """A module around the model: the one that is recorded gets another `forward`."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.model(images)
        return logits


def can_replay(config: Config, world: World) -> bool:
    """Whether steps replay CUDA graphs, as far as the recipe and the device say.

    Raises:
        CxrError: train.cuda_graphs=true on a CPU or with several processes.
    """
    wanted = config.train.cuda_graphs
    can = world.device.type == "cuda" and world.size == 1
    if wanted is True and not can:
        what = f"{world.size} processes" if world.size > 1 else str(world.device)
        raise CxrError(
            f"train.cuda_graphs: true needs one GPU, not {what}",
            "train.cuda_graphs=auto uses them where it can",
        )
    conflicts = config.train.compile or config.train.accumulate > 1 or config.model.checkpointing
    return can and wanted is not False and not conflicts


def record_graphs(model: nn.Module, config: Config, world: World, dtype: torch.dtype | None) -> nn.Module:
    """The model with CUDA graphs; under `auto` as it is where these would not fit into the GPU's memory."""
    begun, size = time.monotonic(), config.image.size
    # noise, not zeros, which would let batch norm divide by nothing
    sample = 255 * torch.rand(config.train.batch_size, 1, size, size, device=world.device)
    model.train()
    if config.train.cuda_graphs == "auto":
        needed = _ROOM * 2 * _measure_memory(model, sample, dtype)
        free, _ = torch.cuda.mem_get_info(world.device)
        if needed > free:
            room = f"{needed / 1e9:.1f} GB of GPU memory, and {free / 1e9:.1f} GB are free"
            say(f"no CUDA graphs: they would need {room}")
            return model
    try:
        graphed = Graphed(model, sample, dtype)
    except RuntimeError as error:  # of a card, driver or version of torch that was not tried
        if config.train.cuda_graphs is True:
            raise
        reason = str(error).partition("\n")[0]
        warn(f"no CUDA graphs, which may be slower: {shorten(reason, 200)}")
        return model
    say(f"forward and backward pass recorded as CUDA graphs in {time.monotonic() - begun:.1f} s")
    return graphed


def _measure_memory(model: nn.Module, sample: Tensor, dtype: torch.dtype | None) -> int:
    """Bytes of GPU memory that a forward and backward pass takes; all of it is free afterwards."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    needed = 0
    for _ in range(2):  # the first one tries cuDNN's kernels, some of which need much memory
        torch.cuda.reset_peak_memory_stats(sample.device)
        before = torch.cuda.memory_allocated(sample.device)
        with _keeping_buffers(model), torch.autocast(sample.device.type, dtype, enabled=dtype is not None):
            logits = model(sample)
        torch.autograd.grad(logits.float().sum(), trained)
        needed = torch.cuda.max_memory_allocated(sample.device) - before
    del logits
    torch.cuda.empty_cache()
    return needed
