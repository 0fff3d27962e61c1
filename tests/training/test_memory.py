"""What a training step takes of a GPU's memory, and what is said where that is too much."""

from pathlib import Path

import pytest
import torch

from cxr.data.dataset import Dataset
from cxr.errors import CxrError
from cxr.model.classifier import Classifier
from cxr.training import train as loop
from cxr.training.memory import ACTIVATIONS_MB, bytes_for_steps, explain_no_memory
from cxr.training.setup import prepare
from tests.helpers.models import ALONE, Recipe


def saved_bytes(backbone: str, size: int) -> int:
    """Bytes of the distinct tensors that autograd keeps of one image in float32."""
    model = Classifier(backbone, 14).train().to(memory_format=torch.channels_last)
    own, seen = {one.data_ptr() for one in model.state_dict().values()}, dict[int, int]()

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            seen[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        kept = model(torch.zeros(2, 3, size, size))
    assert kept.requires_grad
    return sum(seen.values()) // 2


@pytest.mark.parametrize("backbone", ["resnet18", "densenet121"])
def test_the_table_of_activations_is_what_autograd_keeps(backbone: str) -> None:
    measured = saved_bytes(backbone, 112) * 4
    assert measured == pytest.approx(ACTIVATIONS_MB[backbone][0] * 1e6, rel=0.05)


def test_more_images_and_pixels_need_more_and_parts_need_less(make_recipe: Recipe, tmp_path: Path) -> None:
    def needs(*overrides: str) -> int:
        return bytes_for_steps(make_recipe(tmp_path, *overrides), 1, None) - bytes_for_steps(
            make_recipe(tmp_path), 1, None
        )

    assert needs("train.batch_size=4") < 0 < needs("train.batch_size=16")
    assert needs("train.batch_size=16", "train.accumulate=2") == 0
    assert needs("model.checkpointing=true") == pytest.approx(
        -0.4 * 8 * 22e6 * 1.3 * (32 / 224) ** 2, rel=0.01
    )
    assert needs("image.size=64") == pytest.approx(3 * 8 * 22e6 * 1.3 * (32 / 224) ** 2, rel=0.01)


def test_a_gpu_without_enough_memory_is_an_error_with_what_takes_less(
    make_recipe: Recipe, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def step(*_: object) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB. GPU 0 has ...")

    monkeypatch.setattr(loop, "train_step", step)
    with pytest.raises(CxrError) as error:
        loop.train(make_recipe(tmp_path / "run"), dataset, ALONE)
    assert error.value.render() == (
        "error: train.batch_size: 8 images of 32 pixels "
        "do not fit into the GPU's memory (CUDA out of memory)\n"
        "hint: train.accumulate=2 computes a batch in 2 micro-batches; or train.batch_size=4, "
        "or model.checkpointing=true, or store.where=ram, which keeps the images out of the GPU"
    )
    with pytest.raises(ValueError), explain_no_memory(make_recipe(tmp_path)):
        raise ValueError


def test_images_that_are_not_trained_on_are_not_placed(
    make_recipe: Recipe, dataset: Dataset, tmp_path: Path
) -> None:
    run = prepare(make_recipe(tmp_path, "store.where=ram"), dataset, ALONE)
    used = len(dataset.rows("train")) + len(dataset.rows("val"))
    assert len(run.loader.pixels) == used < len(dataset.table)
    rows = dataset.rows("val")
    (batch,) = run.loader.batches(rows, len(rows))
    assert (batch.images.numpy() == dataset.store.pixels[dataset.index[rows]]).all()
    with pytest.raises(IndexError):
        list(run.loader.batches(dataset.rows("test"), 4))
