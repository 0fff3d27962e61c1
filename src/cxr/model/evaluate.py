"""Checkpoints and a dataset -> Report: the only path from trained models to a figure outside training."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from cxr.config import Config, Eval
from cxr.config_file import load
from cxr.console import count, warn
from cxr.data.dataset import Dataset, open_dataset, preprocess
from cxr.data.heap import keep_freed_memory
from cxr.data.loader import Loader
from cxr.data.residence import place
from cxr.errors import CxrError
from cxr.evaluation.align import Average, average
from cxr.evaluation.calibration import Temperatures, fit
from cxr.evaluation.compare import Judged
from cxr.evaluation.predictions import Predictions
from cxr.evaluation.report import Report, score
from cxr.evaluation.thresholds import Thresholds, choose
from cxr.model import checkpoint as checkpoints
from cxr.model import pretrained, provenance, xrv
from cxr.model.archives import check_seen, describe, guard_is_off, judged_config, note_others
from cxr.model.checkpoint import Checkpoint
from cxr.model.distributed import World
from cxr.model.predict import predict_dataset


@dataclass(frozen=True)
class Candidate:
    """A trained model and the rows it is to judge; `pretrained` where it comes from torchxrayvision, not from a run."""

    run: Path
    checkpoint: Checkpoint
    config: Config
    dataset: Dataset
    loader: Loader
    pretrained: xrv.Pretrained | None = None
    notes: tuple[str, ...] = ()

    def predict(self, fold: str) -> Predictions:
        """Its predictions of the train, val or test rows."""
        world = World(0, 1, 1, self.loader.device)
        model = self.checkpoint.classifier
        return predict_dataset(model, self.loader, self.dataset, fold, self.config, world)[0]


def evaluate_runs(
    runs: Sequence[Path],
    overrides: Sequence[str],
    fold: str,
    averaged: Average = "probabilities",
    allow_seen: bool = False,
    recipe: Path | None = None,
) -> tuple[Report, Predictions]:
    """The report of one checkpoint, or of several as an ensemble, on the train, val or test rows of their own configs.

    A run may be `xrv:NAME`, a model of torchxrayvision as it is, which judges the rows of `recipe`.

    Thresholds are the checkpoint's, chosen on the validation rows of its training; for an ensemble, other views or
    another rule they are chosen anew, on the validation rows that the models then predict too.

    Raises:
        CxrError: No rows, pixels prepared in another way, or patients that a model was trained on (unless allowed).
    """
    candidates = [open_candidate(run, overrides, recipe) for run in runs]
    seen = [note for own in candidates for note in (*own.notes, *_check_rows(own, fold, allow_seen))]
    predictions, left_out = _predict(candidates, fold, averaged)
    thresholds, temperatures = _operating_points(candidates, averaged, allow_seen)
    others = _other_notes(candidates, thresholds)
    about = _about(candidates, averaged)
    how = candidates[0].config.eval
    return score(predictions, thresholds, about, [*others, *seen, *left_out], how, temperatures), predictions


def judge(run: Path, overrides: Sequence[str], fold: str, recipe: Path | None = None) -> tuple[Judged, Eval]:
    """One side of a comparison: a checkpoint's predictions of a fold and its operating points, and how to judge."""
    candidate = open_candidate(run, overrides, recipe)
    notes = (*candidate.notes, *_check_rows(candidate, fold, allow_seen=False))
    thresholds, _ = _operating_points([candidate], "probabilities")
    return Judged(str(run), candidate.predict(fold), thresholds, notes), candidate.config.eval


