"""The training step with our switches added one by one, the epoch against resident batches, and inference."""

from collections.abc import Callable, Iterable
from typing import Literal, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import get_model

from benchmarks.timing import Contender, Row, race
from cxr.config.schema import Config
from cxr.data.dataset import Dataset
from cxr.data.loader import Batch, Loader, Pixels, epoch_order
from cxr.data.malloc import keep_freed_memory
from cxr.distributed import World
from cxr.findings import NIH_14
from cxr.labels.targets import Targets
from cxr.model.predict import autocast_dtype, forward
from cxr.training.compiled import Compiled
from cxr.training.graphed import Graphed
from cxr.training.loss import class_weights
from cxr.training.setup import TrainSetup
from cxr.training.state import TrainState, new_state
from cxr.training.step import train_step

SIZE = 224
How = Literal["eager", "CUDA graphs", "compiled", "compiled with CUDA graphs"]


def steps(backbone: str, batch_size: int, num_steps: int, device: torch.device, rounds: int) -> list[Row]:
    """Images a second of one training step: as the peers run it, then with our switches, then cxr's whole step."""
    images = torch.rand(batch_size, 3, SIZE, SIZE, device=device)
    y = torch.randint(0, 2, (batch_size, 14), device=device).float()
    bf16 = autocast_dtype("auto", device)
    contenders: dict[str, Contender] = {
        "eager float32, Adam": _plain_step(backbone, images, y, num_steps, False, None),
        "+ channels_last": _plain_step(backbone, images, y, num_steps, True, None),
    }
    if bf16:
        contenders["+ bfloat16"] = _plain_step(backbone, images, y, num_steps, True, bf16)
    if device.type == "cpu":
        contenders["+ freed memory kept"] = _keeping_memory(contenders[list(contenders)[-1]], device)
    contenders["cxr (+ uint8 input, augmentation, EMA)"] = _our_step(backbone, batch_size, num_steps, device)
    contenders["cxr, grey stem"] = _our_step(backbone, batch_size, num_steps, device, "grey")
    if device.type == "cuda":
        contenders["cxr, CUDA graphs"] = _our_step(backbone, batch_size, num_steps, device, how="CUDA graphs")
        contenders["cxr, compiled"] = _our_step(backbone, batch_size, num_steps, device, how="compiled")
    ours = {
        name: _keeping_memory(work, device) for name, work in contenders.items() if name.startswith("cxr")
    }
    return race(f"step, {backbone}, batch {batch_size}", contenders | ours, rounds)


def plain_steps(num_steps: int, device: torch.device, rounds: int) -> list[Row]:
    """Images a second of a step of ResNet-18 at 128 px in float32: of a plain loop, and cxr's whole one."""
    batch_size, size = 32, 128
    images = torch.rand(batch_size, 3, size, size, device=device)
    y = torch.randint(0, 2, (batch_size, 14), device=device).float()
    run, state = start("resnet18", batch_size, num_steps * batch_size, device, precision="fp32", size=size)
    state.model.train()
    batch = synthetic(batch_size, device, 144)

    def ours() -> int:
        for _ in range(num_steps):
            train_step(run, state, state.model, batch)
        synchronise(device)
        return num_steps * batch_size

    contenders: dict[str, Contender] = {
        "plain loop, float32, Adam": _plain_step("resnet18", images, y, num_steps, False, None),
        "cxr, float32 (+ uint8 input, augmentation, EMA)": _keeping_memory(ours, device),
    }
    return race("step, resnet18 at 128 px, float32, batch 32", contenders, rounds)


def _keeping_memory(work: Contender, device: torch.device) -> Contender:
    """The work as cxr runs it, with the C library's default before and after."""

    def keeping() -> int:
        keep_freed_memory(device)
        try:
            return work()
        finally:
            keep_freed_memory(device, keep=False)

    return keeping


