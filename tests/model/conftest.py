"""A tiny phantom, a recipe for it, and a run trained on it."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from cxr.config import Config, Phantom
from cxr.config_file import override, render
from cxr.data.dataset import Dataset, open_dataset
from cxr.data.sources.phantom import generate
from cxr.model.distributed import World
from cxr.model.train import train

ALONE = World(0, 1, 1, torch.device("cpu"))
FINDINGS = ("Cardiomegaly", "Effusion", "Pneumothorax")

Recipe = Callable[..., Config]
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Sums of floats come out the same in this process and in those that it starts."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """70 images of 64 pixels in the NIH layout."""
    root = tmp_path_factory.mktemp("phantom") / "data"
    generate(root, Phantom(num_images=70, size=64))
    return root


@pytest.fixture(scope="session")
def recipe(phantom: Path) -> Recipe:
    """Makes a Config: `recipe(out, "train.lr=1e-2", ...)`: three epochs, averaged, augmented."""

    def make(out: Path, *overrides: str) -> Config:
        data = {"source": "phantom", "root": phantom, "findings": FINDINGS, "val_fraction": 0.3}
        training = {"epochs": 3, "batch_size": 8, "lr": 1e-3, "ema": 0.9, "precision": "fp32"}
        values = {
            "out": out,
            "data": data,
            "image": {"store_size": 64, "size": 32},
            "store": {"path": phantom.parent / "store", "where": "disk"},
            "model": {"backbone": "resnet18", "weights": "none"},
            "train": training,
        }
        return override(Config.model_validate(values), overrides)

    return make


@pytest.fixture(scope="session")
def dataset(recipe: Recipe, phantom: Path) -> Dataset:
    """The packed phantom."""
    return open_dataset(recipe(phantom))


@pytest.fixture(scope="session")
def trained(recipe: Recipe, dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a straight run of the recipe."""
    return train(recipe(tmp_path_factory.mktemp("straight") / "run"), dataset, ALONE)


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """Starts `cxr train` on a config in a process of its own: `start(config, "--resume", launcher=("-m", "cxr"))`."""

    def run(config: Config, *options: str, launcher: tuple[str, ...] = ("-m", "cxr")) -> "subprocess.Popen[str]":
        file = tmp_path / "recipe.yaml"
        file.write_text(render(config))
        command = [sys.executable, *launcher, "train", str(file), *options]
        environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
        return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    return run
