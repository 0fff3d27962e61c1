import functools
import json
import multiprocessing
import os
import socket
from collections.abc import Callable
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.multiprocessing.spawn import start_processes

from cxr.cli import app
from cxr.config.load import override
from cxr.config.schema import Config
from cxr.data.dataset import Dataset, open_dataset
from cxr.distributed import join_world
from cxr.errors import CxrError
from cxr.evaluation.report import macro_auroc
from cxr.model import checkpoint as checkpoints
from cxr.model.batch_norm import share_statistics, shares_statistics
from cxr.model.evaluate import evaluate_runs
from cxr.status import run
from cxr.training.train import train
from tests.helpers.models import ALONE, Recipe, Start

# Processes forked from one that has imported all of this start in a tenth of a second, new ones in seconds.
multiprocessing.set_forkserver_preload(["cxr.training.train", "sklearn.metrics", "torch._dynamo"])

TWO = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "cxr")


def read_log(run: Path, kind: str) -> list[dict[str, float]]:
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [line for line in lines if line["kind"] == kind]


def test_without_torchrun_the_world_is_this_process() -> None:
    with join_world() as world:
        values = torch.ones(2)
        assert (world.rank, world.size, world.is_first) == (0, 1, True)
        assert world.sum(values) is values
        world.copy_first([values])
        world.wait()


def in_two(work: Callable[..., None], *arguments: object) -> None:
    """Call work(rank, *arguments) in two processes at once; an error of theirs is raised here."""
    start_processes(work, arguments, nprocs=2, start_method="forkserver")  # type: ignore[no-untyped-call]


def find_free_port() -> int:
    with socket.socket() as server:
        server.bind(("localhost", 0))
        port: int = server.getsockname()[1]
        return port


def train_as_rank(rank: int, port: int, config: Config) -> None:
    """Train as a process that torchrun has started."""
    torch.set_num_threads(1)
    os.environ |= {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "RANK": str(rank), "LOCAL_RANK": str(rank)}
    os.environ |= {"MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}
    with join_world("cpu") as world:
        train(config, open_dataset(config), world)


def train_in_two(config: Config) -> None:
    """Train in two processes; the dataset is packed already."""
    in_two(train_as_rank, find_free_port(), config)


def test_two_processes_with_unshared_batch_statistics_evaluate_the_checkpoint_that_they_save(
    make_recipe: Recipe, dataset: Dataset, tmp_path: Path
) -> None:
    config = make_recipe(tmp_path / "run", "train.epochs=2", "train.sync_batchnorm=false")
    train_in_two(config)
    report, _ = evaluate_runs([config.out], ["eval.interval=none"], "val")
    epochs = read_log(config.out, "epoch")
    assert [line["epoch"] for line in epochs] == [1, 2]
    best = checkpoints.load(config.out).metadata
    assert best.validation == {"auroc": macro_auroc(report), "loss": epochs[best.epoch - 1]["val_loss"]}
    assert not [path for path in config.out.iterdir() if path.name.endswith(".tmp")]


def test_two_processes_that_share_batch_statistics_learn_what_one_does(
    make_recipe: Recipe, tmp_path: Path, start: Start
) -> None:
    overrides = ("data.val_fraction=0.35", "train.batch_size=12", "train.epochs=1", "train.lr=1e-4")
    alone = make_recipe(tmp_path / "one", *overrides)
    every = open_dataset(alone)
    assert (
        len(every.rows("train")) % 12 == 0
    )  # a share that has to be filled has statistics of its fillers too
    train(alone, every, ALONE)
    process = start(make_recipe(tmp_path / "two", *overrides), launcher=TWO)  # 6 images each: auto shares
    out, err = process.communicate()
    assert process.returncode == 0, err
    assert out.count("next: cxr eval") == 1
    one, two = (read_log(tmp_path / run, "train") for run in ("one", "two"))
    assert [line["loss"] for line in two] == pytest.approx([line["loss"] for line in one], rel=1e-4)
    ours, theirs = (checkpoints.load(tmp_path / run).classifier.state_dict() for run in ("one", "two"))
    for name in ours:
        torch.testing.assert_close(theirs[name], ours[name], rtol=2e-2, atol=2e-4, msg=name)


@pytest.mark.parametrize(("size", "batch", "wish", "shared"), [(2, 8, "auto", True), (2, 32, "auto", False),
                         (2, 32, "true", True), (2, 8, "false", False), (1, 8, "true", False)])  # fmt: skip
def test_statistics_are_shared_where_shares_are_small(
    size: int, batch: int, wish: str, shared: bool, make_recipe: Recipe, tmp_path: Path
) -> None:
    config = make_recipe(tmp_path, f"train.batch_size={batch}", f"train.sync_batchnorm={wish}")
    assert shares_statistics(config.train, config.model, size) == shared
    compiled = override(config, ["train.compile=true"])
    with pytest.raises(CxrError, match=r"train\.compile: with 2 processes") if shared else nullcontext():
        shares_statistics(compiled.train, compiled.model, size)


def _normalise(rank: int, folder: str, images: torch.Tensor, gradient: torch.Tensor) -> None:
    dist.init_process_group("gloo", f"file://{folder}/store", rank=rank, world_size=2)
    norm = new_norm()
    share_statistics(holder := nn.Sequential(norm))
    own = images.chunk(2)[rank].clone().requires_grad_()
    out = holder(own)
    out.backward(gradient.chunk(2)[rank])
    torch.save({"out": out.detach(), "grad": own.grad, "weight": norm.weight.grad, "bias": norm.bias.grad,
                **norm.state_dict(prefix="state.")}, f"{folder}/{rank}.pt")  # fmt: skip
    dist.destroy_process_group()


def new_norm() -> nn.BatchNorm2d:
    torch.manual_seed(1)
    norm = nn.BatchNorm2d(5)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    assert norm.running_mean is not None
    nn.init.normal_(norm.running_mean, 3)
    return norm


def test_a_shared_batch_norm_is_torchs_over_the_whole_batch(tmp_path: Path) -> None:
    images = torch.randn(8, 5, 7, 7) * 2 + 4
    gradient = torch.randn(8, 5, 7, 7)
    in_two(_normalise, str(tmp_path), images, gradient)
    norm, whole = new_norm(), images.double().requires_grad_()
    norm.double()
    out = norm(whole)
    out.backward(gradient.double())
    found = [torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1)]
    assert whole.grad is not None and norm.weight.grad is not None and norm.bias.grad is not None
    close = functools.partial(torch.testing.assert_close, rtol=1e-4, atol=1e-4)
    close(torch.cat([one["out"] for one in found]), out.float())
    close(torch.cat([one["grad"] for one in found]), whole.grad.float())
    close(found[0]["weight"] + found[1]["weight"], norm.weight.grad.float())
    close(found[0]["bias"] + found[1]["bias"], norm.bias.grad.float())
    for name, value in norm.state_dict(prefix="state.").items():
        close(found[0][name].float(), value.float())
        assert torch.equal(found[0][name], found[1][name])


