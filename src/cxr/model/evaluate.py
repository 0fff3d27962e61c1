"""Checkpoints and a dataset -> Report: the only path from trained models to a figure outside training."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from cxr.config.load import load
from cxr.config.schema import Config, Eval
from cxr.console import count, warn
from cxr.data.dataset import Dataset, open_dataset, preprocess
from cxr.data.freed_memory import keep_freed_memory
from cxr.data.placement import SharedPixels
from cxr.device import choose_device
from cxr.distributed import World
from cxr.errors import CxrError
from cxr.evaluation.align import Average, average
from cxr.evaluation.calibration import Temperatures, fit
from cxr.evaluation.compare import Compared
from cxr.evaluation.predictions import Predictions
from cxr.evaluation.report import Report, score
from cxr.evaluation.thresholds import Thresholds, choose
from cxr.evaluation.units import combine
from cxr.model import checkpoint as checkpoints
from cxr.model import pretrained, provenance, xrv
from cxr.model.checkpoint import Checkpoint
from cxr.model.datasets import (
    check_seen,
    describe,
    guard_is_off,
    judged_config,
    note_others,
    note_patients,
    shares_validation_rows,
)
from cxr.model.predict import predict_dataset
from cxr.model.pretrained import Guest


@dataclass(frozen=True)
class Candidate:
    """A trained model and the dataset it is evaluated on; `pretrained` where no run of cxr trained it."""

    run: Path
    checkpoint: Checkpoint
    config: Config
    dataset: Dataset
    pixels: SharedPixels
    pretrained: Guest | None = None
    notes: tuple[str, ...] = ()

    def predict(self, fold: str) -> Predictions:
        """Its predictions of the train, val or test rows."""
        world = World(0, 1, 1, self.pixels.device)
        loader = self.pixels.open_loader(self.dataset, self.dataset.rows(fold), self.config.store.where)
        return predict_dataset(self.checkpoint.classifier, loader, self.dataset, fold, self.config, world)[0]


def evaluate_runs(
    runs: Sequence[Path],
    overrides: Sequence[str],
    fold: str,
    averaged: Average = "probabilities",
    allow_seen: bool = False,
    recipe: Path | None = None,
) -> tuple[Report, Predictions]:
    """The report of one checkpoint, or of several as an ensemble, on the train, val or test rows of their own configs.

    A run may be `xrv:NAME`, a model of torchxrayvision, or a file of weights from elsewhere; as it is, such a model
    judges the rows of `recipe`.

    Thresholds are the checkpoint's, chosen on the validation rows of its training; for an ensemble, other views or
    another rule they are chosen anew, on the validation rows that the models then predict too.

    Raises:
        CxrError: No rows, pixels prepared in another way, or patients that a model was trained on (unless allowed).
    """
    pixels = SharedPixels(_choose_device(overrides))
    candidates = [open_candidate(run, overrides_for(run, runs, overrides), pixels, recipe) for run in runs]
    seen = [note for own in candidates for note in (*own.notes, *_check_rows(own, fold, allow_seen))]
    seen += note_patients(candidates[0].dataset)
    predictions, left_out = _predict(candidates, fold, averaged)
    thresholds, temperatures = _operating_points(candidates, averaged, allow_seen)
    others = _other_notes(candidates, thresholds)
    thresholds = _without_chance(candidates[0], thresholds)
    about = _about(candidates, averaged)
    how = candidates[0].config.eval
    return score(predictions, thresholds, about, [*others, *seen, *left_out], how, temperatures), predictions


def judge(
    run: Path, overrides: Sequence[str], fold: str, recipe: Path | None = None
) -> tuple[Compared, Eval]:
    """One side of a comparison: a checkpoint's predictions of a fold and its operating points, and how to judge."""
    candidate = open_candidate(run, overrides, SharedPixels(_choose_device(overrides)), recipe)
    notes = (*candidate.notes, *_check_rows(candidate, fold, allow_seen=False))
    thresholds, _ = _operating_points([candidate], "probabilities")
    predictions, more = _predict([candidate], fold, "probabilities")
    return Compared(str(run), predictions, thresholds, (*notes, *more)), candidate.config.eval


def _choose_device(overrides: Sequence[str]) -> torch.device:
    asked = next(
        (text.removeprefix("device=") for text in reversed(overrides) if text.startswith("device=")), "auto"
    )
    return choose_device(asked)


