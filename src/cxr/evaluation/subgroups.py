"""Metrics by sex, age band, view or any other column: every group with its intervals, and gaps."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
import pandas as pd

from cxr.errors import CxrError
from cxr.evaluation.group_metrics import Group, Mask, evaluate_group
from cxr.evaluation.predictions import Predictions
from cxr.evaluation.statistics.bootstrap import Resampling
from cxr.evaluation.statistics.intervals import NONE, mean_interval, simultaneous_intervals
from cxr.evaluation.statistics.metrics import GROUP_METRICS, Float

UNKNOWN = "unknown"
"""Name of the group of rows without a value."""
_AGE_BANDS = ((0, 19), (20, 39), (40, 59), (60, 79))
_OLDEST = "80+"
_AT_THRESHOLD = tuple(f"{name}{end}" for name in GROUP_METRICS for end in ("", "_low", "_high"))
GROUP_COLUMNS = ("attribute", "group", "finding", "num", "num_positive", "auroc", "auroc_low", "auroc_high",
                 "num_patients", "num_positive_patients", *_AT_THRESHOLD, "num_findings")  # fmt: skip
GAP_COLUMNS = ("attribute", "finding", "best", "worst", "gap", "gap_low", "gap_high")


class Subgroups(NamedTuple):
    """Both tables of a report.

    Attributes:
        groups: GROUP_COLUMNS, one row per attribute, group and finding, then `mean` over the findings that
            have an AUROC in every group of the attribute, `num_findings` in number; nan where a group has
            fewer than MIN_OF_EACH_CLASS patients with a positive or a negative image. A group without any
            AUROC has no mean, and does not count for those of the others.
        gaps: GAP_COLUMNS, one row per attribute and finding with at least two groups that have an AUROC: the
            highest less the lowest AUROC. Its interval holds together with those of all differences between
            two groups of an attribute, so that it allows for the choice of the two. Rows without a value of
            the attribute are no group here.
    """

    groups: pd.DataFrame
    gaps: pd.DataFrame


def subgroups(
    predictions: Predictions,
    attributes: Sequence[str],
    resampling: Resampling | None,
    thresholds: Float | None = None,
) -> Subgroups:
    """Metrics in each group of each attribute, a column of `predictions.rows`.

    Args:
        predictions: Rows to evaluate.
        attributes: Columns that groups are made of.
        resampling: What is drawn for intervals; without it there are none.
        thresholds: [C] of the metrics that need one; 0.5 where not given.

    Raises:
        CxrError: An attribute that is no column.
    """
    columns = predictions.rows.columns
    missing = [name for name in attributes if name not in columns]
    if missing:
        usable = ", ".join(str(name) for name in columns if name not in ("image", "patient_id"))
        problems = [f"eval.subgroups: no column {name!r}" for name in missing]
        raise CxrError(problems, f"the predictions have the columns {usable}")
    points = np.full(len(predictions.findings), 0.5) if thresholds is None else thresholds
    groups: list[dict[str, object]] = []
    every: dict[str, list[Group]] = {}
    for attribute in attributes:
        members = _members(predictions.rows, attribute)
        if len(members) < 2:  # the only group is all rows, whose AUROC the report has already
            continue
        cells = [
            evaluate_group(predictions, name, is_member, resampling, points) for name, is_member in members
        ]
        every[attribute] = cells
        # [C] findings with an AUROC in every group of known rows that has any: all means are over these
        has_auroc = [~np.isnan(cell.auroc) for cell in cells if cell.name != UNKNOWN]
        counted = [found for found in has_auroc if found.any()]
        everywhere = np.all(counted, axis=0) if counted else np.zeros(len(predictions.findings), bool)
        for cell in cells:
            groups += [{"attribute": attribute, **row} for row in _group_rows(cell, everywhere)]
    whole = {name: "Int64" for name in GROUP_COLUMNS if name.startswith("num")}
    return Subgroups(
        pd.DataFrame(groups, columns=list(GROUP_COLUMNS)).astype(whole),
        pd.DataFrame(_gaps(every, predictions.findings), columns=list(GAP_COLUMNS)),
    )


def note_small_groups(groups: pd.DataFrame) -> list[str]:
    """A note on groups without any AUROC, which the means of the other groups do not wait for."""
    rows = groups[(groups["finding"] != "mean") & (groups["group"] != UNKNOWN)]
    has_auroc = rows.groupby(["attribute", "group"], sort=False)["auroc"].count() > 0
    small = [f"{attribute} {group}" for attribute, group in has_auroc.index[~has_auroc]]
    if not small:
        return []
    reason = "subgroups with too few patients for any AUROC, which the means of the others leave aside"
    return [f"{reason}: {', '.join(small)}"]


def age_band(age: float) -> str:
    """As `40-59`; the last band is `80+`."""
    if np.isnan(age):
        return UNKNOWN
    for low, high in _AGE_BANDS:
        if age < high + 1:  # 19.5 years is 19
            return f"{low}-{high}"
    return _OLDEST


def _group_rows(group: Group, everywhere: Mask) -> list[dict[str, object]]:
    """One row per finding, and one of the mean over the findings of the mask `everywhere` [C]."""
    rows: list[dict[str, object]] = [
        {
            "group": group.name,
            "finding": finding,
            "num": group.counts[c][0],
            "num_positive": group.counts[c][1],
            "auroc": group.auroc[c],
            "auroc_low": group.intervals[c].low,
            "auroc_high": group.intervals[c].high,
            "num_patients": group.patients[c][0],
            "num_positive_patients": group.patients[c][1],
            **group.others[c],
        }
        for c, finding in enumerate(group.findings)
    ]
    if everywhere.any() and not np.isnan(group.auroc[everywhere]).any():
        mean = float(group.auroc[everywhere].mean())
        parts = [group.intervals[c] for c in np.flatnonzero(everywhere)]
        low, high = mean_interval(mean, group.draws[everywhere].mean(axis=0), group.num_units, parts)
        row = {"group": group.name, "finding": "mean", "num": group.num_rows, "auroc": mean}
        rows.append(row | {"auroc_low": low, "auroc_high": high, "num_findings": int(everywhere.sum())})
    return rows


def _members(rows: pd.DataFrame, attribute: str) -> list[tuple[str, Mask]]:
    """(name, mask of its rows [N]) of each group in order, rows without a value last."""
    if attribute == "age":
        names = np.array([age_band(float(age)) for age in rows["age"]])
    else:
        names = rows[attribute].replace("", UNKNOWN).to_numpy(dtype=str)
    # by number, as text 100 would come before 20
    present = sorted(set(names), key=lambda name: (name == UNKNOWN, _number(name), name))
    return [(name, names == name) for name in present]


def _number(name: str) -> float:
    """The number that a group's name begins with, by which groups are ordered; infinity for other names."""
    digits = name.partition("-")[0].rstrip("+")
    return float(digits) if digits.isdigit() else np.inf


