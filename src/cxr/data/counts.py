"""What is trained and evaluated on, as lines and a table."""

from cxr.console import count as count_of
from cxr.data.dataset import Dataset
from cxr.labels.columns import describe
from cxr.labels.splits import SPLITS
from cxr.labels.table import NO_PATIENTS
from cxr.labels.targets import count_targets
from cxr.report.document import Cell, Table, Text

_SHORT = {"positive": "pos.", "negative": "neg."}  # nine columns fit a terminal of 80


def counts(dataset: Dataset) -> tuple[Text | Table, ...]:
    """Rows kept and dropped, columns of the label tables, then cells of each finding by split."""
    lines = [line for part in dataset.datasets for line in _describe(part)]
    lines += [_name(part) + line for part in dataset.datasets for line in describe(part.table.columns)]
    return (*map(Text, lines), Text(""), _table(dataset), Text(""))


def _table(dataset: Dataset) -> Table:
    """Cells of each finding by split: positive or soft, negative and, where there are any, masked."""
    headings, columns = ["\nFinding"], []
    for split in SPLITS:
        cells = count_targets(dataset.select(dataset.rows(split)))
        has_masked = cells["masked"].any() or cells["soft"].any()
        for kind in ("positive", "negative", *(["masked"] if has_masked else [])):
            values = cells[kind] + (cells["soft"] if kind == "positive" else 0)
            headings.append(f"{split}\n{_SHORT.get(kind, kind)}")
            columns.append([int(value) for value in values])
    rows: list[tuple[Cell, ...]] = list(zip(dataset.targets.findings, *columns, strict=True))
    return Table("", tuple(headings), tuple(rows), "l" + "r" * len(columns))


def _name(part: Dataset) -> str:
    """What a line on one dataset of several begins with."""
    return f"{part.name}: " if part.name else ""


def _describe(part: Dataset) -> list[str]:
    """Lines on the rows of one dataset."""
    ids = part.table.rows["patient_id"]
    sizes = []
    for split in SPLITS:
        rows = part.rows(split)
        sizes.append(f"{split} {count_of(len(rows), 'image')} of {count_of(ids[rows].nunique(), 'patient')}")
    visited = f", training rows {part.weight:g} times an epoch" if part.weight != 1 else ""
    lines = [f"{_name(part)}split: {part.split.name}: {', '.join(sizes)}{visited}"]
    dropped = ", ".join(f"{num:,} {reason}" for reason, num in part.dropped.items() if num)
    if dropped:
        lines.append(f"{_name(part)}dropped: {dropped}")
    return lines


def warnings(dataset: Dataset) -> list[str]:
    """What a training must know of the datasets that were read, a line each."""
    lines = []
    for part in dataset.datasets:
        lines += [_name(part) + note for note in part.table.notes]
        if not part.table.names_patients:
            lines.append(_name(part) + NO_PATIENTS)
    return lines
