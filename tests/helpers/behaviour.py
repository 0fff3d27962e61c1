"""A sample of images with planted squares, and a model of which it is known what it reads."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from cxr.config.load import override
from cxr.config.schema import Config, Phantom
from cxr.data.dataset import Dataset, open_dataset
from cxr.data.placement import SharedPixels
from cxr.evaluation.statistics.bootstrap import resampling_of
from cxr.evaluation.thresholds import fixed
from cxr.explain.sample import Sample
from cxr.model import checkpoint as checkpoints
from cxr.model.candidate import Candidate
from cxr.model.classifier import Classifier
from cxr.phantom.dataset import generate

SIZE = 32
CORNER, MIDDLE = (slice(1, 5), slice(1, 5)), (slice(12, 18), slice(8, 14))
"""Where squares are planted: in a corner, and in the lung at the image's left."""
FINDINGS = ("Effusion", "Mass")
"""The first is read from the corner, the second from the lung."""


def by_key(table: pd.DataFrame, *names: str) -> dict[tuple[str, ...], Any]:
    """Each row as a dict, by its values in the columns of these names."""
    return {tuple(str(row[name]) for name in names): row for row in table.to_dict("records")}


class Reader(Classifier):
    """Reads the brightness of two places: logit = (brightness - 128) / 32."""

    def __init__(self) -> None:
        super().__init__("resnet18", len(FINDINGS))
        with torch.no_grad():
            self.head.weight.zero_()
            self.head.bias.fill_(-4)
            for number in range(len(FINDINGS)):
                self.head.weight[number, number] = 1 / 32

    def feature_map(self, images: Tensor) -> Tensor:
        """[B, 512, 1, 1] the brightness of the corner and of the lung, then zeros."""
        values = [images[(slice(None), slice(None), *place)].mean(dim=(2, 3)) for place in (CORNER, MIDDLE)]
        features = torch.cat(values, dim=1)
        rest = torch.zeros(len(images), self.head.in_features - features.shape[1])
        return torch.cat([features, rest], dim=1)[:, :, None, None]


@pytest.fixture(scope="session")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """400 generated images of 32 pixels; labels are drawn, and a square is bright where they are 1."""
    root = tmp_path_factory.mktemp("planted")
    generate(root / "data", Phantom(num_images=400, size=SIZE))
    values = {
        "data": {"source": "phantom", "root": root / "data", "findings": FINDINGS, "val_fraction": 0.3},
        "image": {"store_size": SIZE, "size": SIZE},
        "store": {"path": root / "store", "where": "disk"},
        "model": {"backbone": "resnet18", "weights": "none"},
        "train": {"precision": "fp32"},
    }
    dataset = open_dataset(override(Config.model_validate(values), []))
    pixels = np.array(dataset.store.pixels)
    noise = np.random.default_rng(0)
    labels_of = noise.integers(0, 2, dataset.targets.y.shape).astype(np.float32)
    for row, labels in enumerate(labels_of):
        for place, label in zip((CORNER, MIDDLE), labels, strict=True):
            pixels[(dataset.index[row], *place)] = np.clip(noise.normal(170 if label else 90, 30), 0, 255)
    targets = replace(dataset.targets, y=labels_of)
    return replace(dataset, targets=targets, store=replace(dataset.store, pixels=pixels, crc32=None))


@pytest.fixture(scope="session")
def make_sample(planted: Dataset, run: Path) -> Callable[..., Sample]:
    """Makes a Sample of the planted images: `make_sample(classifier, "eval.draws=100")`."""

    def make(classifier: Classifier | None = None, *overrides: str) -> Sample:
        trained = checkpoints.load(run)
        config = override(trained.metadata.config, ["eval.draws=200", *overrides])
        metadata = trained.metadata.model_copy(update={"findings": FINDINGS, "config": config})
        model = (classifier or Reader()).eval()
        checkpoint = replace(trained, classifier=model, metadata=metadata, thresholds=fixed(FINDINGS))
        pixels = SharedPixels(torch.device("cpu"))
        candidate = Candidate(run, checkpoint, config, planted, pixels)
        predictions = candidate.predict("test")
        resampling, _ = resampling_of(predictions.rows, config.eval)
        return Sample(candidate, planted.rows("test"), predictions, resampling, (("run", "planted"),), ())

    return make
