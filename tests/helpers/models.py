"""A tiny phantom, a recipe for it, and a run trained on it."""

import os
import subprocess
import sys
import urllib.error
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from cxr.config.load import override
from cxr.config.render import render
from cxr.config.schema import Config, Phantom
from cxr.data.dataset import Dataset, open_dataset
from cxr.distributed import World
from cxr.images.prepare import prepare
from cxr.images.read import read_file
from cxr.model import checkpoint as checkpoints
from cxr.model import xrv
from cxr.model.ood_fit import fit_detector
from cxr.model.predict import ood_vectors, predict_squares
from cxr.phantom.dataset import generate
from cxr.training.train import train
from tests.helpers.narrow import narrow_backbones

ALONE = World(0, 1, 1, torch.device("cpu"))
FINDINGS = ("Cardiomegaly", "Effusion", "Pneumothorax")

Recipe = Callable[..., Config]
Plant = Callable[..., Path]
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
def make_recipe(phantom: Path) -> Recipe:
    """Makes a Config: `recipe(out, "train.lr=1e-2", ...)`: three epochs, averaged, augmented."""

    def make(out: Path, *overrides: str) -> Config:
        data = {"source": "phantom", "root": phantom, "findings": FINDINGS, "val_fraction": 0.3}
        training = {
            "epochs": 3,
            "batch_size": 8,
            "lr": 1e-3,
            "ema": 0.9,
            "precision": "fp32",
            "optimizer": "sgd",
        }
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
def dataset(make_recipe: Recipe, phantom: Path) -> Dataset:
    """The packed phantom."""
    return open_dataset(make_recipe(phantom))


@pytest.fixture(scope="session")
def trained(make_recipe: Recipe, dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a straight run of the recipe."""
    return train(make_recipe(tmp_path_factory.mktemp("straight") / "run"), dataset, ALONE)


@pytest.fixture
def narrow() -> Iterator[None]:
    """A `resnet18` is the narrow one during the test; for runs that the test itself trains."""
    with narrow_backbones():
        yield


HEAD = "model.train_layers=head"
"""For stories in which the backbone plays no part: a third of the time."""


@pytest.fixture(scope="session")
def trained_head(make_recipe: Recipe, dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a straight run of the recipe that trains the head alone."""
    return train(make_recipe(tmp_path_factory.mktemp("straight_head") / "run", HEAD), dataset, ALONE)


@pytest.fixture(scope="session")
def wary(run: Path, nih_root: Path) -> Path:
    """The run's model with an OOD detector fitted from all images of its dataset."""
    checkpoint = checkpoints.load(run)
    files = sorted((nih_root / "images").iterdir())
    squares = torch.from_numpy(
        np.stack([prepare(read_file(file), checkpoint.metadata.preprocess) for file in files])
    )
    _, features = predict_squares(checkpoint, squares)
    values = ood_vectors(features, squares).numpy().astype(np.float64)
    known = fit_detector(values, checkpoint.classifier.head.in_features, [file.name for file in files])
    assert known
    path = run.parent / "wary.safetensors"
    checkpoints.save(path, replace(checkpoint, ood=known))
    return path


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """Starts `cxr train` on a config in a process of its own: `start(config, "--resume", launcher=("-m", "cxr"))`."""

    def run(
        config: Config, *options: str, launcher: tuple[str, ...] = ("-m", "cxr")
    ) -> "subprocess.Popen[str]":
        file = tmp_path / "recipe.yaml"
        file.write_text(render(config))
        command = [sys.executable, *launcher, "train", str(file), *options]
        environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
        return subprocess.Popen(
            command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    return run


@pytest.fixture(scope="session")
def densenet() -> nn.Module:
    """torchxrayvision's DenseNet with random weights and batch statistics."""
    import torchxrayvision

    torch.manual_seed(0)
    model: nn.Module = torchxrayvision.models.DenseNet().eval()
    for name, tensor in model.state_dict().items():
        if name.endswith(("running_var", "classifier.bias")):
            tensor.uniform_(0.5, 1.5)
    model.get_buffer("features.norm0.running_var").mul_(
        1e6
    )  # as after training on pixels between -1024 and 1024
    return model


@pytest.fixture
def xrv_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """torchxrayvision's cache folder, empty, on a machine without a network."""

    def refuse(*_: object, **__: object) -> None:
        raise urllib.error.URLError("Temporary failure in name resolution")

    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(torch.hub, "urlopen", refuse)
    folder = tmp_path / "home" / ".torchxrayvision" / "models_data"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def plant(xrv_cache: Path, densenet: nn.Module) -> Plant:
    """Writes what the package publishes, a whole pickled module as PyTorch wrote it before 1.6, or another object."""

    def write(weights: str, content: object = None, zipped: bool = False) -> Path:
        path = xrv_cache / xrv.find(weights).file
        torch.save(densenet if content is None else content, path, _use_new_zipfile_serialization=zipped)
        return path

    return write


def grey(size: int) -> Tensor:
    return torch.randint(0, 256, (2, 1, size, size), generator=torch.Generator().manual_seed(0)).float()


def xrv_logits(weights: str, images: Tensor) -> Tensor:
    """The raw logits of the package's own model, read from its cache by itself, of images as it normalises them."""
    import torchxrayvision

    model = torchxrayvision.models.get_model(weights.removeprefix("xrv:"))
    model.op_threshs = None
    pixels = torchxrayvision.utils.normalize(images.numpy(), 255)
    with torch.inference_mode():
        logits: Tensor = model(torch.from_numpy(pixels))
    return logits