def _plain_step(
    backbone: str, images: Tensor, y: Tensor, num_steps: int, channels_last: bool, dtype: torch.dtype | None
) -> Contender:
    layout = torch.channels_last if channels_last else torch.contiguous_format
    model = (
        get_model(backbone, weights=None, num_classes=14).to(images.device).to(memory_format=layout).train()
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
    batch = images.contiguous(memory_format=layout)

    def work() -> int:
        torch.backends.cudnn.allow_tf32 = True  # PyTorch's default, which the peers run with
        for _ in range(num_steps):
            with torch.autocast(images.device.type, dtype, enabled=dtype is not None):
                logits = model(batch)
            F.binary_cross_entropy_with_logits(logits.float(), y).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            optimizer.zero_grad()
        synchronise(images.device)
        torch.backends.cudnn.allow_tf32 = False
        return num_steps * len(images)

    return work


def _our_step(
    backbone: str,
    batch_size: int,
    num_steps: int,
    device: torch.device,
    stem: str = "rgb",
    how: How = "eager",
) -> Contender:
    run, state = start(backbone, batch_size, num_steps * batch_size, device, stem)
    model = faster(state.model.train(), batch_size, device, run, how)
    batch = synthetic(batch_size, device)

    def work() -> int:
        for _ in range(num_steps):
            train_step(run, state, model, batch)
        synchronise(device)
        return num_steps * batch_size

    return work


def faster(model: nn.Module, batch_size: int, device: torch.device, run: TrainSetup, how: How) -> nn.Module:
    """The model as a training calls it, in training mode."""
    if how == "eager":
        return model
    if how == "CUDA graphs":
        size = run.config.image.size
        return Graphed(model.train(), 255 * torch.rand(batch_size, 1, size, size, device=device), run.dtype)
    return Compiled(model, batch_size, "graphs" if how == "compiled with CUDA graphs" else True)


def start(
    backbone: str,
    batch_size: int,
    num_images: int,
    device: torch.device,
    stem: str = "rgb",
    precision: str = "auto",
    size: int = SIZE,
) -> tuple[TrainSetup, TrainState]:
    """A run and its first state on generated labels, without a data set."""
    config = Config.model_validate(
        {
            "data": {"source": "nih", "root": "."},
            "model": {"backbone": backbone, "weights": "none", "stem": stem},
            "train": {"batch_size": batch_size, "precision": precision},
            "image": {"size": size},
        }
    )
    y = np.repeat(np.array([[0], [1]], np.float32), 14, axis=1)
    weights = class_weights(Targets(NIH_14, y, np.ones_like(y, dtype=bool)), "chexnet").to(device)
    world = World(0, 1, 1, device)
    state, _ = new_state(config, NIH_14, weights, world)
    dtype = autocast_dtype(precision, device)
    nothing = cast(Dataset, None)  # a step touches neither the data set nor the loader
    return TrainSetup(
        config, world, nothing, cast(Loader, None), weights, dtype, num_images // batch_size
    ), state


def synthetic(batch_size: int, device: torch.device, size: int = 256) -> Batch:
    """A batch of random pixels that lies on the device."""
    images = torch.randint(0, 256, (batch_size, size, size), dtype=torch.uint8, device=device)
    y = torch.randint(0, 2, (batch_size, 14), device=device).float()
    rows = np.arange(batch_size)
    return Batch(images, y, torch.ones_like(y, dtype=torch.bool), rows, batch_size * 14, 0, batch_size)


def epoch(
    backbone: str, pixels: Pixels, batch_size: int, device: torch.device, rounds: int, num_images: int
) -> list[Row]:
    """An epoch fed from the store against the same epoch on batches that already lie on the device."""
    run, state = start(backbone, batch_size, num_images, device)
    state.model.train()
    targets = Targets(NIH_14, np.zeros((num_images, 14), np.float32), np.ones((num_images, 14), bool))
    index = np.arange(num_images) % len(pixels)
    loader = Loader(pixels, index, targets, device)
    order = epoch_order(np.arange(num_images), 0, 0)
    resident = list(loader.batches(order, batch_size))[:8]

    def run_epoch(batches: Callable[[], Iterable[Batch]]) -> Contender:
        def work() -> int:
            for batch in batches():
                train_step(run, state, state.model, batch)
            synchronise(device)
            return num_images

        return work

    num_batches = -(-num_images // batch_size)
    contenders = {
        "synthetic, resident": run_epoch(lambda: (resident[n % len(resident)] for n in range(num_batches))),
        "from the store": run_epoch(lambda: loader.batches(order, batch_size)),
    }
    contenders = {name: _keeping_memory(work, device) for name, work in contenders.items()}
    return race(f"epoch, {backbone}, {num_images:,} images, batch {batch_size}", contenders, rounds)


def inference(backbone: str, batch_size: int, device: torch.device, rounds: int) -> list[Row]:
    """Images a second of `cxr eval`'s forward beside plain eager float32."""
    plain = get_model(backbone, weights=None, num_classes=14).to(device).eval()
    run, state = start(backbone, batch_size, batch_size, device)
    batch, images = synthetic(batch_size, device), torch.rand(batch_size, 3, SIZE, SIZE, device=device)

    def eager() -> int:
        with torch.inference_mode():
            plain(images)
        synchronise(device)
        return batch_size

    def ours() -> int:
        forward(state.model.eval(), batch.images, SIZE, run.dtype)
        synchronise(device)
        return batch_size

    contenders = {"eager float32": eager, "cxr": _keeping_memory(ours, device)}
    return race(f"inference, {backbone}, batch {batch_size}", contenders, rounds)


def synchronise(device: torch.device) -> None:
    """Wait for the GPU, if it is one."""
    if device.type == "cuda":
        torch.cuda.synchronize()
