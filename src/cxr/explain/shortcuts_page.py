"""Shortcuts as documents, CSV and JSON."""

from dataclasses import replace
from pathlib import Path

from cxr.csv_files import write_tables
from cxr.evaluation.changes import MEAN, UNCHANGED
from cxr.explain.change_tables import About, auroc, by_change, change_tables, drop, first_lines
from cxr.explain.regions import MEANINGS, REGIONS, TITLES
from cxr.explain.shortcuts import DROP_OF_FINDING, DROP_OF_MEAN, KEPT, Shortcuts
from cxr.files import write_text
from cxr.report import html, json_file
from cxr.report.document import (
    Cell,
    Document,
    Figure,
    Gallery,
    Items,
    Part,
    Section,
    Table,
    Text,
    two_columns,
)
from cxr.report.plots import draw_dots, drawing
from cxr.report.records import estimate, records
from cxr.text import DISCLAIMER

RULES = (
    "A warning stands here where, with the chest hidden, the interval of a finding's AUROC is above 0.5 and "
    f"at least {KEPT:.0%} of what it has above 0.5 is left. It also stands here where the features tell the "
    f"view (or the dataset) and AUROC within one view is lower by at least {DROP_OF_MEAN} in the mean or "
    f"{DROP_OF_FINDING} for a finding, with the interval of the drop above 0. "
    "No warning does not show that there is no shortcut."
)
_HIDDEN = (
    "A hidden region has the mean grey of what stays visible. If AUROC stays high with the chest hidden, the "
    "model reads something else. If it falls with the corners or the border hidden, it may read markers "
    "there; it may also be unused to grey patches. Fractures and devices may lie outside of the chest region."
)
_PROBES = (
    "A linear model on the network's pooled features. Chance: an AUROC of 0.5, an R2 of 0, the error of the "
    "median age. Random: the same probe on the network with random weights, which tells what any network "
    "would show. A network that can tell the view need not use it."
)
_MAPS = (
    "Share of the positive values of the CAM on the border band, in images in which the finding is called, "
    "beside the band's share of the area, which a constant map has."
)


def write(found: Shortcuts, about: About, folder: Path) -> None:
    """Write `shortcuts.html`, `shortcuts.json` and four tables, each atomically.

    The page shows an image, so that its owner alone may read it.
    """
    tables = {
        "shortcuts.csv": found.regions,
        "shortcuts_within.csv": found.within,
        "shortcuts_probes.csv": found.probes,
        "shortcuts_maps.csv": found.maps,
    }
    write_tables(folder, tables)
    facts = {
        "about": dict(about),
        "warnings": list(found.warnings),
        "lungs": found.lungs,
        "intervals": found.intervals,
        "regions": records(found.regions),
        "within": records(found.within),
        "probes": records(found.probes),
        "maps": records(found.maps),
    }
    json_file.write(folder / "shortcuts.json", facts, found.notes)
    write_text(folder / "shortcuts.html", html.render(document(found, about)), private=True)


def document(found: Shortcuts, about: About) -> Document:
    """The page."""
    meanings = ", ".join(f"{TITLES[region]} ({MEANINGS[region]})" for region in REGIONS)
    hidden: list[Part] = [Text(_HIDDEN), *_figures(found), *change_tables(found.regions, "hidden")]
    hidden += [Text(f"{meanings}. The lungs are {found.lungs}.", "soft")]
    hidden.append(Section("One image with each region hidden", (Gallery("Hidden", found.examples),), True))
    sections = [Section("Hidden regions", tuple(hidden))]
    if len(found.within):
        sections.append(Section("AUROC within views", _within_tables(found)))
    if len(found.probes):
        sections.append(Section("Probes", (Text(_PROBES), probe_table(found))))
    sections.append(Section("Maps on the border", (Text(_MAPS), _map_table(found))))
    return Document(
        "Shortcuts: the chest or the scanner?",
        (
            *verdict(found),
            Text(RULES, "soft"),
            *([Text(f"Intervals: 95 %, {found.intervals}.", "soft")] if found.intervals else []),
            *sections,
            two_columns("", about, ("About", "")),
            Items(found.notes, "Notes", "note"),
        ),
    )


def verdict(found: Shortcuts) -> tuple[Part, ...]:
    """The warnings, or that there is none."""
    if found.warnings:
        return (Items(tuple(f"Warning: {line}" for line in found.warnings), "Warnings", "bad"),)
    return (Text(_say_clean(found), "strong"),)


