from pathlib import Path

import numpy as np
import pytest
import torch

from cxr.config.schema import TTA
from cxr.data.dataset import Dataset
from cxr.data.loader import Loader
from cxr.distributed import World
from cxr.errors import CxrError
from cxr.images.prepare import prepare
from cxr.images.read import read_file
from cxr.model import checkpoint as checkpoints
from cxr.model.classifier import Classifier
from cxr.model.predict import autocast_dtype, forward, predict_dataset, predict_rows, predict_squares
from tests.helpers.models import ALONE, Recipe


@pytest.fixture
def loader(dataset: Dataset) -> Loader:
    return Loader(dataset.store.pixels, dataset.index, dataset.targets, ALONE.device)


@pytest.mark.parametrize("batch_size", [1, 3, 8, 500])
def test_each_row_is_predicted_once_whatever_the_batch_size(
    batch_size: int, trained: Path, make_recipe: Recipe, dataset: Dataset, loader: Loader
) -> None:
    classifier, rows = checkpoints.load(trained).classifier, dataset.rows("test")[::-1].copy()
    logits = predict_rows(
        classifier, loader, rows, make_recipe(trained, f"eval.batch_size={batch_size}"), ALONE
    )
    alone = [
        forward(classifier, torch.from_numpy(dataset.store.pixels[[dataset.index[r]]]), 32, None)
        for r in rows
    ]
    torch.testing.assert_close(logits, torch.cat(alone), rtol=0, atol=1e-5)


