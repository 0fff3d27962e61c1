"""What is trained on and judged, as a table for the terminal."""

from rich.console import RenderableType

from cxr.console import count as count_of
from cxr.console import line, stack
from cxr.data.dataset import Dataset
from cxr.labels.columns import describe
from cxr.labels.splits import SPLITS
from cxr.labels.table import NO_PATIENTS
from cxr.labels.targets import count_targets
from cxr.tables import Table

_SHORT = {"positive": "pos.", "negative": "neg."}  # nine columns fit a terminal of 80


def render_counts(dataset: Dataset) -> RenderableType:
    """Rows kept and dropped, and positives, negatives and masked cells per finding and fold."""
    headings, columns = ["\nFinding"], []
    for fold in SPLITS:
        cells = count_targets(dataset.select(dataset.rows(fold)))
        for kind in ("positive", "negative", "masked"):
            if kind != "masked" or cells["masked"].any() or cells["soft"].any():
                values = cells[kind] + (cells["soft"] if kind == "positive" else 0)
                headings.append(f"{fold}\n{_SHORT.get(kind, kind)}")
                columns.append([f"{value:,}" for value in values])
    table = Table(headings)
    for row in zip(dataset.targets.findings, *columns, strict=True):
        table.add(row)
    lines = [text for archive in dataset.archives for text in _describe(archive)]
    lines += [
        f"{archive.name}: {text}" if archive.name else text
        for archive in dataset.archives
        for text in describe(archive.table.columns)
    ]
    return stack(*map(line, lines), "", table, "")


def _describe(archive: Dataset) -> list[str]:
    """Lines on the rows of one archive."""
    ids = archive.table.rows["patient_id"]
    sizes = [f"{fold} {count_of(len(rows), 'image')} of {count_of(ids[rows].nunique(), 'patient')}" for fold in SPLITS
             for rows in [archive.rows(fold)]]  # fmt: skip
    named = f"{archive.name}: " if archive.name else ""
    visited = f", training rows {archive.weight:g} times an epoch" if archive.weight != 1 else ""
    lines = [f"{named}split: {archive.split.name}: {', '.join(sizes)}{visited}"]
    dropped = [f"{num:,} {reason}" for reason, num in archive.dropped.items() if num]
    return lines + ([f"{named}dropped: {', '.join(dropped)}"] if dropped else [])


def warnings(dataset: Dataset) -> list[str]:
    """What a training must know of the datasets that were read, a line each."""
    return [
        f"{archive.name}: {line}" if archive.name else line
        for archive in dataset.archives
        for line in (*archive.table.notes, *([NO_PATIENTS] if not archive.table.names_patients else []))
    ]
