"""The checklists of a run as a page, tables and files."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path

import pandas as pd

from cxr.checklist import claim, flow, methods, references, table_one, tripod
from cxr.checklist.about_results import list_limits
from cxr.checklist.answer import Item, Status
from cxr.checklist.facts import Facts
from cxr.csv_files import csv_text
from cxr.files import clear_leftovers, write_bytes, write_text
from cxr.report import html, latex, markdown
from cxr.report.document import Cell, Document, Items, Part, Section, Table, Text, two_columns
from cxr.text import DISCLAIMER

STATUS: dict[Status, str] = {"provided": "provided", "partly": "partly", "author": "the author's"}
_TITLES = {"claim": "CLAIM 2024", "tripod_ai": "TRIPOD+AI"}
_READING = (
    "Provided: the run says it, in the files named. Partly: the run says some of it, and what is missing "
    "stands beside it. The author's: no run can know it. Items are in our words; the checklists are those of "
    "[tejani2024] and [collins2024]. A filled item says that something is reported, not that it is well done."
)

Lists = dict[str, list[Item]]
"""The items of each checklist by the name of its file."""


def fill(facts: Facts) -> Lists:
    """Both checklists."""
    return {"claim": claim.fill(facts), "tripod_ai": tripod.fill(facts)}


def write(facts: Facts, folder: Path) -> Document:
    """Write all files into the folder, each atomically; returns the page.

    Files: `checklist.html` and `.md`, `claim.csv`, `tripod_ai.csv`, `methods.md` and `.tex`; where the
    dataset can be read, `table1.csv`, `.tex` and `.md`, `figures/flow.svg`, `.pdf` and `.png`.

    Raises:
        CxrError: A file cannot be written.
    """
    lists = fill(facts)
    clear_leftovers(folder)
    for name, items in lists.items():
        write_text(folder / f"{name}.csv", csv_text(as_frame(items)))
    paragraphs = methods.write_methods(facts)
    cited = references.listed(text for _, text in paragraphs)
    write_text(folder / "methods.tex", latex.render_paragraphs(paragraphs, cited))
    write_text(folder / "methods.md", markdown.render(Document("Methods", _methods(facts))))
    figures: tuple[Part, ...] = ()
    if facts.data is not None:
        rows = table_one.count_rows(facts.data, facts.findings)
        table = table_one.as_table(rows)
        write_text(folder / "table1.csv", csv_text(table_one.as_frame(rows)))
        write_text(folder / "table1.tex", latex.render_table(table))
        write_text(folder / "table1.md", markdown.render_table(table) + "\n")
        drawn = flow.draw_flow(facts.data)
        for kind, data in (("svg", drawn.svg), ("pdf", drawn.pdf), ("png", drawn.png)):
            write_bytes(folder / "figures" / f"{drawn.name}.{kind}", data)
        figures = (drawn, replace(table, title=f"{table.title} (Table 1 of a paper)"))
    document = page(facts, lists, figures)
    write_text(folder / "checklist.md", markdown.render(document))
    write_text(folder / "checklist.html", html.render(document))
    return document


def as_frame(items: Sequence[Item]) -> pd.DataFrame:
    """The items for a CSV file."""
    rows = [
        (
            item.number,
            item.section,
            item.asked,
            STATUS[item.answer.status],
            item.answer.said,
            item.answer.missing,
        )
        for item in items
    ]
    return pd.DataFrame(rows, columns=["item", "section", "asks", "status", "provided", "missing"])


def page(facts: Facts, lists: Lists, figures: Sequence[Part] = ()) -> Document:
    """The page: a count of each status, both checklists, who is in, methods, limits."""
    sections = [Section(_TITLES[name], (_table(_TITLES[name], items),)) for name, items in lists.items()]
    if figures:
        sections.append(Section("Patients and images", tuple(figures)))
    limits = list_limits(facts)
    return Document(
        f"Checklists of {facts.run}",
        (
            _counts(lists),
            Text(_READING, "soft"),
            *sections,
            Section("Methods", _methods(facts)),
            *([Section("Limits that the run knows", (Items(tuple(limits), "Limits"),))] if limits else []),
            Section("References of the checklists", (_references((references.CLAIM, references.TRIPOD)),)),
        ),
        facts=(
            ("Model", f"{facts.config.model.backbone}, epoch {facts.epoch}"),
            ("Dataset", ", ".join(references.NAMES[source] for source in dict.fromkeys(facts.sources))),
            ("Split", facts.split_name),
            ("Date", date.today().isoformat()),
        ),
    )


def _table(title: str, items: Sequence[Item]) -> Table:
    rows = tuple(
        (
            f"{item.number} {item.asked}",
            STATUS[item.answer.status],
            item.answer.said,
            item.answer.missing,
        )
        for item in items
    )
    return Table(
        title, ("Item", "Status", "What the run provides", "What the author must write"), rows, "llll"
    )


def _counts(lists: Lists) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for name, items in lists.items():
        numbers = Counter(item.answer.status for item in items)
        rows.append((_TITLES[name], *(numbers[status] for status in STATUS), len(items)))
    return Table(
        "Items by status", ("Checklist", *map(str.capitalize, STATUS.values()), "All"), tuple(rows), "lrrrr"
    )


def _methods(facts: Facts) -> tuple[Part, ...]:
    paragraphs = methods.write_methods(facts)
    cited = [key for key, _ in references.listed(text for _, text in paragraphs)]
    texts: list[Part] = [Text(text, label=heading) for heading, text in paragraphs]
    return (*texts, _references(cited)) if cited else tuple(texts)


def _references(keys: Sequence[str]) -> Table:
    return two_columns("References", [(key, references.REFERENCES[key]) for key in keys])


def summary(facts: Facts, lists: Lists) -> tuple[Text | Table, ...]:
    """For a terminal of 80 columns: the counts, then what cxr itself could still provide."""
    open_items = [
        f"{_TITLES[name]} {item.number}: {item.answer.missing}"
        for name, items in lists.items()
        for item in items
        # what a command or a key could still provide, not what the author must write
        if "cxr " in item.answer.missing or "eval." in item.answer.missing
    ]
    return (
        _counts(lists),
        *(Text(text) for text in open_items),
        *(Text(f"Note: {note}", "note") for note in facts.notes),
        Text(DISCLAIMER, "soft"),
    )
