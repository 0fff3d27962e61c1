"""One epoch of ChestX-ray14's true size from a generated store: images a second, share of waiting, peak memory."""

import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from benchmarks.step_rows import How, faster, start, synchronise
from benchmarks.timing import Row
from cxr.data.file_records import PACKED, new_records
from cxr.data.loader import Batch, Loader, epoch_order
from cxr.data.manifest import make_manifest
from cxr.data.placement import Where, place
from cxr.data.store import Store, open_store
from cxr.findings import NIH_14
from cxr.images.prepare import Preprocess
from cxr.labels.targets import Targets
from cxr.training.step import train_step

NUM_IMAGES, NUM_TRAIN, SIZE, INPUT, BATCH = 112_120, 78_468, 256, 224, 256
_BLOCK = 2048


def full_epoch(
    work: Path,
    device: torch.device,
    backbone: str,
    num_images: int = NUM_IMAGES,
    num_train: int = NUM_TRAIN,
    batch_size: int = BATCH,
    how: How = "compiled",
    image_size: int = INPUT,
) -> list[Row]:
    """An epoch of `num_train` rows of a store of `num_images`, read from the device or RAM; pixels are random.

    The model sees them at `image_size`.
    """
    store = generate_store(work / f"store-{num_images}", num_images)
    rows = []
    places: tuple[Where, ...] = ("gpu", "ram") if device.type == "cuda" else ("ram",)
    for where in places:
        pixels, _ = place(store, where, device)
        y = np.zeros((num_images, len(NIH_14)), np.float32)
        loader = Loader(
            pixels, np.arange(num_images), Targets(NIH_14, y, np.ones_like(y, dtype=bool)), device
        )
        order = epoch_order(np.random.default_rng(0).permutation(num_images)[:num_train], 0, 0)
        rows += _epoch(loader, order, device, backbone, batch_size, how, where, image_size)
        del loader, pixels
    return rows


def generate_store(folder: Path, num_images: int) -> Store:
    """A store of random pixels, written once."""
    images = [f"{row:08d}_000.png" for row in range(num_images)]
    wanted = make_manifest("nih", images, Preprocess(SIZE))
    if not (folder / "manifest.json").exists():
        folder.mkdir(parents=True, exist_ok=True)
        block = np.random.default_rng(0).integers(
            0, 256, (min(_BLOCK, num_images), SIZE, SIZE), dtype=np.uint8
        )
        with (folder / "pixels.u8").open("wb") as file:
            for first in range(0, num_images, len(block)):
                file.write(np.roll(block, first % 251, axis=2)[: num_images - first].tobytes())
        rows = new_records(num_images)
        rows.status[:] = PACKED
        pixels = np.memmap(folder / "pixels.u8", np.uint8, mode="r", shape=(num_images, SIZE, SIZE))
        rows.crc32[:] = [zlib.crc32(row.data) for row in pixels]
        rows.save(folder)
        (folder / "manifest.json").write_text(wanted.to_json())
    return open_store(folder, wanted)


def _epoch(
    loader: Loader,
    order: np.ndarray,
    device: torch.device,
    backbone: str,
    batch_size: int,
    how: How,
    where: str,
    image_size: int,
) -> list[Row]:
    run, state = start(backbone, batch_size, len(order), device, size=image_size)
    if how.startswith("compiled"):
        torch.compiler.reset()  # what a contender before this one has compiled; importing it takes seconds
    model = faster(state.model, batch_size, device, run, how).train()
    for batch in loader.batches(order[: 3 * batch_size], batch_size):  # compiles, and lets cuDNN choose
        train_step(run, state, model, batch)
    synchronise(device)
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    begun, waits = time.perf_counter(), Waits(device)
    for batch in waits.watch(loader.batches(order, batch_size)):
        train_step(run, state, model, batch)
    synchronise(device)
    seconds = time.perf_counter() - begun
    group = f"full epoch, {backbone}, {len(order):,} of {len(loader.index):,} images, batch {batch_size}"
    name = f"store on the {where.upper()}, {how}"
    rows = [
        _single(group, name, len(order) / seconds, "images/s"),
        _single(group, name, seconds, "s an epoch"),
    ]
    rows.append(_single(group, name, 100 * waits.seconds() / seconds, "% of the time waiting for data"))
    if device.type == "cuda":
        rows.append(_single(group, name, torch.cuda.max_memory_reserved(device) / 1e9, "GB at the peak"))
    return rows


def _single(group: str, name: str, value: float, unit: str) -> Row:
    return Row(group, name, value, value, value, unit)


class Waits:
    """How long the device had nothing to do between a step and the batch of the next one.

    On CUDA the gap between the end of a step and the moment its stream has the next batch; on the CPU the time in which
    the loader kept the loop waiting.
    """

    def __init__(self, device: torch.device) -> None:
        self._cuda = device.type == "cuda"
        self._events: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []
        self._waited = 0.0

    def watch(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """The batches, with the gap before each but the first noted."""
        end, begun = None, time.perf_counter()
        for number, batch in enumerate(batches):
            if self._cuda:
                ready = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
                ready.record()
                if end is not None:
                    self._events.append((end, ready))
            elif number:
                self._waited += time.perf_counter() - begun
            yield batch
            begun = time.perf_counter()
            if self._cuda:
                end = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
                end.record()

    def seconds(self) -> float:
        """All gaps together; on CUDA after the device has been waited for."""
        return self._waited + sum(float(end.elapsed_time(ready)) for end, ready in self._events) / 1000
