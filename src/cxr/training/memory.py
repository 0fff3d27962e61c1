"""GPU memory that a training step takes, and what to do where there is not enough."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from cxr.config.schema import Config
from cxr.errors import OneProcessError

ACTIVATIONS_MB = {
    "resnet18": (22, 23), "resnet34": (32, 38), "resnet50": (86, 67), "resnet101": (127, 107),
    "densenet121": (130, 73), "densenet169": (158, 92), "densenet201": (203, 121),
}  # fmt: skip
"""MB that autograd keeps of one image of 224 x 224 in (float32, bfloat16), summed over the tensors it saved."""

_KEPT = {"densenet": 0.2, "resnet": 0.6}
"""The share of these that model.checkpointing keeps, at most."""

_AT = 224
_ON_TOP = 1.3  # gradients of activations, cuDNN's workspaces, the allocator's blocks
_STATES = (
    5 * 4 * 20_000_000
)  # weights, gradients, two moments and the average of the largest network, in bytes


def spare_for_steps(config: Config, processes: int, dtype: torch.dtype | None) -> int:
    """Bytes of a GPU that training steps need beside the dataset's pixels, by ACTIVATIONS_MB."""
    train = config.train
    share = -(-train.batch_size // processes)
    part = -(-share // train.accumulate)
    kept = _KEPT[config.model.backbone.rstrip("0123456789")] if config.model.checkpointing else 1.0
    mb = kept * ACTIVATIONS_MB[config.model.backbone][dtype is not None]
    return int(_STATES + _ON_TOP * part * mb * 1e6 * (config.image.size / _AT) ** 2)


@contextmanager
def explain_no_memory(config: Config) -> Iterator[None]:
    """Turn a GPU without enough memory into an error that says what takes less.

    Raises:
        OneProcessError: In the place of torch's.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        train, more = config.train, 2 * config.train.accumulate
        what = f"train.batch_size: {train.batch_size} images of {config.image.size} pixels"
        what += f" in {train.accumulate} parts" if train.accumulate > 1 else ""
        hint = f"train.accumulate={more} computes a batch in {more} parts"
        hint += "" if train.compile != "graphs" else " (with train.compile=true)"
        hint += f"; or train.batch_size={max(1, train.batch_size // 2)}"
        hint += ", or model.checkpointing=true" if not (config.model.checkpointing or train.compile) else ""
        hint += (
            ", or store.where=ram, which keeps the images out of the GPU"
            if config.store.where != "ram"
            else ""
        )
        said = str(error).split(". ")[0]
        raise OneProcessError(f"{what} do not fit into the GPU's memory ({said})", hint) from None
