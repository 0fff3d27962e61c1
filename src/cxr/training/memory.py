"""GPU memory that a training step needs, and the error where there is not enough."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from cxr.config.schema import Config
from cxr.errors import OneProcessError

ACTIVATIONS_MB = {
    "resnet18": (22, 23), "resnet34": (32, 38), "resnet50": (86, 67), "resnet101": (127, 107),
    "densenet121": (130, 73), "densenet169": (158, 92), "densenet201": (203, 121),
}  # fmt: skip
"""MB of the tensors that autograd keeps of an image of 224 x 224 in (float32, bfloat16)."""

_CHECKPOINTING_SHARE = {"densenet": 0.2, "resnet": 0.6}
"""The share of these that model.checkpointing keeps, at most."""

_MEASURED_SIZE = 224
_OVERHEAD = 1.3  # gradients of activations, cuDNN's workspaces, the allocator's blocks
_PARAMETER_BYTES = 5 * 4 * 20_000_000  # float32 weights, gradients, moments (2), EMA of the largest network


def bytes_for_steps(config: Config, num_processes: int, dtype: torch.dtype | None) -> int:
    """Estimated bytes of GPU memory that training steps need beside the dataset's pixels."""
    train, backbone = config.train, config.model.backbone
    images_per_process = -(-train.batch_size // num_processes)
    images_per_micro_batch = -(-images_per_process // train.accumulate)
    megabytes = ACTIVATIONS_MB[backbone][dtype is not None]
    share = _CHECKPOINTING_SHARE[backbone.rstrip("0123456789")] if config.model.checkpointing else 1.0
    activations = share * megabytes * 1e6 * images_per_micro_batch
    # activations grow with the number of pixels
    scale = (config.image.size / _MEASURED_SIZE) ** 2
    return int(_PARAMETER_BYTES + _OVERHEAD * activations * scale)


@contextmanager
def explain_no_memory(config: Config) -> Iterator[None]:
    """Turn torch's error of a GPU without enough memory into one that names the keys that need less.

    Raises:
        OneProcessError: In place of torch.OutOfMemoryError.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        train = config.train
        problem = f"train.batch_size: {train.batch_size} images of {config.image.size} pixels"
        if train.accumulate > 1:
            problem += f" in {train.accumulate} micro-batches"
        reason = str(error).split(". ")[0]  # the rest is torch's advice on its allocator

        num_micro_batches = 2 * train.accumulate
        hint = f"train.accumulate={num_micro_batches} computes a batch in {num_micro_batches} micro-batches"
        if train.compile == "graphs":
            hint += " (with train.compile=true)"
        hint += f"; or train.batch_size={max(1, train.batch_size // 2)}"
        if not (config.model.checkpointing or train.compile):
            hint += ", or model.checkpointing=true"
        if train.cuda_graphs is True:
            hint += ", or train.cuda_graphs=false"
        if config.store.where != "ram":
            hint += ", or store.where=ram, which keeps the images out of the GPU"
        raise OneProcessError(f"{problem} do not fit into the GPU's memory ({reason})", hint) from None
