"""Checkpoints and a dataset -> Report: the only path from trained models to a metric outside training."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch

from cxr.config.schema import Eval
from cxr.console import count
from cxr.data.placement import SharedPixels
from cxr.device import choose_device
from cxr.evaluation.align import Average, average
from cxr.evaluation.compare import Compared
from cxr.evaluation.join import DEFAULT, LabelOptions
from cxr.evaluation.predictions import Predictions
from cxr.evaluation.recalibration import Recalibration, fit
from cxr.evaluation.report import Report, add_references, score
from cxr.evaluation.thresholds import Thresholds, choose
from cxr.evaluation.units import combine
from cxr.model import external_report, provenance
from cxr.model.candidate import Candidate, open_candidate, overrides_for
from cxr.model.dataset_notes import describe, note_others, note_patients
from cxr.model.leak_check import shares_validation_images


def evaluate_runs(
    runs: Sequence[Path],
    overrides: Sequence[str],
    split: str,
    averaged: Average = "probabilities",
    allow_seen: bool = False,
    recipe: Path | None = None,
    second: Sequence[Path] = (),
    options: LabelOptions = DEFAULT,
) -> tuple[Report, Predictions]:
    """The report of a checkpoint, or of an ensemble, on the train, val or test images of their configs.

    See `open_candidates` and `evaluate_candidates`.
    """
    candidates = open_candidates(runs, overrides, recipe)
    return evaluate_candidates(candidates, split, averaged, allow_seen, second, options)


def open_candidates(
    runs: Sequence[Path], overrides: Sequence[str], recipe: Path | None = None
) -> list[Candidate]:
    """The models and the images that they are evaluated on.

    A run may be `xrv:NAME`, a model of torchxrayvision, or a file of weights from elsewhere; as it is, such a
    model is evaluated on the images of `recipe`.
    """
    pixels = SharedPixels(_choose_device(overrides))
    return [open_candidate(run, overrides_for(run, runs, overrides), pixels, recipe) for run in runs]


def evaluate_candidates(
    candidates: Sequence[Candidate],
    split: str,
    averaged: Average = "probabilities",
    allow_seen: bool = False,
    second: Sequence[Path] = (),
    options: LabelOptions = DEFAULT,
) -> tuple[Report, Predictions]:
    """The report of a model, or of several as an ensemble, and the predictions that it is about.

    Thresholds are the checkpoint's, chosen on the validation images of its training; for an ensemble, other
    versions of the images (TTA) or another rule they are chosen again, on validation images that the models
    then predict too. `second` are further tables of labels, read with `options`.

    Raises:
        CxrError: No images, pixels prepared in another way, or patients that a model was trained on (unless
            allowed).
    """
    first = candidates[0]
    notes = []
    for candidate in candidates:
        notes += [*candidate.notes, *candidate.check_split(split, allow_seen)]
    notes += note_patients(first.dataset)
    images, prediction_notes = _predict(candidates, split, averaged)
    predictions = _combine(candidates, images)
    # Thresholds before the score, and from validation images: those that are evaluated choose nothing.
    thresholds, recalibration, image_thresholds = _operating_points(candidates, averaged, allow_seen)
    notes = [*_note_other_datasets(candidates, thresholds), *notes, *prediction_notes, *predictions.notes]
    thresholds = _forget_unrelated(first, thresholds)
    about = _about(candidates, averaged)
    by_image = (images, _forget_unrelated(first, image_thresholds))
    report = score(
        predictions, thresholds, about, notes, first.config.eval, recalibration,
        by_image if predictions.unit != images.unit else None,
    )  # fmt: skip
    return add_references(report, predictions, second, first.config.eval, options), predictions


def predict_for_comparison(
    run: Path, overrides: Sequence[str], split: str, recipe: Path | None = None
) -> tuple[Compared, Eval]:
    """One side of a comparison, and the section `eval` of its config."""
    candidate = open_candidate(run, overrides, SharedPixels(_choose_device(overrides)), recipe)
    notes = (*candidate.notes, *candidate.check_split(split, allow_seen=False))
    thresholds, _, _ = _operating_points([candidate], "probabilities")
    images, more = _predict([candidate], split, "probabilities")
    predictions = _combine([candidate], images)
    more += predictions.notes
    made = tuple(_describe_images(candidate))
    return Compared(str(run), predictions, thresholds, (*notes, *more), made), candidate.config.eval


def _choose_device(overrides: Sequence[str]) -> torch.device:
    """The device that the last of the overrides names."""
    # the device is needed before the configs of the runs are read
    asked = [text.removeprefix("device=") for text in overrides if text.startswith("device=")]
    return choose_device(asked[-1] if asked else "auto")


def _predict(candidates: Sequence[Candidate], split: str, averaged: Average) -> tuple[Predictions, list[str]]:
    """(predictions of the images of a split, averaged over the models; notes on them)."""
    each = [(str(candidate.run), candidate.predict(split)) for candidate in candidates]
    return average(each, averaged) if len(each) > 1 else (each[0][1], [])


def _combine(candidates: Sequence[Candidate], images: Predictions) -> Predictions:
    """The predictions per image, study or patient, as the first model's config says."""
    section = candidates[0].config.eval
    return combine(images, section.unit, section.combine)


