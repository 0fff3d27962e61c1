"""The device that a model computes on: the GPU, Apple's GPU, or the CPU."""

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
        CxrError: The device is not there, or it is one device for several processes.
    """
    if not re.fullmatch(PATTERN, asked):
        raise CxrError(f"device: {asked!r} is none", "auto, cpu, cuda, cuda:N or mps")
    num_gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    has_mps = torch.backends.mps.is_available()

    # Apple's GPU is one device: several processes compute on the CPU
    if asked == "auto" and not num_gpus:
        return torch.device("mps" if has_mps and processes == 1 else "cpu")
    if asked == "cpu":
        return torch.device("cpu")
    if processes > 1 and asked not in ("auto", "cuda"):
        raise CxrError(f"device: {asked} is one device, and there are {processes} processes", "device=cuda")

    if asked == "mps":
        if not has_mps:
            problem = "this machine has no GPU of Apple's, or torch no support for it"
            raise CxrError(f"device: mps: {problem}", "device=auto")
        return torch.device("mps")

    if not num_gpus:
        is_built_for_gpus = torch.version.cuda or torch.version.hip
        reason = "torch sees no GPU" if is_built_for_gpus else "this torch is built without CUDA"
        raise CxrError(f"device: {asked}: {reason}", "device=cpu computes without one")
    if asked in ("auto", "cuda"):  # the GPU of the process's number
        if processes > num_gpus:
            gpus = f"{num_gpus} GPU{'s' if num_gpus > 1 else ''}"
            problem = f"torchrun: {processes} processes on this machine and {gpus}"
            raise CxrError(problem, f"--nproc-per-node {num_gpus}")
        return torch.device("cuda", local_rank)

    number = int(asked.removeprefix("cuda:"))
    if number >= num_gpus:
        last = f"cuda:{num_gpus - 1}"
        problem = f"device: {asked}: the last GPU of this machine is {last}"
        raise CxrError(problem, f"device={last}, or device=cuda")
    return torch.device("cuda", number)


def name_device(device: torch.device) -> str:
    """As `NVIDIA H100 80GB HBM3`, or the type of a device that has no name."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
