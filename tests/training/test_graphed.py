"""CUDA graphs without a GPU: when they are used, and that recording them leaves no trace. test_cuda.py has the rest."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from cxr.config.load import override
from cxr.distributed import World
from cxr.errors import CxrError
from cxr.training.graphed import Graphed, can_replay, record_graphs
from tests.helpers.models import Recipe

GPU, CPU = torch.device("cuda"), torch.device("cpu")


@pytest.mark.parametrize(
    ("override_", "world", "can"),
    [
        ("train.cuda_graphs=auto", World(0, 1, 1, GPU), True),
        ("train.cuda_graphs=true", World(0, 1, 1, GPU), True),
        ("train.cuda_graphs=false", World(0, 1, 1, GPU), False),
        ("train.compile=true", World(0, 1, 1, GPU), False),
        ("train.accumulate=2", World(0, 1, 1, GPU), False),
        ("model.checkpointing=true", World(0, 1, 1, GPU), False),
        ("train.cuda_graphs=auto", World(0, 2, 2, GPU), False),
        ("train.cuda_graphs=auto", World(0, 1, 1, CPU), False),
    ],
)
def test_graphs_are_used_on_one_gpu_that_launches_each_kernel_itself(
    override_: str, world: World, can: bool, make_recipe: Recipe, tmp_path: Path
) -> None:
    assert can_replay(make_recipe(tmp_path, override_), world) == can


@pytest.mark.parametrize(
    ("world", "what"), [(World(0, 1, 1, CPU), "not cpu"), (World(0, 2, 2, GPU), "not 2 processes")]
)
def test_graphs_that_are_asked_for_and_cannot_be_used_are_refused(
    world: World, what: str, make_recipe: Recipe, tmp_path: Path
) -> None:
    with pytest.raises(CxrError, match=rf"train\.cuda_graphs: true needs one GPU, {what}"):
        can_replay(make_recipe(tmp_path, "train.cuda_graphs=true"), world)


@pytest.mark.parametrize("other", ["train.compile=true", "train.accumulate=2", "model.checkpointing=true"])
def test_graphs_and_what_excludes_them_are_refused_by_name(
    other: str, make_recipe: Recipe, tmp_path: Path
) -> None:
    config = make_recipe(tmp_path)
    with pytest.raises(
        CxrError, match=r"cuda_graphs=true.*cannot be combined|cannot be combined.*cuda_graphs"
    ):
        override(config, ["train.cuda_graphs=true", other])


def test_a_card_that_cannot_record_trains_without_graphs_and_says_so(
    make_recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("CUDA error: operation not permitted when stream is capturing\nmore")

    monkeypatch.setattr(torch.cuda, "make_graphed_callables", fail)
    monkeypatch.setattr("cxr.training.graphed._measure_memory", lambda *_: 1)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (100, 100))
    model = nn.Sequential(nn.Flatten(), nn.Linear(32 * 32, 2))
    world = World(0, 1, 1, CPU)  # where the sample lies
    assert record_graphs(model, make_recipe(tmp_path), world, None) is model
    assert (
        "warning: no CUDA graphs, which may be slower: CUDA error: operation not" in capsys.readouterr().err
    )
    with pytest.raises(RuntimeError, match="not permitted"):
        record_graphs(model, make_recipe(tmp_path, "train.cuda_graphs=true"), world, None)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (2, 100))
    assert record_graphs(model, make_recipe(tmp_path), world, None) is model
    assert "no CUDA graphs: they would need" in capsys.readouterr().err


def test_recording_leaves_no_trace_and_the_last_batch_takes_the_model_as_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = nn.Sequential(nn.BatchNorm2d(1), nn.Flatten(), nn.Linear(4, 2)).train()
    replayed: list[int] = []

    def record(whole: nn.Module, sample: tuple[Tensor]) -> nn.Module:
        forward = whole.forward
        for _ in range(3):
            forward(*sample)

        def replay(images: Tensor) -> Tensor:
            replayed.append(len(images))
            return forward(images)  # type: ignore[no-any-return]  # torch types it so

        whole.forward = replay
        return whole

    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    monkeypatch.setattr(torch.cuda, "make_graphed_callables", record)
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    graphed = Graphed(model, torch.rand(8, 1, 2, 2), None)
    for name, buffer in model.named_buffers():
        assert torch.equal(buffer, before[name]), name
    assert [name for name, _ in graphed.named_parameters()] == [
        f"model.{n}" for n, _ in model.named_parameters()
    ]
    assert [len(graphed(torch.rand(num, 1, 2, 2))) for num in (8, 3, 8)] == [8, 3, 8]
    assert replayed == [8, 8]
