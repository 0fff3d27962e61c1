"""What is trained and evaluated on, as lines and a table."""

from cxr.console import count as count_of
from cxr.data.dataset import Dataset
from cxr.labels.columns import describe
from cxr.labels.splits import FOLDS
from cxr.labels.table import NO_PATIENTS, count
from cxr.report.document import Cell, Table, Text

_SHORT = {"positive": "pos.", "negative": "neg."}  # nine columns fit a terminal of 80


def counts(dataset: Dataset) -> tuple[Text | Table, ...]:
    """Rows kept and dropped, columns of the label tables, then cells of each finding by split."""
    lines = [text for archive in dataset.archives for text in _describe(archive)]
    for archive in dataset.archives:
        named = f"{archive.name}: " if archive.name else ""
        lines += [named + text for text in describe(archive.table.columns)]
    return (*map(Text, lines), Text(""), _table(dataset), Text(""))


def _table(dataset: Dataset) -> Table:
    """Positives, soft ones among them, negatives and, where there are any, masked cells of each finding by split."""
    headings, columns = ["\nFinding"], []
    for split in FOLDS:
        cells = count(dataset.select(dataset.rows(split)))
        has_masked = cells["masked"].any() or cells["soft"].any()
        for kind in ("positive", "negative", *(["masked"] if has_masked else [])):
            values = cells[kind] + (cells["soft"] if kind == "positive" else 0)
            headings.append(f"{split}\n{_SHORT.get(kind, kind)}")
            columns.append([int(value) for value in values])
    rows: list[tuple[Cell, ...]] = list(zip(dataset.targets.findings, *columns, strict=True))
    return Table("", tuple(headings), tuple(rows), "l" + "r" * len(columns))


def _describe(archive: Dataset) -> list[str]:
    """Lines on the rows of one dataset."""
    ids = archive.table.rows["patient_id"]
    sizes = []
    for split in FOLDS:
        rows = archive.rows(split)
        sizes.append(f"{split} {count_of(len(rows), 'image')} of {count_of(ids[rows].nunique(), 'patient')}")
    named = f"{archive.name}: " if archive.name else ""
    visited = f", training rows {archive.weight:g} times an epoch" if archive.weight != 1 else ""
    lines = [f"{named}split: {archive.split.name}: {', '.join(sizes)}{visited}"]
    dropped = ", ".join(f"{num:,} {reason}" for reason, num in archive.dropped.items() if num)
    if dropped:
        lines.append(f"{named}dropped: {dropped}")
    return lines


def warnings(dataset: Dataset) -> list[str]:
    """What a training must know of the datasets that were read, a line each."""
    return [
        f"{archive.name}: {line}" if archive.name else line
        for archive in dataset.archives
        for line in (*archive.table.notes, *([NO_PATIENTS] if not archive.table.names_patients else []))
    ]
