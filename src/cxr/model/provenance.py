"""Which checkpoint a report is of, and whether the run that wrote it has ended."""

from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import torch

from cxr.config.schema import Train
from cxr.model.checkpoint import LAST, Checkpoint, find
from cxr.model.history import epochs_since_best
from cxr.report.json_file import read_about
from cxr.report.run_files import LOG, read_log

KEY = "checkpoint"
"""The key under which a report's `about` names its checkpoint files."""

Metrics = dict[str, float]

_DIGITS = 16
_MAX_REPORTS = 20


def describe(run: Path, checkpoint: Checkpoint) -> str:
    """As `best.safetensors, SHA-256 0123456789abcdef...`, with the first digits that `sha256sum` prints."""
    digits = f", SHA-256 {checkpoint.sha256[:_DIGITS]}..." if checkpoint.sha256 else ""
    return find(run).name + digits


def note_unfinished(run: Path, checkpoint: Checkpoint) -> list[str]:
    """A note where the run of a checkpoint has not ended, as far as last.pt or the log beside it says."""
    config = checkpoint.metadata.config.train
    history = _read_history(find(run).parent)
    # nothing is known, the run has ended, or it has stopped early
    if history is None or len(history) >= config.epochs or _stopped_early(history, config):
        return []
    epochs = f"epoch {len(history)} of {config.epochs}"
    return [f"{run} is unfinished: {epochs}; this is its best so far, of epoch {checkpoint.metadata.epoch}"]


def _read_history(folder: Path) -> list[Metrics] | None:
    """Each epoch's validation metrics in last.pt, or else in the log; None where neither is there."""
    try:  # mapped, so that no tensor is read
        saved = torch.load(folder / LAST, map_location="cpu", weights_only=True, mmap=True)["history"]
        return [{"auroc": float(epoch["auroc"]), "loss": float(epoch["loss"])} for epoch in saved]
    except Exception:  # torch raises many kinds for a broken file, which --resume reports
        epochs = {line.epoch: line for line in read_log(folder / LOG, warns=False) if line.kind == "epoch"}
        metrics = [{"auroc": line.val_auroc or 0.0, "loss": line.val_loss or 0.0} for line in epochs.values()]
        return metrics or None


def _stopped_early(history: Sequence[Metrics], config: Train) -> bool:
    # negative losses, so that higher is better for both
    metrics = [epoch["auroc"] if config.select == "auroc" else -epoch["loss"] for epoch in history]
    return bool(config.early_stopping) and epochs_since_best(metrics) >= config.early_stopping


def note_other_reports(run: Path, checkpoint: Checkpoint) -> list[str]:
    """A note for each report in the run folder that says it is of another checkpoint than this one."""
    folder, notes = find(run).parent, list[str]()
    if not checkpoint.sha256:
        return notes
    for path in islice(sorted(folder.glob("eval_*/report.json")), _MAX_REPORTS):
        of = read_about(path).get(KEY, "")
        # an older report names no checkpoint: nothing is said of it
        if of and checkpoint.sha256[:_DIGITS] not in of:
            page = path.parent / "report.html"
            notes.append(
                f"{page} is of another checkpoint than {describe(run, checkpoint)}: "
                f"its metrics are not this model's; cxr eval {run} evaluates this one"
            )
    return notes
