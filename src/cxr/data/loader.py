"""Batches of a dataset on a device, copied ahead of the training by one thread.

There are no worker processes: a packed image is 64 kB, and one thread copies some 25,000 of them a second, so
a thread that stays a few batches ahead feeds any GPU. NumPy's `take` with mode="clip" copies a batch without
holding Python's lock, so that the thread that launches the steps does not wait for it.

Which rows an epoch has, and in which order, are functions of (seed, epoch); a process takes its share.
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
from cxr.data.store import JoinedPixels
from cxr.labels.targets import Targets

Rows = npt.NDArray[np.int64]
Pixels = npt.NDArray[np.uint8] | JoinedPixels | Tensor
_MAX_BATCHES_AHEAD = 3
_MULTIPLIER = 0x9E3779B1  # a large odd number: seeds of neighbouring (seed, epoch) are far apart
_DRAW_OFFSET = 0x85EBCA6B


@dataclass(frozen=True)
class Batch:
    """This process's share of one global batch.

    Attributes:
        images: uint8 [B, S, S].
        y: Targets [B, C] in [0, 1].
        mask: bool [B, C], False where a cell does not count.
        rows: [B] dataset rows; -1 where an image only fills the batch (its mask is all False).
        num_valid: Cells that count in the global batch, over all processes.
        first: Position of this share's first row in the global batch.
        num_global: Rows of the global batch over all processes, without fillers.
        copied: On CUDA, the event at which the copy to the device is done.
    """

    images: Tensor
    y: Tensor
    mask: Tensor
    rows: Rows
    num_valid: int
    first: int
    num_global: int
    copied: torch.cuda.Event | None = None

    def split(self, num_parts: int) -> "list[Batch]":
        """The micro-batches, at most `num_parts`; each knows its position in the global batch."""
        # rounded up: fewer parts than asked for, rather than one of no rows
        length = -(-len(self.rows) // num_parts)
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


def epoch_rows(groups: Sequence[tuple[Rows, float]], seed: int, epoch: int) -> Rows:
    """The rows that an epoch trains on, group after group.

    Args:
        groups: (rows, weight) of each dataset. Each row is there floor(weight) times; the fraction of the
            weight is the share of rows that are there once more, drawn from (seed, epoch).
        seed: The run's seed.
        epoch: Counted from 0.
    """
    # The offset keeps this draw apart from that of the order, which has the same (seed, epoch).
    generator = torch.Generator().manual_seed((seed * _MULTIPLIER + epoch + _DRAW_OFFSET) % 2**63)
    chosen = []
    for rows, weight in groups:
        shuffled = torch.randperm(len(rows), generator=generator).numpy()
        # sorted, as the order of the epoch is drawn later and by a draw of its own
        drawn = np.sort(shuffled[: num_drawn(len(rows), weight)])
        chosen += [rows] * int(weight) + [rows[drawn]]
    return np.concatenate(chosen)


def epoch_order(rows: Rows, seed: int, epoch: int) -> Rows:
    """The rows, each once, in the random order of an epoch."""
    generator = torch.Generator().manual_seed((seed * _MULTIPLIER + epoch) % 2**63)
    return np.asarray(rows[torch.randperm(len(rows), generator=generator).numpy()], np.int64)


def split_batches(
    order: Rows, batch_size: int, rank: int = 0, num_processes: int = 1
) -> list[tuple[Rows, Rows]]:
    """(the global batch, this process's contiguous share of it) for each step.

    -1 fills shares to equal lengths: shared batch statistics and DDP weigh the processes equally.
    """
    batches = []
    for start in range(0, len(order), batch_size):
        batch = order[start : start + batch_size]
        # rounded up, so that every process has as many rows; fillers make up for the rest
        length = -(-len(batch) // num_processes)
        fillers = np.full(length * num_processes - len(batch), -1, np.int64)
        filled = np.concatenate([batch, fillers])
        batches.append((batch, filled[rank * length : (rank + 1) * length]))
    return batches


class Loader:
    """Batches of a dataset on a device.

    On CUDA a batch goes through three stages; the host waits for none of them:
    1. The loader's thread gathers rows into page-locked memory.
    2. It starts their copy to the GPU on a second stream, which runs beside the kernels of the step before.
    3. `_hand_over` makes the stream that computes wait for that copy.

    Args:
        pixels: uint8 [N, S, S], an array or a tensor on any device.
        index: [n] row of `pixels` for each dataset row.
        targets: y and mask [n, C] of the dataset rows.
        device: Where batches are wanted.
    """

    def __init__(self, pixels: Pixels, index: Rows, targets: Targets, device: torch.device) -> None:
        self.pixels, self.index, self.device = pixels, index, device
        self._y, self._mask = torch.from_numpy(targets.y), torch.from_numpy(targets.mask)
        self._num_valid = targets.mask.sum(axis=1)  # [n]
        self._copy_stream: torch.cuda.Stream | None = None
        if device.type == "cuda":
            self._copy_stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def batches(
        self, order: Rows, batch_size: int, rank: int = 0, world: int = 1, skip: int = 0
    ) -> Iterator[Batch]:
        """This process's batches of the rows in `order`, without the first `skip`; a thread is ahead."""
        steps = split_batches(order, batch_size, rank, world)[skip:]
        ready: queue.Queue[Batch | BaseException | None] = queue.Queue(_MAX_BATCHES_AHEAD)
        stop = threading.Event()
        thread = threading.Thread(
            target=self._fill, args=(steps, rank, ready, stop), name="loader", daemon=True
        )
        thread.start()
        try:
            while (batch := ready.get()) is not None:  # None: the epoch is over
                if isinstance(batch, BaseException):
                    raise batch
                yield _hand_over(batch)
        finally:
            # Also where the caller stops early: the thread may be waiting for room in a full queue.
            stop.set()
            while not ready.empty():
                ready.get_nowait()
            thread.join()

    def _fill(
        self,
        steps: Sequence[tuple[Rows, Rows]],
        rank: int,
        ready: "queue.Queue[Batch | BaseException | None]",
        stop: threading.Event,
    ) -> None:
        """The thread: put a batch for each step into the queue, then None; or the error that it met."""
        try:
            if self._copy_stream is not None:
                # A new thread starts on the first GPU, whichever the process uses.
                torch.cuda.set_device(self._copy_stream.device)
            for batch, share in steps:
                item = self._to_device(self._gather_batch(batch, share, rank))
                # put() with a timeout: it must not wait forever for a caller that has stopped.
                while not stop.is_set():
                    try:
                        ready.put(item, timeout=0.1)
                        break
                    except queue.Full:
                        continue
                if stop.is_set():
                    return
            ready.put(None)
        except BaseException as error:  # raised again by `batches`
            ready.put(error)

    def _gather_batch(self, batch: Rows, share: Rows, rank: int) -> Batch:
        """This process's share [B] of a global batch, on the host."""
        is_filler = share < 0
        rows = np.where(is_filler, batch[0], share)  # a filler is any image, with no cell that counts
        mask = self._mask[rows]
        mask[torch.from_numpy(is_filler)] = False
        return Batch(
            images=self._gather_images(self.index[rows]),
            y=self._pin(self._y[rows]),
            mask=self._pin(mask),
            rows=share,
            # of the whole batch, known to every process: the loss is divided by the same number everywhere
            num_valid=int(self._num_valid[batch].sum()),
            first=rank * len(share),
            num_global=len(batch),
        )

    def _gather_images(self, rows: Rows) -> Tensor:
        if self._copy_stream is None:
            return gather(self.pixels, rows)
        # Pixels that are on the GPU already are indexed by a kernel: it belongs on the copy stream too.
        with torch.cuda.stream(self._copy_stream):
            return gather(self.pixels, rows, pin=True)

    def _pin(self, values: Tensor) -> Tensor:
        """The values in page-locked memory for a copy to a GPU, which would else make the host wait."""
        return values if self._copy_stream is None else values.pin_memory()

    def _to_device(self, batch: Batch) -> Batch:
        """The batch with its copy to the GPU started; on the CPU as it is."""
        if self._copy_stream is None:
            return batch
        with torch.cuda.stream(self._copy_stream):
            images = batch.images.to(self.device, non_blocking=True)
            y = batch.y.to(self.device, non_blocking=True)
            mask = batch.mask.to(self.device, non_blocking=True)
            copied = self._copy_stream.record_event()  # after the three copies
        return replace(batch, images=images, y=y, mask=mask, copied=copied)


def _hand_over(batch: Batch) -> Batch:
    """The batch for the stream that computes."""
    if batch.copied is not None:
        stream = torch.cuda.current_stream(batch.images.device)
        stream.wait_event(batch.copied)  # the GPU waits, the host does not
        # The memory was allocated on the copy stream. Without this, torch would give it to the next copy as
        # soon as Python frees the tensors, while kernels of this stream may still read them.
        for tensor in (batch.images, batch.y, batch.mask):
            tensor.record_stream(stream)
    return batch


def gather(pixels: Pixels, rows: Rows, pin: bool = False) -> Tensor:
    """Copies uint8 [B, S, S] of some rows of pixels [N, S, S]; in page-locked memory with `pin`.

    Raises:
        IndexError: A row that is not among the N.
    """
    if isinstance(pixels, Tensor) and pixels.device.type != "cpu":
        # page-locked and without waiting: the host goes on while the GPU gathers
        on_device = torch.from_numpy(rows).pin_memory().to(pixels.device, non_blocking=True)
        return pixels[on_device]
    images = torch.empty((len(rows), *pixels.shape[1:]), dtype=torch.uint8, pin_memory=pin)
    # rows are written into the tensor's own memory, page-locked or not
    target = images.numpy()  # the same memory
    if isinstance(pixels, JoinedPixels):
        for position, row in enumerate(rows):
            target[position] = pixels[row]
        return images
    # mode="clip" copies without Python's lock, but takes the last row for a wrong one: check them first.
    if len(rows) and not 0 <= rows.min() <= rows.max() < len(pixels):
        raise IndexError(
            f"rows {rows.min()} to {rows.max()} are not all among the {len(pixels)} rows of pixels"
        )
    np.take(np.asarray(pixels), rows, axis=0, out=target, mode="clip")
    return images
