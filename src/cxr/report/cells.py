"""Every table of a report as text: what the terminal, Markdown and HTML show alike."""

import pandas as pd

from cxr.evaluation.metric_tables import AT_THRESHOLD
from cxr.evaluation.report import Report
from cxr.evaluation.statistics.bootstrap import RESAMPLED

Cell = str | int | float | None

HEADINGS = {
    "finding": "Finding",
    "num": "Images",
    "num_positive": "Positive",
    "auroc": "AUROC",
    "average_precision": "Average precision",
    "f1": "F1",
    "threshold": "Threshold",
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "ppv": "PPV",
    "npv": "NPV",
    "brier": "Brier",
    "ece": "ECE",
}
"""Columns of a report's tables in print; those of RESAMPLED are followed by their interval."""
CALIBRATION_HEADINGS = {
    "finding": "Finding",
    "brier": "Brier",
    "brier_after": "Brier, scaled",
    "ece": "ECE",
    "ece_after": "ECE, scaled",
    "temperature": "Temperature",
}
"""Columns of the calibration table."""
SUBGROUP_NOTE = (
    "A group with fewer than 10 positive or negative images has its counts in place of a figure (positive of all). "
    "The gap is the highest less the lowest AUROC, with the interval of the difference between these two groups; "
    "groups chosen for being farthest apart differ by some amount even where nothing is behind it."
)


def metrics_table(report: Report) -> pd.DataFrame:
    """Findings and summary rows, every figure in full; `optimistic` where thresholds were chosen on judged rows."""
    return pd.concat([report.table, report.summary], ignore_index=True).assign(optimistic=report.optimistic)


def metrics_cells(report: Report) -> list[list[str]]:
    """The table and the summary as text, columns HEADINGS, figures with their intervals."""
    return [[metrics_cell(report, row, name) for name in HEADINGS] for row in records(metrics_table(report))]


def subgroup_cells(report: Report) -> list[tuple[str, list[list[str]], list[str]]]:
    """(attribute, rows of cells, names of its groups): a row a finding with the AUROC of each group and the gap."""
    assert report.subgroups is not None
    tables = []
    groups, gaps = (pd.DataFrame(table) for table in report.subgroups)
    for attribute in dict.fromkeys(groups["attribute"]):
        cells = {(row["finding"], row["group"]): _group_cell(row) for row in records(_of(groups, attribute))}
        widest = {row["finding"]: _gap_cell(row) for row in records(_of(gaps, attribute))}
        names = list(dict.fromkeys(str(group) for _, group in cells))
        findings = dict.fromkeys(str(finding) for finding, _ in cells)
        rows = [[finding, *(cells.get((finding, name), "") for name in names), widest.get(finding, "")]
                for finding in findings]  # fmt: skip
        tables.append((str(attribute), rows, names))
    return tables


def _of(table: pd.DataFrame, attribute: str) -> pd.DataFrame:
    return table[table["attribute"] == attribute]


def _group_cell(row: dict[str, Cell]) -> str:
    if row["auroc"] is None:
        return f"({row['num_positive']} of {row['num']})"
    return number(row["auroc"]) + bounds(row["auroc_low"], row["auroc_high"])


def _gap_cell(row: dict[str, Cell]) -> str:
    return f"{with_bounds(row['gap'], row['gap_low'], row['gap_high'])}, {row['best']} over {row['worst']}"


def calibration_cells(report: Report) -> list[list[str]]:
    """The calibration table as text, columns CALIBRATION_HEADINGS."""
    assert report.calibration is not None
    return [[number(row[name], 4) for name in CALIBRATION_HEADINGS] for row in records(report.calibration)]


