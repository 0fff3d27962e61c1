"""A checkpoint, or a model that cxr did not train, at work in PyTorch."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cxr.arrays import Float32, Float64
from cxr.console import warn
from cxr.deploy.runtime import Facts, name_model
from cxr.device import choose_device
from cxr.explain.cam import activation_maps
from cxr.images.grey import Grey
from cxr.model.checkpoint import Checkpoint
from cxr.model.classifier import Classifier
from cxr.model.external import is_external
from cxr.model.external_checkpoint import open_any
from cxr.model.predict import ood_vectors, predict_squares
from cxr.model.provenance import note_other_reports, note_unfinished


@dataclass(frozen=True)
class TorchAnswers:
    """As `Answers`; maps and embeddings are computed from features [B, D, h, w] when they are asked for."""

    probabilities: Float64
    scores: Float64 | None
    features: Tensor
    classifier: Classifier

    def read_maps(self, number: int) -> Float32:  # noqa: D102 - as of Answers
        return activation_maps(self.classifier, self.features[number])

    def read_embedding(self, number: int) -> Float32:  # noqa: D102 - as of Answers
        embedding: Float32 = self.features[number].float().mean(dim=(1, 2)).cpu().numpy()
        return embedding


@dataclass(frozen=True)
class TorchRuntime:
    """As `Runtime`, on the device of the checkpoint."""

    facts: Facts
    checkpoint: Checkpoint

    def predict(self, squares: Grey) -> TorchAnswers:  # noqa: D102 - as of Runtime
        images = torch.from_numpy(squares)  # uint8 [B, S, S]
        probabilities, features = predict_squares(self.checkpoint, images)  # [B, C], [B, D, h, w]
        scores = None
        if self.checkpoint.ood is not None:
            vectors = ood_vectors(features, images).cpu().numpy()
            scores = self.checkpoint.ood.score(vectors.astype(np.float64))
        return TorchAnswers(probabilities.cpu().numpy(), scores, features, self.checkpoint.classifier)


def make_runtime(run: Path | str, checkpoint: Checkpoint) -> TorchRuntime:
    """The runtime of a checkpoint that came from `run`."""
    metadata = checkpoint.metadata
    facts = Facts(
        name=name_model(run, checkpoint.sha256),
        findings=metadata.findings,
        thresholds=checkpoint.thresholds,
        recalibration=checkpoint.recalibration,
        preprocess=metadata.preprocess,
        measured=checkpoint.ood.measured if checkpoint.ood else None,
        backbone=metadata.config.model.backbone,
        size=metadata.config.image.size,
        num_features=checkpoint.classifier.head.in_features,
        sha256=checkpoint.sha256,
        version=metadata.versions.get("cxr", ""),
        unit=metadata.config.eval.unit,
        combine=metadata.config.eval.combine,
        views=metadata.config.data.views,
        checkpoint=checkpoint.sha256,
        logit_shift=tuple(checkpoint.classifier.logit_shift.tolist()),
    )
    return TorchRuntime(facts, checkpoint)


def open_torch(run: str, device_name: str = "auto", head_findings: str | None = None) -> TorchRuntime:
    """As `open_runtime`, of a run or of a model that cxr did not train."""
    checkpoint = open_any(run, choose_device(device_name), head_findings)
    if not is_external(run):
        path = Path(run)
        for note in (*note_unfinished(path, checkpoint), *note_other_reports(path, checkpoint)):
            warn(note)
    return make_runtime(run, checkpoint)