def test_more_processes_than_gpus_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for name, value in (("WORLD_SIZE", "4"), ("LOCAL_WORLD_SIZE", "4"), ("LOCAL_RANK", "3"), ("RANK", "3")):
        monkeypatch.setenv(name, value)
    with pytest.raises(CxrError) as error, join_world():
        pass
    assert error.value.render() == (
        "error: torchrun: 4 processes on this machine and 2 GPUs\nhint: --nproc-per-node 2"
    )


def test_a_gpu_waits_ten_minutes_for_a_step_and_hours_for_packing(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[object, ...]] = []

    def init(backend: str, timeout: timedelta, device_id: torch.device) -> None:
        asked.append((backend, timeout, device_id))

    def new_group(backend: str, timeout: timedelta) -> str:
        asked.append((backend, timeout))
        return "patient"

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: None)
    monkeypatch.setattr(dist, "init_process_group", init)
    monkeypatch.setattr(dist, "new_group", new_group)
    monkeypatch.setattr(dist, "barrier", lambda group: asked.append(("wait", group)))
    monkeypatch.setattr(dist, "destroy_process_group", lambda: None)
    for name, value in (("WORLD_SIZE", "2"), ("LOCAL_WORLD_SIZE", "2"), ("LOCAL_RANK", "1"), ("RANK", "1")):
        monkeypatch.setenv(name, value)
    with join_world() as world, world.first_alone():
        pass
    gpu = torch.device("cuda", 1)
    assert asked == [("nccl", timedelta(minutes=10), gpu), ("gloo", timedelta(hours=12)), ("wait", "patient")]


def test_a_mistake_under_torchrun_is_said_once_a_machine(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for rank, said in (("0", 1), ("1", 0), ("7", 0)):
        monkeypatch.setenv("LOCAL_RANK", rank)
        assert run(app, ["train", str(tmp_path / "no.yaml")], lambda option, command: None) == 2
        assert capsys.readouterr().err.count("no such file") == said
