"""Which checkpoint a report is of, and whether the run that wrote it has ended."""

import json
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import torch

from cxr.config.schema import Train
from cxr.model.checkpoint import LAST, Checkpoint, find
from cxr.model.history import epochs_since_best
from cxr.report.run_files import LOG, read_log

KEY = "checkpoint"
"""Under which a report's `about` names the files it is of."""

Figures = dict[str, float]

_DIGITS = 16
_MOST_REPORTS, _MOST_BYTES = 20, 50_000_000


def describe(run: Path, checkpoint: Checkpoint) -> str:
    """As `best.safetensors, SHA-256 0123456789abcdef...`; the digits are those that `sha256sum` prints first."""
    digits = f", SHA-256 {checkpoint.sha256[:_DIGITS]}..." if checkpoint.sha256 else ""
    return find(run).name + digits


def note_unfinished(run: Path, checkpoint: Checkpoint) -> list[str]:
    """A note where the run of a checkpoint has not ended, as far as last.pt or the log beside it says."""
    config = checkpoint.metadata.config.train
    history = _read_history(find(run).parent)
    if history is None or len(history) >= config.epochs or _stopped_early(history, config):
        return []
    best = checkpoint.metadata.epoch
    return [
        f"{run} is unfinished: epoch {len(history)} of {config.epochs}; this is its best so far, of epoch {best}"
    ]


def _read_history(folder: Path) -> list[Figures] | None:
    """Each epoch's validation figures in last.pt, or else in the log; None where neither is there."""
    try:  # mapped, so that no tensor is read
        saved = torch.load(folder / LAST, map_location="cpu", weights_only=True, mmap=True)["history"]
        return [{"auroc": float(one["auroc"]), "loss": float(one["loss"])} for one in saved]
    except Exception:  # torch raises many kinds for a broken file, which is the business of --resume
        epochs = {line.epoch: line for line in read_log(folder / LOG, warns=False) if line.kind == "epoch"}
        return [
            {"auroc": one.val_auroc or 0.0, "loss": one.val_loss or 0.0} for one in epochs.values()
        ] or None


def _stopped_early(history: Sequence[Figures], config: Train) -> bool:
    figures = [one["auroc"] if config.select == "auroc" else -one["loss"] for one in history]
    return bool(config.early_stopping) and epochs_since_best(figures) >= config.early_stopping


def note_other_reports(run: Path, checkpoint: Checkpoint) -> list[str]:
    """A note for each report in the run folder that says it is of another checkpoint than this one."""
    folder, notes = find(run).parent, list[str]()
    if not checkpoint.sha256:
        return notes
    for path in islice(sorted(folder.glob("eval_*/report.json")), _MOST_REPORTS):
        said = _read_checkpoint(path)
        if said and checkpoint.sha256[:_DIGITS] not in said:
            what = f"{path.parent / 'report.html'} is of another checkpoint than {describe(run, checkpoint)}"
            notes.append(f"{what}: its figures are not this model's; cxr eval {run} evaluates this one")
    return notes


def _read_checkpoint(path: Path) -> str:
    """What a report says it is of; empty where it is none that can be read, or says nothing."""
    try:
        if not path.is_file() or path.stat().st_size > _MOST_BYTES:  # a pipe is read for ever
            return ""
        said = json.loads(path.read_bytes())["about"][KEY]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return ""
    return said if isinstance(said, str) else ""