class _Points(NamedTuple):
    """Thresholds and calibration of the unit that is evaluated, and thresholds of single images."""

    thresholds: Thresholds
    recalibration: Recalibration
    of_images: Thresholds


def _operating_points(
    candidates: Sequence[Candidate], averaged: Average, allow_seen: bool = False
) -> _Points:
    """Those of a checkpoint that is evaluated as it was validated, else chosen on validation images now.

    A training validates images one by one, whatever its `eval.unit`: thresholds of studies and patients are
    always chosen now.
    """
    first = candidates[0]
    trained, now = first.checkpoint.metadata.config.eval, first.config.eval
    own, its_calibration = first.checkpoint.thresholds, first.checkpoint.recalibration
    if first.external:
        has_own = is_final = not len(first.dataset.rows("val"))  # thresholds of 0.5, chosen on no images
    else:
        has_own = _threshold_keys(trained) == _threshold_keys(now)
        is_final = has_own and now.unit == "image"
    if len(candidates) == 1 and is_final:
        return _Points(own, its_calibration, own)
    for candidate in candidates:
        # validation images of this dataset may be training images of the model
        candidate.check_split("val", allow_seen)
    # An ensemble, other versions of the images or another unit are
    # another model: its thresholds are chosen now.
    images, _ = _predict(candidates, "val", averaged)
    validated = _combine(candidates, images)
    is_own = len(candidates) == 1 and has_own
    of_images = own if is_own or now.unit == "image" else choose(images, now.threshold)
    return _Points(choose(validated, now.threshold), fit(validated, now), of_images)


def _threshold_keys(section: Eval) -> tuple[object, ...]:
    """The keys that thresholds of images were chosen and prediction sets fitted under."""
    return section.threshold, section.tta, section.coverage


def _forget_unrelated(candidate: Candidate, thresholds: Thresholds) -> Thresholds:
    """The thresholds without the hashes of their images if these share only file names with the dataset."""
    is_own = thresholds is candidate.checkpoint.thresholds
    if not is_own or shares_validation_images(candidate.dataset, candidate.checkpoint):
        return thresholds
    return replace(thresholds, images=frozenset())


def _note_other_datasets(candidates: Sequence[Candidate], thresholds: Thresholds) -> list[str]:
    """Notes on datasets that were no part of the training, and on thresholds that come from them."""
    notes = []
    for candidate in candidates:
        if not candidate.external:  # whose notes say what it may have seen
            notes += note_others(candidate.dataset, candidate.checkpoint)
    # `is not`: chosen anew, whatever their values
    if notes and thresholds is not candidates[0].checkpoint.thresholds:
        notes.append(
            "thresholds were chosen on validation images of the dataset evaluated, "
            "not on those of the training"
        )
    return list(dict.fromkeys(notes))


def _about(candidates: Sequence[Candidate], averaged: Average) -> list[tuple[str, str]]:
    """(key, value) pairs of the report: models, data, pixels, versions."""
    first = candidates[0]
    trained = first.checkpoint.metadata
    about = [("run", ", ".join(str(candidate.run) for candidate in candidates))]
    if len(candidates) > 1:
        about.append(("ensemble", f"mean of the {averaged} of {len(candidates)} models"))
    for candidate in candidates:
        about += _about_model(candidate)
    files = [provenance.describe(candidate.run, candidate.checkpoint) for candidate in candidates
             if not candidate.external]  # fmt: skip
    if files:
        about.append((provenance.KEY, "; ".join(files)))
    about += describe(first.dataset, first.config.data)
    dropped = ", ".join(f"{num:,} {reason}" for reason, num in first.dataset.dropped.items() if num)
    about += [("dropped rows", dropped or "none"), *_describe_images(first)]
    if not first.external:
        about.append(("loss weighting", f"{trained.config.loss.weighting}, undone in the probabilities"))
    versions = ", ".join(f"{name} {number}" for name, number in trained.versions.items())
    return [*about, ("versions", versions)]


def _describe_images(candidate: Candidate) -> list[tuple[str, str]]:
    """(key, value) pairs with the keys of `compare.MADE`: how a model sees which images."""
    prepared, config = candidate.checkpoint.metadata.preprocess, candidate.config
    how_prepared = f"{prepared.size} ({prepared.fit}, {prepared.resize}, {prepared.intensity})"
    if prepared.borders != "keep":
        how_prepared += f" without borders ({prepared.borders})"
    sections = (config.data, *config.data.also)
    views = dict.fromkeys(", ".join(section.views or ("all",)) for section in sections)
    return [
        ("pixels", f"{how_prepared} to {config.image.size}"),
        ("views", "; ".join(views)),
        ("test-time augmentation", config.eval.tta),
    ]


def _about_model(candidate: Candidate) -> list[tuple[str, str]]:
    if candidate.external:
        return external_report.about(candidate.external)
    trained = candidate.checkpoint.metadata
    num_images = count(trained.split.num_images["train"], "image")
    return [
        ("model", f"{trained.config.model.backbone}, epoch {trained.epoch}, step {trained.step:,}"),
        ("trained on", f"{num_images}, {trained.split.name}"),
    ]
