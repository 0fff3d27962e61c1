"""Decoding, packing and loading, beside torchxrayvision's data set and a plain PIL + torchvision DataLoader."""

import os
import shutil
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from benchmarks.timing import Contender, Row, race
from cxr.config.schema import Data, Phantom
from cxr.data.augment import resample
from cxr.data.loader import Loader, Pixels
from cxr.data.malloc import keep_freed_memory
from cxr.data.manifest import make_manifest
from cxr.data.pack import pack
from cxr.data.placement import place
from cxr.data.store import Store
from cxr.images.prepare import Preprocess
from cxr.labels import sources
from cxr.labels.table import LabelTable
from cxr.labels.targets import resolve
from cxr.model.classifier import IMAGENET_MEAN, IMAGENET_STD, Classifier
from cxr.phantom.dataset import generate

SIZE = 224
BATCH = 64


def find_images(work: Path) -> tuple[LabelTable, str]:
    """1024-pixel radiographs and their labels: the real sample where it is, else generated ones."""
    root = Path(os.environ.get("CXR_SAMPLE_DATA", "../shared/data")) / "nih-1024"
    what = "130 real ChestX-ray14 files of 1024 pixels"
    if not root.is_dir():
        root, what = work / "phantom-1024", "64 generated files of 1024 pixels"
        if not root.exists():
            generate(root, Phantom(num_images=64, size=1024))
    table = sources.read(Data(source="nih", root=root))
    return table.select((table.rows["path"] != "").to_numpy()), what


def repeat(table: LabelTable, num_images: int, work: Path) -> LabelTable:
    """A table of `num_images` rows over links to the same files, each under a name of its own."""
    folder = work / f"links-{num_images}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    rows = table.rows.iloc[np.arange(num_images) % len(table)].reset_index(drop=True)
    names = [f"{number:06d}{Path(path).suffix}" for number, path in enumerate(rows["path"])]
    for name, path in zip(names, rows["path"], strict=True):
        (folder / name).symlink_to((table.root / path).resolve())
    rows = rows.assign(image=names, path=names)
    return LabelTable(
        table.source, folder, rows, table.findings, table.raw[np.arange(num_images) % len(table)]
    )


def decode_and_pack(table: LabelTable, work: Path, rounds: int) -> list[Row]:
    """The decoder alone on one and on all cores, and cxr pack with as many threads."""
    cores = os.cpu_count() or 1
    many = repeat(table, 260, work)
    paths = [many.root / path for path in many.rows["path"]]
    contenders: dict[str, Contender] = {
        f"cv2.imdecode, {cores} threads": lambda: _decode(paths, cores),
        f"cxr pack to 256, {cores} threads": lambda: _pack(many, work / "store-many", 256, cores),
        "cv2.imdecode, 1 thread": lambda: _decode(paths, 1),
        "cxr pack to 256, 1 thread": lambda: _pack(many, work / "store-many", 256, 1),
    }
    return race("decode and pack", contenders, rounds)


