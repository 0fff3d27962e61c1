"""The comparison of a model with human readers as a document and CSV."""

from dataclasses import replace
from pathlib import Path

from cxr.csv_files import write_tables
from cxr.evaluation.readers import AVERAGE, ReaderComparison
from cxr.files import write_text
from cxr.report import markdown
from cxr.report.document import Document, Items, Table, Text, two_columns
from cxr.report.records import estimate, records
from cxr.text import DISCLAIMER

_COLUMNS = ("Finding", "Reader", "Images", "Positive", "Reader's F1", "Model's F1", "Difference")
_SHORT_COLUMNS = ("Finding", "Reader", "Images", "Pos.", "Reader's F1", "Model's F1", "Difference")
"""Columns of a terminal of 80 columns."""


def write(result: ReaderComparison, folder: Path) -> None:
    """Write `readers.csv` and `readers.md` into the folder, each atomically."""
    write_tables(folder, {"readers.csv": result.table})
    page = Document(
        "Model and readers",
        (two_columns("", result.about, ("About", "")), _table(result), Items(result.notes, "Notes", "note")),
    )
    write_text(folder / "readers.md", markdown.render(page))


def summary(result: ReaderComparison) -> tuple[Text | Table, ...]:
    """The comparison for the terminal."""
    return (
        replace(_table(result), columns=_SHORT_COLUMNS),
        Text(""),
        *(Text(f"{key.capitalize()}: {value}.") for key, value in result.about),
        *(Text(f"Note: {note}", "note") for note in result.notes),
        Text(DISCLAIMER, "soft"),
    )


def _table(result: ReaderComparison) -> Table:
    """A row per finding and reader, then the mean of the finding's readers."""
    rows = []
    for row in records(result.table):
        difference = estimate(row, "difference", "difference_low", "difference_high", signed=True)
        rows.append(
            (
                row["finding"],
                row["reader"],
                "" if row["num"] is None else row["num"],
                "" if row["num_positive"] is None else row["num_positive"],
                estimate(row, "reader_f1", "reader_low", "reader_high"),
                estimate(row, "model_f1", "model_low", "model_high"),
                difference,
            )
        )
    means = tuple(place for place, row in enumerate(rows) if row[1] == AVERAGE)
    return Table("", _COLUMNS, tuple(rows), "llrrrrr", bold=means)
