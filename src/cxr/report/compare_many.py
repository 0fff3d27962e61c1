"""Comparisons of more than two models, and of several runs of recipes, as documents, CSV and JSON."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from cxr.csv_files import write_tables
from cxr.evaluation.differences import METRICS
from cxr.evaluation.family import Family, letter
from cxr.evaluation.seeds import Seeds
from cxr.files import write_text
from cxr.report import compare_figures, html, json_file, markdown
from cxr.report.compare import NAMES, SHORT_NAMES, p_value
from cxr.report.document import Cell, Document, Estimate, Figure, Items, Section, Table, Text, format_interval
from cxr.report.figures import write_files
from cxr.report.records import Record, estimate, records
from cxr.text import DISCLAIMER

_SEEDS_NOTE = (
    "Within seed noise: the 95 % interval of the difference of the means over runs (Welch 1947, runs as "
    "units) contains 0. It tells of other runs of the same recipes on these images. The interval by patient "
    "tells of other patients for these runs. A claim about recipes needs both, and other runs on other "
    "patients vary by both together."
)


def write_family(family: Family, folder: Path) -> None:
    """Write `comparisons.csv`, `comparison.json`, `.md`, `.html` and `figures/`, each atomically."""
    drawn = compare_figures.draw_family(family)
    write_files(drawn, folder)
    write_tables(folder, {"comparisons.csv": family.table})
    facts = {
        "models": list(family.names),
        "reference": None if family.reference is None else family.names[family.reference],
        "family": family.tests,
        "evaluated_on": family.evaluated_on,
        "intervals": family.intervals,
        "comparisons": records(family.table),
        "warnings": list(family.warnings),
    }
    _write_pages(folder, facts, family.notes, _family_document(family, drawn))


def write_seeds(seeds: Seeds, folder: Path) -> None:
    """Write `seeds.csv`, `seed_differences.csv`, `comparison.json`, `.md` and `.html` into the folder."""
    write_tables(folder, {"seeds.csv": seeds.runs, "seed_differences.csv": seeds.differences})
    facts = {
        "recipes": {letter(place): list(names) for place, names in enumerate(seeds.recipes)},
        "evaluated_on": seeds.evaluated_on,
        "intervals": seeds.intervals,
        "runs": records(seeds.runs),
        "differences": records(seeds.differences),
    }
    _write_pages(folder, facts, seeds.notes, _seeds_document(seeds))


def _write_pages(folder: Path, facts: Mapping[str, object], notes: Sequence[str], page: Document) -> None:
    json_file.write(folder / "comparison.json", facts, notes)
    write_text(folder / "comparison.md", markdown.render(page))
    write_text(folder / "comparison.html", html.render(page))


def family_summary(family: Family) -> tuple[Text | Table, ...]:
    """The comparisons for a terminal: the means, then AUROC by finding and model."""
    return (
        *(Text(name, label=letter(place)) for place, name in enumerate(family.names)),
        Text(f"Evaluated on {family.evaluated_on}"),
        *(Text(f"Warning: {warning}", "bad") for warning in family.warnings),
        Text(""),
        _by_model(family),
        Text(""),
        _means(family),
        Text(""),
        *map(Text, _explanations(family)),
        *(Text(f"Note: {note}", "note") for note in family.notes),
        Text(DISCLAIMER, "soft"),
    )


def _family_document(family: Family, figures: Sequence[Figure]) -> Document:
    names = tuple(f"{letter(place)}: {name}" for place, name in enumerate(family.names))
    pairs = [
        Section(f"{letter(b)} against {letter(a)}", (_pair(family, a, b),), is_folded=True)
        for a, b in family.pairs
    ]
    return Document(
        f"{len(family.names)} models",
        (
            Text(f"Evaluated on {family.evaluated_on}."),
            Items(names),
            *([Items(family.warnings, "Warnings", "bad")] if family.warnings else []),
            Section("AUROC by finding", (_by_model(family),)),
            Section("Differences of the mean AUROC", (*figures[:1], _means(family))),
            Section("Differences by finding", tuple(pairs)),
            *([Section("Curves", tuple(figures[1:]))] if figures[1:] else []),
            *map(Text, _explanations(family)),
            Items(family.notes, "Notes", "note"),
        ),
    )


def _explanations(family: Family) -> tuple[str, ...]:
    return (
        f"Intervals: 95 %, {family.intervals}.",
        "p of AUROC by DeLong's paired test with patients as units. Holm: corrected over one family of "
        f"tests, {family.tests}: means among means, findings among all findings of all comparisons.",
    )


def _by_model(family: Family) -> Table:
    """AUROC: a row per finding, then the mean over the findings that all models define."""
    letters = [letter(place) for place in range(len(family.names))]
    aurocs: dict[tuple[Cell, str], Cell] = {}
    findings: list[Cell] = []
    for (a, b), comparison in zip(family.pairs, family.comparisons, strict=True):
        for row in records(comparison.table):
            findings.append(row["finding"])
            aurocs[row["finding"], letter(a)] = row["auroc_a"]
            aurocs[row["finding"], letter(b)] = row["auroc_b"]
    # each finding once: every pair of a model with others has written the same AUROC of it
    rows = [(finding, *(aurocs[finding, name] for name in letters)) for finding in dict.fromkeys(findings)]
    return Table("", ("AUROC", *letters), tuple(rows), "l" + "r" * len(letters), num_summary=1)


def _means(family: Family) -> Table:
    rows = []
    for (a, b), row in zip(
        family.pairs, records(family.table[family.table["finding"] == "mean"]), strict=True
    ):
        rows.append((f"{letter(b)} against {letter(a)}", *_difference_cells(row)))
    return Table("", ("Mean AUROC", "Difference", "p", "Holm"), tuple(rows), "lrrr")


def _pair(family: Family, a: int, b: int) -> Table:
    """AUROC of two models by finding, with p-values corrected over the whole family."""
    names = family.names[a], family.names[b]
    rows = family.table[(family.table["a"] == names[0]) & (family.table["b"] == names[1])]
    cells = [
        (row["finding"], row["auroc_a"], row["auroc_b"], *_difference_cells(row)) for row in records(rows)
    ]
    columns = ("Finding", letter(a), letter(b), "Difference", "p", "Holm")
    return Table(f"AUROC, {letter(b)} less {letter(a)}", columns, tuple(cells), "lrrrrr", num_summary=1)


def _difference_cells(row: Record) -> tuple[Cell, ...]:
    difference = estimate(row, "auroc_difference", "auroc_low", "auroc_high", signed=True)
    return difference, p_value(row, "auroc_p"), p_value(row, "auroc_p_family")


def seeds_summary(seeds: Seeds) -> tuple[Text | Table, ...]:
    """The recipes for a terminal: means of every metric, and AUROC by finding."""
    means = _means_of(seeds.differences)
    return (
        *(Text(", ".join(names), label=letter(place)) for place, names in enumerate(seeds.recipes)),
        Text(f"Evaluated on {seeds.evaluated_on}"),
        Text(""),
        _runs_table(seeds),
        Text(""),
        *((_differences_table(means, "metric"), Text("")) if len(means) else ()),
        Text(f"Intervals by patient: 95 %, {seeds.intervals}."),
        Text(_SEEDS_NOTE),
        *(Text(f"Note: {note}", "note") for note in seeds.notes),
        Text(DISCLAIMER, "soft"),
    )


def _seeds_document(seeds: Seeds) -> Document:
    names = tuple(f"{letter(place)}: {', '.join(runs)}" for place, runs in enumerate(seeds.recipes))
    by_finding = [
        Section(NAMES[str(metric)], (_differences_table(rows, "finding"),), is_folded=metric != "auroc")
        for metric, rows in seeds.differences.groupby("metric", sort=False)
    ]
    return Document(
        "Runs of the same recipe",
        (
            Text(f"Evaluated on {seeds.evaluated_on}. Intervals by patient: 95 %, {seeds.intervals}."),
            Items(names),
            Section("Means over findings", (_runs_table(seeds),)),
            *([Section("Differences", tuple(by_finding))] if by_finding else []),
            Text(_SEEDS_NOTE),
            Items(seeds.notes, "Notes", "note"),
        ),
    )


def _means_of(table: pd.DataFrame) -> pd.DataFrame:
    return table[table["finding"] == "mean"]


def _runs_table(seeds: Seeds) -> Table:
    """The macro mean of each metric: mean, standard deviation and range over runs of each recipe."""
    rows = []
    for row in records(_means_of(seeds.runs)):
        spread = Estimate(estimate(row, "sd").value, digits=4)
        ends = estimate(row, "mean", "lowest", "highest")
        rows.append((SHORT_NAMES[str(row["metric"])], row["recipe"], row["num_runs"], ends, spread))
    # by metric first, so that the recipes of a metric stand below each other
    order = [SHORT_NAMES[metric] for metric in METRICS]
    ordered = sorted(rows, key=lambda cells: order.index(str(cells[0])))
    columns = ("Mean over findings", "Recipe", "Runs", "Mean (range)", "SD over runs")
    return Table("", columns, tuple(ordered), "llrrr")


def _differences_table(rows: pd.DataFrame, first: str) -> Table:
    cells = []
    for row in records(rows):
        name = SHORT_NAMES[str(row["metric"])] if first == "metric" else row["finding"]
        over_runs = estimate(row, "difference", "seed_low", "seed_high", signed=True)
        by_patient = format_interval(estimate(row, "difference", "patient_low", "patient_high", signed=True))
        noise = "n/a" if row["within_seed_noise"] is None else "yes" if row["within_seed_noise"] else "no"
        cells.append((name, f"{row['b']} less {row['a']}", over_runs, by_patient, noise))
    columns = ("Finding", "Recipes", "Difference (runs)", "By patient", "Within noise")
    if first == "metric":  # on the terminal, whose headings break at a line feed; a page shows it as \\n
        columns = ("\nMetric", "\nRecipes", "Difference\n(runs)", "\nBy patient", "Within\nnoise")
    return Table("", columns, tuple(cells), "llrrl", num_summary=int(first == "finding"))