def open_candidate(
    run: Path, overrides: Sequence[str], pixels: SharedPixels, recipe: Path | None = None
) -> Candidate:
    """A checkpoint with the data of its own config, or a model from elsewhere with that of a recipe, and overrides."""
    if pretrained.is_guest(run):
        return _open_pretrained(str(run), overrides, recipe, pixels)
    checkpoint = checkpoints.load(run, pixels.device)
    config = judged_config(checkpoint.metadata.config, checkpoint.metadata.findings, overrides)
    _check_config(config, checkpoint, run)
    if why := guard_is_off(checkpoint):
        warn(f"{run}: the leak guard is off: {why}")
    notes = tuple(provenance.note_unfinished(run, checkpoint))
    keep_freed_memory(pixels.device)
    return Candidate(run, checkpoint, config, open_dataset(config, partly=True), pixels, notes=notes)


def overrides_for(run: Path, runs: Sequence[Path], overrides: Sequence[str]) -> list[str]:
    """The overrides for one of several models: what a file's outputs are is not said of a run beside it."""
    beside = not pretrained.is_guest(run) and any(pretrained.is_guest(other) for other in runs)
    return [text for text in overrides if not (beside and text.startswith("model.head_findings="))]


def _open_pretrained(
    name: str, overrides: Sequence[str], recipe: Path | None, pixels: SharedPixels
) -> Candidate:
    """A model from elsewhere with the data of a recipe: a YAML file, or a run whose own it takes."""
    published = xrv.find(name) if xrv.is_named(name) else None
    if recipe is None:
        if not published:
            pretrained.find_network(name)  # a file that is no model is told so first
        names = "" if published else " model.head_findings=nih14"
        hint = f"cxr eval {name} configs/nih_densenet121.yaml data.root=FOLDER{names}"
        raise CxrError(f"{name}: has no data of its own to be judged on", hint)
    _refuse_training_keys(name, overrides)
    is_run = recipe.suffix not in (".yaml", ".yml")
    if not is_run:
        config = load(recipe, overrides)
    else:  # a run, whose rows are the same at any size
        known, size = checkpoints.load(recipe).metadata, [f"image.size={published.size}"] if published else []
        config = judged_config(known.config, known.findings, [*size, *overrides])
    # everything that may be wrong with the model is known before hours of packing
    model = pretrained.open_guest(name, config.model.head_findings)
    config = pretrained.fit_config(model, config, str(recipe))
    pretrained.fetch(model, config)
    every = open_dataset(config, partly=is_run)
    dataset = pretrained.keep_trained(model, every)
    keep_freed_memory(pixels.device)
    checkpoint = pretrained.as_checkpoint(model, config, dataset.targets.findings, pixels.device)
    notes = pretrained.notes(model, config, every, dataset)
    return Candidate(Path(name), checkpoint, config, dataset, pixels, model, notes)


def _refuse_training_keys(name: str, overrides: Sequence[str]) -> None:
    """Refuse overrides that change nothing where the model is as its file has it."""
    fixed = ("model.", "train.", "loss.", "seed=")
    given = [
        text for text in overrides if text.startswith(fixed) and not text.startswith("model.head_findings=")
    ]
    if given:
        what = [f"{name}: {text} changes nothing: the file says what the model is" for text in given]
        raise CxrError(what, "leave it out; of model.* only model.head_findings is used here")


def _predict(candidates: Sequence[Candidate], fold: str, averaged: Average) -> tuple[Predictions, list[str]]:
    every = [(str(candidate.run), candidate.predict(fold)) for candidate in candidates]
    how = candidates[0].config.eval
    predictions, notes = average(every, averaged) if len(every) > 1 else (every[0][1], [])
    combined = combine(predictions, how.unit, how.combine)
    return combined, [*notes, *combined.notes]


def _operating_points(
    candidates: Sequence[Candidate], averaged: Average, allow_seen: bool = False
) -> tuple[Thresholds, Temperatures]:
    """Those of a single checkpoint that is judged as it was validated, else chosen on validation rows now."""
    first = candidates[0]
    trained, now = first.checkpoint.metadata.config.eval, first.config.eval
    if len(candidates) == 1 and first.pretrained and not len(first.dataset.rows("val")):
        return first.checkpoint.thresholds, first.checkpoint.temperatures  # 0.5, chosen on no rows
    as_validated = not first.pretrained and _what_decides(trained) == _what_decides(now)
    if len(candidates) == 1 and as_validated:
        return first.checkpoint.thresholds, first.checkpoint.temperatures
    for candidate in candidates:
        _check_rows(candidate, "val", allow_seen)
    validated, _ = _predict(candidates, "val", averaged)
    return choose(validated, now.threshold), fit(validated)


