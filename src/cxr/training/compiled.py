"""A model that is compiled for full batches; a smaller last batch takes it uncompiled."""

import os
import warnings
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn


class Compiled(nn.Module):
    """A model whose batches of one size are compiled with torch.compile.

    The last batch of an epoch is smaller. If it were compiled too, torch would compile a second time and
    replace the graph by one for any size, which every later full batch would run: slower, from the second
    epoch on.

    Args:
        model: The model, perhaps inside DistributedDataParallel.
        size: Images of a full micro-batch of this process.
        mode: As `train.compile`: graphs also replays CUDA graphs.
    """

    def __init__(self, model: nn.Module, size: int, mode: Literal[True, "graphs"]) -> None:
        super().__init__()
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(Path.home() / ".cache" / "cxr" / "inductor"))
        self.model, self.size = model, size
        # precision is chosen by train.precision; float32 stays whole
        warnings.filterwarnings("ignore", "TensorFloat32 tensor cores", UserWarning)
        self.compiled = torch.compile(
            model, dynamic=False, mode="reduce-overhead" if mode == "graphs" else None
        )

    def forward(self, images: Tensor) -> Tensor:
        """The model's logits [B, C] of images [B, 3, H, W]."""
        logits: Tensor = self.compiled(images) if len(images) == self.size else self.model(images)
        return logits
