"""The comparison of a model with human readers as a document and CSV."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from cxr.csv_files import write_tables
from cxr.evaluation.few_patients import FEW, list_few
from cxr.evaluation.reader_mrmc import FIXED, RANDOM
from cxr.evaluation.reader_scores import AVERAGE
from cxr.evaluation.readers import ReaderComparison
from cxr.evaluation.study_rows import PLURALS
from cxr.files import write_bytes, write_text
from cxr.report import html, markdown, reader_figures
from cxr.report.document import (
    Cell,
    Document,
    Estimate,
    Figure,
    Items,
    Part,
    Section,
    Table,
    Text,
    on_one_line,
    two_columns,
)
from cxr.report.records import Record, estimate, records
from cxr.text import DISCLAIMER

MODEL = "model"
_AGREEMENT = {"sensitivity": "Sensitivity", "specificity": "Specificity", "kappa": "Kappa"}
_METRICS = {"sensitivity": "Sensitivity", "specificity": "Specificity", "balanced_accuracy": "Balanced acc.",
            "f1": "F1", "auroc": "AUROC"}  # fmt: skip
_TIES = (
    "Majority: more than half of the other readers who say something. Where as many say yes as no there is "
    "no majority, and the image is left out for that reader and finding."
)
_BELOW = (
    "Below: the reader's sensitivity is less than the model's at the same false-positive rate, by straight "
    "lines between the points of the curve (its upper end where it rises)."
)
_PANEL_NOTE = (
    "Difference: model less the mean of the readers, or readers with help less without, on images that all "
    "have read (Obuchowski and Rockette 1995). Random: for readers like these; fixed: for these readers "
    "alone. Holm: corrected over the findings."
)


def write(result: ReaderComparison, folder: Path) -> None:
    """Write the tables as CSV, the figure, `readers.md` and `readers.html` into the folder, each atomically.

    CSV: `readers.csv`, `reader_metrics.csv`; `reader_points.csv`, `reader_panel.csv` and `reader_aided.csv`
    where there are such.
    """
    tables = {"readers.csv": result.table, "reader_metrics.csv": result.metrics}
    # tables that are not there leave no file with a heading alone
    for name, table in (
        ("reader_points.csv", result.points),
        ("reader_panel.csv", result.panel),
        ("reader_aided.csv", result.aided),
    ):
        if len(table):
            tables[name] = table
    write_tables(folder, tables)
    drawn = reader_figures.draw(result)
    for figure in drawn:
        for kind, data in (("svg", figure.svg), ("pdf", figure.pdf), ("png", figure.png)):
            write_bytes(folder / "figures" / f"{figure.name}.{kind}", data)
    page = _page(result, drawn)
    write_text(folder / "readers.md", markdown.render(page))
    write_text(folder / "readers.html", html.render(page))


def summary(result: ReaderComparison) -> tuple[Text | Table, ...]:
    """The comparison for the terminal."""
    parts: list[Text | Table] = [_f1_table(result, "Pos."), Text("")]
    parts += [_agreement_table(result), Text("")]
    if len(result.points):
        parts += [_points_table(result), Text(""), Text(_count_below(result.points)), Text("")]
    for title, table in _panels(result):
        # one row per metric in the terminal: for readers like these, or, of one reader, for him alone
        analysis = RANDOM if int(table["num_readers"].iloc[0]) > 1 else FIXED
        parts += [Text(f"{title}, {analysis}:", "strong"), _panel_table(table, (analysis,)), Text("")]
    parts += [Text(f"{key.capitalize()}: {value}.") for key, value in result.about]
    parts += [Text(f"Note: {note}", "note") for note in (*_explain(result), *result.notes)]
    return (*parts, Text(DISCLAIMER, "soft"))


def _page(result: ReaderComparison, figures: Sequence[Figure]) -> Document:
    sections = [
        Section("F1", (_f1_table(result),)),
        Section("Sensitivity, specificity and agreement", (_agreement_table(result),)),
    ]
    if len(result.points):
        points: list[Part] = [Text(_count_below(result.points)), *figures, on_one_line(_points_table(result))]
        sections.append(Section("Readers and the model's ROC curve", tuple(points)))
    sections += [Section(title, (_panel_table(table, (FIXED, RANDOM)),)) for title, table in _panels(result)]
    notes = Items((*_explain(result), *result.notes), "Notes", "note")
    return Document("Model and readers", (two_columns("", result.about, ("About", "")), *sections, notes))


def _panels(result: ReaderComparison) -> list[tuple[str, pd.DataFrame]]:
    """(title, table) of each comparison over patients and readers that there is."""
    found = [
        ("The model against the panel", result.panel),
        ("Readers with the model's help and without", result.aided),
    ]
    return [(title, table) for title, table in found if len(table)]


def _explain(result: ReaderComparison) -> list[str]:
    """What the tables mean, as far as they are there."""
    explained = [_TIES] if (result.table["rule"] == "majority").any() else []
    if len(result.points):
        explained.append(_BELOW)
    if len(result.panel):
        explained += [_PANEL_NOTE, *_note_few(result.panel)]
        margin = result.panel["margin"].iloc[0]
        if not pd.isna(margin):
            explained.append(
                f"Non-inferior: the lower end of the interval is above -{margin:g}. A margin is chosen "
                "before the results are known"
            )
    return explained


def _note_few(panel: pd.DataFrame) -> list[str]:
    """A note on findings whose test against the panel rests on few images of a class."""
    # counts are the same in all rows of a finding
    first = panel.drop_duplicates("finding")
    rarer = np.minimum(first["num_positive"], first["num"] - first["num_positive"])
    few = list_few(first["finding"], rarer)
    if not few:
        return []
    reason = f"with fewer than {FEW} positive or negative images p-values against the panel are too small"
    return [f"{reason}: {', '.join(few)}"]


def _f1_table(result: ReaderComparison, positive: str = "Positive") -> Table:
    """A row per finding and reader, then the mean of the finding's readers; `positive` is a heading."""
    rows = []
    for row in records(result.table):
        difference = estimate(row, "difference", "difference_low", "difference_high", signed=True)
        rows.append(
            (
                row["finding"],
                row["reader"],
                *_counts(row),
                estimate(row, "reader_f1", "reader_low", "reader_high"),
                estimate(row, "model_f1", "model_low", "model_high"),
                difference,
            )
        )
    means = tuple(place for place, row in enumerate(rows) if row[1] == AVERAGE)
    columns = (
        "Finding",
        "Reader",
        PLURALS[result.unit].capitalize(),
        positive,
        "Reader's F1",
        "Model's F1",
        "Difference",
    )
    return Table("F1", columns, tuple(rows), "llrrrrr", bold=means)


