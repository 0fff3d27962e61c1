from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.full_epoch import full_epoch, generate_store

CPU = torch.device("cpu")


def rows(tmp_path: Path, device: torch.device) -> dict[str, float]:
    found = full_epoch(tmp_path, device, "resnet18", 40, 24, batch_size=8, how="eager", image_size=32)
    return {row.unit: row.median for row in found}


def test_an_epoch_is_timed_with_its_waits(tmp_path: Path) -> None:
    found = rows(tmp_path, CPU)
    assert found["images/s"] * found["s an epoch"] == pytest.approx(24)
    assert 0 <= found["% of the time waiting for data"] < 100


@pytest.mark.cuda
def test_on_a_gpu_memory_is_noted_too(tmp_path: Path, gpu: torch.device) -> None:
    found = rows(tmp_path, gpu)
    assert 0 <= found["% of the time waiting for data"] < 100
    assert found["GB at the peak"] > 0


def test_the_generated_store_is_whole(tmp_path: Path) -> None:
    store = generate_store(tmp_path / "store", 30)
    assert store.pixels.shape == (30, 256, 256)
    assert store.readable.all()
    assert len(np.unique(np.asarray(store.pixels)[:, 0, :8].reshape(30, -1), axis=0)) == 30
