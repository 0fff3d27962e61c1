"""A Report on the terminal, as Markdown, CSV and JSON; html.py draws the page."""

import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from cxr.console import line, stack
from cxr.csv_files import write_tables
from cxr.evaluation.predictions import Predictions, as_table
from cxr.evaluation.report import Report
from cxr.evaluation.thresholds import origin
from cxr.files import clear_leftovers, write_text
from cxr.report.cells import (
    CALIBRATION_HEADINGS,
    HEADINGS,
    SUBGROUP_NOTE,
    Cell,
    bounds,
    calibration_cells,
    calibration_lines,
    metrics_cell,
    metrics_cells,
    metrics_table,
    published_cells,
    published_lines,
    records,
    subgroup_cells,
    subgroup_lines,
)
from cxr.text import DISCLAIMER, json_text, markdown

if TYPE_CHECKING:
    from rich.console import RenderableType

    from cxr.tables import Table

_SHORT = {
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
"""Columns of a terminal of 80 columns; AP would be a view."""

Block = list[str]


def write(report: Report, predictions: Predictions, folder: Path) -> None:
    """Writes the predictions, every table and both pages into the folder, each atomically.

    The predictions name patients, so nobody but their owner may read them.

    Files: `predictions.csv`, `metrics.csv` (findings, then summary rows), `subgroups.csv`, `subgroup_gaps.csv`,
    `reliability.csv`, `report.json`, `report.md`.

    Raises:
        CxrError: The disk is full or the folder cannot be written; no file is half-written.
    """
    tables = {"predictions.csv": as_table(predictions), "metrics.csv": metrics_table(report)}
    if report.subgroups is not None and len(report.subgroups.groups):
        tables |= {"subgroups.csv": report.subgroups.groups, "subgroup_gaps.csv": report.subgroups.gaps}
    if report.reliability is not None:
        tables["reliability.csv"] = report.reliability
    clear_leftovers(folder)
    write_tables(folder, tables, private=("predictions.csv",))
    write_text(folder / "report.json", render_json(report))
    write_text(folder / "report.md", render_markdown(report))


def render_terminal(report: Report) -> "RenderableType":
    """A table of at most 80 columns for rich, with what it was judged on above and the notes below."""
    below = [
        line(f"Thresholds: {origin(report.thresholds)}; judged on {report.evaluated_on.partition(' (')[0]}.")
    ]
    if report.intervals:
        below.append(line(f"Intervals: 95 %, {report.intervals}."))
    below += [
        line(text) for text in [*subgroup_lines(report), *calibration_lines(report), *published_lines(report)]
    ]
    below += [line(f"Note: {note}", style="yellow") for note in report.notes]
    above = line("Scored on ", (report.evaluated_on, "bold"))
    return stack(above, "", _terminal_table(report), "", *below, line(DISCLAIMER, style="italic"))


def render_markdown(report: Report) -> str:
    """The report as a Markdown page."""
    about = [*report.about, ("thresholds", origin(report.thresholds)), ("judged on", report.evaluated_on)]
    about += [("intervals", f"95 %, {report.intervals}")] if report.intervals else []
    num = len(report.table)
    blocks: list[Block] = [
        ["# Evaluation"],
        [f"- {markdown(note)}" for note in report.notes],
        markdown_table(["About", ""], [list(pair) for pair in about], "--"),
        markdown_table(list(HEADINGS.values()), metrics_cells(report), "-" + ":" * (len(HEADINGS) - 1), num),
        *_subgroup_blocks(report),
        *_calibration_blocks(report),
        *_published_blocks(report),
        [DISCLAIMER],
    ]
    return "\n\n".join("\n".join(block) for block in blocks if block) + "\n"


def _subgroup_blocks(report: Report) -> list[Block]:
    if report.subgroups is None or not len(report.subgroups.groups):
        return []
    blocks: list[Block] = [["## Subgroups"]]
    for attribute, cells, names in subgroup_cells(report):
        blocks.append(
            markdown_table([f"AUROC by {attribute}", *names, "Gap"], cells, "-" + ":" * (len(names) + 1))
        )
    return [*blocks, [SUBGROUP_NOTE]]


def _calibration_blocks(report: Report) -> list[Block]:
    if report.calibration is None:
        return []
    how = (
        f"Temperatures were fitted on {markdown(report.calibrated_on)}."
        if report.calibrated_on
        else "No temperatures."
    )
    cells = calibration_cells(report)
    return [["## Calibration"], markdown_table(list(CALIBRATION_HEADINGS.values()), cells, "-:::::"), [how]]


def _published_blocks(report: Report) -> list[Block]:
    if report.published is None:
        return []
    same, other = published_cells(report)
    heading = ["Result", "Views", "Mean AUROC", "Source"]
    blocks: list[Block] = [["## Published results on ChestX-ray14"]]
    if report.published.split:
        blocks += [
            [f"On the same test images ({report.published.split}):"],
            markdown_table(heading, same, "--:-"),
        ]
    else:
        blocks.append(["None was measured on exactly these test images."])
    return [*blocks, ["On other patients, not comparable:"], markdown_table(heading, other, "--:-")]


def render_json(report: Report) -> str:
    """The report as strict JSON: every figure in full precision, null where it is undefined."""
    thresholds = {
        "rule": report.thresholds.rule,
        "chosen_on": report.thresholds.chosen_on,
        "judged_on": report.evaluated_on,
        "fallback": list(report.thresholds.fallback),
        "optimistic": report.optimistic,
    }
    document: dict[str, object] = {
        "about": dict(report.about),
        "thresholds": thresholds,
        "intervals": report.intervals,
        "metrics": records(report.table),
        "summary": records(report.summary),
    }
    if report.subgroups is not None:
        document["subgroups"] = {
            "auroc": records(report.subgroups.groups),
            "gaps": records(report.subgroups.gaps),
        }
    if report.calibration is not None and report.reliability is not None:
        document["calibration"] = {
            "fitted_on": report.calibrated_on,
            "findings": records(report.calibration),
            "reliability": records(report.reliability),
        }
    if report.published is not None:
        document["published"] = {
            "split": report.published.split,
            "same_images": records(report.published.same),
            "other_patients_not_comparable": records(report.published.other),
        }
    document |= {"notes": list(report.notes), "versions": versions(), "disclaimer": DISCLAIMER}
    return json_text(document, 2)


def versions() -> dict[str, str]:
    """Versions of what computed the figures."""
    names = ("cxr", "numpy", "scipy", "scikit-learn", "pandas")
    return {"python": platform.python_version()} | {name: version(name) for name in names}


def _terminal_table(report: Report) -> "Table":
    from cxr.tables import Table

    columns = [name for name in _SHORT if name != "auroc_interval" or report.table["auroc_low"].notna().any()]
    table = Table([_SHORT[name] for name in columns], gap=0)
    for place, row in enumerate(records(metrics_table(report))):
        cells = [_short_cell(report, row, name) for name in columns]
        style = "bold" if place >= len(report.table) else ""
        is_last = place == len(report.table) - 1
        table.add(cells, style, end_section=is_last)
    return table


def _short_cell(report: Report, row: dict[str, Cell], name: str) -> str:
    if name == "auroc_interval":
        return bounds(row["auroc_low"], row["auroc_high"]).strip(" ()")
    return metrics_cell(report, {**row, f"{name}_low": None, f"{name}_high": None}, name)


def markdown_table(
    headings: Sequence[str], rows: Sequence[Sequence[str]], sides: str, bold_from: int | None = None
) -> Block:
    """Lines of a table; `sides` holds `-` for a left-aligned and `:` for a right-aligned column.

    Cells are text, whatever is in them; rows from `bold_from` on are bold.
    """
    rule = ["---:" if side == ":" else "---" for side in sides]
    plain = len(rows) if bold_from is None else bold_from
    texts = [[markdown(cell) for cell in row] for row in rows]
    bold = [[f"**{cell}**" if cell else cell for cell in row] for row in texts[plain:]]
    lines = [[markdown(heading) for heading in headings], rule, *texts[:plain], *bold]
    return [f"| {' | '.join(line)} |" for line in lines]
