"""cxr card: a model card of a run, beside its weights."""

from collections.abc import Sequence
from pathlib import Path

from cxr.checklist import card as model_card
from cxr.checklist.gather import gather
from cxr.commands.run_folder import refuse_external, report_folder
from cxr.console import say
from cxr.model.checkpoint import find
from cxr.report.run_files import LOG, read_log
from cxr.streams import show


def card(run: Path, overrides: Sequence[str], out: Path | None) -> Path:
    """Write a model card and a copy of the checkpoint into one folder, ready to be uploaded.

    Args:
        run: Run folder or checkpoint.
        overrides: KEY=VALUE texts, such as data.root=FOLDER.
        out: The folder; None is `card` in the run folder.

    Returns:
        The card.

    Raises:
        CxrError: A model that cxr did not train, a damaged checkpoint, or a file that cannot be written.
    """
    refuse_external(run)
    facts = gather(run, overrides)
    folder = report_folder(run, out, "card")
    weights = find(run)
    gaps = model_card.write(facts, _seconds(weights.parent), weights.read_bytes(), folder)
    say("for the author to add:")
    for gap in gaps:
        say(f"- {gap}")
    for note in facts.notes:
        say(f"note: {note}")
    path = folder / model_card.CARD
    show(f"card: {path}")
    return path


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
