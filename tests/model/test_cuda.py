"""What only a GPU can show; each test takes seconds. `scripts/gpu` runs them where there is one."""

import copy
import json
import os
import signal
from functools import partial
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.multiprocessing.spawn import spawn

from cxr.cli import main
from cxr.config.schema import Config
from cxr.data.dataset import Dataset
from cxr.data.loader import epoch_order, epoch_rows
from cxr.data.placement import Where
from cxr.distributed import World
from cxr.evaluation.report import macro_auroc
from cxr.model import checkpoint as checkpoints
from cxr.model.batch_norm import share_statistics
from cxr.model.batch_size import InParts, find_batch_size
from cxr.model.classifier import Classifier
from cxr.model.evaluate import evaluate_runs
from cxr.model.predict import forward
from cxr.model.recompute import recompute_blocks
from cxr.training import train as loop
from cxr.training.graphed import Graphed
from cxr.training.kernels import training_kernels
from cxr.training.setup import prepare
from cxr.training.state import new_state
from cxr.training.step import train_step
from cxr.training.train import Stopped, train
from tests.helpers.models import ALONE, Recipe

pytestmark = pytest.mark.cuda

BIG = ("image.size=64", "train.batch_size=16", "train.lr=1e-5")  # larger steps make much of the last digits


@pytest.fixture
def world(gpu: torch.device) -> World:
    return World(0, 1, 1, gpu)


def losses(run: Path) -> list[float]:
    """Of each epoch, in training and in validation."""
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [
        line[name]
        for line in lines
        for name in ("loss", "val_loss")
        if name in line and line["kind"] != "step"
    ]


