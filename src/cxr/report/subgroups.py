"""The subgroups of a report: tables of AUROC, of what depends on thresholds, and what a gap is."""

from dataclasses import replace

import pandas as pd

from cxr.evaluation.report import Report
from cxr.report.document import Cell, Estimate, Part, Section, Table, Text, format_interval
from cxr.report.records import estimate, records

_SUBGROUPS_NOTE = (
    "A subgroup with fewer than 10 patients with a positive, or with a negative image has its counts "
    "(positive of all images) instead of a metric. The gap is the highest less the lowest AUROC. The "
    "intervals of the gaps hold together (95 %, max-t over all differences between two subgroups), so that "
    "they allow for having looked at many and for picking the two that lie farthest apart."
)
_RATES = {
    "sensitivity": "Sensitivity",
    "false_positive_rate": "False-positive rate",
    "ppv": "PPV",
    "observed_expected": "Observed / expected",
}
"""Columns of subgroups at the threshold, and positive images for each that is predicted."""


def subgroup_parts(report: Report) -> tuple[Part, ...]:
    """Two tables per attribute, AUROCs and what depends on thresholds, then what a gap is."""
    if report.subgroups is None or not len(report.subgroups.groups):
        return ()
    groups, gaps = report.subgroups
    tables: list[Table] = []
    folded: list[Part] = []
    for attribute, table in groups.groupby("attribute", sort=False):
        tables.append(_subgroup_table(str(attribute), table, gaps[gaps["attribute"] == attribute]))
        title = f"Sensitivity, false-positive rate, PPV and calibration by {attribute}"
        folded.append(Section(title, (_rates_table(report, title, table),), is_folded=True))
    tables.sort(key=lambda table: len(table.columns))  # narrow ones stand side by side
    return (*tables, Text(_SUBGROUPS_NOTE, "soft"), *folded)


def _subgroup_table(attribute: str, groups: pd.DataFrame, gaps: pd.DataFrame) -> Table:
    """A row per finding: the AUROC of each subgroup, then the gap."""
    # the table has a row per finding and group; a line here has all groups of a finding
    aurocs: dict[tuple[Cell, Cell], Cell] = {}
    for row in records(groups):
        auroc = estimate(row, "auroc", "auroc_low", "auroc_high")
        is_mean = row["num_positive"] is None
        too_few = "" if is_mean else f"({row['num_positive']:,} of {row['num']:,})"
        # counts in place of an AUROC that too few patients stand behind
        aurocs[row["finding"], row["group"]] = too_few if auroc.value is None else mark_vacuous(auroc)
    widest: dict[Cell, Cell] = {}
    for row in records(gaps):
        note = f"{row['best']} over {row['worst']}"
        widest[row["finding"]] = estimate(row, "gap", "gap_low", "gap_high", note=note)

    names = [str(name) for name in groups["group"].drop_duplicates()]
    findings = [str(name) for name in groups["finding"].drop_duplicates()]
    rows = [
        (finding, *(aurocs.get((finding, name), "") for name in names), widest.get(finding, ""))
        for finding in findings
    ]
    columns = ("Finding", *names, "Gap")
    title = f"AUROC by {attribute}{mean_over(groups)}"
    return Table(title, columns, tuple(rows), "l" + "r" * (len(names) + 1))


def mean_over(groups: pd.DataFrame) -> str:
    """As ` (mean over 5 of 14 findings)`; empty where it is over all, or there is none."""
    num_findings = groups.loc[groups["finding"] != "mean", "finding"].nunique()
    num_in_mean = groups["num_findings"].dropna()
    if not len(num_in_mean) or num_in_mean.iloc[0] == num_findings:
        return ""
    return f" (mean over {num_in_mean.iloc[0]} of {num_findings} findings)"


def mark_vacuous(cell: Estimate) -> Estimate:
    """A cell that says so where its interval says nothing, as 0.000-1.000."""
    return replace(cell, note="too few patients") if format_interval(cell) == "0.000-1.000" else cell


def _rates_table(report: Report, title: str, groups: pd.DataFrame) -> Table:
    """A row per finding and subgroup with at least 10 patients of each class."""
    mark = "*" if report.optimistic else ""
    rows = []
    for row in records(groups):
        if row["sensitivity"] is None:  # too few patients, or the mean
            continue
        rates = [
            mark_vacuous(
                estimate(
                    row, name, f"{name}_low", f"{name}_high", mark="" if name == "observed_expected" else mark
                )
            )
            for name in _RATES
        ]
        counts = row["num"], row["num_positive"], row["num_positive_patients"]
        rows.append((row["finding"], row["group"], *counts, *rates))
    columns = ("Finding", "Subgroup", "Images", "Positive", "Positive patients", *_RATES.values())
    note = "Observed / expected: positive images over the sum of probabilities; 1 is right on average."
    return Table(title, columns, tuple(rows), "ll" + "r" * (len(columns) - 2), notes=(note,))
