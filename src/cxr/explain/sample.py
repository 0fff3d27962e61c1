"""The test images of a run that its behaviour is examined on, and their probabilities after a change."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cxr.arrays import Float32
from cxr.config.schema import Config
from cxr.console import count, progress
from cxr.data.loader import Batch, Loader, Rows
from cxr.data.placement import SharedPixels
from cxr.device import choose_device
from cxr.errors import CxrError
from cxr.evaluation.predictions import Predictions
from cxr.evaluation.statistics.bootstrap import Resampling, resampling_of
from cxr.evaluation.statistics.metrics import Float
from cxr.model.batch_size import InParts, find_batch_size
from cxr.model.candidate import Candidate, open_candidate
from cxr.model.classifier import Classifier
from cxr.model.dataset_notes import describe, note_others, note_patients
from cxr.model.external import is_external
from cxr.model.ood_fit import draw_patients
from cxr.model.predict import autocast_dtype, feature_map, forward

MAX_IMAGES = 2000
"""Images that are examined by default: whole patients, drawn at random."""

Change = Callable[[Tensor, Rows], Tensor]
"""Changes packed images uint8 [B, S, S] of dataset rows [B]; the result may be float, 0 to 255."""


@dataclass(frozen=True)
class Sample:
    """Test images of a run, as one image alone: no test-time augmentation, no study.

    Attributes:
        candidate: The model and its dataset.
        rows: [n] dataset rows.
        predictions: Of these rows.
        resampling: What is drawn for intervals; None where there are none.
        about: (key, value) pairs of a report.
        notes: What a reader must know.
    """

    candidate: Candidate
    rows: Rows
    predictions: Predictions
    resampling: Resampling | None
    about: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]

    @property
    def config(self) -> Config:
        """The run's, with overrides."""
        return self.candidate.config

    @property
    def patients(self) -> npt.NDArray[np.str_]:
        """[n] whose each image is; an image whose patient is unknown is a patient."""
        ids = self.candidate.dataset.table.rows["patient_id"]
        return ids.iloc[self.rows].to_numpy(dtype=str)

    @property
    def device(self) -> torch.device:
        """The model's."""
        return self.candidate.pixels.device

    def open_loader(self, rows: Rows) -> Loader:
        """Batches of some rows."""
        return self.candidate.pixels.open_loader(self.candidate.dataset, rows, self.config.store.where)

    def choose_batch_size(self) -> int:
        """Images that are predicted at once."""
        classifier, config = self.candidate.checkpoint.classifier, self.config
        return find_batch_size(classifier, self.compute, config.image, config.eval, self.device)

    def compute(self, images: Tensor) -> Tensor:
        """Logits [B, C] of packed images [B, S, S], uint8 or float."""
        dtype = autocast_dtype(self.config.train.precision, self.device)
        return forward(self.candidate.checkpoint.classifier, images, self.config.image.size, dtype)