def stop_in_the_second_epoch(
    config: Config, dataset: Dataset, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Train until SIGTERM comes in the seventh step; an epoch has five."""
    taken: list[int] = []

    def step(*arguments: object) -> Tensor:
        taken.append(1)
        if len(taken) == 7:
            os.kill(os.getpid(), signal.SIGTERM)
        return train_step(*arguments)  # type: ignore[arg-type]  # handed on unread

    with monkeypatch.context() as patch, pytest.raises(Stopped):
        patch.setattr(loop, "train_step", step)
        train(config, dataset, world)


@pytest.mark.parametrize("how", ["eager", "graphs", "compiled", "compiled_graphs"])
def test_an_epoch_comes_near_that_of_float32(
    how: str, make_recipe: Recipe, dataset: Dataset, tmp_path: Path, world: World
) -> None:
    keys = {
        "eager": "train.cuda_graphs=false",
        "graphs": "train.cuda_graphs=true",
        "compiled": "train.compile=true",
        "compiled_graphs": "train.compile=graphs",
    }
    torch.compiler.reset()
    own = ("train.epochs=1", *BIG)
    exact = train(
        make_recipe(tmp_path / "exact", *own, "train.precision=fp32", keys["eager"]), dataset, world
    )
    fast = train(make_recipe(tmp_path / how, *own, "train.precision=bf16", keys[how]), dataset, world)
    assert losses(fast) == pytest.approx(losses(exact), rel=1e-2)


def test_replayed_graphs_compute_what_the_model_does(gpu: torch.device) -> None:
    torch.manual_seed(0)
    model = Classifier("resnet18", 3).to(gpu).to(memory_format=torch.channels_last).train()
    same, images = copy.deepcopy(model), 255 * torch.rand(3, 4, 1, 64, 64, device=gpu)
    with training_kernels(deterministic=True):
        graphed = Graphed(model, images[0], None)
        for batch in (*images, images[0][:3]):  # the last one is smaller, and takes the model as it is
            logits, wanted = graphed(batch), same(batch)
            torch.testing.assert_close(logits, wanted, rtol=1e-4, atol=1e-4)
            for network, out in ((model, logits), (same, wanted)):
                network.zero_grad()
                out.square().sum().backward()
            gradients = [[weight.grad for weight in network.parameters()] for network in (model, same)]
            torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-3)
            for network in (model, same):
                torch.optim.SGD(network.parameters(), lr=1e-3).step()
    torch.testing.assert_close(dict(model.named_buffers()), dict(same.named_buffers()), rtol=1e-4, atol=1e-4)


def test_graphs_are_left_out_where_they_do_not_fit(
    make_recipe: Recipe, dataset: Dataset, tmp_path: Path, world: World, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str]
) -> None:  # fmt: skip
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda *_: (1000, 80_000_000_000))
    train(make_recipe(tmp_path, "train.epochs=1", "store.where=ram"), dataset, world)
    assert "no CUDA graphs: they would need" in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype")
@pytest.mark.parametrize("where", ["gpu", "ram"])
def test_the_host_never_waits_for_the_gpu_in_a_step(
    where: Where, make_recipe: Recipe, dataset: Dataset, tmp_path: Path, world: World
) -> None:
    config = make_recipe(tmp_path, f"store.where={where}")
    run = prepare(config, dataset, world)
    state, _ = new_state(config, dataset.targets.findings, run.weights, world)
    state.model.train()
    order = epoch_order(epoch_rows(dataset.groups(), 0, 0), 0, 0)
    taken = 0
    for number, batch in enumerate(run.loader.batches(order.repeat(3), config.train.batch_size)):
        torch.cuda.set_sync_debug_mode("error" if number >= 3 else "default")  # the first ones choose kernels
        try:
            train_step(run, state, state.model, batch)
        finally:
            torch.cuda.set_sync_debug_mode("default")
        taken += 1
    assert taken >= 8


@pytest.mark.parametrize("where", ["gpu", "ram", "disk"])
def test_batches_are_whole_however_late_the_gpu_reads_them(
    where: Where, make_recipe: Recipe, dataset: Dataset, tmp_path: Path, world: World
) -> None:
    loader = prepare(make_recipe(tmp_path, f"store.where={where}"), dataset, world).loader
    order = epoch_order(epoch_rows(dataset.groups(), 0, 0), 0, 0)
    found = []
    for batch in loader.batches(order, 8):
        # some 20 ms of work before the batch is read, in which the next ones are copied
        torch.cuda._sleep(30_000_000)  # type: ignore[no-untyped-call]
        found.append((batch.images.clone(), batch.y.clone(), batch.mask.clone(), batch.rows))
    for images, y, mask, rows in found:
        for image, row in zip(images.cpu(), rows, strict=True):
            assert torch.equal(image, torch.from_numpy(dataset.store.pixels[int(dataset.index[row])].copy()))
        assert torch.equal(y.cpu(), torch.from_numpy(dataset.targets.y[rows]))
        assert torch.equal(mask.cpu(), torch.from_numpy(dataset.targets.mask[rows]))


def test_a_batch_that_does_not_fit_is_halved(gpu: torch.device, capsys: pytest.CaptureFixture[str]) -> None:
    each = torch.cuda.get_device_properties(gpu).total_memory // 6

    def compute(images: Tensor) -> Tensor:
        room = torch.empty(len(images) * each, dtype=torch.uint8, device=gpu)
        return images.flatten(1).sum(dim=1) + room.numel() * 0

    images = torch.arange(16, device=gpu).view(16, 1)
    parts = InParts(compute, 16)
    assert parts(images).tolist() == list(range(16))
    assert parts.batch_size == 4
    assert "out of GPU memory" in capsys.readouterr().err
    torch.cuda.empty_cache()


def test_the_batch_size_is_found_twice_the_same(
    make_recipe: Recipe, tmp_path: Path, gpu: torch.device
) -> None:
    config = make_recipe(tmp_path, "image.size=64")
    found = []
    for _ in range(2):  # a model each: what was found for one is kept
        model = Classifier("resnet18", 3).to(gpu).eval()
        compute = partial(forward, model, size=64, dtype=None)
        found.append(find_batch_size(model, compute, config.image, config.eval, gpu))
        torch.cuda.empty_cache()
    assert found[0] == found[1] >= 64


def test_a_run_stopped_in_mid_epoch_goes_on_as_the_straight_one(
    make_recipe: Recipe, dataset: Dataset, tmp_path: Path, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = ("train.epochs=2", "train.deterministic=true", "store.where=gpu")
    straight = train(make_recipe(tmp_path / "straight", *own), dataset, world)
    config = make_recipe(tmp_path / "stopped", *own)
    stop_in_the_second_epoch(config, dataset, world, monkeypatch)
    train(config, dataset, world, resume=True)
    ours, theirs = (checkpoints.load_resumable(run / checkpoints.LAST) for run in (config.out, straight))
    assert ours["history"] == theirs["history"]
    weights, wanted = ours["model"], theirs["model"]
    assert isinstance(weights, dict) and isinstance(wanted, dict)
    assert all(torch.equal(weights[name], wanted[name]) for name in wanted)


def test_checkpoints_of_one_device_predict_the_same_on_the_other(
    make_recipe: Recipe, dataset: Dataset, tmp_path: Path, world: World, gpu: torch.device
) -> None:
    images = torch.stack([torch.from_numpy(dataset.store.pixels[row].copy()) for row in range(16)])
    for name, own in (("cpu", ALONE), ("gpu", world)):
        run = train(make_recipe(tmp_path / name, "train.epochs=1", "train.precision=fp32"), dataset, own)
        on_cpu, on_gpu = (checkpoints.load(run, device).classifier for device in ("cpu", gpu))
        here, there = forward(on_cpu, images, 32, None), forward(on_gpu, images.to(gpu), 32, None)
        torch.testing.assert_close(there.cpu(), here, rtol=1e-3, atol=1e-3)


def test_a_run_begun_on_the_cpu_goes_on_on_the_gpu_with_a_warning(
    make_recipe: Recipe, dataset: Dataset, tmp_path: Path, world: World, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    config = make_recipe(tmp_path, "train.epochs=2", "train.precision=fp32")
    stop_in_the_second_epoch(config, dataset, ALONE, monkeypatch)
    train(config, dataset, world, resume=True)
    assert "the run was on cpu before" in capsys.readouterr().err
    assert len(losses(config.out)) >= 4


def test_an_evaluation_equals_the_validation_that_was_logged(
    make_recipe: Recipe, dataset: Dataset, tmp_path: Path, world: World
) -> None:
    run = train(make_recipe(tmp_path, "train.epochs=1"), dataset, world)
    report, _ = evaluate_runs([run], ["eval.interval=none"], "val")
    assert macro_auroc(report) == checkpoints.load(run).metadata.validation["auroc"]


def test_precisions_come_near_each_other(gpu: torch.device) -> None:
    torch.manual_seed(0)
    model = Classifier("densenet121", 14).to(gpu).to(memory_format=torch.channels_last).eval()
    images = torch.randint(0, 256, (8, 128, 128), dtype=torch.uint8, device=gpu)
    exact = forward(model, images, 128, None)
    for dtype in (torch.float16, torch.bfloat16):
        torch.testing.assert_close(forward(model, images, 128, dtype).float(), exact, rtol=3e-2, atol=3e-2)


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_half_precision_trains(
    precision: str, make_recipe: Recipe, dataset: Dataset, tmp_path: Path, world: World
) -> None:
    own = ("train.epochs=1", *BIG)
    exact = train(make_recipe(tmp_path / "exact", *own, "train.precision=fp32"), dataset, world)
    half = train(make_recipe(tmp_path / precision, *own, f"train.precision={precision}"), dataset, world)
    assert losses(half) == pytest.approx(losses(exact), rel=1e-2)


def test_computing_activations_twice_changes_nothing_and_saves_memory(gpu: torch.device) -> None:
    found = []
    for recomputes in (False, True):
        torch.manual_seed(0)
        model = Classifier("densenet121", 14).to(gpu).to(memory_format=torch.channels_last).train()
        if recomputes:
            recompute_blocks(model)
        images = torch.rand(16, 1, 128, 128, generator=torch.Generator().manual_seed(0)).to(gpu) * 255
        torch.cuda.reset_peak_memory_stats(gpu)
        before = torch.cuda.memory_allocated(gpu)
        loss = model(images).square().mean()
        loss.backward()
        found.append((float(loss.detach()), torch.cuda.max_memory_allocated(gpu) - before))
        del model, loss
    (plain, usual), (twice, less) = found
    assert twice == pytest.approx(plain, rel=1e-5)
    assert less < 0.6 * usual


def test_predict_draws_heat_maps_and_prints_what_the_cpu_does(
    make_recipe: Recipe,
    dataset: Dataset,
    phantom: Path,
    tmp_path: Path,
    world: World,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = train(make_recipe(tmp_path / "run", "train.epochs=1", "train.precision=fp32"), dataset, world)
    images = [str(path) for path in sorted((phantom / "images").iterdir())[:3]]
    printed = {}
    for device in ("cuda", "cpu"):
        capsys.readouterr()
        maps = ["--heatmaps", str(tmp_path / device)]
        with pytest.raises(SystemExit) as ended:
            main(["predict", str(run), *images, "--format", "json", *maps, "--device", device])
        assert ended.value.code == 0
        printed[device] = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert len(list((tmp_path / device).glob("*.png"))) >= 3
    for ours, theirs in zip(printed["cuda"], printed["cpu"], strict=True):
        assert ours["probabilities"] == pytest.approx(theirs["probabilities"], abs=1e-3)


def _normalise(rank: int, folder: str, images: Tensor, gradient: Tensor) -> None:
    dist.init_process_group("gloo", f"file://{folder}/store", rank=rank, world_size=2)
    holder = nn.Sequential(nn.BatchNorm2d(5)).cuda()
    share_statistics(holder)
    own = images.chunk(2)[rank].cuda().requires_grad_()
    out = holder(own)
    out.backward(gradient.chunk(2)[rank].cuda())
    assert own.grad is not None
    torch.save((out.detach().cpu(), own.grad.cpu()), f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def test_two_processes_on_one_gpu_normalise_as_one(tmp_path: Path, gpu: torch.device) -> None:
    images, gradient = torch.randn(8, 5, 7, 7) * 2 + 4, torch.randn(8, 5, 7, 7)
    spawn(_normalise, (str(tmp_path), images, gradient), nprocs=2)  # type: ignore[no-untyped-call]
    whole = images.to(gpu).requires_grad_()
    out = nn.BatchNorm2d(5).to(gpu)(whole)
    out.backward(gradient.to(gpu))
    found = [torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1)]
    assert whole.grad is not None
    torch.testing.assert_close(torch.cat([one[0] for one in found]), out.detach().cpu(), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(torch.cat([one[1] for one in found]), whole.grad.cpu(), rtol=1e-4, atol=1e-4)
