"""Rows of tables of results, as cells of documents and as JSON."""

from collections.abc import Mapping

import pandas as pd

from cxr.report.document import Estimate

Value = str | int | float | None
"""A cell of a table of results; None is undefined."""
Record = Mapping[str, Value]


def records(table: pd.DataFrame) -> list[Record]:
    """The rows of a table, None where a cell is undefined."""
    rows = table.to_dict("records")
    return [{str(name): None if pd.isna(value) else value for name, value in row.items()} for row in rows]


def estimate(
    row: Record,
    value: str,
    low: str = "",
    high: str = "",
    signed: bool = False,
    mark: str = "",
    note: str = "",
) -> Estimate:
    """The metric in column `value` of a row, with its interval where columns `low` and `high` are given."""
    return Estimate(
        _number(row[value]),
        _number(row[low]) if low else None,
        _number(row[high]) if high else None,
        signed=signed,
        mark=mark,
        note=note,
    )


def _number(value: Value) -> float | None:
    assert not isinstance(value, str)
    return value
