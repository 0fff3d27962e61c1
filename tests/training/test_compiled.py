"""Compiled training: one compilation a run, whatever the sizes of its batches."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch._dynamo.testing import CompileCounter

from cxr.data.dataset import Dataset
from cxr.training.train import train
from tests.helpers.models import ALONE, Recipe
from tests.training.test_train import assert_same_run


def test_epochs_with_a_ragged_last_batch_are_compiled_once(
    make_recipe: Recipe, dataset: Dataset, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.compiler.reset()
    counter, compile_with = CompileCounter(), torch.compile

    def count(model: torch.nn.Module, **options: Any) -> object:  # noqa: ANN401  as torch.compile takes them
        return compile_with(model, backend=counter, **options | {"mode": None})

    monkeypatch.setattr(torch, "compile", count)
    assert len(dataset.rows("train")) % 8
    compiled = train(make_recipe(tmp_path, "train.compile=true"), dataset, ALONE)
    assert counter.frame_count == 1
    assert_same_run(compiled, trained)