def _without_chance(candidate: Candidate, thresholds: Thresholds) -> Thresholds:
    """The thresholds, which know no image of a dataset that shares but file names with their validation rows."""
    is_own = thresholds is candidate.checkpoint.thresholds
    if not is_own or shares_validation_rows(candidate.dataset, candidate.checkpoint):
        return thresholds
    return replace(thresholds, images=frozenset())


def _what_decides(how: Eval) -> tuple[object, ...]:
    """The keys that thresholds were chosen under."""
    return how.threshold, how.tta, how.unit, how.combine


def _other_notes(candidates: Sequence[Candidate], thresholds: Thresholds) -> list[str]:
    """Notes on archives that were no part of the training, and on thresholds that come from them."""
    own = [
        candidate for candidate in candidates if not candidate.pretrained
    ]  # what the others saw is told elsewhere
    notes = [note for candidate in own for note in note_others(candidate.dataset, candidate.checkpoint)]
    if notes and thresholds is not candidates[0].checkpoint.thresholds:
        notes.append(
            "thresholds were chosen on validation rows of the archive judged, not on those of the training"
        )
    return list(dict.fromkeys(notes))


def _check_config(config: Config, checkpoint: Checkpoint, run: Path) -> None:
    trained = checkpoint.metadata
    problems = []
    if preprocess(config) != trained.preprocess:
        problems.append(f"{run}: trained on {trained.preprocess}, asked to read {preprocess(config)}")
    if config.image.size != trained.config.image.size:
        problems.append(
            f"{run}: trained at {trained.config.image.size} pixels, asked for {config.image.size}"
        )
    if config.data.findings != trained.findings:
        problems.append(f"{run}: data.findings cannot change, the model has its own")
    for section in ("model", "loss", "train", "seed"):
        if getattr(config, section) != getattr(trained.config, section):
            problems.append(f"{run}: {section} cannot change after training")
    if problems:
        raise CxrError(problems, "override data.*, store.* and eval.* only; the checkpoint fixes the rest")


def _check_rows(candidate: Candidate, fold: str, allow_seen: bool) -> list[str]:
    """Notes on patients that the model has seen; judging them is refused unless it is allowed."""
    rows = candidate.dataset.rows(fold)
    if not len(rows):
        what = f"{candidate.config.data.root}: no images for {fold}"
        raise CxrError(what, "--split val or train, or another data.split")
    if candidate.pretrained:  # what it saw is told elsewhere
        return []
    return check_seen(str(candidate.run), candidate.dataset, candidate.checkpoint, fold, allow_seen)


def _about(candidates: Sequence[Candidate], averaged: Average) -> list[tuple[str, str]]:
    first = candidates[0]
    how, dataset = first.checkpoint.metadata.preprocess, first.dataset
    dropped = ", ".join(f"{num:,} {reason}" for reason, num in dataset.dropped.items() if num)
    models = [pair for candidate in candidates for pair in _about_model(candidate)]
    if len(candidates) > 1:
        models = [("ensemble", f"mean of the {averaged} of {len(candidates)} models"), *models]
    trained = first.checkpoint.metadata
    files = [provenance.describe(one.run, one.checkpoint) for one in candidates if not one.pretrained]
    weighting = [] if first.pretrained else [f"{trained.config.loss.weighting}, undone in the probabilities"]
    return [
        ("run", ", ".join(str(candidate.run) for candidate in candidates)),
        *models,
        *([(provenance.KEY, "; ".join(files))] if files else []),
        *describe(dataset, first.config),
        ("dropped rows", dropped or "none"),
        ("pixels", f"{how.size} ({how.fit}, {how.resize}, {how.intensity}) to {first.config.image.size}"),
        ("test-time augmentation", first.config.eval.tta),
        *(("loss weighting", text) for text in weighting),
        ("versions", ", ".join(f"{name} {number}" for name, number in trained.versions.items())),
    ]


def _about_model(candidate: Candidate) -> list[tuple[str, str]]:
    if candidate.pretrained:
        return pretrained.about(candidate.pretrained)
    trained = candidate.checkpoint.metadata
    return [
        ("model", f"{trained.config.model.backbone}, epoch {trained.epoch}, step {trained.step:,}"),
        ("trained on", f"{count(trained.split.num_images['train'], 'image')}, {trained.split.name}"),
    ]
