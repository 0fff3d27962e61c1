"""Table 1: age, sex, view, prevalence, images per patient and what is missing, by split."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from cxr.checklist.facts import Data
from cxr.labels.splits import SPLITS
from cxr.report.document import Cell, Table

ALL = "all"
COLUMNS = (ALL, *SPLITS)
INCONSISTENT = "more than one recorded"
_NOTE = (
    "Sex is counted in patients, age, view and findings in images. Shares are of the patients or images of "
    "the column, those of findings of the images whose label is known. Age: median (quartiles)."
)


@dataclass(frozen=True)
class Row:
    """A row of numbers: what they are, and one for each of COLUMNS; None where it is undefined."""

    characteristic: str
    level: str
    statistic: str
    values: tuple[float | None, ...]


def count_rows(data: Data, findings: Sequence[str]) -> list[Row]:
    """Every number of Table 1."""
    # [4] of all rows, then of each split, in the order of COLUMNS
    masks = [np.ones(len(data.rows), bool), *((data.rows["split"] == split).to_numpy() for split in SPLITS)]
    parts = [data.rows[mask] for mask in masks]
    rows = [_row("images", "", "n", [len(part) for part in parts])]
    if data.names_patients:
        each = [part.groupby("patient_id").size() for part in parts]
        rows += [
            _row("patients", "", "n", [len(sizes) for sizes in each]),
            *_quartiles("images per patient", each),
            _row("images per patient", "", "max", [sizes.max() for sizes in each]),
        ]
    rows += _sexes(parts, data.names_patients)
    ages = [part["age"].dropna() for part in parts]
    rows += _quartiles("age, years", ages)
    rows += _shares("age, years", "missing", [part["age"].isna().sum() for part in parts], map(len, parts))
    rows += _levels("view", [part["view"] for part in parts])
    for c, finding in enumerate(findings):
        # shares are of images whose label is known; the others have a row of their own
        labels = [data.y[mask, c] for mask in masks]
        known = [np.sum(~np.isnan(y)) for y in labels]
        rows += _shares(finding, "positive", [np.sum(y == 1) for y in labels], known)
        rows.append(_row(finding, "label unknown", "n", [np.sum(np.isnan(y)) for y in labels]))
    return rows


def _sexes(parts: Sequence[pd.DataFrame], by_patient: bool) -> list[Row]:
    """Of patients, whose images may say different ones; of images where no patient is named."""
    if not by_patient:
        return _levels("sex of images", [part["sex"] for part in parts])
    sexes = []
    for part in parts:
        # a patient's sex is what his images say, as far as they say one thing
        known = part[part["sex"] != ""].groupby("patient_id")["sex"].agg(["first", "nunique"])
        by_id = known["first"].where(known["nunique"] == 1, INCONSISTENT)
        sexes.append(by_id.reindex(part["patient_id"].unique(), fill_value=""))
    return _levels("sex", sexes)


def _levels(name: str, columns: Sequence["pd.Series[str]"]) -> list[Row]:
    """A pair of rows for each value of any of the columns, the unknown ones last."""
    values = sorted(
        set().union(*(column.unique() for column in columns)), key=lambda text: (text == "", text)
    )
    totals = [len(column) for column in columns]
    rows = []
    for value in values:
        numbers = [(column == value).sum() for column in columns]
        rows += _shares(name, value or "missing", numbers, totals)
    return rows


def _shares(name: str, level: str, numbers: Sequence[int], totals: "Sequence[int] | map[int]") -> list[Row]:
    totals = list(totals)
    percents = [100 * num / total if total else None for num, total in zip(numbers, totals, strict=True)]
    return [_row(name, level, "n", numbers), _row(name, level, "percent", percents)]


def _quartiles(name: str, columns: "Sequence[pd.Series[float]] | Sequence[pd.Series[int]]") -> list[Row]:
    return [
        _row(name, "", statistic, [float(column.quantile(share)) for column in columns])
        for statistic, share in (("median", 0.5), ("q1", 0.25), ("q3", 0.75))
    ]


def _row(characteristic: str, level: str, statistic: str, values: Sequence[float | None]) -> Row:
    numbers = [None if value is None or pd.isna(value) else float(value) for value in values]
    return Row(characteristic, level, statistic, tuple(numbers))


def as_frame(rows: Sequence[Row]) -> pd.DataFrame:
    """The rows for a CSV file: `characteristic`, `level`, `statistic`, then a number for each of COLUMNS."""
    records = [
        (row.characteristic, row.level, row.statistic, *(_shorten(value) for value in row.values))
        for row in rows
    ]
    return pd.DataFrame(records, columns=["characteristic", "level", "statistic", *COLUMNS], dtype=object)


def _shorten(value: float | None) -> float | int | None:
    return int(value) if value is not None and value.is_integer() else value


def as_table(rows: Sequence[Row]) -> Table:
    """The rows for people: a count with its share, a median with its quartiles in one cell."""
    grouped: dict[tuple[str, str], dict[str, Row]] = {}
    for row in rows:
        grouped.setdefault((row.characteristic, row.level), {})[row.statistic] = row
    lines: list[tuple[Cell, ...]] = []
    for (characteristic, level), by_statistic in grouped.items():
        name = f"{characteristic}: {level}" if level else characteristic
        if level == "label unknown" and not any(by_statistic["n"].values):
            continue  # nothing to tell
        lines.append((name, *(_format(by_statistic, place) for place in range(len(COLUMNS)))))
    return Table("Characteristics by split", ("", *COLUMNS), tuple(lines), "l" + "r" * len(COLUMNS), (_NOTE,))


def _format(rows: dict[str, Row], place: int) -> Cell:
    numbers = {statistic: row.values[place] for statistic, row in rows.items()}
    if "median" in numbers:
        if numbers["median"] is None:
            return "n/a"
        text = f"{numbers['median']:g} ({numbers['q1']:g}-{numbers['q3']:g})"
        return f"{text}, at most {numbers['max']:g}" if numbers.get("max") is not None else text
    count = int(numbers["n"] or 0)
    percent = numbers.get("percent")
    return count if percent is None else f"{count:,} ({percent:.1f} %)"
