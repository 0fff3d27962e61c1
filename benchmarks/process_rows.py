"""Whole processes beside a plain script: a prediction of some images, and a training."""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torchvision.models import densenet121

from benchmarks.timing import Row
from cxr.labels.table import LabelTable

NUM_IMAGES, EPOCHS = 24, 2


def predictions(table: LabelTable, work: Path, rounds: int) -> list[Row]:
    """Seconds of a process that predicts 24 originals with the same weights, and with those of a run in its own way."""
    images = [str(table.root / path) for path in table.rows["path"][:NUM_IMAGES]]
    torch.manual_seed(0)
    weights = work / "densenet121.pth"
    torch.save(densenet121(weights=None, num_classes=14).state_dict(), weights)
    cxr = [sys.executable, "-m", "cxr", "predict", str(weights), *images, "--head-findings", "nih14"]
    group = f"cxr predict, {NUM_IMAGES} originals of 1024 px, DenseNet-121, float32, whole process"
    contenders = {
        "plain torchvision and Pillow": [
            sys.executable,
            "-m",
            "benchmarks.plain",
            "predict",
            str(weights),
            *images,
        ],
        "cxr predict, the same weights": cxr,
        "cxr predict, with heat maps": [*cxr, "--heatmaps", str(work / "maps")],
    }
    return _race(group, contenders, max(3, rounds))


def trainings(work: Path, rounds: int) -> list[Row]:
    """Seconds of a process that trains ResNet-18 at 128 px in float32 for two epochs; nothing where no sample is."""
    root = Path(os.environ.get("CXR_SAMPLE_DATA", "../shared/data")) / "nih-256"
    if not root.is_dir():
        return []
    recipe = work / "plain.yaml"
    recipe.write_text(
        f"data: {{source: nih, root: {root.resolve()}, val_fraction: 0.14}}\n"
        "image: {store_size: 144, size: 128}\n"
        "model: {backbone: resnet18, weights: none}\n"
        f"train: {{epochs: {EPOCHS}, batch_size: 32, precision: fp32, ema: 0}}\n"
    )
    script = (
        "import shutil, sys; from pathlib import Path; from cxr.cli import main; work = Path(sys.argv[1]);"
        "[shutil.rmtree(work / name, ignore_errors=True) for name in ('plain-store', 'plain-run')];"
        "main(['train', str(work / 'plain.yaml'), f'store.path={work}/plain-store', f'out={work}/plain-run'])"
    )
    group = f"cxr train, 778 images of 256 px, ResNet-18 at 128 px, float32, {EPOCHS} epochs, whole process"
    contenders = {
        "plain loop, two workers": [
            sys.executable,
            "-m",
            "benchmarks.plain",
            "train",
            str(root),
            str(EPOCHS),
        ],
        "cxr train, packing included": [sys.executable, "-c", script, str(work)],
    }
    return _race(group, contenders, min(3, rounds))


def _race(group: str, contenders: Mapping[str, Sequence[str]], rounds: int) -> list[Row]:
    """Seconds of each process, in turn, after one round that reads libraries and files from the disk."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(rounds + 1):
        for name, command in contenders.items():
            begun = time.perf_counter()
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise RuntimeError(f"{' '.join(command[:5])}: {done.stderr[-2000:]}")
            if number:
                seconds[name].append(time.perf_counter() - begun)
    first = next(iter(seconds.values()))
    rows = [
        Row(group, name, statistics.median(own), min(own), max(own), "s") for name, own in seconds.items()
    ]
    ratios = [statistics.median(b / a for a, b in zip(own, first, strict=True)) for own in seconds.values()]
    return [
        replace(row, ratio=ratio, note="ratio: times as fast")
        for row, ratio in zip(rows, ratios, strict=True)
    ]