def _say_clean(found: Shortcuts) -> str:
    num = int((found.regions["change"] == UNCHANGED).sum()) - 1  # without the mean
    if not found.num_tested:
        return "No finding has an AUROC whose interval is above 0.5: nothing is said about shortcuts."
    return (
        "No rule finds a sign that the model reads the scanner rather than the chest "
        f"({found.num_tested} of {num} findings have an AUROC whose interval is above 0.5)."
    )


def summary(found: Shortcuts, about: About) -> tuple[Text | Table, ...]:
    """For a terminal of 80 columns."""
    warnings = [Text(f"Warning: {line}", "bad") for line in found.warnings]
    intervals = [Text(f"Intervals: 95 %, {found.intervals}.")] if found.intervals else []
    probes: list[Text | Table] = (
        [replace(probe_table(found), title=""), Text("")] if len(found.probes) else []
    )
    return (
        *first_lines(about),
        Text(""),
        _means(found),
        Text(""),
        *probes,
        *(warnings or [Text(_say_clean(found), "strong")]),
        *intervals,
        Text(f"Lungs: {found.lungs}."),
        *(Text(f"Note: {note}", "note") for note in found.notes),
        Text(DISCLAIMER, "soft"),
    )


def _means(found: Shortcuts) -> Table:
    """Mean AUROC with each region hidden."""
    rows = records(found.regions[found.regions["finding"] == MEAN])
    cells = [
        (str(row["change"]), auroc(row), drop(row) if row["change"] != UNCHANGED else "") for row in rows
    ]
    return Table("", ("", "Mean AUROC", "Drop"), tuple(cells), "lrr")


def _figures(found: Shortcuts) -> tuple[Figure, ...]:
    """AUROC as it is, with all but the lungs hidden, and with the chest hidden."""
    shown = (UNCHANGED, TITLES["outside"], TITLES["chest"])
    columns = {name: rows for name, rows in by_change(found.regions).items() if name in shown}
    first = columns[UNCHANGED]
    if all(row["auroc"] is None for row in first):
        return ()
    rows = [
        (str(row["finding"]), [auroc(columns[name][place]) for name in shown])
        for place, row in enumerate(first)
    ]
    mean = rows[-1][1]
    alt = "Mean AUROC: " + ", ".join(
        f"{name} {cell.value:.3f}" for name, cell in zip(shown, mean, strict=True) if cell.value is not None
    )
    with drawing([name for name, _ in rows]):
        title = "AUROC with regions hidden; the dotted line is chance"
        return (draw_dots("hidden", title, f"{alt}. The table has the numbers.", rows, shown, 0.5, "AUROC"),)


def _within_tables(found: Shortcuts) -> tuple[Part, ...]:
    parts: list[Part] = [
        Text(
            "Within a view an image is compared with images of the same view alone. What AUROC loses there "
            "came from telling the views apart."
        )
    ]
    for attribute, table in found.within.groupby("attribute", sort=False):
        rows = tuple(
            (
                str(row["finding"]),
                auroc(row),
                estimate(row, "within", "within_low", "within_high"),
                drop(row),
            )
            for row in records(table)
        )
        name = "dataset" if attribute == "source" else str(attribute)
        columns = ("Finding", "AUROC", f"Within {name}", "Drop")
        parts.append(
            Table(f"AUROC over all images and within one {name}", columns, rows, "lrrr", num_summary=1)
        )
    return tuple(parts)


def probe_table(found: Shortcuts) -> Table:
    """A row per target and metric."""
    rows: list[tuple[Cell, ...]] = []
    for row in records(found.probes):
        digits = 1 if str(row["metric"]).startswith("MAE") else 3
        model = replace(estimate(row, "value", "low", "high"), digits=digits)
        random = replace(estimate(row, "random", "random_low", "random_high"), digits=digits)
        chance = replace(estimate(row, "chance"), digits=digits)
        rows.append(
            (str(row["target"]), str(row["metric"]), int(row["num_test"] or 0), model, random, chance)
        )
    columns = ("Target", "Metric", "Images", "Model", "Random", "Chance")
    return Table("What a linear probe tells from the features", columns, tuple(rows), "llrrrr")


def _map_table(found: Shortcuts) -> Table:
    rows = tuple(
        (
            str(row["finding"]),
            int(row["num_images"] or 0),
            estimate(row, "border", "border_low", "border_high"),
            estimate(row, "area"),
        )
        for row in records(found.maps)
    )
    columns = ("Finding", "Images called", "Share on the border", "Share of the area")
    return Table("Positive CAM mass on the border", columns, rows, "lrrr")
