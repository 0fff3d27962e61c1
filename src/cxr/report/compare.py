"""The comparison of two models as a document, CSV and JSON."""

from pathlib import Path

from cxr.csv_files import write_tables
from cxr.evaluation.compare import Comparison
from cxr.files import write_text
from cxr.report import json_file, markdown
from cxr.report.document import Cell, Document, Items, Section, Table, Text
from cxr.report.records import Record, estimate, records
from cxr.text import DISCLAIMER

_METRICS = {"auroc": "AUROC", "f1": "F1"}
_EXPLANATION = (
    "Difference: B less A. p: two-sided; of AUROC by DeLong's paired test with patients as units, of F1 "
    "from the bootstrap (<= where its draws cannot show less). Holm: corrected for the number of findings."
)


def write(comparison: Comparison, folder: Path) -> None:
    """Write `comparison.csv`, `comparison.json` and `comparison.md` into the folder, each atomically."""
    write_tables(folder, {"comparison.csv": comparison.table})
    facts = {
        "a": comparison.names[0],
        "b": comparison.names[1],
        "evaluated_on": comparison.evaluated_on,
        "intervals": comparison.intervals,
        "findings": records(comparison.table.iloc[:-1]),
        "mean": records(comparison.table.iloc[-1:])[0],
        "warnings": list(comparison.warnings),
    }
    json_file.write(folder / "comparison.json", facts, comparison.notes)
    write_text(folder / "comparison.md", markdown.render(document(comparison)))


def document(comparison: Comparison) -> Document:
    """The comparison as a page."""
    a, b = comparison.names
    sections = [Section(name, (_table(comparison, metric),)) for metric, name in _METRICS.items()]
    return Document(
        f"{b} against {a}",
        (
            Text(f"Evaluated on {comparison.evaluated_on}. Intervals: 95 %, {comparison.intervals}."),
            Items((f"A: {a}", f"B: {b}")),
            *([Items(comparison.warnings, "Warnings", "bad")] if comparison.warnings else []),
            *sections,
            Text(_EXPLANATION),
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
        *(part for metric in _METRICS for part in (_table(comparison, metric), Text(""))),
        Text(f"Intervals: 95 %, {comparison.intervals}."),
        Text(_EXPLANATION),
        *(Text(f"Note: {note}", "note") for note in comparison.notes),
        Text(DISCLAIMER, "soft"),
    )


def _table(comparison: Comparison, metric: str) -> Table:
    """A row per finding, then the mean."""
    columns = ("Finding", f"A {_METRICS[metric]}", "B", "Difference", "p", "Holm")
    mark = "*" if metric == "f1" and comparison.unlike_thresholds else ""
    rows = tuple(_row(row, metric, mark) for row in records(comparison.table))
    return Table("", columns, rows, "l" + "r" * (len(columns) - 1), num_summary=1)


def _row(row: Record, metric: str, mark: str) -> tuple[Cell, ...]:
    models = (estimate(row, f"{metric}_{side}", mark=mark) for side in ("a", "b"))
    difference = estimate(
        row, f"{metric}_difference", f"{metric}_low", f"{metric}_high", signed=True, mark=mark
    )
    # the mean is one test, so that nothing is corrected
    corrected = "" if row["finding"] == "mean" else _p_value(row, f"{metric}_p_holm")
    return row["finding"], *models, difference, _p_value(row, f"{metric}_p"), corrected


def _p_value(row: Record, name: str) -> Cell:
    """As `0.012`, `<0.001`, or `<=0.002` where the draws cannot show less."""
    p = row[name]
    if not isinstance(p, float):
        return None
    if row.get(f"{name}_is_bound"):
        return f"<={p:.3f}"
    return "<0.001" if p < 0.001 else f"{p:.3f}"
