"""Where a store's pixels live while a model reads them: on disk, in RAM or on the GPU."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

from cxr.data.loader import Pixels
from cxr.data.store import Store, copy_pixels
from cxr.errors import CxrError

Where = Literal["auto", "disk", "ram", "gpu"]

_BLOCK = 4096  # images of 256 pixels a side: 268 MB
_GROUPS = {  # by what /proc/self/cgroup calls them, version 2 and 1: folder, limit, use, and file cache that may go
    "": ("sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"),
    "memory": ("sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}


def place(store: Store, where: Where, device: torch.device, processes: int = 1) -> tuple[Pixels, str]:
    """The pixels at `where`, and a line that says where they are and why.

    `auto` takes the GPU when they fill at most half of its free memory (weights, activations and other processes need
    the rest), else RAM when each of the processes on this machine can have a copy in half of what is free, else disk.

    Pixels that are copied are compared with their checksums on the way; on disk they are as they are.

    Raises:
        CxrError: `gpu` without a CUDA device; rows that are damaged on the disk, by name.
    """
    if where == "gpu" and device.type != "cuda":
        raise CxrError("store.where: gpu needs a CUDA GPU, and there is none", "use store.where=auto, ram or disk")
    num_bytes = store.pixels.nbytes
    need = f"{num_bytes / 1e6:,.1f} MB" if num_bytes < 1e9 else f"{num_bytes / 1e9:.1f} GB"
    if where == "auto":
        where, why = _choose(num_bytes, device, processes)
        need = f"{need} of {why}"
    if where == "gpu":
        return _to_gpu(store, device), f"pixels on the GPU ({need})"
    if where == "ram":
        return _to_ram(store), f"pixels in RAM ({need})"
    return store.pixels, f"pixels on disk ({need})"


def _to_gpu(store: Store, device: torch.device) -> torch.Tensor:
    """One tensor of all pixels, filled in blocks, so that no process holds them in RAM as well."""
    pixels, start = torch.empty(store.pixels.shape, dtype=torch.uint8, device=device), 0
    longest = max(len(part.readable) for part in store.stores)
    buffer = np.empty((min(_BLOCK, longest), *store.pixels.shape[1:]), np.uint8)
    for part in store.stores:
        for first in range(0, len(part.readable), _BLOCK):
            block = buffer[: len(part.readable) - first]
            copy_pixels(part, block, first)
            pixels[start : start + len(block)] = torch.from_numpy(block)
            start += len(block)
    return pixels


def _to_ram(store: Store) -> npt.NDArray[np.uint8]:
    """One array of all pixels."""
    pixels, start = np.empty(store.pixels.shape, np.uint8), 0
    for part in store.stores:
        copy_pixels(part, pixels[start : start + len(part.readable)])
        start += len(part.readable)
    return pixels


def free_ram(root: Path = Path("/")) -> int:
    """Bytes that can be taken without swapping: file cache, which packing has just filled, counts as free.

    Linux's control groups say what a container or a SLURM job may take.
    """
    try:
        lines = (root / "proc/meminfo").read_text().splitlines()
        free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min([free, *_left_in_groups(root)])


def _left_in_groups(root: Path) -> Iterator[int]:
    """Bytes left in this process's control groups of memory and in those that hold them, where there is a limit."""
    try:
        lines = [line.split(":", 2) for line in (root / "proc/self/cgroup").read_text().splitlines()]
    except OSError:
        return
    for _, kind, path in lines:
        if kind not in _GROUPS:
            continue
        top, limit, used, cache = _GROUPS[kind]
        group = root / top / path.lstrip("/")
        for folder in (group, *group.parents[: len(Path(path).parts) - 1]):
            with contextlib.suppress(OSError, ValueError):  # no such file; "max", which is no limit
                left = int((folder / limit).read_text()) - int((folder / used).read_text())
                figures = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
                yield max(0, left + int(figures.get(cache, 0)))


def _choose(num_bytes: int, device: torch.device, processes: int) -> tuple[Where, str]:
    if device.type == "cuda":
        free = torch.cuda.mem_get_info(device)[0]
        if num_bytes <= free / 2:
            return "gpu", f"{free / 1e9:.1f} GB free"
    free = free_ram()
    return ("ram" if num_bytes * processes <= free / 2 else "disk"), f"{free / 1e9:.1f} GB free"