@pytest.mark.parametrize("size", [2, 3])
def test_the_shares_of_several_processes_add_up(
    size: int,
    trained: Path,
    make_recipe: Recipe,
    dataset: Dataset,
    loader: Loader,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    classifier, rows = checkpoints.load(trained).classifier, dataset.rows("train")
    config = make_recipe(trained, "eval.batch_size=4")
    whole = predict_rows(classifier, loader, rows, config, ALONE)
    monkeypatch.setattr(World, "sum", lambda self, values: values)
    monkeypatch.setattr(World, "least", lambda self, number: number)
    worlds = [World(rank, size, size, ALONE.device) for rank in range(size)]
    shares = [predict_rows(classifier, loader, rows, config, world) for world in worlds]
    assert (torch.stack([(share != 0).any(dim=1) for share in shares]).sum(dim=0) == 1).all()
    torch.testing.assert_close(sum(shares), whole, rtol=0, atol=1e-5)


def test_predictions_name_their_rows_and_know_only_sure_labels(
    trained: Path, make_recipe: Recipe, dataset: Dataset, loader: Loader
) -> None:
    classifier = checkpoints.load(trained).classifier
    predictions, logits = predict_dataset(classifier, loader, dataset, "test", make_recipe(trained), ALONE)
    rows = dataset.rows("test")
    assert list(predictions.rows["image"]) == list(dataset.table.rows["image"].iloc[rows])
    assert set(predictions.rows["split"]) == {"test"}
    np.testing.assert_array_equal(predictions.y, dataset.targets.y[rows])
    np.testing.assert_allclose(predictions.p, torch.sigmoid(logits + classifier.logit_shift), rtol=1e-6)
    assert (classifier.logit_shift != 0).all()


def test_masked_and_soft_labels_are_unknown(trained: Path, make_recipe: Recipe, dataset: Dataset) -> None:
    from dataclasses import replace

    y, mask = dataset.targets.y.copy(), dataset.targets.mask.copy()
    first, second = dataset.rows("val")[:2]
    y[first, 0], mask[second, 1] = 0.6, False
    changed = replace(dataset, targets=replace(dataset.targets, y=y, mask=mask))
    loader = Loader(dataset.store.pixels, dataset.index, changed.targets, ALONE.device)
    classifier = checkpoints.load(trained).classifier
    predictions, _ = predict_dataset(classifier, loader, changed, "val", make_recipe(trained), ALONE)
    assert np.argwhere(np.isnan(predictions.y)).tolist() == [[0, 0], [1, 1]]


def test_a_file_gets_the_probabilities_that_its_row_gets(
    trained: Path, make_recipe: Recipe, dataset: Dataset, loader: Loader
) -> None:
    checkpoint = checkpoints.load(trained)
    predictions, _ = predict_dataset(
        checkpoint.classifier, loader, dataset, "test", make_recipe(trained), ALONE
    )
    for image, expected in zip(predictions.rows["image"], predictions.p, strict=True):
        grey = read_file(dataset.table.root / "images" / image)
        probabilities, features = predict_squares(
            checkpoint, torch.from_numpy(prepare(grey, checkpoint.metadata.preprocess))[None]
        )
        np.testing.assert_allclose(probabilities[0], expected, atol=1e-6)
        assert features.shape == (1, 512, 1, 1)


def test_a_model_that_gives_no_numbers_is_an_error(
    trained: Path, make_recipe: Recipe, dataset: Dataset, loader: Loader
) -> None:
    classifier = checkpoints.load(trained).classifier
    classifier.head.bias.data[0] = torch.nan
    with pytest.raises(CxrError, match="logits of val rows are not finite"):
        predict_dataset(classifier, loader, dataset, "val", make_recipe(trained), ALONE)


def test_predicting_leaves_the_model_as_it_is(
    trained: Path, make_recipe: Recipe, dataset: Dataset, loader: Loader
) -> None:
    classifier = checkpoints.load(trained).classifier.train()
    before = {key: value.clone() for key, value in classifier.state_dict().items()}
    predict_rows(classifier, loader, dataset.rows("test"), make_recipe(trained), ALONE)
    assert all(torch.equal(before[key], value) for key, value in classifier.state_dict().items())


def test_precision_is_what_was_asked_for() -> None:
    cpu = torch.device("cpu")
    assert autocast_dtype("fp32", cpu) is None
    assert autocast_dtype("bf16", cpu) == torch.bfloat16
    assert autocast_dtype("auto", cpu) in (None, torch.bfloat16)


def test_bfloat16_gives_nearly_the_same_probabilities_without_ties(
    trained: Path, make_recipe: Recipe, dataset: Dataset, loader: Loader
) -> None:
    classifier = checkpoints.load(trained).classifier
    exact, _ = predict_dataset(classifier, loader, dataset, "train", make_recipe(trained), ALONE)
    half, _ = predict_dataset(
        classifier, loader, dataset, "train", make_recipe(trained, "train.precision=bf16"), ALONE
    )
    np.testing.assert_allclose(half.p, exact.p, atol=0.02)
    assert all(len(np.unique(column)) == len(column) for column in half.p.T)


def test_out_of_memory_halves_the_batch_and_goes_on(
    trained: Path,
    make_recipe: Recipe,
    dataset: Dataset,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    classifier, rows = checkpoints.load(trained).classifier, dataset.rows("train")
    loader = Loader(dataset.store.pixels, dataset.index, dataset.targets, torch.device("cpu"))
    whole = predict_rows(classifier, loader, rows, make_recipe(trained), ALONE)

    def small_gpu(
        model: Classifier, images: torch.Tensor, size: int, dtype: torch.dtype | None, tta: TTA
    ) -> torch.Tensor:
        if len(images) > 5:
            raise torch.OutOfMemoryError
        return forward(model, images, size, dtype, tta)

    monkeypatch.setattr("cxr.model.predict.forward", small_gpu)
    torch.testing.assert_close(predict_rows(classifier, loader, rows, make_recipe(trained), ALONE), whole)
    assert "continuing with 4 images per batch" in capsys.readouterr().err


def test_one_image_that_does_not_fit_is_out_of_memory(
    trained: Path, make_recipe: Recipe, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_gpu(*_: object) -> torch.Tensor:
        raise torch.OutOfMemoryError

    monkeypatch.setattr("cxr.model.predict.forward", no_gpu)
    loader = Loader(dataset.store.pixels, dataset.index, dataset.targets, torch.device("cpu"))
    with pytest.raises(torch.OutOfMemoryError):
        predict_rows(
            checkpoints.load(trained).classifier, loader, dataset.rows("val"), make_recipe(trained), ALONE
        )
