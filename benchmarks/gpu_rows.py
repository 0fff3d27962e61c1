"""The groups of `scripts/gpu`: training steps, an epoch, inference, the commands, and the tests that need a GPU."""

import contextlib
import gc
import importlib.util
import json
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torchvision.models import get_model

from benchmarks.full_epoch import full_epoch
from benchmarks.step_rows import How, faster, start, synchronise, synthetic
from benchmarks.timing import Contender, Row
from cxr.model.predict import forward
from cxr.training.step import train_step

ROOT = Path(__file__).parents[1]
_KEYS: dict[How, str] = {
    "eager": "cuda_graphs: false",
    "CUDA graphs": "cuda_graphs: auto",
    "compiled": "compile: true",
    "compiled with CUDA graphs": "compile: graphs",
}
"""What a recipe says under `train`."""


@dataclass(frozen=True)
class Sizes:
    """How large everything is.

    Attributes:
        device: What computes.
        backbones: The two that are measured.
        batches: Images a step: large, medium, small.
        image: Width and height of the model's input.
        num_steps: Steps that are timed together.
        num_rounds: How often they are run to compile and choose kernels, and then how often timed.
        epoch: Images of the generated store, and how many of them an epoch visits.
        phantom: Images of the generated dataset, and their pixels: as drawn, and as enlarged.
        epochs: Those of the commands and of the plain script.
        num_predicted: Images that `cxr predict` draws heat maps of.
        workers: Processes that decode for the plain script.
        precisions: Those of the plain script.
        tests: Where pytest looks for tests marked `cuda`.
    """

    device: torch.device
    backbones: tuple[str, str]
    batches: tuple[int, int, int]
    image: int
    num_steps: int
    num_rounds: tuple[int, int]
    epoch: tuple[int, int]
    phantom: tuple[int, int, int]
    epochs: int
    num_predicted: int
    workers: int
    precisions: tuple[str, ...]
    tests: tuple[str, ...]


def sizes_of(device: torch.device) -> Sizes:
    """Those of a GPU, or small ones that show on a CPU that everything runs."""
    if device.type == "cuda":
        backbones = ("densenet121", "resnet50")
        marked = [
            path for path in sorted((ROOT / "tests").rglob("test_*.py")) if "mark.cuda" in path.read_text()
        ]
        return Sizes(
            device,
            backbones,
            (256, 64, 16),
            224,
            20,
            (2, 3),
            (112_120, 78_468),
            (2000, 256, 1024),
            3,
            8,
            min(16, os.cpu_count() or 1),
            ("fp32", "bf16"),
            tuple(str(path) for path in marked),
        )
    return Sizes(
        device,
        ("resnet18", "resnet34"),
        (4, 16, 2),
        32,
        1,
        (0, 1),
        (24, 12),
        (40, 48, 96),
        1,
        2,
        1,
        ("fp32",),
        ("tests/model/test_cuda.py",),
    )


def step_rows_of(sizes: Sizes, backbone: str, batch: int, kinds: Sequence[str]) -> list[Row]:
    """Images a second and peak memory of a training step of each kind, one after the other."""
    group = f"step, {backbone}, batch {batch}"
    rows: list[Row] = []
    for kind in kinds:
        work = (
            _reproduction_step(sizes, backbone, batch)
            if kind.startswith("fp32")
            else _step(sizes, backbone, batch, kind)
        )
        rows += _time(sizes, group, kind, work)
        del work
        gc.collect()
        if sizes.device.type == "cuda":
            torch.cuda.empty_cache()
    return rows


def _time(sizes: Sizes, group: str, name: str, work: Contender) -> list[Row]:
    """Rows of some work after runs that are not counted."""
    is_cuda = sizes.device.type == "cuda"
    num_before, num_timed = sizes.num_rounds
    for _ in range(num_before):
        work()
    if is_cuda:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(sizes.device)
    rates = []
    for _ in range(num_timed):
        begun = time.perf_counter()
        num_images = work()
        rates.append(num_images / (time.perf_counter() - begun))
    rows = [Row(group, name, statistics.median(rates), min(rates), max(rates))]
    if is_cuda:
        peak = torch.cuda.max_memory_reserved(sizes.device) / 1e9  # what a graph keeps is never "allocated"
        rows.append(Row(group, name, peak, peak, peak, "GB at the peak", note="reserved"))
    return rows


