"""The comparison of two models as a document, CSV and JSON."""

from collections.abc import Sequence
from pathlib import Path

from cxr.csv_files import write_tables
from cxr.evaluation.compare import Comparison
from cxr.evaluation.differences import METRICS
from cxr.files import write_text
from cxr.report import compare_figures, html, json_file, markdown
from cxr.report.document import Cell, Document, Figure, Items, Section, Table, Text
from cxr.report.figures import write_files
from cxr.report.records import Record, estimate, records
from cxr.text import DISCLAIMER

NAMES = {
    "auroc": "AUROC",
    "f1": "F1",
    "average_precision": "Average precision",
    "brier": "Brier score",
    "sensitivity_at_90": "Sensitivity at 90 % specificity",
}
SHORT_NAMES = NAMES | {"average_precision": "Avg. precision", "sensitivity_at_90": "Sens. at 90 % spec."}
"""For a terminal of 80 columns."""
_BY_FINDING = ("auroc", "f1")
"""Metrics that the terminal shows by finding; of the others it has the mean."""
_HOW = {
    True: "by DeLong's paired test with patients as units",
    False: "by DeLong's test with patients as units, whose variances on both sides add up",
}


def explain(is_paired: bool) -> str:
    """What the columns of a comparison are."""
    return (
        f"Difference: B less A. p: two-sided; of AUROC {_HOW[is_paired]}, of the other metrics by "
        "Student's test with the standard deviation of the bootstrap. Holm: corrected for the number of "
        "findings, for each metric alone. A lower Brier score is better."
    )


def write(comparison: Comparison, folder: Path) -> None:
    """Write `comparison.csv`, `.json`, `.md` and `.html` and `figures/` into the folder, each atomically."""
    write_tables(folder, {"comparison.csv": comparison.table})
    facts = {
        "a": comparison.names[0],
        "b": comparison.names[1],
        "evaluated_on": comparison.evaluated_on,
        "intervals": comparison.intervals,
        "findings": records(comparison.table.iloc[:-1]),
        "mean": records(comparison.table.iloc[-1:])[0],
        "warnings": list(comparison.warnings),
        "paired": comparison.is_paired,
    }
    json_file.write(folder / "comparison.json", facts, comparison.notes)
    drawn = compare_figures.draw_comparison(comparison)
    write_files(drawn, folder)
    page = document(comparison, drawn)
    write_text(folder / "comparison.md", markdown.render(page))
    write_text(folder / "comparison.html", html.render(page))


def document(comparison: Comparison, figures: Sequence[Figure] = ()) -> Document:
    """The comparison as a page."""
    a, b = comparison.names
    sections = [Section(NAMES[metric], (table(comparison, metric),)) for metric in METRICS]
    return Document(
        f"{b} against {a}",
        (
            Text(f"Evaluated on {comparison.evaluated_on}. Intervals: 95 %, {comparison.intervals}."),
            Items((f"A: {a}", f"B: {b}")),
            *([Items(comparison.warnings, "Warnings", "bad")] if comparison.warnings else []),
            *figures[:1],
            *sections,
            *([Section("Curves", tuple(figures[1:]))] if figures[1:] else []),
            Text(explain(comparison.is_paired)),
            *map(Text, _detectable(comparison)),
            Items(comparison.notes, "Notes", "note"),
        ),
    )


def summary(comparison: Comparison) -> tuple[Text | Table, ...]:
    """The comparison for a terminal of 80 columns."""
    a, b = comparison.names
    return (
        Text(a, label="A"),
        Text(b, label="B"),
        Text(f"Evaluated on {comparison.evaluated_on}"),
        *(Text(f"Warning: {warning}", "bad") for warning in comparison.warnings),
        Text(""),
        *(part for metric in _BY_FINDING for part in (table(comparison, metric), Text(""))),
        _means(comparison),
        Text(""),
        Text(f"Intervals: 95 %, {comparison.intervals}."),
        Text(explain(comparison.is_paired)),
        *map(Text, _detectable(comparison)),
        *(Text(f"Note: {note}", "note") for note in comparison.notes),
        Text(DISCLAIMER, "soft"),
    )


def table(comparison: Comparison, metric: str, title: str = "") -> Table:
    """One metric: a row per finding, then the mean."""
    name = NAMES[metric] if metric in _BY_FINDING else ""
    columns = ("Finding", f"A {name}".rstrip(), "B", "Difference", "p", "Holm")
    rows = tuple(_row(comparison, row, metric) for row in records(comparison.table))
    return Table(title, columns, rows, "l" + "r" * (len(columns) - 1), num_summary=1)


def _means(comparison: Comparison) -> Table:
    """The means of the metrics that have no table by finding here."""
    mean = records(comparison.table)[-1]
    rows = [
        # without the first cell, a finding, and the last, a corrected p-value that a mean does not have
        (SHORT_NAMES[metric], *_row(comparison, mean, metric)[1:-1])
        for metric in METRICS
        if metric not in _BY_FINDING
    ]
    return Table("", ("Mean", "A", "B", "Difference", "p"), tuple(rows), "lrrrr")


def _row(comparison: Comparison, row: Record, metric: str) -> tuple[Cell, ...]:
    mark = "*" if metric == "f1" and comparison.unlike_thresholds else ""
    models = (estimate(row, f"{metric}_{side}", mark=mark) for side in ("a", "b"))
    difference = estimate(
        row, f"{metric}_difference", f"{metric}_low", f"{metric}_high", signed=True, mark=mark
    )
    # the mean is one test, so that nothing is corrected
    corrected = "" if row["finding"] == "mean" else p_value(row, f"{metric}_p_holm")
    return row["finding"], *models, difference, p_value(row, f"{metric}_p"), corrected


def p_value(row: Record, name: str) -> Cell:
    """As `0.012`, or `<0.001`."""
    p = row[name]
    if not isinstance(p, float):
        return None
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def _detectable(comparison: Comparison) -> list[str]:
    """The difference of the means that such a test set finds."""
    least = records(comparison.table)[-1]["auroc_detectable"]
    if not isinstance(least, float) or not least:
        return []
    return [f"A true difference of the mean AUROC of {least:.4f} is found in 80 % of test sets such as this."]
