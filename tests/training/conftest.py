from collections.abc import Iterator
from pathlib import Path

import pytest

from cxr.data.dataset import Dataset
from cxr.training.train import train
from tests.helpers.models import ALONE, HEAD, Recipe
from tests.helpers.narrow import narrow_backbones

WHOLE = ("test_distributed", "test_golden", "test_memory")
"""Modules whose ResNet-18 is torchvision's: these have figures, processes or weights of it."""


@pytest.fixture(scope="module", autouse=True)
def narrow_all(request: pytest.FixtureRequest) -> Iterator[None]:
    """Trainings of a narrow ResNet-18."""
    if request.module.__name__.rpartition(".")[2] in WHOLE:
        yield
    else:
        with narrow_backbones():
            yield


@pytest.fixture(scope="session")
def trained(make_recipe: Recipe, dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a straight run of the recipe."""
    with narrow_backbones():
        return train(make_recipe(tmp_path_factory.mktemp("narrow") / "run"), dataset, ALONE)


@pytest.fixture(scope="session")
def trained_head(make_recipe: Recipe, dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a straight run of the recipe that trains the head alone."""
    with narrow_backbones():
        return train(make_recipe(tmp_path_factory.mktemp("narrow_head") / "run", HEAD), dataset, ALONE)
