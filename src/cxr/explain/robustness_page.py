"""Robustness as documents, CSV and JSON."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cxr.csv_files import write_tables
from cxr.evaluation.changes import MEAN, UNCHANGED
from cxr.explain.attacks import ATTACKS, STEP_SHARE, STEPS
from cxr.explain.change_tables import About, auroc, drop, first_lines
from cxr.explain.corruptions import CORRUPTIONS, LEVELS
from cxr.explain.robustness import Robustness
from cxr.files import write_text
from cxr.report import html, json_file
from cxr.report.document import (
    Cell,
    Document,
    Figure,
    Gallery,
    Items,
    Section,
    Table,
    Text,
    format_cell,
    two_columns,
)
from cxr.report.plots import BLUE, GREY, draw_for_page, drawing
from cxr.report.records import Record, records
from cxr.text import DISCLAIMER

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

_PANELS_PER_ROW, _PANEL_INCHES = 4, 1.9
_READING = (
    "Drop: AUROC of the unchanged images less that of the changed ones, paired by patient; below 0 the "
    "changed images have the higher one. An AUROC below 0.5 means that the order was turned round, as "
    "attacks can do."
)
_ATTACKS = (
    "Attacks change each pixel of the model's input by at most the radius, in grey levels of 255, so that "
    "the loss on all known labels of an image rises; they know the model and the labels. FGSM is one step by "
    f"the sign of the gradient. PGD takes {STEPS} steps of {STEP_SHARE:g} of the radius from a random start. "
    "Images stay between 0 and 255 and are not rounded to whole grey levels. They show the worst case within "
    "the radius that these two find, not what a scanner does."
)
_CORRUPTIONS = (
    "Kinds and strengths of MedMNIST-C are those of its package medmnistc for chest images (Di Salvo et al. "
    "2024), chosen there for images of 224 pixels. Those marked ours were chosen by judgement."
)


def write(found: Robustness, about: About, folder: Path) -> None:
    """Write `robustness.csv`, `robustness.json` and `robustness.html`, each atomically.

    The page shows an image, so that its owner alone may read it.
    """
    write_tables(folder, {"robustness.csv": found.table})
    facts = {
        "about": dict(about),
        "intervals": found.intervals,
        "seed": found.seed,
        "results": records(found.table),
    }
    json_file.write(folder / "robustness.json", facts, found.notes)
    write_text(folder / "robustness.html", html.render(document(found, about)), private=True)


def document(found: Robustness, about: About) -> Document:
    """The page."""
    rows = _by_kind(found)
    details = tuple(
        Section(
            _name(kind), (_finding_table(kind, levels), Gallery(kind, found.examples[kind])), is_folded=True
        )
        for kind, levels in rows.items()
    )
    intervals = [Text(f"Intervals: 95 %, {found.intervals}.", "soft")] if found.intervals else []
    return Document(
        "How easily the model is fooled",
        (
            Text(f"Mean AUROC of the unchanged images: {format_cell(auroc(_unchanged(found)[-1]))}."),
            Text(_READING, "soft"),
            *intervals,
            Section("Drop of the mean AUROC", (mean_table(found), _curves(found))),
            Section("Each finding, and one image at each strength", details),
            Section("What was done", (Text(_ATTACKS), Text(_CORRUPTIONS), _kinds_table(rows))),
            two_columns("", about, ("About", "")),
            Items((*found.notes, f"random numbers: seed {found.seed}"), "Notes", "note"),
        ),
    )


def summary(found: Robustness, about: About) -> tuple[Text | Table, ...]:
    """For a terminal of 80 columns: the lowest and the highest strength."""
    intervals = [Text(f"Intervals: 95 %, {found.intervals}.")] if found.intervals else []
    rows: list[tuple[Cell, ...]] = [
        (kind, *(drop(levels[level][-1]) for level in (1, LEVELS)))
        for kind, levels in _by_kind(found).items()
    ]
    table = Table("", ("Drop of the mean AUROC", "Strength 1", f"Strength {LEVELS}"), tuple(rows), "lrr")
    return (
        *first_lines(about),
        Text(format_cell(auroc(_unchanged(found)[-1])), label="Mean AUROC of the unchanged images"),
        Text(""),
        table,
        Text(""),
        *intervals,
        *(Text(f"Note: {note}", "note") for note in found.notes),
        Text(DISCLAIMER, "soft"),
    )


def _unchanged(found: Robustness) -> list[Record]:
    return records(found.table[found.table["kind"] == UNCHANGED])


def _by_kind(found: Robustness) -> dict[str, dict[int, list[Record]]]:
    """The rows of each kind by level, in the order of the findings, the mean last."""
    kinds: dict[str, dict[int, list[Record]]] = {}
    for row in records(found.table[found.table["kind"] != UNCHANGED]):
        # kind -> level -> rows of findings
        kinds.setdefault(str(row["kind"]), {}).setdefault(int(row["level"] or 0), []).append(row)
    return kinds


def mean_table(found: Robustness) -> Table:
    """The drop of the mean AUROC by kind and level."""
    rows: list[tuple[Cell, ...]] = [
        (_name(kind), *(drop(of_level[-1]) for of_level in levels.values()))
        for kind, levels in _by_kind(found).items()
    ]
    columns = ("Kind", *(f"Strength {level}" for level in range(1, LEVELS + 1)))
    return Table("Drop of the mean AUROC", columns, tuple(rows), "l" + "r" * LEVELS)


def _name(kind: str) -> str:
    if kind in ATTACKS:
        return kind.upper()
    words = kind.replace("_", " ")
    return words if CORRUPTIONS[kind].is_published else f"{words} (ours)"


def _finding_table(kind: str, levels: dict[int, list[Record]]) -> Table:
    """A row per finding with its drop at each level, the mean last."""
    rows: list[tuple[Cell, ...]] = []
    for place, row in enumerate(levels[1]):
        rows.append((str(row["finding"]), *(drop(of_level[place]) for of_level in levels.values())))
    columns = ("Finding", *(f"{of_level[0]['strength']:g}" for of_level in levels.values()))
    title = f"Drop of AUROC by strength ({_meaning(kind)})"
    return Table(title, columns, tuple(rows), "l" + "r" * len(levels), num_summary=1)


def _meaning(kind: str) -> str:
    return "radius, grey levels of 255" if kind in ATTACKS else CORRUPTIONS[kind].meaning


def _kinds_table(kinds: dict[str, dict[int, list[Record]]]) -> Table:
    rows = tuple(
        (
            _name(kind),
            _meaning(kind),
            ", ".join(f"{of_level[0]['strength']:g}" for of_level in levels.values()),
        )
        for kind, levels in kinds.items()
    )
    return Table("Kinds and their strengths", ("Kind", "A strength is", "Strengths 1 to 5"), rows, "lll")


def _curves(found: Robustness) -> Figure:
    """A panel per kind: the mean AUROC by level with its interval, and each finding as a thin line."""
    kinds = _by_kind(found)
    first = _unchanged(found)
    num_columns = min(_PANELS_PER_ROW, len(kinds))
    num_rows = -(-len(kinds) // num_columns)

    def fill(drawn: "Drawing") -> None:
        grid = drawn.subplots(num_rows, num_columns, squeeze=False, sharex=True, sharey=True)
        for axes in grid.flat[len(kinds) :]:
            axes.set_visible(False)
        for axes, (kind, levels) in zip(grid.flat, kinds.items(), strict=False):
            columns = [first, *levels.values()]
            for place in range(len(first)):
                is_mean = first[place]["finding"] == MEAN
                cells = [auroc(column[place]) for column in columns]
                values = [np.nan if cell.value is None else cell.value for cell in cells]
                colour, width = (BLUE, 1.6) if is_mean else (GREY, 0.4)
                axes.plot(range(len(columns)), values, color=colour, lw=width)
                for level, cell in enumerate(cells if is_mean else ()):
                    if cell.low is not None and cell.high is not None:
                        axes.plot([level, level], [cell.low, cell.high], color=BLUE, lw=1)
            axes.axhline(0.5, color=GREY, lw=0.6, ls=":")
            axes.set_title(_name(kind))
            axes.set_xticks(range(LEVELS + 1))
        for axes in grid[:, 0]:
            axes.set_ylabel("AUROC")
        for place, axes in enumerate(grid.flat):
            axes.set_xlabel("strength" if place + num_columns >= len(kinds) else "")

    title = "AUROC by strength (0: unchanged); blue: mean with its interval, grey: each finding"
    alt = "A panel for each kind; the tables have the numbers."
    inches = (_PANEL_INCHES * num_columns, _PANEL_INCHES * num_rows)
    with drawing(()):
        return draw_for_page("robustness", title, alt, inches, fill, is_wide=True)
