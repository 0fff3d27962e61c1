"""Findings that occur together, as matrices on the page."""

import pandas as pd

from cxr.evaluation.report import Report
from cxr.report.document import Cell, Part, Table, Text

_READING = (
    "Rows: images whose label has the finding of the row; columns: how many of them also have the finding of "
    "the column by the label, or in what share the model calls it. On the diagonal: the positive images, and "
    "the sensitivity. Darker: a larger share. A finding that is often called on images of another, with "
    "which it seldom occurs, is one that the model confuses with it."
)
_MAX_FINDINGS = 30
"""Columns that a page can show; the CSV file has all."""


def cooccurrence_parts(report: Report) -> tuple[Part, ...]:
    """Two matrices, of labels and of calls; nothing with one finding or too many for a page."""
    table = report.cooccurrence
    if table is None or not 2 <= table["finding"].nunique() <= _MAX_FINDINGS:
        return ()
    names = list(table["finding"].drop_duplicates())
    num, both, called = (
        # rows of pairs as a matrix [C, C]
        table.pivot(index="finding", columns="other", values=name).loc[names, names]
        for name in ("num", "num_both", "num_called")
    )
    labels = _matrix("Images with both findings, by the labels", names, both, num, as_percent=False)
    calls = _matrix("Images on which the model calls the finding of the column, %", names, called, num)
    return labels, calls, Text(_READING, "soft")


def _matrix(
    title: str, names: list[str], part: pd.DataFrame, whole: pd.DataFrame, as_percent: bool = True
) -> Table:
    rows: list[tuple[Cell, ...]] = []
    shades: list[tuple[float, ...]] = []
    for finding in names:
        counts = part.loc[finding].to_numpy()
        # a finding without positive images has an empty row
        shares = [float(num / of) if of else 0.0 for num, of in zip(counts, whole.loc[finding], strict=True)]
        texts: list[Cell] = [int(num) for num in counts]
        if as_percent:
            numbers = zip(shares, whole.loc[finding], strict=True)
            texts = [f"{100 * share:.0f}" if of else "" for share, of in numbers]
        rows.append((finding, *texts))
        shades.append(tuple(shares))
    return Table(title, ("", *names), tuple(rows), "l" + "r" * len(names), shades=tuple(shades))
