"""The key `device`: what computes, or why that is not here."""

from pathlib import Path

import pytest
import torch

from cxr.cli import main
from cxr.device import choose_device
from cxr.errors import CxrError


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with two GPUs."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize(
    ("asked", "rank", "processes", "device"),
    [("auto", 0, 1, "cuda:0"), ("auto", 1, 2, "cuda:1"), ("cuda", 1, 2, "cuda:1"), ("cuda:1", 0, 1, "cuda:1"),
     ("cpu", 1, 2, "cpu")],
)  # fmt: skip
def test_a_process_takes_its_gpu_or_the_one_that_is_named(
    asked: str, rank: int, processes: int, device: str
) -> None:
    assert choose_device(asked, rank, processes) == torch.device(device)


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize(
    ("asked", "processes", "what"),
    [
        ("cuda:2", 1, "device: cuda:2: the last GPU of this machine is cuda:1"),
        ("auto", 3, "3 processes on this"),
        ("cuda:0", 2, "device: cuda:0 is one device, and there are 2 processes"),
        ("mps", 1, "no GPU of Apple's"),
        ("gpu", 1, "device: 'gpu' is none"),
        ("cuda:-1", 1, "is none"),
    ],
)
def test_a_device_that_is_not_there_is_an_error(asked: str, processes: int, what: str) -> None:
    with pytest.raises(CxrError, match=what):
        choose_device(asked, 0, processes)


def test_without_a_gpu_auto_is_the_cpu_and_cuda_an_error_of_every_command(
    monkeypatch: pytest.MonkeyPatch, trained: Path, phantom: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device() == torch.device("cpu")
    image = str(next((phantom / "images").iterdir()))
    for arguments in (
        ["train", str(trained / "config.yaml"), "device=cuda", f"out={trained.parent / 'other'}"],
        ["eval", str(trained), "device=cuda:0"],
        ["predict", str(trained), image, "--device", "cuda"],
    ):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert ended.value.code == 2
        assert "error: device: cuda" in capsys.readouterr().err
    with pytest.raises(SystemExit) as ended:
        main(["predict", str(trained), image, "--device", "cpu", "--format", "csv"])
    assert ended.value.code == 0