def _decode(paths: list[Path], threads: int) -> int:
    def work(part: list[Path]) -> None:
        for path in part:
            cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)

    workers = [threading.Thread(target=work, args=(paths[number::threads],)) for number in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return len(paths)


def _pack(table: LabelTable, folder: Path, size: int, workers: int = 0) -> int:
    shutil.rmtree(folder, ignore_errors=True)
    pack_table(table, folder, size, workers)
    return len(table)


def pack_table(table: LabelTable, folder: Path, size: int, workers: int = 0) -> Store:
    """The table's files in a store."""
    images = list(table.rows["image"])
    paths = list(table.rows["path"])
    wanted = make_manifest(table.source, images, Preprocess(size))
    return pack(table.root, paths, images, wanted, folder, workers=workers)


def pack_memory(table: LabelTable, work: Path, num_images: int) -> Row:
    """Peak resident memory of a process that packs many files, without what the benchmark's own process holds."""
    many = repeat(table, num_images, work)
    many.rows.to_csv(work / "rows.csv", index=False)
    script = (
        "import re, sys, pandas as pd; from pathlib import Path; from cxr.data.pack import pack;"
        "from cxr.data.manifest import make_manifest; from cxr.images.prepare import Preprocess;"
        "root, rows, out = map(Path, sys.argv[1:]); names = list(pd.read_csv(rows, dtype=str)['image']);"
        "pack(root, names, names, make_manifest('nih', names, Preprocess(256)), out);"
        "print(re.search(r'VmHWM:\\s+(\\d+)', Path('/proc/self/status').read_text())[1])"
    )
    out = work / "store-memory"
    shutil.rmtree(out, ignore_errors=True)
    command = [sys.executable, "-c", script, str(many.root), str(work / "rows.csv"), str(out)]
    begun = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    megabytes = int(done.stdout.split()[-1]) / 1024
    rate = num_images / (time.perf_counter() - begun)
    note = f"{num_images:,} files, whole process {rate:,.0f} images/s"
    return Row("memory", "cxr pack, peak resident", megabytes, megabytes, megabytes, "MB", note=note)


def loaders(table: LabelTable, work: Path, rounds: int) -> list[Row]:
    """Files or store to normalised float batches [64, 3, 224, 224], every contender in batches of 64."""
    peers = race("loader", dict(_peer_loaders(table, work)), rounds, "2 workers")
    many = repeat(table, 2080, work)
    ours: dict[str, Contender] = {}
    for size in (256, SIZE):
        store = pack_table(many, work / f"store-{size}", size)
        for where in ("disk", "ram"):
            pixels, _ = place(store, where, torch.device("cpu"))
            ours[f"cxr, store of {size}, {where}"] = _our_loader(many, pixels)
    keep_freed_memory(torch.device("cpu"))  # as cxr train and cxr eval do
    rows = race("loader", ours, max(rounds, 3), "1 process, no workers")
    keep_freed_memory(torch.device("cpu"), keep=False)
    first = peers[0].median
    return peers + [Row(**{**vars(row), "ratio": row.median / first}) for row in rows]


def _our_loader(table: LabelTable, pixels: Pixels) -> Contender:
    targets = resolve(table, table.findings[:14])
    order = np.random.default_rng(0).permutation(len(table))
    loader = Loader(pixels, np.arange(len(table)), targets, torch.device("cpu"))
    model = Classifier("resnet18", 14)

    def work() -> int:
        with torch.inference_mode():
            for batch in loader.batches(order, BATCH):
                images = model.normalise(resample(batch.images, SIZE))
                assert images.shape[1:] == (3, SIZE, SIZE)
        return len(table)

    return work


def _peer_loaders(table: LabelTable, work: Path) -> Iterator[tuple[str, Contender]]:
    import torchxrayvision as xrv

    flat = repeat(table, len(table), work)
    csv = work / "flat.csv"
    frame = pd.DataFrame({"Image Index": flat.rows["image"], "Finding Labels": "No Finding"})
    frame["Patient ID"], frame["Patient Age"] = np.arange(len(flat)), 50
    frame["Patient Gender"], frame["View Position"] = "M", "PA"
    frame.to_csv(csv, index=False)
    for engine, name in (("skimage", "torchxrayvision"), ("cv2", "torchxrayvision, cv2 engine")):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            crop, resize = xrv.datasets.XRayCenterCrop(), xrv.datasets.XRayResizer(SIZE, engine=engine)
            data = xrv.datasets.NIH_Dataset(
                str(flat.root), str(csv), transform=transforms.Compose([crop, resize])
            )
        yield name, _drain(data, lambda item: item["img"])
    yield "PIL + torchvision DataLoader", _drain(_PilDataset(flat), lambda item: item)


class _PilDataset(Dataset[torch.Tensor]):
    """What the public CheXNet reproductions do: PIL, RGB, resize, tensor, normalise."""

    def __init__(self, table: LabelTable) -> None:
        self.paths = [table.root / path for path in table.rows["path"]]
        steps = [
            transforms.Resize((SIZE, SIZE)),
            transforms.ToTensor(),
            transforms.Normalize(IMAGENET_MEAN, IMAGENET_STD),
        ]
        self.transform = transforms.Compose(steps)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, place: int) -> torch.Tensor:
        tensor: torch.Tensor = self.transform(Image.open(self.paths[place]).convert("RGB"))
        return tensor


def _drain(data: Dataset[Any], images: Callable[[Any], torch.Tensor]) -> Contender:
    loader = DataLoader(data, batch_size=BATCH, num_workers=2)

    def work() -> int:
        return sum(len(images(batch)) for batch in loader)

    return work


def first_step(config: Path, work: Path) -> Row:
    """Seconds from the start of `cxr train` on a packed store to the end of its first step, as a whole process."""
    root, store = work / "phantom", work / "phantom-store"
    fixed = [f"data.root={root}", "data.phantom.num_images=1200", f"store.path={store}"]
    subprocess.run(
        [sys.executable, "-m", "cxr", "pack", str(config), *fixed], capture_output=True, check=True
    )
    stop = "import sys; from cxr import cli; from cxr.training import train as t; step = t.train_step\n"
    stop += "def first(*a):\n step(*a); sys.exit(0)\nt.train_step = first; cli.main(sys.argv[1:])"
    seconds = []
    for number in range(3):
        begun = time.perf_counter()
        command = [
            sys.executable,
            "-c",
            stop,
            "train",
            str(config),
            *fixed,
            f"out={work / f'first-{number}'}",
        ]
        subprocess.run(command, capture_output=True, check=True)
        seconds.append(time.perf_counter() - begun)
    note = "whole process, demo.yaml, store packed"
    name = "cxr train, first step done after"
    return Row("start", name, sorted(seconds)[1], min(seconds), max(seconds), "s", note=note)
