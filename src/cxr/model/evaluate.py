"""A checkpoint and a dataset -> Report: the only path from a trained model to a figure outside training."""

from collections.abc import Sequence
from pathlib import Path

import torch

from cxr.config import Config
from cxr.config_file import override
from cxr.data.dataset import Dataset, open_dataset, preprocess
from cxr.data.heap import keep_freed_memory
from cxr.data.loader import Loader
from cxr.data.residence import place
from cxr.errors import CxrError
from cxr.evaluation.predictions import Predictions
from cxr.evaluation.report import Report, score
from cxr.model import checkpoint as checkpoints
from cxr.model.checkpoint import Checkpoint
from cxr.model.distributed import World
from cxr.model.predict import predict_dataset


def evaluate_run(run: Path, overrides: Sequence[str], fold: str) -> tuple[Report, Predictions]:
    """The report of a checkpoint on the train, val or test rows of its own config with overrides laid over it.

    Thresholds are the checkpoint's, chosen on the validation rows of its training.

    Raises:
        CxrError: No rows, pixels prepared in another way, or patients that the model was trained on.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    checkpoint = checkpoints.load(run, device)
    findings = ",".join(f'"{finding}"' for finding in checkpoint.metadata.findings)
    config = override(checkpoint.metadata.config, [f"data.findings=[{findings}]", *overrides])
    _check_config(config, checkpoint, run)
    dataset = open_dataset(config)
    _check_rows(config, dataset, checkpoint, fold, run)
    keep_freed_memory(device)
    pixels, _ = place(dataset.store, config.store.where, device)
    loader = Loader(pixels, dataset.index, dataset.targets, device)
    world = World(0, 1, 1, device)
    predictions, _ = predict_dataset(checkpoint.classifier, loader, dataset, fold, config, world)
    return score(predictions, checkpoint.thresholds, _about(run, checkpoint, config, dataset)), predictions


def _check_config(config: Config, checkpoint: Checkpoint, run: Path) -> None:
    trained = checkpoint.metadata
    problems = []
    if preprocess(config) != trained.preprocess:
        problems.append(f"{run}: trained on {trained.preprocess}, asked to read {preprocess(config)}")
    if config.image.size != trained.config.image.size:
        problems.append(f"{run}: trained at {trained.config.image.size} pixels, asked for {config.image.size}")
    if config.data.findings != trained.findings:
        problems.append(f"{run}: data.findings cannot change, the model has its own")
    if config.model != trained.config.model:
        problems.append(f"{run}: model cannot change after training")
    if config.eval.threshold != trained.config.eval.threshold:
        problems.append(f"{run}: eval.threshold cannot change, operating points were chosen when the model was trained")
    if problems:
        raise CxrError(problems, "override data.* and store.* only; the checkpoint fixes the rest")


def _check_rows(config: Config, dataset: Dataset, checkpoint: Checkpoint, fold: str, run: Path) -> None:
    rows = dataset.rows(fold)
    if not len(rows):
        raise CxrError(f"{config.data.root}: no images for {fold}", "--split val or train, or another data.split")
    ids = dataset.table.rows["patient_id"].iloc[rows].unique()
    for seen in ("train", "val"):
        num = checkpoints.seen_patients(checkpoint, dataset.table.source, ids, seen)
        if num and fold not in ("train", seen):
            what = f"{num:,} of the {len(ids):,} patients to be judged were in the model's {seen} rows"
            raise CxrError(f"{run}: {what}", "judge it with the split it was trained with")


def _about(run: Path, checkpoint: Checkpoint, config: Config, dataset: Dataset) -> list[tuple[str, str]]:
    trained, data = checkpoint.metadata, config.data
    dropped = ", ".join(f"{num:,} {reason}" for reason, num in dataset.dropped.items() if num)
    how = trained.preprocess
    return [
        ("run", str(run)),
        ("model", f"{trained.config.model.backbone}, epoch {trained.epoch}, step {trained.step:,}"),
        ("trained on", f"{trained.split.num_images['train']:,} images, {trained.split.name}"),
        ("data", f"{data.source}, {data.root}"),
        ("split", dataset.split.name),
        ("labels", f"uncertain cells: {data.uncertain}; blank cells: {data.blank}"),
        ("dropped rows", dropped or "none"),
        ("pixels", f"{how.size} ({how.fit}, {how.resize}, {how.intensity}) to {config.image.size}"),
        ("loss weighting", f"{trained.config.loss.weighting}, undone in the probabilities"),
        ("versions", ", ".join(f"{name} {number}" for name, number in trained.versions.items())),
    ]
