"""What cxr eval writes and prints of a Report; evaluation_page.py makes the page."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from cxr.csv_files import write_tables
from cxr.evaluation.by_image import ByImage
from cxr.evaluation.predictions import Predictions, as_table
from cxr.evaluation.report import Report
from cxr.evaluation.thresholds import origin
from cxr.files import clear_leftovers, write_text
from cxr.report import figures, html, json_file, markdown, second_reference
from cxr.report.calibration import calibration_lines
from cxr.report.document import Cell, Part, Table, Text, format_cell, format_interval
from cxr.report.evaluation_page import MICRO_PAIRS, describe_pairs, describe_relabelled, metric_cell, page
from cxr.report.further import NO_FURTHER, Further
from cxr.report.records import Record, estimate, records
from cxr.report.run_files import Training
from cxr.report.subgroups import mean_over
from cxr.text import DISCLAIMER

_SHORT_COLUMNS = {
    "finding": "\nFinding",
    "num_positive": "\nPos.",
    "auroc": "\nAUROC",
    "auroc_interval": "\n95 %",
    "average_precision": "Avg.\nprec.",
    "f1": "\nF1",
    "threshold": "\nThresh.",
    "sensitivity": "\nSens.",
    "specificity": "\nSpec.",
}
"""Columns for a terminal of 80; average precision is not called AP, which is a view."""


def write(
    report: Report,
    predictions: Predictions,
    evaluated: Predictions,
    folder: Path,
    training: Training | None = None,
    examples: Sequence[Part] = (),
    further: Further = NO_FURTHER,
) -> None:
    """Write the predictions, every table, the figures and both pages into the folder, each atomically.

    Files: `predictions.csv`, `metrics.csv` (findings, then summary rows), `subgroups.csv`,
    `subgroup_gaps.csv`, `calibration.csv`, `reliability.csv`, those of `_further_tables`, `report.json`,
    `figures/*.svg`, `*.pdf` and `*.png`, `report.md`, `report.html`.

    Args:
        report: The report.
        predictions: All rows that were read. They name patients, so only the owner may read their file.
        evaluated: The rows that the report is about.
        folder: Where to.
        training: The run that made the model, if it is at hand.
        examples: Images of right and wrong calls; a page with them may be read by its owner alone.
        further: Other reports of the run.

    Raises:
        CxrError: The disk is full or the folder cannot be written; no file is half-written.
    """
    tables = {"predictions.csv": as_table(predictions), "metrics.csv": metrics_table(report)}
    if report.subgroups is not None and len(report.subgroups.groups):
        tables |= {"subgroups.csv": report.subgroups.groups, "subgroup_gaps.csv": report.subgroups.gaps}
    if report.calibration is not None:
        tables["calibration.csv"] = report.calibration
    if report.reliability is not None:
        tables["reliability.csv"] = report.reliability
    if report.by_image:
        tables["metrics_by_image.csv"] = _metrics_by_image(report.by_image)
    if report.second:
        tables["second_reference.csv"] = second_reference.csv(report.second)
    tables |= _further_tables(report)
    if report.curves is not None:
        tables |= {"roc.csv": report.curves.roc, "precision_recall.csv": report.curves.precision_recall}
    if report.cooccurrence is not None:
        tables["cooccurrence.csv"] = report.cooccurrence
    training = training or Training()
    # what an evaluation that was cut off has left
    clear_leftovers(folder)
    # what took long to compute comes first
    write_tables(folder, tables, private=("predictions.csv",))
    json_file.write(folder / "report.json", facts(report), report.notes)
    drawn = figures.draw(report, evaluated, training.history)
    figures.write_files(drawn, folder)
    # without the examples: images stay on the page that its owner alone may read
    write_text(folder / "report.md", markdown.render(page(report, drawn, training, (), further)))
    document = page(report, drawn, training, examples, further)
    write_text(folder / "report.html", html.render(document), private=bool(examples))


def _further_tables(report: Report) -> dict[str, pd.DataFrame]:
    """Tables of operating points, net benefit, prediction sets and a planned test set, by file name."""
    tables = {}
    if report.operating is not None:
        tables = {
            "operating_points.csv": report.operating.points.assign(optimistic=report.optimistic),
            "predictive_values.csv": report.operating.predictive_values,
            "decision_curve.csv": report.operating.decision,
        }
    if report.prediction_sets is not None:
        tables["prediction_sets.csv"] = report.prediction_sets
    if report.planned is not None:
        tables["planned.csv"] = report.planned
    return tables


def metrics_table(report: Report) -> pd.DataFrame:
    """Findings and summary rows, exact; `optimistic` where thresholds were chosen on the evaluated rows."""
    return pd.concat([report.table, report.summary], ignore_index=True).assign(optimistic=report.optimistic)


def _metrics_by_image(found: ByImage) -> pd.DataFrame:
    """The same of single images."""
    return pd.concat([found.table, found.summary], ignore_index=True).assign(optimistic=found.optimistic)


def facts(report: Report) -> Mapping[str, object]:
    """The report for JSON: every metric in full precision, None where it is undefined."""
    facts: dict[str, object] = {
        "about": dict(report.about),
        "thresholds": {
            "rule": report.thresholds.rule,
            "chosen_on": report.thresholds.chosen_on,
            "evaluated_on": report.evaluated_on,
            "fallback": list(report.thresholds.fallback),
            "optimistic": report.optimistic,
        },
        "intervals": report.intervals,
        "metrics": records(report.table),
        "summary": records(report.summary),
    }
    if report.subgroups is not None:
        facts["subgroups"] = {
            "auroc": records(report.subgroups.groups),
            "gaps": records(report.subgroups.gaps),
        }
    if report.calibration is not None and report.reliability is not None:
        facts["calibration"] = {
            "fitted_on": report.calibrated_on,
            "findings": records(report.calibration),
            "reliability": records(report.reliability),
        }
    if report.by_image:
        facts["metrics_by_image"] = records(_metrics_by_image(report.by_image))
    if report.second:
        facts["second_reference"] = records(second_reference.csv(report.second))
    for file, table in _further_tables(report).items():
        facts[file.removesuffix(".csv")] = records(table)
    if report.published is not None:
        facts["published"] = {
            "split": report.published.split,
            "relabelled": report.published.relabelled,
            "dataset": report.published.dataset,
            "same_images": records(report.published.same),
            "other_patients_not_comparable": records(report.published.other),
        }
    return facts


def summary(report: Report) -> tuple[Text | Table, ...]:
    """The report for a terminal of 80 columns."""
    thresholds = f"{origin(report.thresholds)}; evaluated on {report.evaluated_on.partition(' (')[0]}."
    intervals = [Text(f"Intervals: 95 %, {report.intervals}.")] if report.intervals else []
    lines = [
        *_image_lines(report),
        *_subgroup_lines(report),
        *calibration_lines(report),
        *published_lines(report),
    ]
    return (
        Text(f"Evaluated on {report.evaluated_on}", "strong"),
        Text(""),
        _short_table(report),
        Text(""),
        Text(f"{MICRO_PAIRS}: {describe_pairs(report.unit)}."),
        Text(f"Thresholds: {thresholds}"),
        *intervals,
        *map(Text, lines),
        *(Text(f"Note: {note}", "note") for note in report.notes),
        *second_reference.summary(report.second),
        Text(DISCLAIMER, "soft"),
    )


def _short_table(report: Report) -> Table:
    """The metrics without intervals but that of the AUROC, which has a column."""
    # a column of empty cells would cost room that 80 columns do not have
    has_intervals = report.table["auroc_low"].notna().any()
    names = [name for name in _SHORT_COLUMNS if name != "auroc_interval" or has_intervals]
    rows = tuple(
        tuple(_short_cell(report, row, name) for name in names) for row in records(metrics_table(report))
    )
    columns = tuple(_SHORT_COLUMNS[name] for name in names)
    return Table("", columns, rows, "l" + "r" * (len(columns) - 1), num_summary=len(report.summary))


def _short_cell(report: Report, row: Record, name: str) -> Cell:
    if name == "auroc_interval":
        return format_interval(estimate(row, "auroc", "auroc_low", "auroc_high"))
    return metric_cell(report, row, name, with_interval=False)


def _image_lines(report: Report) -> list[str]:
    """As `By image (2,300 images): mean AUROC 0.812 (0.780-0.840), mean F1 0.391 (0.350-0.431).`."""
    if report.by_image is None:
        return []
    mean = records(report.by_image.summary)[0]
    auroc, f1 = (format_cell(estimate(mean, name, f"{name}_low", f"{name}_high")) for name in ("auroc", "f1"))
    # `test rows (2,300 images, 400 patients)` as `2,300 images`
    counts = report.by_image.evaluated_on.partition(" (")[2].partition(", ")[0].rstrip(")")
    return [f"By image ({counts}): mean AUROC {auroc}, mean F1 {f1}."]


def _subgroup_lines(report: Report) -> list[str]:
    """Mean AUROC of each attribute, as `Mean AUROC by sex: F 0.812 (0.780-0.840), M 0.790 (0.761-0.822).`."""
    if report.subgroups is None or not len(report.subgroups.groups):
        return []
    every = report.subgroups.groups
    means = every[every["finding"] == "mean"]
    lines: dict[str, list[str]] = {}
    for row in records(means):
        auroc = format_cell(estimate(row, "auroc", "auroc_low", "auroc_high"))
        lines.setdefault(str(row["attribute"]), []).append(f"{row['group']} {auroc}")
    over = {name: mean_over(every[every["attribute"] == name]) for name in lines}
    return [f"Mean AUROC by {name}{over[name]}: {', '.join(groups)}." for name, groups in lines.items()]


def published_lines(report: Report) -> list[str]:
    """Which published results can be compared with this report's mean."""
    if report.published is None or report.published.dataset != "ChestX-ray14":
        return []
    if report.published.relabelled:
        return [f"Published results: {describe_relabelled(report.published)}."]
    if not report.published.split:
        return ["Published results: none was measured on exactly these test images."]
    means = [f"{row['result']} {row['mean']:.3f}" for row in report.published.same.to_dict("records")]
    return [f"Published mean AUROC on the same images ({report.published.split}): {', '.join(means)}."]
