"""Where a store's pixels live while a model reads them: on disk, in RAM or on the GPU."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
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

_IMAGES_PER_BLOCK = 4096  # of 256 pixels a side: 268 MB
_UNKNOWN_FREE_BYTES = 4 << 30  # assumed where the system does not say


@dataclass(frozen=True)
class _MemoryGroup:
    """Where Linux keeps the numbers of a control group: folder, limit, use, and file cache it can drop."""

    folder: str
    limit: str
    used: str
    cache: str


_MEMORY_GROUPS = {  # by their names in /proc/self/cgroup: version 2, version 1
    "": _MemoryGroup("sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"),
    "memory": _MemoryGroup(
        "sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"
    ),
}


def open_loader(
    dataset: Dataset, rows: Rows, where: Where, device: torch.device, processes: int = 1, spare: int = 0
) -> tuple[Loader, str]:
    """(batches of some rows of a dataset, a line about where their pixels are and why); see `place`.

    Only the pixels of these rows are copied. Other rows are an IndexError, and never another image.
    """
    used = np.unique(dataset.index[rows])
    pixels, line = place(dataset.store, where, device, processes, used, spare)
    return _make_loader(dataset, used, pixels, device), line


def _make_loader(dataset: Dataset, used: Rows, pixels: Pixels, device: torch.device) -> Loader:
    """A loader of pixels that are the whole store, or copies of its used rows [U] in their order."""
    num_rows = len(dataset.store.readable)
    index = dataset.index
    if len(pixels) < num_rows:
        # [N] where a row's copy is; a row without one is past the end, which `gather` refuses
        positions = np.full(num_rows, len(used), np.int64)  # after the last copy: no image
        positions[used] = np.arange(len(used))
        index = positions[index]
    return Loader(pixels, index, dataset.targets, device)


class SharedPixels:
    """Loaders of several models' datasets on one device; the same rows of the same store are copied once.

    Only the pixels of the last call are held: the models of an ensemble read the same rows one after another.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._held: tuple[tuple[object, ...], Pixels] | None = None  # (what was asked for, its pixels)

    def open_loader(self, dataset: Dataset, rows: Rows, where: Where) -> Loader:
        """Batches of some rows of a dataset, like the function of this name."""
        used = np.unique(dataset.index[rows])
        # the same rows of the same stores, wherever both are wanted: models of an ensemble share them
        stores = tuple((store.path.resolve(), store.manifest) for store in dataset.store.stores)
        wanted = (where, stores, used.tobytes())
        if self._held is None or self._held[0] != wanted:
            self._held = None  # before the next pixels need its memory
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
    """The pixels of some rows where they are wanted, and a line about where they are and why.

    Pixels that are copied to RAM or the GPU are compared with their checksums on the way. On disk nothing is
    copied, and the pixels are those of all rows.

    Args:
        store: The store.
        where: As store.where; auto is decided by `_choose`.
        device: The device that computes.
        processes: Processes on this machine.
        rows: Rows of the store to copy, in ascending order; None for all.
        spare: Bytes of the GPU that must stay free for computing.

    Raises:
        CxrError: `gpu` without a CUDA device; rows that are damaged on the disk, by name.
    """
    if where == "gpu" and device.type != "cuda":
        problem = "store.where: gpu needs a CUDA GPU, and there is none"
        raise CxrError(problem, "use store.where=auto, ram or disk")
    rows = np.arange(len(store.readable)) if rows is None else rows
    num_bytes = len(rows) * store.manifest.preprocess.size**2
    size = f"{num_bytes / 1e6:,.1f} MB" if num_bytes < 1e9 else f"{num_bytes / 1e9:.1f} GB"
    if where == "auto":
        where, free = _choose(num_bytes, device, processes, spare)
        size = f"{size} of {free / 1e9:.1f} GB free"
    if where == "gpu":
        return _copy_to_gpu(store, rows, device), f"pixels on the GPU ({size})"
    if where == "ram":
        return _copy_to_ram(store, rows), f"pixels in RAM ({size})"
    return store.pixels, f"pixels on disk ({size})"