def open_candidate(run: Path, overrides: Sequence[str], recipe: Path | None = None) -> Candidate:
    """A checkpoint with the data of its own config, or `xrv:NAME` with that of a recipe, overrides laid over it."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if xrv.is_named(run):
        return _open_pretrained(xrv.find(run), overrides, recipe, device)
    checkpoint = checkpoints.load(run, device)
    config = judged_config(checkpoint.metadata.config, checkpoint.metadata.findings, overrides)
    _check_config(config, checkpoint, run)
    if why := guard_is_off(checkpoint):
        warn(f"{run}: the leak guard is off: {why}")
    notes = tuple(provenance.note_unfinished(run, checkpoint))
    dataset = open_dataset(config, partly=True)
    return Candidate(run, checkpoint, config, dataset, _open_loader(config, dataset, device), notes=notes)


def _open_pretrained(
    model: xrv.Pretrained, overrides: Sequence[str], recipe: Path | None, device: torch.device
) -> Candidate:
    """A model of torchxrayvision with the data of a recipe: a YAML file, or a run whose own it takes."""
    if recipe is None:
        hint = f"cxr eval {model} configs/nih_densenet121.yaml data.root=FOLDER"
        raise CxrError(f"{model}: has no data of its own to be judged on", hint)
    is_run = recipe.suffix not in (".yaml", ".yml")
    if not is_run:
        config = load(recipe, overrides)
    else:  # a run, whose rows are the same at any size
        known = checkpoints.load(recipe).metadata
        config = judged_config(known.config, known.findings, [f"image.size={model.size}", *overrides])
    config = pretrained.fit_config(model, config, str(recipe))
    xrv.fetch(model)  # before hours of packing
    every = open_dataset(config, partly=is_run)
    dataset = pretrained.keep_trained(model, every)
    checkpoint = pretrained.as_checkpoint(model, config, dataset.targets.findings, device)
    loader = _open_loader(config, dataset, device)
    notes = pretrained.notes(model, config, every, dataset)
    return Candidate(Path(str(model)), checkpoint, config, dataset, loader, model, notes)


def _open_loader(config: Config, dataset: Dataset, device: torch.device) -> Loader:
    keep_freed_memory(device)
    pixels, _ = place(dataset.store, config.store.where, device)
    return Loader(pixels, dataset.index, dataset.targets, device)


def _predict(candidates: Sequence[Candidate], fold: str, averaged: Average) -> tuple[Predictions, list[str]]:
    every = [(str(candidate.run), candidate.predict(fold)) for candidate in candidates]
    return average(every, averaged) if len(every) > 1 else (every[0][1], [])


def _operating_points(
    candidates: Sequence[Candidate], averaged: Average, allow_seen: bool = False
) -> tuple[Thresholds, Temperatures]:
    """Those of a single checkpoint that is judged as it was validated, else chosen on validation rows now."""
    first = candidates[0]
    trained, now = first.checkpoint.metadata.config.eval, first.config.eval
    as_validated = not first.pretrained and (trained.threshold, trained.views) == (now.threshold, now.views)
    if len(candidates) == 1 and as_validated:
        return first.checkpoint.thresholds, first.checkpoint.temperatures
    for candidate in candidates:
        _check_rows(candidate, "val", allow_seen)
    validated, _ = _predict(candidates, "val", averaged)
    return choose(validated, now.threshold), fit(validated)


def _other_notes(candidates: Sequence[Candidate], thresholds: Thresholds) -> list[str]:
    """Notes on archives that were no part of the training, and on thresholds that come from them."""
    own = [candidate for candidate in candidates if not candidate.pretrained]  # what the others saw is told elsewhere
    notes = [note for candidate in own for note in note_others(candidate.dataset, candidate.checkpoint)]
    if notes and thresholds is not candidates[0].checkpoint.thresholds:
        notes.append("thresholds were chosen on validation rows of the archive judged, not on those of the training")
    return list(dict.fromkeys(notes))


def _check_config(config: Config, checkpoint: Checkpoint, run: Path) -> None:
    trained = checkpoint.metadata
    problems = []
    if preprocess(config) != trained.preprocess:
        problems.append(f"{run}: trained on {trained.preprocess}, asked to read {preprocess(config)}")
    if config.image.size != trained.config.image.size:
        problems.append(f"{run}: trained at {trained.config.image.size} pixels, asked for {config.image.size}")
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
        ("views", first.config.eval.views),
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
