"""torchrun: rank, world, device, sums. Without torchrun the world is this one process."""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor

_PATIENCE = timedelta(hours=12)  # the first process may be packing an archive while the others wait


@dataclass(frozen=True)
class World:
    """This process among all: rank 0 writes files and talks; `local_size` processes share this machine."""

    rank: int
    size: int
    local_size: int
    device: torch.device

    @property
    def is_first(self) -> bool:
        """Whether this process writes files and talks."""
        return self.rank == 0

    def sum(self, values: Tensor) -> Tensor:
        """The sum over all processes, in place."""
        if self.size > 1:
            dist.all_reduce(values)
        return values

    def least(self, number: int) -> int:
        """The smallest of the processes' numbers."""
        value = torch.tensor(number, device=self.device)
        if self.size > 1:
            dist.all_reduce(value, dist.ReduceOp.MIN)
        return int(value)

    def agree(self, numbers: Sequence[float]) -> list[float]:
        """The first process's numbers, so that all decide alike where their last bits differ."""
        values = torch.tensor(numbers, dtype=torch.float64, device=self.device)
        self.copy_first([values])
        return [float(value) for value in values.tolist()]

    def copy_first(self, tensors: Iterable[Tensor]) -> None:
        """Give every process the first one's values, in place."""
        if self.size > 1:
            for tensor in tensors:
                dist.broadcast(tensor, 0)

    @contextmanager
    def first_alone(self) -> Iterator[None]:
        """The first process does the body while the others wait; then they do it, and find what it has left on disk."""
        if not self.is_first:
            self.wait()
        yield
        if self.is_first:
            self.wait()

    def wait(self) -> None:
        """Until every process is here."""
        if self.size > 1:
            dist.barrier()


@contextmanager
def join_world() -> Iterator[World]:
    """The world that torchrun describes in the environment: nccl on CUDA, gloo on the CPU."""
    size, rank, local = (int(os.environ.get(name, default)) for name, default in
                         (("WORLD_SIZE", "1"), ("RANK", "0"), ("LOCAL_RANK", "0")))  # fmt: skip
    device = torch.device("cuda", local) if torch.cuda.is_available() else torch.device("cpu")
    if device.type == "cuda":
        torch.cuda.set_device(device)
    if size > 1:
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=_PATIENCE)
    try:
        yield World(rank, size, int(os.environ.get("LOCAL_WORLD_SIZE", "1")), device)
    finally:
        if size > 1:
            dist.destroy_process_group()
