"""AUROC by sex, age band, view or any other column: every group with its counts, its interval and the gap."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from cxr.errors import CxrError
from cxr.evaluation.predictions import Predictions
from cxr.evaluation.statistics import metrics
from cxr.evaluation.statistics.bootstrap import Resampling, draw_auroc
from cxr.evaluation.statistics.intervals import (
    NONE,
    Interval,
    count_units,
    difference_interval,
    effective_units,
    interval,
    mean_interval,
)
from cxr.evaluation.statistics.metrics import Float

Mask = npt.NDArray[np.bool_]

MIN_OF_EACH_CLASS = 10
"""Positive and negative rows below which a group has no AUROC: it would be noise."""
UNKNOWN = "unknown"
"""Name of the group of rows without a value."""
_AGE_BANDS = ((0, 19), (20, 39), (40, 59), (60, 79))
_OLDEST = "80+"
GROUP_COLUMNS = ("attribute", "group", "finding", "num", "num_positive", "auroc", "auroc_low", "auroc_high")
GAP_COLUMNS = ("attribute", "finding", "best", "worst", "gap", "gap_low", "gap_high")


class Subgroups(NamedTuple):
    """Both tables of a report.

    Attributes:
        groups: GROUP_COLUMNS, one row per attribute, group and finding, then `mean` over the findings that
            have an AUROC in every group of the attribute; nan where a group has fewer than MIN_OF_EACH_CLASS
            positive or negative rows.
        gaps: GAP_COLUMNS, one row per attribute and finding with at least two groups that have an AUROC: the
            highest less the lowest AUROC, with the interval of the difference between these two groups. Rows
            without a value of the attribute are no group here.
    """

    groups: pd.DataFrame
    gaps: pd.DataFrame


def subgroups(
    predictions: Predictions, attributes: Sequence[str], resampling: Resampling | None
) -> Subgroups:
    """AUROC in each group of each attribute, a column of `predictions.rows`; without resampling no intervals.

    Raises:
        CxrError: An attribute that is no column.
    """
    columns = predictions.rows.columns
    missing = [name for name in attributes if name not in columns]
    if missing:
        usable = ", ".join(str(name) for name in columns if name not in ("image", "patient_id"))
        problems = [f"eval.subgroups: no column {name!r}" for name in missing]
        raise CxrError(problems, f"the predictions have the columns {usable}")
    groups: list[dict[str, object]] = []
    gaps: list[dict[str, object]] = []
    for attribute in attributes:
        cells = [
            _evaluate_group(predictions, name, is_member, resampling)
            for name, is_member in _members(predictions.rows, attribute)
        ]
        if len(cells) < 2:  # the only group is all rows, whose AUROC the report has already
            continue
        # [C] findings with an AUROC in every group of known rows: all groups' means are over these
        everywhere = np.all([~np.isnan(cell.auroc) for cell in cells if cell.name != UNKNOWN], axis=0)
        for cell in cells:
            groups += [{"attribute": attribute, **row} for row in _group_rows(cell, everywhere)]
        for column, finding in enumerate(predictions.findings):
            gap = _gap(cells, column)
            if gap:
                gaps.append({"attribute": attribute, "finding": finding, **gap})
    return Subgroups(
        pd.DataFrame(groups, columns=list(GROUP_COLUMNS)), pd.DataFrame(gaps, columns=list(GAP_COLUMNS))
    )


def age_band(age: float) -> str:
    """As `40-59`; the last band is `80+`."""
    if np.isnan(age):
        return UNKNOWN
    for low, high in _AGE_BANDS:
        if age < high + 1:  # 19.5 years is 19
            return f"{low}-{high}"
    return _OLDEST


class _Group(NamedTuple):
    """One group's metrics.

    Attributes:
        name: As `40-59` or `F`.
        findings: C names.
        num_rows: Of the group.
        num_units: Effective number of patients or images of the group; 0 without resampling.
        counts: C pairs of (known rows, positive rows).
        auroc: [C], nan where there are too few rows.
        draws: [C, D] of the AUROC, nan likewise.
        intervals: C intervals.
    """

    name: str
    findings: tuple[str, ...]
    num_rows: int
    num_units: float
    counts: list[tuple[int, int]]
    auroc: Float
    draws: Float
    intervals: list[Interval]


def _evaluate_group(
    predictions: Predictions, name: str, is_member: Mask, resampling: Resampling | None
) -> _Group:
    # Rows outside the group stay, with unknown labels: each draw takes the same patients in every group.
    y, p = np.where(is_member[:, None], predictions.y, np.nan), predictions.p
    columns = range(y.shape[1])
    counts = [metrics.count(y[:, c]) for c in columns]
    is_enough = [min(positive, num - positive) >= MIN_OF_EACH_CLASS for num, positive in counts]
    auroc = np.array([metrics.auroc(y[:, c], p[:, c]) if is_enough[c] else np.nan for c in columns])
    draws = np.full((len(columns), resampling.num_draws if resampling else 0), np.nan)
    intervals, num_units = [NONE] * len(columns), 0.0
    if resampling and any(is_enough):
        draws[is_enough] = draw_auroc(y[:, is_enough], p[:, is_enough], resampling)
        units = [count_units(y[:, c], p[:, c] >= 0.5, resampling).for_metric("auroc") for c in columns]
        intervals = [interval(float(auroc[c]), draws[c], units[c]) for c in columns]
        num_units = effective_units(resampling.of_row[is_member])
    return _Group(
        name, predictions.findings, int(is_member.sum()), num_units, counts, auroc, draws, intervals
    )


def _group_rows(group: _Group, everywhere: Mask) -> list[dict[str, object]]:
    """One row per finding, and one of the mean over the findings of the mask `everywhere` [C]."""
    rows: list[tuple[object, ...]] = [
        (group.name, finding, num, positive, auroc, *bounds)
        for finding, (num, positive), auroc, bounds in zip(
            group.findings, group.counts, group.auroc, group.intervals, strict=True
        )
    ]
    if everywhere.any() and not np.isnan(group.auroc[everywhere]).any():
        mean = float(group.auroc[everywhere].mean())
        parts = [group.intervals[c] for c in np.flatnonzero(everywhere)]
        bounds = mean_interval(mean, group.draws[everywhere].mean(axis=0), group.num_units, parts)
        rows.append((group.name, "mean", group.num_rows, None, mean, *bounds))
    return [dict(zip(GROUP_COLUMNS[1:], row, strict=True)) for row in rows]


def _members(rows: pd.DataFrame, attribute: str) -> list[tuple[str, Mask]]:
    """(name, mask of its rows [N]) of each group in order, rows without a value last."""
    if attribute == "age":
        names = np.array([age_band(float(age)) for age in rows["age"]])
    else:
        names = rows[attribute].replace("", UNKNOWN).to_numpy(dtype=str)
    present = sorted(set(names), key=lambda name: (name == UNKNOWN, _number(name), name))
    return [(name, names == name) for name in present]


def _number(name: str) -> float:
    """The number that a group's name begins with, by which groups are ordered; infinity for other names."""
    digits = name.partition("-")[0].rstrip("+")
    return float(digits) if digits.isdigit() else np.inf


def _gap(groups: Sequence[_Group], column: int) -> dict[str, object]:
    """The highest less the lowest AUROC of a finding, empty where fewer than two groups have one."""
    known = [group for group in groups if group.name != UNKNOWN and not np.isnan(group.auroc[column])]
    if len(known) < 2:
        return {}
    worst, *_, best = sorted(known, key=lambda group: float(group.auroc[column]))
    gap = float(best.auroc[column] - worst.auroc[column])
    low, high = difference_interval(gap, best.draws[column] - worst.draws[column])
    return {"best": best.name, "worst": worst.name, "gap": gap, "gap_low": low, "gap_high": high}
