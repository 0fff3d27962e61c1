"""The kernels of cuDNN and PyTorch that train: the fastest, or those that add in a fixed order."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def training_kernels(deterministic: bool) -> Iterator[None]:
    """Train with the kernels that cuDNN finds fastest, or with those that repeat every bit on a GPU."""
    cudnn = torch.backends.cudnn
    before = cudnn.benchmark, cudnn.deterministic, torch.are_deterministic_algorithms_enabled()
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS reads it when it starts
    # trials may choose another kernel on each start, which adds in another order
    cudnn.benchmark, cudnn.deterministic = not deterministic, deterministic
    torch.use_deterministic_algorithms(deterministic)
    try:
        yield
    finally:
        cudnn.benchmark, cudnn.deterministic = before[:2]
        torch.use_deterministic_algorithms(before[2])
