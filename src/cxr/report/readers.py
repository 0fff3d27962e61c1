"""The comparison of a model with human readers, on the terminal and in files."""

from pathlib import Path
from typing import TYPE_CHECKING

from cxr.console import line, stack
from cxr.csv_files import write_tables
from cxr.evaluation.readers import AVERAGE, ReaderComparison
from cxr.files import write_text
from cxr.report import cells, render
from cxr.tables import Table
from cxr.text import DISCLAIMER, markdown

if TYPE_CHECKING:
    from rich.console import RenderableType


def render_terminal(result: ReaderComparison) -> "RenderableType":
    """The table for rich."""
    table = Table(_HEADINGS, names=2)
    for row in _cells(result):
        table.add(row, style="bold" if row[1] == AVERAGE else "")
    lines = [line(f"{key.capitalize()}: {value}.") for key, value in result.about]
    lines += [line(f"Note: {note}", style="yellow") for note in result.notes]
    return stack(table, "", *lines, line(DISCLAIMER, style="italic"))


def write(result: ReaderComparison, folder: Path) -> None:
    """Writes `readers.csv` and `readers.md` into the folder."""
    write_tables(folder, {"readers.csv": result.table})
    blocks = [
        ["# Model and readers"],
        render.markdown_table(["About", ""], [list(pair) for pair in result.about], "--"),
        render.markdown_table(_HEADINGS, _cells(result), "--:::::"),
        [f"- {markdown(note)}" for note in result.notes],
        [DISCLAIMER],
    ]
    write_text(folder / "readers.md", "\n\n".join("\n".join(block) for block in blocks if block) + "\n")


_HEADINGS = ["Finding", "Reader", "Images", "Positive", "Reader's F1", "Model's F1", "Difference"]


def _cells(result: ReaderComparison) -> list[list[str]]:
    rows = []
    for row in cells.records(result.table):
        figures = [
            cells.with_bounds(row["reader_f1"], row["reader_low"], row["reader_high"]),
            cells.with_bounds(row["model_f1"], row["model_low"], row["model_high"]),
            cells.with_bounds(row["difference"], row["difference_low"], row["difference_high"], signed=True),
        ]
        counts = ["" if row[name] is None else cells.number(row[name]) for name in ("num", "num_positive")]
        rows.append([str(row["finding"]), str(row["reader"]), *counts, *figures])
    return rows
