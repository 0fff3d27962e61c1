"""Maps scored against boxes as documents, CSV and JSON."""

from dataclasses import replace
from pathlib import Path

from cxr.csv_files import write_tables
from cxr.explain.examples import READING
from cxr.explain.localise import IOBB_THRESHOLDS, IOU_THRESHOLDS
from cxr.explain.summarise import MAPS, Scored
from cxr.files import write_text
from cxr.report import html, json_file
from cxr.report.document import Cell, Document, Estimate, Items, Section, Table, Text, two_columns
from cxr.report.records import Record, estimate, records
from cxr.text import DISCLAIMER

_TITLES = {
    "pointing": ("Pointing game", "Whether the map's largest value is in a box."),
    "hit": ("Hit rate", "The same as CheXlocalize counts it: the first of the largest pixels."),
    "miou": ("mIoU", "Intersection over union of boxes and the map cut by Otsu's threshold (CheXlocalize)."),
    "mass": ("Mass inside", "Share of the map's positive values that is inside the boxes."),
}
_COMPARED = (
    "Random: the same network with random weights. Prior: the mean box of the finding in other patients. "
    "Chance: the boxes' share of the image. Frequent: the place that most boxes of other patients hold. "
    "An asterisk: the model's interval is above those of random, prior and chance."
)

About = tuple[tuple[str, str], ...]
"""(key, value) pairs of what was scored."""


def write(scored: Scored, about: About, folder: Path) -> None:
    """Write `explain.csv`, `explain_images.csv`, `explain.json` and `explain.html`, each atomically.

    The table of images names patients, and a page with examples shows them: their owner alone may read these.
    """
    tables = {"explain.csv": scored.table, "explain_images.csv": scored.each}
    write_tables(folder, tables, private=("explain_images.csv",))
    facts = {"about": dict(about), "intervals": scored.intervals, "findings": records(scored.table)}
    json_file.write(folder / "explain.json", facts, scored.notes)
    write_text(folder / "explain.html", html.render(document(scored, about)), bool(scored.examples))


def document(scored: Scored, about: About) -> Document:
    """The page."""
    sections = []
    for score, (title, meaning) in _TITLES.items():
        sections.append(Section(title, (Text(meaning), _table(scored, score))))
    examples = [Section("Examples", (Text(READING), *scored.examples))] if scored.examples else []
    return Document(
        "Maps scored against boxes",
        (
            Text(f"{count_apart(scored)} Intervals: 95 %, {scored.intervals}."),
            Text(_COMPARED),
            *sections,
            Section("Boxes drawn around the map", (_wang_table(scored),)),
            *examples,
            two_columns("", about, ("About", "")),
            Items(scored.notes, "Notes", "note"),
        ),
    )


def summary(scored: Scored, about: About) -> tuple[Text | Table, ...]:
    """For a terminal of 80 columns."""
    pointing = replace(_table(scored, "pointing"), title="")
    return (
        *(Text(value, label=key.capitalize()) for key, value in about),
        Text(""),
        Text("Pointing game: " + _TITLES["pointing"][1].lower()),
        pointing,
        Text(""),
        Text(count_apart(scored), "strong"),
        Text(_COMPARED),
        Text(f"Intervals: 95 %, {scored.intervals}."),
        *(Text(f"Note: {note}", "note") for note in scored.notes),
        Text(DISCLAIMER, "soft"),
    )


def count_apart(scored: Scored) -> str:
    """For how many findings the model is better than all it is compared with."""
    models = scored.table[scored.table["map"] == "model"]
    frequent = scored.table[scored.table["map"] == "frequent"]
    is_apart = models["apart"].astype(bool).to_numpy()
    is_above = models["pointing_low"].to_numpy() > frequent["pointing_high"].to_numpy()
    return (
        f"The pointing game is above chance, prior and random weights, with intervals apart, "
        f"for {is_apart.sum()} of {len(models)} findings; for {(is_apart & is_above).sum()} of them "
        "it is above the most frequent place, too."
    )


def _by_finding(scored: Scored) -> list[dict[str, Record]]:
    """For each finding its rows by the name of the map."""
    rows = records(scored.table)
    return [
        dict(zip(MAPS, rows[start : start + len(MAPS)], strict=True))
        for start in range(0, len(rows), len(MAPS))
    ]


def _table(scored: Scored, score: str) -> Table:
    """A row per finding: the model beside random weights, prior and chance."""
    rows: list[tuple[Cell, ...]] = []
    for row in _by_finding(scored):
        mark = "*" if score == "pointing" and row["model"]["apart"] else ""
        model = estimate(row["model"], score, f"{score}_low", f"{score}_high", mark=mark)
        others = [estimate(row[name], score, f"{score}_low", f"{score}_high") for name in MAPS[1:]]
        finding, num = row["model"]["finding"], row["model"]["num_boxes"]
        rows.append((str(finding), int(num or 0), *(_round(cell) for cell in (model, *others))))
    return Table(
        "", ("Finding", "Boxes", "Model", "Random", "Prior", "Chance", "Frequent"), tuple(rows), "lrrrrrr"
    )


def _round(cell: Estimate) -> Estimate:
    return replace(cell, digits=2)


def _wang_table(scored: Scored) -> Table:
    """Shares of boxes that a box around the map's islands meets, at each threshold."""
    columns = (
        "Finding",
        "Map",
        *(f"IoU {t:g}" for t in IOU_THRESHOLDS),
        *(f"IoBB {t:g}" for t in IOBB_THRESHOLDS),
    )
    names = [name.lower().replace(" ", "_") for name in columns[2:]]
    rows: list[tuple[Cell, ...]] = []
    for row in records(scored.table):
        shares = (Estimate(float(row[name] or 0), digits=2) for name in names)
        rows.append(
            (
                str(row["finding"]),
                str(row["map"]),
                *shares,
                Estimate(float(row["false_boxes"] or 0), digits=2),
            )
        )
    note = (
        "Share of true boxes for which a box around an island of the map, above 60 or above 180 of 255, "
        "reaches the IoU, or the IoBB (intersection over the drawn box), at the threshold "
        "(Wang et al. 2017). "
        "False: drawn boxes an image that reach an IoU of 0.1 with no true box."
    )
    return Table("", (*columns, "False"), tuple(rows), "ll" + "r" * (len(columns) - 1), notes=(note,))
