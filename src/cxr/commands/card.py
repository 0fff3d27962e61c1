"""cxr card: a model card of a run, beside its weights."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from cxr.checklist import card as model_card
from cxr.checklist.card_folder import check_folder
from cxr.checklist.gather import gather
from cxr.commands.run_folder import refuse_external, report_folder
from cxr.console import say
from cxr.download.manifest import CARD
from cxr.model import checkpoint as checkpoints
from cxr.model.shared import make_shareable
from cxr.report.run_files import LOG, read_log
from cxr.report.run_record import read_record
from cxr.streams import show


def card(
    run: Path, overrides: Sequence[str], out: Path | None, with_hashes: bool = False, overwrite: bool = False
) -> Path:
    """Write a model card and a copy of the checkpoint into one folder, ready to be uploaded.

    Args:
        run: Run folder or checkpoint.
        overrides: KEY=VALUE texts, such as data.root=FOLDER.
        out: The folder; None is `card` in the run folder.
        with_hashes: Copy the checkpoint as it is, with hashes of patients and folders of the recipe.
        overwrite: Replace files in the folder that cxr card did not write, or that were changed since.

    Returns:
        The card.

    Raises:
        CxrError: A model that cxr did not train, a damaged checkpoint, a folder whose files would be lost, or
            a file that cannot be written.
    """
    refuse_external(run)
    folder = report_folder(run, out, "card")
    check_folder(folder, checkpoints.find(run), overwrite)
    facts = gather(run, overrides)
    gaps = model_card.write(facts, _copy(run, with_hashes), folder)
    say("for the author to add:")
    for gap in gaps:
        say(f"- {gap}")
    for note in facts.notes:
        say(f"note: {note}")
    path = folder / CARD
    show(f"card: {path}")
    return path


def _copy(run: Path, with_hashes: bool) -> model_card.Copy:
    """The checkpoint as it is handed on, with what the run folder knows of its making."""
    path = checkpoints.find(run)
    if with_hashes:
        weights = path.read_bytes()
    else:
        weights = checkpoints.to_bytes(make_shareable(checkpoints.load(run)))
    record = read_record(path.parent)
    return model_card.Copy(
        weights,
        hashlib.sha256(weights).hexdigest(),
        with_hashes,
        _seconds(path.parent),
        record.begun.environment if record else None,
    )


def _seconds(run: Path) -> float | None:
    """That the epochs took, those that were trained again counted once; None without a log."""
    lines = read_log(run / LOG) if (run / LOG).is_file() else []
    # of an epoch that was trained twice the last line counts
    by_part = {
        (line.kind, line.epoch): line.seconds
        for line in lines
        if line.kind in ("train", "epoch") and line.seconds is not None
    }
    return sum(by_part.values()) if by_part else None
