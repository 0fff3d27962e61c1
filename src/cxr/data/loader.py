"""Store -> Batch, with no worker processes: order and sharding are functions of (seed, epoch), rows are copied ahead.

A packed image is 64 kB; one thread copies some 25,000 of them a second, so a single thread that stays a few batches
ahead feeds any GPU. NumPy's `take` with mode="clip" copies a batch without holding Python's lock, so that the thread
that launches the steps does not wait for it.
"""

import queue
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cxr.data.sampling import num_drawn
from cxr.data.store import Stacked
from cxr.labels.targets import Targets

Rows = npt.NDArray[np.int64]
Pixels = npt.NDArray[np.uint8] | Stacked | Tensor
_AHEAD = 3


@dataclass(frozen=True)
class Batch:
    """This process's share of one global batch.

    Attributes:
        images: uint8 [B, S, S].
        y: Targets [B, C] in [0, 1].
        mask: bool [B, C], False where a cell does not count.
        rows: [B] dataset rows, for provenance; -1 where a row only fills the batch (its mask is all False).
        num_valid: Cells that count in the global batch, over all processes.
        first: Place of this share's first row in the global batch.
        num_global: Rows of the global batch over all processes, fillers left out.
        copied: On CUDA, when the copy to the device will be done.
    """

    images: Tensor
    y: Tensor
    mask: Tensor
    rows: Rows
    num_valid: int
    first: int
    num_global: int
    copied: torch.cuda.Event | None = None

    def split(self, parts: int) -> "list[Batch]":
        """The same rows in at most so many batches, each of which knows its place in the global one."""
        length = -(-len(self.rows) // parts)
        return [
            replace(
                self,
                images=self.images[start : start + length],
                y=self.y[start : start + length],
                mask=self.mask[start : start + length],
                rows=self.rows[start : start + length],
                first=self.first + start,
            )
            for start in range(0, len(self.rows), length)
        ]


def visits(groups: Sequence[tuple[Rows, float]], seed: int, epoch: int) -> Rows:
    """The rows that an epoch visits, group after group: each floor(weight) times, and a share of them once more.

    Args:
        groups: (rows, weight) of each archive; the share is the fraction of the weight, drawn from (seed, epoch).
        seed: The run's.
        epoch: Counted from 0.
    """
    generator = torch.Generator().manual_seed((seed * 0x9E3779B1 + epoch + 0x85EBCA6B) % 2**63)
    visited = []
    for rows, weight in groups:
        drawn = torch.randperm(len(rows), generator=generator)[: num_drawn(len(rows), weight)].numpy()
        visited += [rows] * int(weight) + [rows[np.sort(drawn)]]
    return np.concatenate(visited)


def epoch_order(rows: Rows, seed: int, epoch: int) -> Rows:
    """The rows in the order in which an epoch visits them: each once."""
    generator = torch.Generator().manual_seed((seed * 0x9E3779B1 + epoch) % 2**63)
    return np.asarray(rows[torch.randperm(len(rows), generator=generator).numpy()], np.int64)


def cut(order: Rows, batch_size: int, rank: int = 0, world: int = 1) -> list[tuple[Rows, Rows]]:
    """(the global batch, this process's contiguous share of it) for each step; -1 fills shares to equal length."""
    batches = []
    for start in range(0, len(order), batch_size):
        batch = order[start : start + batch_size]
        share = -(-len(batch) // world)
        filled = np.concatenate([batch, np.full(share * world - len(batch), -1, np.int64)])
        batches.append((batch, filled[rank * share : (rank + 1) * share]))
    return batches


class Loader:
    """Batches of a dataset on a device.

    Args:
        pixels: uint8 [N, S, S], an array or a tensor on any device.
        index: [n] row of `pixels` for each dataset row.
        targets: y and mask [n, C] of the dataset rows.
        device: Where batches are wanted.
    """

    def __init__(self, pixels: Pixels, index: Rows, targets: Targets, device: torch.device) -> None:
        self.pixels, self.index, self.device = pixels, index, device
        self._y, self._mask = torch.from_numpy(targets.y), torch.from_numpy(targets.mask)
        self._valid = targets.mask.sum(axis=1)
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]

    def batches(
        self, order: Rows, batch_size: int, rank: int = 0, world: int = 1, skip: int = 0
    ) -> Iterator[Batch]:
        """This process's batches of the rows in `order`, after the first `skip`; a thread copies them ahead."""
        todo = cut(order, batch_size, rank, world)[skip:]
        ready: queue.Queue[Batch | BaseException | None] = queue.Queue(_AHEAD)
        stop = threading.Event()
        thread = threading.Thread(
            target=self._fill, args=(todo, rank, ready, stop), name="loader", daemon=True
        )
        thread.start()
        try:
            while (batch := ready.get()) is not None:
                if isinstance(batch, BaseException):
                    raise batch
                yield _take(batch)
        finally:
            stop.set()
            while not ready.empty():
                ready.get_nowait()
            thread.join()

    def _fill(
        self,
        todo: Sequence[tuple[Rows, Rows]],
        rank: int,
        ready: "queue.Queue[Batch | BaseException | None]",
        stop: threading.Event,
    ) -> None:
        try:
            if self._stream is not None:
                torch.cuda.set_device(
                    self._stream.device
                )  # a thread starts on the first GPU, whatever the process uses
            for batch, share in todo:
                item = self._to_device(self._gather(batch, share, rank))
                while not stop.is_set():
                    try:
                        ready.put(item, timeout=0.1)
                        break
                    except queue.Full:
                        continue
                if stop.is_set():
                    return
            ready.put(None)
        except BaseException as error:  # raised again where batches are taken
            ready.put(error)

    def _gather(self, batch: Rows, share: Rows, rank: int) -> Batch:
        filler = share < 0
        rows = np.where(filler, batch[0], share)
        mask = self._mask[rows]
        mask[torch.from_numpy(filler)] = False
        return Batch(
            images=self._pixels_of(self.index[rows]),
            y=self._pin(self._y[rows]),
            mask=self._pin(mask),
            rows=share,
            num_valid=int(self._valid[batch].sum()),
            first=rank * len(share),
            num_global=len(batch),
        )

    def _pixels_of(self, rows: Rows) -> Tensor:
        if self._stream is None:
            return gather(self.pixels, rows)
        with torch.cuda.stream(self._stream):
            return gather(self.pixels, rows, pin=True)

    def _pin(self, values: Tensor) -> Tensor:
        """Page-locked, where a GPU is to copy without the host waiting."""
        return values if self._stream is None else values.pin_memory()

    def _to_device(self, batch: Batch) -> Batch:
        """The batch on the device: copied on a stream of its own, so that copies overlap the step before."""
        if self._stream is None:
            return batch
        with torch.cuda.stream(self._stream):
            images, y, mask = (
                part.to(self.device, non_blocking=True) for part in (batch.images, batch.y, batch.mask)
            )
            return replace(batch, images=images, y=y, mask=mask, copied=self._stream.record_event())


def _take(batch: Batch) -> Batch:
    """The batch for the stream that computes, which waits for the copy without the host waiting."""
    if batch.copied is not None:
        stream = torch.cuda.current_stream(batch.images.device)
        stream.wait_event(batch.copied)
        for part in (batch.images, batch.y, batch.mask):
            part.record_stream(stream)
    return batch


def gather(pixels: Pixels, rows: Rows, pin: bool = False) -> Tensor:
    """uint8 [B, S, S] copies of the named rows; page-locked for a GPU copy when `pin`."""
    if isinstance(pixels, Tensor) and pixels.device.type != "cpu":
        return pixels[torch.from_numpy(rows).pin_memory().to(pixels.device, non_blocking=True)]
    out = torch.empty((len(rows), *pixels.shape[1:]), dtype=torch.uint8, pin_memory=pin)
    view = out.numpy()
    if isinstance(pixels, Stacked):
        for place, row in enumerate(rows):
            view[place] = pixels[row]
        return out
    if len(rows) and not 0 <= rows.min() <= rows.max() < len(pixels):
        raise IndexError(f"a row of {rows.min()} to {rows.max()} is none of {len(pixels)}")
    np.take(np.asarray(pixels), rows, axis=0, out=view, mode="clip")  # "clip" copies without Python's lock
    return out
