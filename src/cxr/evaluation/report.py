"""What a reported number is: predictions and thresholds -> Report -> terminal, CSV, JSON, Markdown."""

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd

from cxr.data.labels import Blank
from cxr.evaluation import metrics
from cxr.evaluation.predictions import Predictions, read, render_csv
from cxr.evaluation.thresholds import Rule, Thresholds, choose, fixed, hashed
from cxr.files import write_text

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

DISCLAIMER = "Research tool, not a medical device."
COLUMNS = {
    "finding": "Finding",
    "num": "Images",
    "num_positive": "Positive",
    "auroc": "AUROC",
    "average_precision": "Average precision",
    "f1": "F1",
    "threshold": "Threshold",
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
}
"""Columns of `metrics.csv` and their headings elsewhere."""

_SHORT = {"num_positive": "\nPos.", "average_precision": "Avg.\nprec.", "threshold": "\nThresh.",
          "sensitivity": "\nSens.", "specificity": "\nSpec."}  # fmt: skip
"""Headings in a terminal of 80 columns; AP would be a view."""
_FIGURES = ("auroc", "average_precision", "f1", "sensitivity", "specificity")
_RULES = {"f1": "best F1", "youden": "best Youden's J"}


@dataclass(frozen=True)
class Report:
    """Every figure of one set of predictions.

    Attributes:
        about: (key, value) pairs that say what was judged: run, checkpoint, data, policies.
        table: COLUMNS, a row a finding and a last row `mean`. `num` counts the rows whose label is known,
            in the last row all images scored; a mean is over the findings whose figure is defined (nan = undefined).
            The last row has no `num_positive` and no `threshold`.
        thresholds: The operating points and where they come from.
        judged_on: The rows that the figures are about, as `test rows (560 images, 97 patients)`.
        notes: What a reader must know: undefined figures, fallback thresholds, thresholds chosen on judged rows.
    """

    about: tuple[tuple[str, str], ...]
    table: pd.DataFrame
    thresholds: Thresholds
    judged_on: str
    notes: tuple[str, ...]


def score(
    predictions: Predictions,
    thresholds: Thresholds,
    about: Mapping[str, str] | Sequence[tuple[str, str]] = (),
    notes: Sequence[str] = (),
) -> Report:
    """The report of these predictions; the only place where a figure comes from, in training as in `cxr eval`.

    Thresholds chosen on rows that are judged here are not refused, since training looks at its validation rows, but
    the first note says so.
    """
    assert thresholds.findings == predictions.findings
    table = _table(predictions, thresholds)
    pairs = tuple(about.items()) if isinstance(about, Mapping) else tuple(about)
    found = (*_overlap_notes(predictions, thresholds), *notes, *_undefined_notes(table), *_fallback_notes(thresholds))
    return Report(pairs, table, thresholds, predictions.describe(), found)


def score_file(
    path: Path, labels: Path | None = None, rule: Rule = "f1", blank: Blank = "negative"
) -> tuple[Report, Predictions]:
    """The report of a predictions file and all the rows read from it (see `predictions.read` for both files).

    Rows of split `test` are judged, or all rows where none is. `f1` and `youden` choose on rows of split `val`;
    without such rows or without test rows nothing is tuned and the threshold is 0.5, which a note says.

    Raises:
        CxrError: Whatever `predictions.read` and `thresholds.choose` raise.
    """
    predictions = read(path, labels, blank)
    split = predictions.rows["split"].to_numpy()
    test, val = split == "test", split == "val"
    notes = []
    if isinstance(rule, str) and not (test.any() and val.any()):
        notes.append("thresholds are not tuned: the file has no rows of split val beside rows of split test")
        thresholds = fixed(predictions.findings)
    else:
        thresholds = choose(predictions.select(val), rule)
    judged = predictions.select(test) if test.any() else predictions
    about = [("predictions", str(path))]
    if labels is not None:
        cells = "negative" if blank == "negative" else "unknown"
        about.append(("labels", f"{labels} (uncertain cells unknown, blank cells {cells})"))
    return score(judged, thresholds, about, notes), predictions


def macro_auroc(report: Report) -> float:
    """Mean AUROC over the findings where it is defined; nan when it is nowhere."""
    return float(report.table["auroc"].iloc[-1])


def render_terminal(report: Report) -> "RenderableType":
    """A table of at most 80 columns for rich, with what it was judged on above and the notes below."""
    from rich.console import Group
    from rich.text import Text

    above = Text.assemble("Scored on ", (report.judged_on, "bold"))
    below = [
        Text(f"Thresholds: {origin(report.thresholds)}; judged on {report.judged_on.partition(' (')[0]}."),
        *(Text(f"Note: {note}", style="yellow") for note in report.notes),
        Text(DISCLAIMER, style="italic"),
    ]
    return Group(above, "", _terminal_table(report), "", *below)


def render_markdown(report: Report) -> str:
    """The report as a Markdown page."""
    about = [*report.about, ("thresholds", origin(report.thresholds)), ("judged on", report.judged_on)]
    *rows, mean = _cells(report)
    rows.append([f"**{cell}**" if cell else "" for cell in mean])
    blocks = [
        ["# Evaluation"],
        _markdown_table(["About", ""], [list(pair) for pair in about], "--"),
        _markdown_table(list(COLUMNS.values()), rows, "-" + ":" * (len(COLUMNS) - 1)),
        [f"- {note}" for note in report.notes],
        [DISCLAIMER],
    ]
    return "\n\n".join("\n".join(block) for block in blocks if block) + "\n"