def open_sample(run: Path, overrides: Sequence[str], device_name: str, max_images: int) -> Sample:
    """The test images of a run, or those of another dataset that data.source and data.root name.

    Args:
        run: Run folder or checkpoint.
        overrides: KEY=VALUE texts of data.*, store.* and eval.*.
        device_name: As the key `device`.
        max_images: At most; 0 for all. Whole patients are drawn.

    Raises:
        CxrError: A model that cxr did not train, no test images, seen patients, or wrong overrides.
    """
    if is_external(run):
        raise CxrError(f"{run}: names no dataset to examine it on", "give a run folder that cxr train wrote")
    if max_images < 0:
        raise CxrError(f"--max-images {max_images}: is negative", "give 0 for all images")
    candidate = open_candidate(run, overrides, SharedPixels(choose_device(device_name)))
    # 1. what may be examined: no image of a patient that the model has seen
    notes = [*candidate.notes, *candidate.check_split("test", allow_seen=False)]
    notes += [*note_patients(candidate.dataset), *note_others(candidate.dataset, candidate.checkpoint)]
    config = candidate.config
    if (config.eval.tta, config.eval.unit) != ("none", "image"):
        notes.append("each image is predicted as it is: eval.tta and eval.unit are not used here")
        # each image alone: a change is made to its square, not to its versions or to its study
        single = config.eval.model_copy(update={"tta": "none", "unit": "image"})
        config = config.model_copy(update={"eval": single})
    # 2. whole patients, as many as fit
    every = candidate.dataset.rows("test")
    rows = choose_rows(candidate, every, max_images)
    if len(rows) < len(every):
        notes.append(
            f"{len(rows):,} of {count(len(every), 'test image')}: whole patients drawn at random (seed 0); "
            "--max-images 0 takes all"
        )
    # the other rows are in no split, so that whatever takes the test images takes these
    assigned = candidate.dataset.assigned.copy()
    assigned[np.setdiff1d(every, rows)] = ""
    candidate = replace(candidate, config=config, dataset=replace(candidate.dataset, assigned=assigned))
    # 3. what the model says of the images as they are, the level that changes are compared with
    predictions = candidate.predict("test")
    resampling, resampling_notes = resampling_of(predictions.rows, config.eval)
    if config.eval.interval not in ("patients", "images"):
        resampling_notes.append(f"no intervals: eval.interval is {config.eval.interval}")
    trained = candidate.checkpoint.metadata
    about = (
        ("run", str(run)),
        ("model", f"{trained.config.model.backbone} at {config.image.size} pixels, epoch {trained.epoch}"),
        *describe(candidate.dataset, config.data),
        ("evaluated on", predictions.describe()),
    )
    return Sample(candidate, rows, predictions, resampling, about, (*notes, *resampling_notes))


def choose_rows(candidate: Candidate, rows: Rows, max_images: int) -> Rows:
    """All rows, or those of patients drawn at random, at most `max_images` of them; 0 for all.

    Raises:
        CxrError: So few that no patient fits.
    """
    if not max_images or len(rows) <= max_images:
        return rows
    patients = candidate.dataset.table.rows["patient_id"].iloc[rows].to_numpy(dtype=str)
    chosen = draw_patients(rows, patients, max_images)
    if not len(chosen):
        raise CxrError(f"--max-images {max_images}: no patient has so few images", "give more, or 0 for all")
    return chosen


def predict_changed(sample: Sample, changes: Mapping[str, Change], title: str) -> dict[str, Float]:
    """Probabilities [n, C] of the sample's images after each change, in one pass over the pixels."""
    classifier = sample.candidate.checkpoint.classifier
    in_parts = InParts(sample.compute, sample.choose_batch_size())
    found: dict[str, list[Float]] = {name: [] for name in changes}
    batches = sample.open_loader(sample.rows).batches(sample.rows, in_parts.batch_size)
    with progress() as bar:
        task = bar.add_task(title, total=len(sample.rows) * len(changes))
        for batch in batches:
            # every change of a batch while its pixels are at hand: they are read once
            for name, change in changes.items():
                logits = in_parts(change(batch.images, batch.rows))
                found[name].append(classifier.probabilities(logits).cpu().numpy().astype(np.float64))
                bar.advance(task, len(batch.rows))
    return {name: np.concatenate(parts) for name, parts in found.items()}


def feature_maps(
    sample: Sample, rows: Rows, networks: Mapping[str, Classifier], title: str
) -> Iterator[tuple[Batch, dict[str, Tensor]]]:
    """(batch, feature maps [B, D, h, w] of each network) over dataset rows, in their order."""
    dtype = autocast_dtype(sample.config.train.precision, sample.device)
    size = sample.config.image.size
    with progress() as bar:
        task = bar.add_task(title, total=len(rows))
        for batch in sample.open_loader(rows).batches(rows, sample.choose_batch_size()):
            features = {
                name: feature_map(network, batch.images, size, dtype) for name, network in networks.items()
            }
            yield batch, features
            bar.advance(task, len(batch.rows))


def pool(features: Tensor) -> Float32:
    """Pooled features [B, D], of which the last layer makes logits."""
    return np.asarray(features.float().mean(dim=(2, 3)).cpu().numpy(), np.float32)


def read_squares(sample: Sample, rows: Rows) -> Tensor:
    """Packed images uint8 [n, S, S] of dataset rows, on the device."""
    size = max(1, len(rows))
    return next(iter(sample.open_loader(rows).batches(rows, size))).images