def _step(sizes: Sizes, backbone: str, batch: int, kind: str) -> Contender:
    """Cxr's whole step: `kind` is a precision and how it runs, as `bf16, CUDA graphs`, or its stem."""
    precision, switch = kind.split(", ")
    stem = "grey" if switch == "grey stem" else "rgb"
    num_images = sizes.num_steps * batch
    run, state = start(backbone, batch, num_images, sizes.device, stem, precision, sizes.image)
    how = cast(How, "eager" if switch == "grey stem" else switch)
    if how.startswith("compiled"):
        torch.compiler.reset()  # importing it takes seconds
    model = faster(state.model, batch, sizes.device, run, how).train()
    images = synthetic(batch, sizes.device, sizes.image * 8 // 7)

    def work() -> int:
        for _ in range(sizes.num_steps):
            train_step(run, state, model, images)
        synchronise(sizes.device)
        return num_images

    return work


def _reproduction_step(sizes: Sizes, backbone: str, batch: int) -> Contender:
    """A step as the reproductions of CheXNet take it: float32, planar, Adam, PyTorch's defaults."""
    model = get_model(backbone, weights=None, num_classes=14).to(sizes.device).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
    images = torch.rand(batch, 3, sizes.image, sizes.image, device=sizes.device)
    y = torch.randint(0, 2, (batch, 14), device=sizes.device).float()

    def work() -> int:
        torch.backends.cudnn.allow_tf32 = True  # PyTorch's default
        for _ in range(sizes.num_steps):
            F.binary_cross_entropy_with_logits(model(images), y).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            optimizer.zero_grad()
        synchronise(sizes.device)
        torch.backends.cudnn.allow_tf32 = False
        return sizes.num_steps * batch

    return work


def epoch_rows(sizes: Sizes, folder: Path, how: How) -> list[Row]:
    """An epoch of ChestX-ray14's size from a generated store, with the share of time in which the GPU waits."""
    num_images, num_train = sizes.epoch
    backbone, batch_size = sizes.backbones[0], sizes.batches[0]
    return full_epoch(folder, sizes.device, backbone, num_images, num_train, batch_size, how, sizes.image)


def inference_rows(sizes: Sizes) -> list[Row]:
    """Images a second of `cxr eval`'s forward pass at the three batch sizes."""
    rows: list[Row] = []
    for backbone in sizes.backbones:
        run, state = start(backbone, 1, 1, sizes.device, size=sizes.image)
        model = state.ema.eval()
        for batch in sizes.batches:
            images = synthetic(batch, sizes.device, sizes.image * 8 // 7).images

            def work(images: torch.Tensor = images) -> int:
                for _ in range(sizes.num_steps):
                    forward(model, images, sizes.image, run.dtype)  # noqa: B023  called before they change
                synchronise(sizes.device)
                return sizes.num_steps * len(images)

            rows += _time(sizes, f"inference, {backbone}", f"batch {batch}", work)
    return rows


def commands(sizes: Sizes, folder: Path, how: How) -> list[Row]:
    """`cxr train` on generated images, then `cxr eval` and `cxr predict` with heat maps: that they run, and how fast.

    Raises:
        RuntimeError: One of them failed.
    """
    num_images, size, enlarged = sizes.phantom
    data = _phantom(sizes, folder)
    name = how.replace(" ", "_")
    recipe = folder / f"{name}.yaml"
    out, backbone = folder / f"run_{name}", sizes.backbones[0]
    recipe.write_text(
        f"data: {{source: phantom, root: {data}}}\n"
        f"image: {{store_size: {size}, size: {size * 7 // 8}}}\n"
        f"store: {{path: {folder / 'phantom_store'}}}\n"
        f"model: {{backbone: {backbone}, weights: none}}\n"
        f"train: {{epochs: {sizes.epochs}, batch_size: {sizes.batches[1]}, {_KEYS[how]}, "
        "lr: 1e-3, ema: 0.9, profile: 5}\n"
        f"eval: {{draws: 100}}\n"
    )
    group = f"commands, {backbone}, {num_images:,} generated images of {enlarged} px, {how}"
    device, maps = f"device={sizes.device}", folder / f"maps_{name}"
    pictures = [str(path) for path in sorted((data / "images").iterdir())[: sizes.num_predicted]]
    to_predict = ["predict", str(out), *pictures, "--heatmaps", str(maps), "--device", str(sizes.device)]
    rows = [
        _seconds(
            group,
            f"cxr train, {sizes.epochs} epochs, packing included",
            ["train", str(recipe), f"out={out}", device],
        ),
        _seconds(group, "cxr eval", ["eval", str(out), device]),
        _seconds(group, f"cxr predict, {sizes.num_predicted} images with heat maps", to_predict),
    ]
    assert len(list(maps.glob("*.png"))) >= len(pictures)
    for line in (out / "log.jsonl").read_text().splitlines():
        said = json.loads(line)
        if said["kind"] == "train":
            epoch = f"training, epoch {said['epoch']}"
            rows.append(_row(group, epoch, said["images_per_second"], "images/s"))
            rows.append(_row(group, epoch, 100 * said["waiting_share"], "% of the time waiting for data"))
        if said["kind"] == "epoch":
            rows.append(_row(group, f"validation, epoch {said['epoch']}", said["seconds"], "s"))
    notes = (out / "train.log").read_text().splitlines()
    print("\n".join(line for line in notes if "profile of" in line))
    return rows


def plain_training(sizes: Sizes, folder: Path) -> list[Row]:
    """The plain script's training on the images of `commands`, in each precision.

    Raises:
        RuntimeError: The script failed.
    """
    data, backbone, batch = _phantom(sizes, folder), sizes.backbones[0], sizes.batches[1]
    group = f"plain script, {backbone}, {sizes.phantom[0]:,} generated images of {sizes.phantom[2]} px"
    rows = []
    for precision in sizes.precisions:
        options = {
            "backbone": backbone,
            "size": sizes.image,
            "batch-size": batch,
            "workers": sizes.workers,
            "device": sizes.device.type,
            "precision": precision,
        }
        told = [str(data), str(sizes.epochs), *(f"--{name}={value}" for name, value in options.items())]
        begun = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.plain", "train", *told],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"the plain script ended with {done.returncode}: {done.stderr[-2000:]}")
        name = f"{precision}, {sizes.workers} workers"
        rows.append(_row(group, f"{name}, {sizes.epochs} epochs", time.perf_counter() - begun, "s"))
        for line in done.stdout.splitlines():
            epoch, _, rate = line.split()
            rows.append(_row(group, f"{name}, training, epoch {int(epoch) + 1}", float(rate), "images/s"))
    return rows


def _phantom(sizes: Sizes, folder: Path) -> Path:
    """The generated dataset, made where it is not there yet."""
    data, (num_images, size, enlarged) = folder / "phantom", sizes.phantom
    if not data.exists():
        cxr("phantom", str(data), "--images", str(num_images), "--size", str(size))
        _enlarge(data / "images", enlarged)
    return data


def _enlarge(images: Path, size: int) -> None:
    """Enlarge images to `size` pixels, with noise that makes their files as large as those of radiographs."""

    def enlarge(path: Path) -> None:
        noise = np.random.default_rng(int(path.stem.replace("_", ""))).normal(0, 2, (size, size))
        drawn = np.asarray(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE))
        pixels = cv2.resize(drawn, (size, size)) + noise
        cv2.imwrite(str(path), pixels.round().clip(0, 255).astype(np.uint8))

    with ThreadPoolExecutor(os.cpu_count()) as threads:
        list(threads.map(enlarge, images.iterdir()))


def _seconds(group: str, name: str, arguments: list[str]) -> Row:
    begun = time.perf_counter()
    cxr(*arguments)
    return _row(group, name, time.perf_counter() - begun, "s")


def _row(group: str, name: str, value: float, unit: str) -> Row:
    return Row(group, name, value, value, value, unit)


def cxr(*arguments: str) -> None:
    """Run a command in this process, its tables not shown.

    Raises:
        RuntimeError: It failed.
    """
    from cxr.cli import main

    try:
        with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
            main(list(arguments))
    except SystemExit as ended:
        if ended.code not in (0, None):
            raise RuntimeError(f"cxr {' '.join(arguments)}: exit status {ended.code}") from None


def cuda_tests(sizes: Sizes) -> list[Row]:
    """How many tests marked `cuda` pass, fail and are skipped.

    Raises:
        RuntimeError: One failed, or none was found.
    """
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "no:benchmark",  # warns beside xdist
        "-q",
        "-m",
        "cuda",
        "-p",
        "no:cacheprovider",
        "-rfE",
        "--tb=short",
        *(["-n", "6"] if sizes.device.type == "cuda" and importlib.util.find_spec("xdist") else []),
        *sizes.tests,
    ]
    begun = time.perf_counter()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - begun
    counts = {
        kind: int(num) for num, kind in re.findall(r"(\d+) (passed|failed|skipped|errors?)\b", done.stdout)
    }
    if done.returncode or not counts:
        raise RuntimeError(
            f"pytest ended with {done.returncode}\n{done.stdout[-9000:]}\n{done.stderr[-2000:]}"
        )
    print(done.stdout[-2500:])
    rows = [_row("tests that need a GPU", kind, num, "tests") for kind, num in counts.items()]
    return [*rows, _row("tests that need a GPU", "all", seconds, "s")]
