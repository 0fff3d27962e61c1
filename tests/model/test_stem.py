from pathlib import Path

import pytest
import torch
from torch import Tensor

from cxr.data.dataset import Dataset
from cxr.errors import CxrError
from cxr.model import checkpoint as checkpoints
from cxr.model.classifier import Classifier
from cxr.model.load_weights import load_weights
from cxr.training.train import train
from tests.helpers.models import ALONE, Recipe


@pytest.fixture(scope="module")
def grey_run(make_recipe: Recipe, dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a grey stem."""
    out = tmp_path_factory.mktemp("grey") / "run"
    return train(make_recipe(out, "model.stem=grey", "train.epochs=1"), dataset, ALONE)


def grey(size: int = 64) -> Tensor:
    return torch.randint(0, 256, (2, 1, size, size), generator=torch.Generator().manual_seed(1)).float()


def first_map(model: Classifier, images: Tensor) -> Tensor:
    convolution = next(part for part in model.backbone.modules() if isinstance(part, torch.nn.Conv2d))
    result: Tensor = convolution(model.normalise(images))
    return result


@pytest.mark.parametrize("backbone", ["densenet121", "resnet18"])
def test_a_grey_stem_sees_what_the_rgb_stem_sees_away_from_the_border(backbone: str) -> None:
    model = Classifier(backbone, 2)
    rgb = first_map(model, grey())
    model.fold_stem()
    folded = first_map(model, grey())
    torch.testing.assert_close(folded[..., 2:-2, 2:-2], rgb[..., 2:-2, 2:-2], rtol=1e-4, atol=1e-4)
    assert model.stem == "grey" and model.normalise(grey()).shape[1] == 1


def test_a_grey_stem_gives_nearly_the_same_logits() -> None:
    model = Classifier("resnet18", 3).eval()
    rgb = model(grey(128))
    model.fold_stem()
    torch.testing.assert_close(model(grey(128)), rgb, rtol=0, atol=0.05)


def test_a_run_with_a_grey_stem_trains_and_predicts_from_its_checkpoint(grey_run: Path) -> None:
    checkpoint = checkpoints.load(grey_run)
    assert checkpoint.classifier.stem == "grey"
    again = Classifier("resnet18", 3)
    load_weights(again, str(grey_run / checkpoints.BEST), checkpoint.metadata.findings)
    torch.testing.assert_close(again.eval()(grey()), checkpoint.classifier(grey()), rtol=1e-4, atol=1e-5)


def test_a_grey_file_is_refused_by_a_recipe_with_an_rgb_stem(
    make_recipe: Recipe, dataset: Dataset, grey_run: Path, tmp_path: Path
) -> None:
    with pytest.raises(CxrError, match="has a grey stem"):
        train(make_recipe(tmp_path / "rgb", f"model.weights={grey_run / checkpoints.BEST}"), dataset, ALONE)
