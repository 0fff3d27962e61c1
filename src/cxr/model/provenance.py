"""Which checkpoint a report is of, and whether the run that wrote it has ended."""

import json
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from cxr.config import Train
from cxr.evaluation.run_files import LOG, Line, read_log
from cxr.model.checkpoint import Checkpoint, find
from cxr.model.optim import epochs_since_best

KEY = "checkpoint"
"""Under which a report's `about` names the files it is of."""

_DIGITS = 16
_MOST_REPORTS, _MOST_BYTES = 20, 50_000_000


def describe(run: Path, checkpoint: Checkpoint) -> str:
    """As `best.safetensors, SHA-256 0123456789abcdef...`; the digits are those that `sha256sum` prints first."""
    digits = f", SHA-256 {checkpoint.sha256[:_DIGITS]}..." if checkpoint.sha256 else ""
    return find(run).name + digits


def note_unfinished(run: Path, checkpoint: Checkpoint) -> list[str]:
    """A note where the run of a checkpoint has not ended, as far as the log beside it says."""
    config = checkpoint.metadata.config.train
    epochs = [line for line in read_log(find(run).parent / LOG, warns=False) if line.kind == "epoch"]
    done = max((line.epoch for line in epochs), default=config.epochs)
    if done >= config.epochs or _stopped_early(epochs, config):
        return []
    best = checkpoint.metadata.epoch
    return [f"{run} is unfinished: epoch {done} of {config.epochs}; this is its best so far, of epoch {best}"]


def _stopped_early(epochs: Sequence[Line], config: Train) -> bool:
    figures = [(line.val_auroc if config.select == "auroc" else -(line.val_loss or 0)) or 0.0 for line in epochs]
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
        if path.stat().st_size > _MOST_BYTES:
            return ""
        said = json.loads(path.read_bytes())["about"][KEY]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return ""
    return said if isinstance(said, str) else ""
