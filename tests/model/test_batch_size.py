"""How many images are predicted at once."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from cxr.model import batch_size
from cxr.model.batch_size import InParts, choose, find_batch_size
from cxr.model.predict import prediction
from tests.helpers.models import Recipe

CUDA = torch.device("cuda")


class Gpu:
    """A GPU on which an image takes `each` bytes, and cuDNN keeps a workspace from the first batch on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, each: int, free: int) -> None:
        self.each, self.peak, self.seen, self.batches = each, 0, set[int](), list[int]()
        monkeypatch.setattr(batch_size, "_peak", self.measure)
        monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 0)
        monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 0)
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free, 10**12))

    def measure(self, compute: object, num: int, store_size: int, device: torch.device) -> int:
        workspace = 0 if num in self.seen else 10**9
        self.seen.add(num)
        self.batches.append(num)
        return num * self.each + workspace


def nothing(images: Tensor) -> Tensor:
    return images


def test_the_memory_of_an_image_is_the_models_and_not_cudnns_workspace(
    make_recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu, model = Gpu(monkeypatch, each=10**7, free=10**9), nn.Identity()
    config = make_recipe(tmp_path)
    found = [find_batch_size(model, nothing, config.image, config.eval, CUDA) for _ in range(3)]
    assert found == [64] * 3  # 80 fit
    assert gpu.batches == [8, 8, 16, 16]  # once a run
    seven = make_recipe(tmp_path, "eval.batch_size=7").eval
    assert find_batch_size(model, nothing, config.image, seven, CUDA) == 7
    assert find_batch_size(model, nothing, config.image, config.eval, torch.device("cpu")) == 32


@pytest.mark.parametrize(
    ("free", "each", "size", "num"),
    [(10**9, 10**7, 224, 64), (10**12, 1, 224, 256), (10**7, 10**8, 224, 1), (10**12, 1, 2048, 31 // 2 + 1),
     (10**12, 1, 1024, 64)],
)  # fmt: skip
def test_a_batch_is_a_power_of_two_that_fits_and_can_be_counted(
    free: int, each: int, size: int, num: int
) -> None:
    assert choose(free, each, size) == num
    assert num == 1 or num * 16 * size * size < 2**31


def test_too_many_images_are_halved_until_they_fit(capsys: pytest.CaptureFixture[str]) -> None:
    def compute(images: Tensor) -> Tensor:
        if len(images) > 3:
            raise torch.OutOfMemoryError
        return images * 2

    parts = InParts(compute, 16)
    images = torch.arange(10)
    assert torch.equal(parts(images), images * 2) and parts.batch_size == 2
    with pytest.raises(torch.OutOfMemoryError):
        InParts(compute=lambda images: compute(torch.zeros(9)), batch_size=4)(images)


def test_predicting_tries_out_no_kernels_and_training_does_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    with prediction():
        assert not torch.backends.cudnn.benchmark and torch.is_inference_mode_enabled()
    assert torch.backends.cudnn.benchmark