def _choose(num_bytes: int, device: torch.device, processes: int, spare: int) -> tuple[Where, int]:
    """(where store.where=auto puts so many bytes, the bytes that are free there or in RAM).

    The GPU, if they fill at most half of its free memory without `spare`; else RAM, if each of the processes
    on this machine can have a copy in half of what is free; else the disk.
    """
    if device.type == "cuda":
        free = torch.cuda.mem_get_info(device)[0] - spare
        # half is left for the weights, the activations and whatever else is on this GPU
        if num_bytes <= free / 2:
            return "gpu", free
    free = free_ram()
    return ("ram" if num_bytes * processes <= free / 2 else "disk"), free


def _copy_to_gpu(store: Store, rows: Rows, device: torch.device) -> torch.Tensor:
    """One tensor of the rows' pixels, filled in blocks: no process holds all of them in RAM as well."""
    size = store.pixels.shape[1:]
    pixels = torch.empty((len(rows), *size), dtype=torch.uint8, device=device)
    num_buffered = min(_IMAGES_PER_BLOCK, len(rows))
    # One page-locked buffer for all blocks, from which the GPU copies directly.
    buffer = torch.empty((num_buffered, *size), dtype=torch.uint8, pin_memory=device.type == "cuda")
    num_copied = 0
    for part, part_rows in _split_by_store(store, rows):
        for first in range(0, len(part_rows), _IMAGES_PER_BLOCK):
            block = part_rows[first : first + _IMAGES_PER_BLOCK]
            copy_pixels(part, block, buffer.numpy()[: len(block)])
            pixels[num_copied : num_copied + len(block)] = buffer[: len(block)]
            num_copied += len(block)
    return pixels


def _copy_to_ram(store: Store, rows: Rows) -> npt.NDArray[np.uint8]:
    """One array of the rows' pixels."""
    pixels = np.empty((len(rows), *store.pixels.shape[1:]), np.uint8)
    num_copied = 0
    for part, part_rows in _split_by_store(store, rows):
        copy_pixels(part, part_rows, pixels[num_copied : num_copied + len(part_rows)])
        num_copied += len(part_rows)
    return pixels


def _split_by_store(store: Store, rows: Rows) -> Iterator[tuple[Store, Rows]]:
    """(store, the rows that are its, counted from its first) of each store that was joined; rows ascend."""
    start = 0
    for part in store.stores:
        end = start + len(part.readable)
        # rows ascend, so that those of a store stand together
        first, last = np.searchsorted(rows, [start, end])
        yield part, rows[first:last] - start
        start = end


def free_ram(root: Path = Path("/")) -> int:
    """Bytes that can be taken without swapping: file cache, which packing has just filled, counts as free.

    A container or a SLURM job may take less than the machine has: Linux's control groups limit it.
    """
    try:
        lines = (root / "proc/meminfo").read_text().splitlines()
        free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):  # not Linux
        free = _UNKNOWN_FREE_BYTES
    return min([free, *_free_in_groups(root)])


def _free_in_groups(root: Path) -> Iterator[int]:
    """Bytes that are free in each memory group of this process and those above it, if they have a limit."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, name, path = line.split(":", 2)
        if name not in _MEMORY_GROUPS:
            continue
        files = _MEMORY_GROUPS[name]
        group = root / files.folder / path.lstrip("/")
        num_above = len(Path(path).parts) - 1  # up to the top folder, whose limit counts too
        for folder in (group, *group.parents[:num_above]):
            with contextlib.suppress(OSError, ValueError):  # no such file; "max", which is no limit
                limit = int((folder / files.limit).read_text())
                used = int((folder / files.used).read_text())
                stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
                # file cache is counted as used, but can be dropped
                yield max(0, limit - used + int(stat.get(files.cache, 0)))
