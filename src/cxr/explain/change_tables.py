"""What pages about changed images share: tables of AUROC and its drop, a column for each change."""

from collections.abc import Callable

import pandas as pd

from cxr.evaluation.changes import UNCHANGED
from cxr.report.document import Cell, Estimate, Table, Text
from cxr.report.records import Record, estimate, records

About = tuple[tuple[str, str], ...]
"""(key, value) pairs of what was examined."""
_FIRST = ("run", "model", "evaluated on")


def first_lines(about: About) -> tuple[Text, ...]:
    """What a terminal shows first of what was examined."""
    return tuple(Text(value, label=key.capitalize()) for key, value in about if key in _FIRST)


def auroc(row: Record) -> Estimate:
    """The AUROC of a row of `evaluation.changes.COLUMNS`."""
    return estimate(row, "auroc", "auroc_low", "auroc_high")


def drop(row: Record) -> Estimate:
    """Its drop, with its sign."""
    return estimate(row, "drop", "drop_low", "drop_high", signed=True)


def by_change(table: pd.DataFrame) -> dict[str, list[Record]]:
    """The rows of each change, in the order of the findings."""
    return {str(name): records(part) for name, part in table.groupby("change", sort=False)}


def change_tables(table: pd.DataFrame, done: str) -> tuple[Table, Table]:
    """AUROC by finding and change, and its drop; `done` is what the changes do, such as hidden."""
    columns = by_change(table)
    changed = {name: rows for name, rows in columns.items() if name != UNCHANGED}
    drops = f"Drop of AUROC: unchanged less {done}, paired by patient"
    return _pivot("AUROC", columns, auroc), _pivot(drops, changed, drop)


def _pivot(title: str, columns: dict[str, list[Record]], cell: Callable[[Record], Cell]) -> Table:
    """A row per finding, the mean last."""
    findings = [str(row["finding"]) for row in next(iter(columns.values()))]
    rows: list[tuple[Cell, ...]] = []
    for place, finding in enumerate(findings):
        rows.append((finding, *(cell(of_change[place]) for of_change in columns.values())))
    return Table(title, ("Finding", *columns), tuple(rows), "l" + "r" * len(columns), num_summary=1)