class _Pair(NamedTuple):
    """Two groups of an attribute, the one with the higher AUROC of finding `column` first."""

    attribute: str
    column: int
    better: Group
    worse: Group
    is_gap: bool


def _gaps(every: Mapping[str, Sequence[Group]], findings: Sequence[str]) -> list[dict[str, object]]:
    """The highest less the lowest AUROC of each attribute and finding with two groups or more."""
    # All differences between two groups are one family: any of them might have turned out to be the gap.
    pairs = [
        pair
        for attribute, groups in every.items()
        for column in range(len(findings))
        for pair in _pairs(attribute, groups, column)
    ]
    if not pairs:
        return []
    # [P] differences of all pairs, and their draws [P, D] of the same patients
    points = np.array([pair.better.auroc[pair.column] - pair.worse.auroc[pair.column] for pair in pairs])
    draws = np.array([pair.better.draws[pair.column] - pair.worse.draws[pair.column] for pair in pairs])
    intervals = simultaneous_intervals(points, draws) if draws.shape[1] else [NONE] * len(pairs)
    return [
        {
            "attribute": pair.attribute,
            "finding": findings[pair.column],
            "best": pair.better.name,
            "worst": pair.worse.name,
            "gap": float(point),
            "gap_low": bounds.low,
            "gap_high": bounds.high,
        }
        for pair, point, bounds in zip(pairs, points, intervals, strict=True)
        # the other pairs are there for their family alone, which widens the intervals
        if pair.is_gap
    ]


def _pairs(attribute: str, groups: Sequence[Group], column: int) -> list[_Pair]:
    """Every two groups that have an AUROC of a finding."""
    known = [group for group in groups if group.name != UNKNOWN and not np.isnan(group.auroc[column])]
    ranked = sorted(known, key=lambda group: float(group.auroc[column]))[::-1]
    return [
        _Pair(attribute, column, better, worse, better is ranked[0] and worse is ranked[-1])
        for better, worse in combinations(ranked, 2)
    ]