def render_json(report: Report) -> str:
    """The report as strict JSON: every figure in full precision, null where it is undefined."""
    rows = _records(report)
    thresholds = {
        "rule": report.thresholds.rule,
        "chosen_on": report.thresholds.chosen_on,
        "judged_on": report.judged_on,
        "fallback": list(report.thresholds.fallback),
    }
    document = {
        "about": dict(report.about),
        "thresholds": thresholds,
        "metrics": rows[:-1],
        "mean": rows[-1],
        "notes": list(report.notes),
        "versions": {"python": platform.python_version()} | {x: version(x) for x in ("cxr", "numpy", "scikit-learn")},
        "disclaimer": DISCLAIMER,
    }
    return json.dumps(document, indent=2, allow_nan=False, ensure_ascii=False) + "\n"


def write(report: Report, predictions: Predictions, folder: Path) -> None:
    """Writes `predictions.csv`, `metrics.csv`, `report.json` and `report.md` into the folder, each atomically.

    Raises:
        CxrError: The disk is full or the folder cannot be written; no file is half-written.
    """
    write_text(folder / "predictions.csv", render_csv(predictions))
    write_text(folder / "metrics.csv", report.table.to_csv(index=False, lineterminator="\n"))
    write_text(folder / "report.json", render_json(report))
    write_text(folder / "report.md", render_markdown(report))


def _table(predictions: Predictions, thresholds: Thresholds) -> pd.DataFrame:
    rows = [
        _figures(finding, predictions.y[:, column], predictions.p[:, column], thresholds.values[column])
        for column, finding in enumerate(predictions.findings)
    ]
    mean: dict[str, object] = {name: metrics.macro_mean([float(row[name]) for row in rows]) for name in _FIGURES}
    rows.append({"finding": "mean", "num": len(predictions)} | mean)
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype({"num": "Int64", "num_positive": "Int64"})


def _figures(finding: str, y: metrics.Float, p: metrics.Float, threshold: float) -> dict[str, Any]:
    num, num_positive = metrics.count(y)
    point = metrics.at_threshold(y, p, threshold)
    return {
        "finding": finding,
        "num": num,
        "num_positive": num_positive,
        "auroc": metrics.auroc(y, p),
        "average_precision": metrics.average_precision(y, p),
        "threshold": threshold,
        **point._asdict(),
    }


def _overlap_notes(predictions: Predictions, thresholds: Thresholds) -> list[str]:
    seen = len(hashed(predictions.rows["image"]) & thresholds.images) if thresholds.images else 0
    if not seen:
        return []
    return [
        f"thresholds were chosen on {seen:,} of the {len(predictions):,} images judged here, "
        "so F1, sensitivity and specificity are optimistic"
    ]


def _undefined_notes(table: pd.DataFrame) -> list[str]:
    rows = table.iloc[:-1]
    unknown = rows["num"] == 0
    groups = {
        "no image with a known label": unknown,
        "no positive image": (rows["num_positive"] == 0) & ~unknown,
        "no negative image": (rows["num_positive"] == rows["num"]) & ~unknown,
    }
    notes = [f"n/a, {why}: {', '.join(rows['finding'][which])}" for why, which in groups.items() if which.any()]
    defined = int(rows["auroc"].notna().sum())
    if defined < len(rows):
        notes.append(f"the mean AUROC is over {defined} of {len(rows)} findings")
    return notes


def _fallback_notes(thresholds: Thresholds) -> list[str]:
    if not thresholds.fallback:
        return []
    return [f"threshold 0.5, since the rows it is chosen on hold one class only: {', '.join(thresholds.fallback)}"]


def origin(thresholds: Thresholds) -> str:
    """How the thresholds were chosen and on what, as `best F1 on validation rows (560 images, 97 patients)`."""
    if thresholds.rule in _RULES:
        return f"{_RULES[thresholds.rule]} on {thresholds.chosen_on}"
    return f"{thresholds.rule} for every finding"


def _cells(report: Report) -> list[list[str]]:
    """The table as text, a row a finding and the mean."""
    rows = [[_cell(name, row[name]) for name in COLUMNS] for row in _records(report)]
    rows[-1] = [
        "" if name in ("num_positive", "threshold") else cell for name, cell in zip(COLUMNS, rows[-1], strict=True)
    ]
    return rows


def _cell(name: str, value: str | int | float | None) -> str:
    if isinstance(value, str):
        return value
    if value is None:
        return "n/a"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.2g}" if name == "threshold" and 0 < value < 0.01 else f"{value:.3f}"


def _records(report: Report) -> list[dict[str, str | int | float | None]]:
    """The table a row a dict, None where a figure is undefined."""
    rows = report.table.to_dict("records")
    return [{str(name): None if pd.isna(value) else value for name, value in row.items()} for row in rows]


def _terminal_table(report: Report) -> "Table":
    from rich import box
    from rich.table import Table
    from rich.text import Text

    *rows, mean = _cells(report)
    table = Table(box=box.SIMPLE, padding=(0, 1, 0, 0), show_edge=False, pad_edge=False, show_footer=True,
                  header_style="bold", footer_style="bold")  # fmt: skip
    for (name, heading), foot in zip(COLUMNS.items(), mean, strict=True):
        side: Literal["left", "right"] = "left" if name == "finding" else "right"
        above = _SHORT.get(name, f"\n{heading}")
        table.add_column(above, foot, justify=side, no_wrap=name != "finding")
    for cells in rows:
        table.add_row(*(Text(cell, style="dim" if cell == "n/a" else "") for cell in cells))
    return table


def _markdown_table(headings: list[str], rows: list[list[str]], sides: str) -> list[str]:
    """Lines of a table; `sides` holds `-` for a left-aligned and `:` for a right-aligned column."""
    rule = ["---:" if side == ":" else "---" for side in sides]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in (headings, rule, *rows)]