def published_cells(report: Report) -> tuple[list[list[str]], list[list[str]]]:
    """Rows of result, views, mean AUROC and source: on the same test images, this report first, and on others."""
    assert report.published is not None
    tables = [
        [
            [f"{row['result']} ({row['year']})", str(row["views"]), number(row["mean"]), str(row["source"])]
            for row in records(table)
        ]
        for table in (report.published.same, report.published.other)
    ]
    mean = records(report.summary)[0]
    ours = number(mean["auroc"]) + bounds(mean["auroc_low"], mean["auroc_high"])
    views = next((value for key, value in report.about if key == "test-time augmentation"), "")
    return [["this report", views, ours, ""], *tables[0]], tables[1]


def subgroup_lines(report: Report) -> list[str]:
    """Mean AUROC of the groups of each attribute, as `By sex: F 0.812 (0.780-0.840), M 0.790 (0.761-0.822).`."""
    if report.subgroups is None or not len(report.subgroups.groups):
        return []
    means = report.subgroups.groups[report.subgroups.groups["finding"] == "mean"]
    lines: dict[str, list[str]] = {}
    for row in records(means):
        text = f"{row['group']} {with_bounds(row['auroc'], row['auroc_low'], row['auroc_high'])}"
        lines.setdefault(str(row["attribute"]), []).append(text)
    return [f"Mean AUROC by {attribute}: {', '.join(groups)}." for attribute, groups in lines.items()]


def calibration_lines(report: Report) -> list[str]:
    """Mean calibration error over the findings, before and after temperature scaling."""
    if report.calibration is None or report.calibration["ece"].isna().all():
        return []
    line = f"Calibration: mean ECE {report.calibration['ece'].mean():.4f}"
    if report.calibrated_on:
        after = report.calibration["ece_after"].mean()
        line += f", {after:.4f} after temperature scaling fitted on {report.calibrated_on}"
    return [line + "."]


def published_lines(report: Report) -> list[str]:
    """Which published results can be compared with this report's mean."""
    if report.published is None:
        return []
    if not report.published.split:
        return ["Published results: none was measured on exactly these test images."]
    means = [f"{row['result']} {row['mean']:.3f}" for row in report.published.same.to_dict("records")]
    return [f"Published mean AUROC on the same images ({report.published.split}): {', '.join(means)}."]


def records(table: pd.DataFrame) -> list[dict[str, Cell]]:
    """A table a row a dict, None where a figure is undefined."""
    rows = table.to_dict("records")
    return [{str(name): None if pd.isna(value) else value for name, value in row.items()} for row in rows]


def number(value: Cell, digits: int = 3) -> str:
    """A cell: text as it is, counts with commas, figures with some digits, n/a for what is undefined."""
    if isinstance(value, str):
        return value
    if value is None or value != value:
        return "n/a"
    return f"{value:,}" if isinstance(value, int) else f"{value:.{digits}f}"


def with_bounds(value: Cell, low: Cell, high: Cell, signed: bool = False) -> str:
    """A figure with its interval, as `0.812 (0.780-0.840)` or, signed, `+0.012 (-0.003 to +0.027)`."""
    if not signed:
        return number(value) + bounds(low, high)
    if not isinstance(value, float):
        return "n/a"
    reach = f" ({low:+.3f} to {high:+.3f})" if isinstance(low, float) and isinstance(high, float) else ""
    return f"{value:+.3f}{reach}"


def bounds(low: Cell, high: Cell) -> str:
    """An interval as ` (0.780-0.840)`, empty where there is none."""
    if not isinstance(low, float) or not isinstance(high, float) or low != low:
        return ""
    return f" ({low:.3f}-{high:.3f})"


def metrics_cell(report: Report, row: dict[str, Cell], name: str) -> str:
    """One cell of the metrics, empty where a summary row has none."""
    value = row[name]
    if value is None and row["threshold"] is None and name in ("num_positive", "threshold"):
        return ""
    if name == "threshold" and isinstance(value, float) and 0 < value < 0.01:
        return f"{value:.2g}"
    mark = "*" if report.optimistic and name in AT_THRESHOLD and value is not None else ""
    reach = bounds(row[f"{name}_low"], row[f"{name}_high"]) if name in RESAMPLED else ""
    return number(value) + mark + reach
