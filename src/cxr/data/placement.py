"""Where a store's pixels live while a model reads them: on disk, in RAM or on the GPU."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

from cxr.data.checksums import copy_pixels
from cxr.data.dataset import Dataset
from cxr.data.loader import Loader, Pixels, Rows
from cxr.data.store import Store
from cxr.errors import CxrError

Where = Literal["auto", "disk", "ram", "gpu"]

_BLOCK = 4096  # images of 256 pixels a side: 268 MB
_GROUPS = {  # by what /proc/self/cgroup calls them, version 2 and 1: folder, limit, use, and file cache that may go
    "": ("sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"),
    "memory": (
        "sys/fs/cgroup/memory",
        "memory.limit_in_bytes",
        "memory.usage_in_bytes",
        "total_inactive_file",
    ),
}


def open_loader(
    dataset: Dataset, rows: Rows, where: Where, device: torch.device, processes: int = 1, spare: int = 0
) -> tuple[Loader, str]:
    """(batches of some rows of a dataset, a line that says where their pixels are); see `place`.

    Only the pixels of these rows are copied. Asking the loader for others is an IndexError, and not another image.
    """
    used = np.unique(dataset.index[rows])
    pixels, line = place(dataset.store, where, device, processes, used, spare)
    return _make_loader(dataset, used, pixels, device), line


def _make_loader(dataset: Dataset, used: Rows, pixels: Pixels, device: torch.device) -> Loader:
    index = dataset.index
    if len(pixels) < len(dataset.store.readable):
        places = np.full(len(dataset.store.readable), len(used), np.int64)  # no such row
        places[used] = np.arange(len(used))
        index = places[index]
    return Loader(pixels, index, dataset.targets, device)


class SharedPixels:
    """Loaders of several models' datasets on one device; the same rows of the same store are copied once.

    The pixels of the last rows are held, and no others: the models of an ensemble read the same ones in turn.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._held: tuple[tuple[object, ...], Pixels] | None = None

    def open_loader(self, dataset: Dataset, rows: Rows, where: Where) -> Loader:
        """Batches of some rows of a dataset, as the function of this name gives them."""
        used = np.unique(dataset.index[rows])
        stores = tuple((store.path.resolve(), store.manifest) for store in dataset.store.stores)
        wanted = (where, stores, used.tobytes())
        if self._held is None or self._held[0] != wanted:
            self._held = None  # before the next ones need its memory
            self._held = wanted, place(dataset.store, where, self.device, rows=used)[0]
        return _make_loader(dataset, used, self._held[1], self.device)


def place(
    store: Store,
    where: Where,
    device: torch.device,
    processes: int = 1,
    rows: Rows | None = None,
    spare: int = 0,
) -> tuple[Pixels, str]:
    """The pixels at `where`, and a line that says where they are and why.

    `auto` takes the GPU when they fill at most half of its free memory less what computing needs, else RAM when each of
    the processes on this machine can have a copy in half of what is free, else disk.

    Pixels that are copied are compared with their checksums on the way; on disk they are as they are, and all of them.

    Args:
        store: The store.
        where: As store.where.
        device: What computes.
        processes: On this machine.
        rows: Rows of the store to copy, in order; None for all.
        spare: Bytes of the GPU that computing needs.

    Raises:
        CxrError: `gpu` without a CUDA device; rows that are damaged on the disk, by name.
    """
    if where == "gpu" and device.type != "cuda":
        raise CxrError(
            "store.where: gpu needs a CUDA GPU, and there is none", "use store.where=auto, ram or disk"
        )
    rows = np.arange(len(store.readable)) if rows is None else rows
    num_bytes = len(rows) * store.manifest.preprocess.size**2
    need = f"{num_bytes / 1e6:,.1f} MB" if num_bytes < 1e9 else f"{num_bytes / 1e9:.1f} GB"
    if where == "auto":
        where, why = _choose(num_bytes, device, processes, spare)
        need = f"{need} of {why}"
    if where == "gpu":
        return _to_gpu(store, rows, device), f"pixels on the GPU ({need})"
    if where == "ram":
        return _to_ram(store, rows), f"pixels in RAM ({need})"
    return store.pixels, f"pixels on disk ({need})"


def _to_gpu(store: Store, rows: Rows, device: torch.device) -> torch.Tensor:
    """One tensor of the rows' pixels, filled in blocks, so that no process holds them in RAM as well."""
    shape = store.pixels.shape[1:]
    pixels, start = torch.empty((len(rows), *shape), dtype=torch.uint8, device=device), 0
    block = torch.empty((min(_BLOCK, len(rows)), *shape), dtype=torch.uint8, pin_memory=device.type == "cuda")
    buffer = block.numpy()
    for part, own in _by_store(store, rows):
        for first in range(0, len(own), _BLOCK):
            some = own[first : first + _BLOCK]
            copy_pixels(part, some, buffer[: len(some)])
            pixels[start : start + len(some)] = block[: len(some)]
            start += len(some)
    return pixels


def _to_ram(store: Store, rows: Rows) -> npt.NDArray[np.uint8]:
    """One array of the rows' pixels."""
    pixels, start = np.empty((len(rows), *store.pixels.shape[1:]), np.uint8), 0
    for part, own in _by_store(store, rows):
        copy_pixels(part, own, pixels[start : start + len(own)])
        start += len(own)
    return pixels


def _by_store(store: Store, rows: Rows) -> Iterator[tuple[Store, Rows]]:
    """Each of the stores that were joined, and which of its own rows are among the rows, which are in order."""
    start = 0
    for part in store.stores:
        end = start + len(part.readable)
        yield part, rows[np.searchsorted(rows, start) : np.searchsorted(rows, end)] - start
        start = end


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


def _choose(num_bytes: int, device: torch.device, processes: int, spare: int = 0) -> tuple[Where, str]:
    if device.type == "cuda":
        free = torch.cuda.mem_get_info(device)[0] - spare
        if num_bytes <= free / 2:
            return "gpu", f"{free / 1e9:.1f} GB free"
    free = free_ram()
    return ("ram" if num_bytes * processes <= free / 2 else "disk"), f"{free / 1e9:.1f} GB free"
