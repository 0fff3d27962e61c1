"""torchrun: rank, world, device, sums. Without torchrun the world is this one process."""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import cast

import torch
import torch.distributed as dist
from torch import Tensor

from cxr.device import choose_device

_PACKING = timedelta(hours=12)  # the first process may be packing a dataset while the others wait
_STEP = timedelta(minutes=10)  # no step, validation or save takes longer: a process is gone


@dataclass(frozen=True)
class World:
    """This process among all: rank 0 writes files and talks; `local_size` processes share this machine.

    `waiting` is the group that processes wait in, with patience for packing; None is the group that sums.
    """

    rank: int
    size: int
    local_size: int
    device: torch.device
    waiting: dist.ProcessGroup | None = None

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
            dist.barrier(group=self.waiting)


@contextmanager
def join_world(asked: str = "auto") -> Iterator[World]:
    """The world that torchrun describes in the environment: nccl on CUDA, gloo on the CPU.

    Args:
        asked: As the key `device`.

    Raises:
        CxrError: A device that is not there; more processes on this machine than it has GPUs.
    """
    size, rank, local, here = (
        int(os.environ.get(name, default))
        for name, default in (
            ("WORLD_SIZE", "1"),
            ("RANK", "0"),
            ("LOCAL_RANK", "0"),
            ("LOCAL_WORLD_SIZE", "1"),
        )
    )
    device = choose_device(asked, local, here)
    is_cuda = device.type == "cuda"
    if is_cuda:
        torch.cuda.set_device(device)
    waiting = None
    if size > 1:
        dist.init_process_group(
            "nccl" if is_cuda else "gloo", timeout=_STEP, device_id=device if is_cuda else None
        )
        # for waiting: NCCL would keep a GPU busy meanwhile
        waiting = cast(dist.ProcessGroup, dist.new_group(backend="gloo", timeout=_PACKING))
    try:
        yield World(rank, size, here, device, waiting)
    finally:
        if size > 1:
            dist.destroy_process_group()
