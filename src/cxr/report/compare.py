"""A Comparison on the terminal, as Markdown, CSV and JSON."""

from pathlib import Path
from typing import TYPE_CHECKING

from cxr.console import line, stack
from cxr.csv_files import write_tables
from cxr.evaluation.compare import Comparison
from cxr.files import write_text
from cxr.report.cells import number, records, with_bounds
from cxr.report.render import markdown_table, versions
from cxr.text import DISCLAIMER, json_text, markdown

if TYPE_CHECKING:
    from rich.console import RenderableType

_FIGURES = {"auroc": "AUROC", "f1": "F1"}


def write(comparison: Comparison, folder: Path) -> None:
    """Writes `comparison.csv`, `comparison.json` and `comparison.md` into the folder, each atomically."""
    write_tables(folder, {"comparison.csv": comparison.table})
    document = {
        "a": comparison.names[0],
        "b": comparison.names[1],
        "judged_on": comparison.evaluated_on,
        "intervals": comparison.intervals,
        "findings": records(comparison.table.iloc[:-1]),
        "mean": records(comparison.table.iloc[-1:])[0],
        "notes": list(comparison.notes),
        "versions": versions(),
        "disclaimer": DISCLAIMER,
    }
    write_text(folder / "comparison.json", json_text(document, 2))
    write_text(folder / "comparison.md", render_markdown(comparison))


def render_markdown(comparison: Comparison) -> str:
    """The comparison as a Markdown page."""
    a, b = map(markdown, comparison.names)
    blocks = [
        [f"# {b} against {a}"],
        [f"Judged on {comparison.evaluated_on}. Intervals: 95 %, {comparison.intervals}."],
    ]
    for figure, name in _FIGURES.items():
        headings, rows = _cells(comparison, figure)
        blocks += [[f"## {name}"], markdown_table(headings, rows, "-" + ":" * (len(headings) - 1))]
    blocks += [[_explain()], [f"- {markdown(note)}" for note in comparison.notes], [DISCLAIMER]]
    return "\n\n".join("\n".join(block) for block in blocks if block) + "\n"


def render_terminal(comparison: Comparison) -> "RenderableType":
    """Two tables of at most 80 columns for rich."""
    from cxr.tables import Table

    a, b = comparison.names
    parts: list[RenderableType] = [
        line(f"A: {a}"),
        line(f"B: {b}"),
        line(f"On {comparison.evaluated_on}"),
        "",
    ]
    for figure in _FIGURES:
        headings, rows = _cells(comparison, figure)
        table = Table(headings)
        for cells in rows:
            table.add(cells, style="bold" if cells[0] == "mean" else "")
        parts += [table, ""]
    parts += [line(f"Intervals: 95 %, {comparison.intervals}."), line(_explain())]
    parts += [line(f"Note: {note}", style="yellow") for note in comparison.notes]
    return stack(*parts, line(DISCLAIMER, style="italic"))


def _explain() -> str:
    return (
        "Difference: B less A. p: two-sided, from the bootstrap; Holm: corrected for the number of findings; "
        "DeLong: paired test that takes images for independent, corrected too."
    )


def _cells(comparison: Comparison, figure: str) -> tuple[list[str], list[list[str]]]:
    headings = ["Finding", f"A {_FIGURES[figure]}", "B", "Difference", "p", "Holm"]
    headings += ["DeLong"] if figure == "auroc" else []
    rows = []
    for row in records(comparison.table):
        cells = [
            str(row["finding"]),
            number(row[f"{figure}_a"]),
            number(row[f"{figure}_b"]),
            with_bounds(
                row[f"{figure}_difference"], row[f"{figure}_low"], row[f"{figure}_high"], signed=True
            ),
        ]
        p_values = [row[f"{figure}_p"], row[f"{figure}_p_holm"]]
        p_values += [row["delong_p_holm"]] if figure == "auroc" else []
        is_mean = row["finding"] == "mean"
        cells += ["" if is_mean and place else number(p) for place, p in enumerate(p_values)]
        rows.append(cells)
    return headings, rows