def _counts(row: Record) -> tuple[Cell, Cell]:
    return ("" if row["num"] is None else row["num"],
            "" if row["num_positive"] is None else row["num_positive"])  # fmt: skip


def _agreement_table(result: ReaderComparison) -> Table:
    """A row per reader, their mean, and the model: its mean over the readers' references."""
    # the table has a row per metric; a line here has several metrics
    by_key: dict[tuple[Cell, Cell], dict[str, Record]] = {}
    for row in records(result.metrics):
        by_key.setdefault((row["finding"], row["reader"]), {})[str(row["metric"])] = row
    rows: list[tuple[Cell, ...]] = []
    names = list(dict.fromkeys(reader for _, reader in by_key))
    for (finding, reader), found in by_key.items():
        # a single reader is the reference, and has no score against himself
        if found["f1"]["rule"] != "single reader":
            cells = [
                estimate(found[name], "reader_value", "reader_low", "reader_high") for name in _AGREEMENT
            ]
            rows.append((finding, reader, *cells))
        if reader == names[-1]:  # the mean over readers, or the only one
            rows.append((finding, MODEL, *(_model_cell(found, name) for name in _AGREEMENT)))
    bold = tuple(place for place, row in enumerate(rows) if row[1] in (AVERAGE, MODEL))
    title = "Sensitivity, specificity and Cohen's kappa"
    return Table(title, ("Finding", "Reader", *_AGREEMENT.values()), tuple(rows), "llrrr", bold=bold)


def _model_cell(found: Mapping[str, Record], name: str) -> Estimate:
    return estimate(found[name], "model_value", "model_low", "model_high")


def _points_table(result: ReaderComparison) -> Table:
    """A row per finding and reader: the point, and the model's curve above or below it."""
    rows = []
    for row in records(result.points):
        below = _answer(row["is_below"], "no")
        auroc = estimate(row, "auroc", "auroc_low", "auroc_high")
        numbers = (estimate(row, name) for name in _POINT)
        rows.append((row["finding"], row["reader"], auroc, *numbers, below))
    columns = ("Finding", "Reader", "Model's AUROC", *_POINT.values(), "Below")
    return Table("", columns, tuple(rows), "llrrrrr")


_POINT = {
    "false_positive_rate": "Reader's\n1 - spec.",
    "sensitivity": "Reader's\nsens.",
    "curve_sensitivity": "Model's\nsens. there",
}


def _count_below(points: pd.DataFrame) -> str:
    """As `Readers below the model's ROC curve: Edema 2 of 3, Mass 0 of 3; on average 1.0.`."""
    counts, numbers = [], []
    for finding, rows in points.groupby("finding", sort=False):
        known = rows["is_below"].dropna()
        counts.append(f"{finding} {int(known.sum())} of {len(known)}")
        if len(known):
            numbers.append(int(known.sum()))
    average = f"; on average {np.mean(numbers):.1f}" if len(numbers) > 1 else ""
    return f"Readers below the model's ROC curve: {', '.join(counts)}{average}."


def _panel_table(table: pd.DataFrame, analyses: Sequence[str]) -> Table:
    """A row per finding, metric and analysis."""
    rows: list[tuple[Cell, ...]] = []
    has_margin = bool(table["margin"].notna().any())
    sides = ("aided", "unaided") if "aided" in table else ("model", "readers")
    for row in records(table):
        if row["analysis"] not in analyses:
            continue
        cells: list[Cell] = [row["finding"], _METRICS[str(row["metric"])]]
        cells += [str(row["analysis"]).split()[0]] if len(analyses) > 1 else []
        cells += [estimate(row, name) for name in sides]
        cells += [estimate(row, "difference", "low", "high", signed=True)]
        cells += [_p_value(row["p"]), _p_value(row["p_holm"])]
        if has_margin:
            cells.append(_answer(row["is_noninferior"], "not shown"))
        rows.append(tuple(cells))
    columns = ["Finding", "Metric", *(["Readers are"] if len(analyses) > 1 else [])]
    columns += [side.capitalize() for side in sides]
    columns += ["Difference", "p", "Holm", *(["Non-inf."] if has_margin else [])]
    align = "ll" + "l" * (len(analyses) > 1) + "r" * (len(columns) - 2 - (len(analyses) > 1))
    return Table("", tuple(columns), tuple(rows), align)


def _answer(value: object, no: str) -> str:
    return "n/a" if value is None else "yes" if value else no


def _p_value(p: object) -> str:
    if not isinstance(p, float):
        return "n/a"
    return "<0.001" if p < 0.001 else f"{p:.3f}"
