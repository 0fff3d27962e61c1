from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import cxr
from cxr.config.load import load
from cxr.data.augment import augment, resample
from cxr.data.dataset import open_dataset
from cxr.distributed import World
from cxr.findings import NIH_14
from cxr.training.train import train

ALONE = World(0, 1, 1, torch.device("cpu"))


def test_batches_are_those_that_the_command_trains_on(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = load(recipe, ["train.epochs=3", f"out={tmp_path / 'run'}"])
    dataset = cxr.Dataset(config)
    batches = [batch for epoch in range(2) for batch in dataset.batches(epoch)]
    seen: list[Tensor] = []

    def record(*arguments: Any) -> Tensor:  # noqa: ANN401 - those of `augment`
        seen.append(augment(*arguments))
        if len(seen) == len(batches):
            raise InterruptedError
        return seen[-1]

    monkeypatch.setattr("cxr.training.step.augment", record)
    monkeypatch.setattr("cxr.training.train.save_state", lambda *_: None)
    with pytest.raises(InterruptedError):
        train(config, open_dataset(config), ALONE)
    assert len(seen) > 3
    for batch, images in zip(batches, seen, strict=True):
        torch.testing.assert_close(batch.images * 255, images)


def test_a_batch_holds_the_images_that_it_names(recipe: Path) -> None:
    packed = open_dataset(load(recipe))
    names = list(packed.table.rows["image"])
    for batch in cxr.Dataset(recipe).batches(3, batch_size=7, augment=False):
        rows = [names.index(name) for name in batch.names]
        pixels = torch.from_numpy(np.asarray(packed.store.pixels)[packed.index[rows]])
        torch.testing.assert_close(batch.images, resample(pixels, 32) / 255)
        np.testing.assert_array_equal(batch.targets.numpy(), packed.targets.y[rows])
        np.testing.assert_array_equal(batch.mask.numpy(), packed.targets.mask[rows])


def test_an_epoch_has_each_image_once_in_another_order(recipe: Path) -> None:
    dataset = cxr.Dataset(recipe)
    orders = [[name for batch in dataset.batches(epoch) for name in batch.names] for epoch in (0, 1, 1)]
    assert orders[0] != orders[1] == orders[2]
    assert sorted(orders[0]) == sorted(orders[1]) == sorted(dataset.rows["image"])
    assert len(dataset) == len(orders[0])


def test_splits_share_no_patient_and_val_keeps_its_order(recipe: Path) -> None:
    parts = [cxr.Dataset(str(recipe), split) for split in ("train", "val", "test")]
    assert all(not one.patients & other.patients for one in parts for other in parts if one is not other)
    first = [batch for batch in parts[1].batches()]
    assert [name for batch in first for name in batch.names] == list(parts[1].rows["image"])
    for batch, again in zip(first, parts[1].batches(7), strict=True):
        torch.testing.assert_close(batch.images, again.images)
    assert parts[0].findings == NIH_14
    assert repr(parts[0]) == f"<cxr.Dataset train: {len(parts[0])} images, 14 findings>"


def test_images_are_shares_of_white(recipe: Path) -> None:
    batch = next(cxr.Dataset(recipe).batches(0, batch_size=4))
    assert (batch.images.shape, batch.images.dtype) == ((4, 1, 32, 32), torch.float32)
    assert 0 <= float(batch.images.min()) < 0.2 < float(batch.images.max()) <= 1
    assert (batch.targets.shape, batch.mask.shape) == ((4, 14), (4, 14))


def test_mistakes_are_refused(recipe: Path) -> None:
    with pytest.raises(cxr.CxrError, match="epoch: is missing"):
        cxr.Dataset(recipe).batches()
    with pytest.raises(cxr.CxrError, match="batch_size=0"):
        cxr.Dataset(recipe).batches(0, batch_size=0)
    with pytest.raises(cxr.CxrError, match="split='valid': no images"):
        cxr.Dataset(recipe, "valid")  # type: ignore[arg-type]  # a wrong split is the test
    with pytest.raises(cxr.CxrError, match=r"unknown key image.sizes"):
        cxr.Dataset(recipe, overrides=["image.sizes=64"])
    with pytest.raises(cxr.CxrError, match="dem: no such file or recipe; did you mean demo"):
        cxr.Dataset("dem")
