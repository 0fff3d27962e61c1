"""The processes of one training, as torchrun starts them; without torchrun, this process alone."""

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

# No step, validation or save takes longer than this: a process has died.
_STEP_TIMEOUT = timedelta(minutes=10)
# The first process may be packing a dataset while the others wait.
_PACKING_TIMEOUT = timedelta(hours=12)


@dataclass(frozen=True)
class World:
    """This process among all of a training.

    Attributes:
        rank: Its number; rank 0 writes files and prints.
        size: Processes on all machines.
        local_size: Processes on this machine.
        device: The device that this process computes on.
        waiting_group: The group that `wait` uses, whose timeout is long enough for packing; None is the
            default group.
    """

    rank: int
    size: int
    local_size: int
    device: torch.device
    waiting_group: dist.ProcessGroup | None = None

    @property
    def is_first(self) -> bool:
        """Whether this process writes files and prints."""
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
        """The first process's numbers, so that all processes decide alike where their last bits differ."""
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
        """Run the body in the first process, then in the others, which find its files on the disk."""
        # the others wait at the beginning, the first one at the end: it works alone in between
        if not self.is_first:
            self.wait()
        yield
        if self.is_first:
            self.wait()

    def wait(self) -> None:
        """Wait until every process calls this."""
        if self.size > 1:
            dist.barrier(group=self.waiting_group)


@contextmanager
def join_world(asked: str = "auto") -> Iterator[World]:
    """The world that torchrun describes in the environment: nccl on CUDA, gloo on the CPU.

    Args:
        asked: As the key `device`.

    Raises:
        CxrError: A device that is not there; more processes on this machine than it has GPUs.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    rank = int(os.environ.get("RANK", "0"))
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    local_size = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    # before the group is made: NCCL takes the GPU that is current then
    device = choose_device(asked, local_rank, local_size)
    is_cuda = device.type == "cuda"
    if is_cuda:
        torch.cuda.set_device(device)
    waiting_group = None
    if size > 1:
        backend = "nccl" if is_cuda else "gloo"
        dist.init_process_group(backend, timeout=_STEP_TIMEOUT, device_id=device if is_cuda else None)
        # A process that waits in NCCL keeps its GPU busy: processes wait in gloo, with the longer timeout.
        group = dist.new_group(backend="gloo", timeout=_PACKING_TIMEOUT)
        waiting_group = cast(dist.ProcessGroup, group)
    try:
        yield World(rank, size, local_size, device, waiting_group)
    finally:
        if size > 1:
            dist.destroy_process_group()
