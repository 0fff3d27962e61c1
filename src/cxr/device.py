"""Where a model computes: the GPU, Apple's GPU or the CPU, or the one that is asked for."""

import re

import torch

from cxr.errors import CxrError

PATTERN = r"auto|cpu|cuda(:\d{1,3})?|mps"


def choose_device(asked: str = "auto", local_rank: int = 0, processes: int = 1) -> torch.device:
    """The device of one process.

    Args:
        asked: As the key `device`: auto, cpu, cuda, cuda:N or mps.
        local_rank: Number of the process on this machine; `auto` and `cuda` take the GPU of this number.
        processes: Processes on this machine.

    Raises:
        CxrError: The device is not there, or it is one for several processes.
    """
    if not re.fullmatch(PATTERN, asked):
        raise CxrError(f"device: {asked!r} is none", "auto, cpu, cuda, cuda:N or mps")
    num_gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if asked == "auto":
        if num_gpus:
            return _own_gpu(local_rank, processes, num_gpus)
        return torch.device("mps" if torch.backends.mps.is_available() and processes == 1 else "cpu")
    if asked == "cpu":
        return torch.device("cpu")
    if processes > 1 and asked != "cuda":
        raise CxrError(f"device: {asked} is one device, and there are {processes} processes", "device=cuda")
    if asked == "mps":
        if not torch.backends.mps.is_available():
            raise CxrError(
                "device: mps: this machine has no GPU of Apple's, or torch no support for it", "device=auto"
            )
        return torch.device("mps")
    if not num_gpus:
        built = torch.version.cuda or torch.version.hip
        why = "torch sees no GPU" if built else "this torch is built without CUDA"
        raise CxrError(f"device: {asked}: {why}", "device=cpu computes without one")
    if asked == "cuda":
        return _own_gpu(local_rank, processes, num_gpus)
    number = int(asked.removeprefix("cuda:"))
    if number >= num_gpus:
        last = f"cuda:{num_gpus - 1}"
        raise CxrError(
            f"device: {asked}: the last GPU of this machine is {last}", f"device={last}, or device=cuda"
        )
    return torch.device("cuda", number)


def _own_gpu(local_rank: int, processes: int, num_gpus: int) -> torch.device:
    if processes > num_gpus:
        what = (
            f"torchrun: {processes} processes on this machine and {num_gpus} GPU{'s' if num_gpus > 1 else ''}"
        )
        raise CxrError(what, f"--nproc-per-node {num_gpus}")
    return torch.device("cuda", local_rank)


def name_device(device: torch.device) -> str:
    """As `NVIDIA H100 80GB HBM3`, or the kind of a device that has no name."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
