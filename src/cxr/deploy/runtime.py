"""What `cxr predict`, `cxr serve` and `cxr.load` ask of a model, whichever program computes it (no torch).

A `Runtime` knows the `Facts` of its model and makes `Answers` of squares. Nothing else of a model is used by
writers, overlays and pages, so that they are the same for a run and for a file that was exported from it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from cxr.arrays import Float32, Float64
from cxr.evaluation.recalibration import Recalibration
from cxr.evaluation.thresholds import Thresholds
from cxr.images.grey import Grey
from cxr.images.prepare import Preprocess
from cxr.model.ood import MeasuredLimit

if TYPE_CHECKING:  # they import pandas, which an exported file needs nowhere
    from cxr.evaluation.study_rows import Unit
    from cxr.evaluation.units import Combine

BATCH_SIZE = 32


@dataclass(frozen=True)
class Facts:
    """What is known of a model without its weights.

    Attributes:
        name: How captions name it: without its folders, with the first digits of its checksum.
        findings: C names, in the order of all numbers.
        thresholds: Operating points chosen on the validation images of its training.
        recalibration: Fitted on the same images.
        preprocess: How an image becomes the square uint8 [S, S] that `Runtime.predict` takes.
        measured: The limit of the out-of-distribution score; None where the model has no such score.
        backbone: As `densenet121`.
        size: Width and height in pixels of what the network sees.
        num_features: D, the length of an embedding.
        sha256: Of the file with the weights; empty of a model that is no file of cxr.
        checkpoint: SHA-256 of the checkpoint whose metrics are this model's; empty where that is not known.
        version: The version of cxr that trained it; empty where that is not known.
        program: What computes it: torch, onnxruntime or openvino.
        unit: What the run is evaluated by, as the key `eval.unit`.
        combine: How probabilities of several images become one, as the key `eval.combine`.
        views: Those that it was trained on; None for all of its dataset, or where that is not known.
        logit_shift: C numbers, added to logits for the probabilities, to undo class weights of the training;
            empty where there are none.
    """

    name: str
    findings: tuple[str, ...]
    thresholds: Thresholds
    recalibration: Recalibration
    preprocess: Preprocess
    measured: MeasuredLimit | None
    backbone: str
    size: int
    num_features: int
    sha256: str = ""
    version: str = ""
    program: str = "torch"
    unit: "Unit" = "image"
    combine: "Combine" = "max"
    views: tuple[str, ...] | None = None
    checkpoint: str = ""
    logit_shift: tuple[float, ...] = ()


class Answers(Protocol):
    """What a model makes of a batch of B images, in its order."""

    @property
    def probabilities(self) -> Float64:
        """[B, C] the model's own, not calibrated: `Facts.recalibration` does that."""

    @property
    def scores(self) -> Float64 | None:
        """[B] how unlike the images of training each is; None where the model cannot tell."""

    def read_maps(self, number: int) -> Float32:
        """[C, h, w] class activation maps of one image; a map's mean plus the head's bias is the logit."""

    def read_embedding(self, number: int) -> Float32:
        """[D] the pooled features of one image."""


class Runtime(Protocol):
    """A model that is ready to predict."""

    @property
    def facts(self) -> Facts:
        """What is known of it."""

    def predict(self, squares: Grey) -> Answers:
        """The answers for prepared images uint8 [B, S, S]; may be called from one thread at a time."""


@dataclass(frozen=True)
class Square:
    """An image as the model sees it; its file is read again for an overlay, as 32 files may take 3 GB."""

    file: Path
    pixels: Grey
    notes: list[str]


@dataclass(frozen=True)
class Predicted:
    """What the model makes of one image.

    Attributes:
        probabilities: C numbers.
        score: How unlike the validation images of the training it is; None where the model cannot tell.
        answers: Of the batch that it was in.
        number: Its number in that batch.
    """

    probabilities: list[float]
    score: float | None
    answers: Answers
    number: int

    @property
    def maps(self) -> Float32:
        """[C, h, w] class activation maps, computed or read now."""
        return self.answers.read_maps(self.number)

    @property
    def embedding(self) -> Float32:
        """[D] the pooled features."""
        return self.answers.read_embedding(self.number)


def predict_batch(runtime: Runtime, batch: Sequence[Square]) -> list[Predicted]:
    """The predictions of a batch, in its order."""
    answers = runtime.predict(np.stack([image.pixels for image in batch]))
    scores: list[float | None] = [None] * len(batch)
    if answers.scores is not None:
        scores = answers.scores.tolist()
    rows = zip(answers.probabilities.tolist(), scores, strict=True)
    return [Predicted(row, score, answers, number) for number, (row, score) in enumerate(rows)]


def name_model(model: Path | str, sha256: str) -> str:
    """How a caption names a model: without its folders, with the first digits of its checksum."""
    path = Path(model)
    name = f"{path.parent.name}/{path.name}" if path.is_file() and path.parent.name else path.name
    return f"{name} ({sha256[:8]})" if sha256 else name
