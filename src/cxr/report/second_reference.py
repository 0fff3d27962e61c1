"""A second table of labels beside the first, as parts of a report."""

import pandas as pd

from cxr.evaluation.second_reference import SecondReference
from cxr.report.document import Cell, Items, Table, Text, on_one_line
from cxr.report.records import Record, estimate, records

_LABELS = {"labels_kappa": "Kappa", "labels_sensitivity": "Sensitivity", "labels_ppv": "PPV"}
_AUROC = {"auroc_first": "By the first", "auroc_second": "By the second"}
_EXPLANATION = (
    "Agreement is that of the first labels, with the second as the reference. AUROC is the model's by both, "
    "on the same images; the difference is the second less the first."
)


def csv(references: tuple[SecondReference, ...]) -> pd.DataFrame:
    """The rows of all tables."""
    return pd.concat([reference.table for reference in references], ignore_index=True)


def parts(references: tuple[SecondReference, ...]) -> tuple[Text | Table | Items, ...]:
    """What a page says of them; nothing where there is none."""
    found: list[Text | Table | Items] = []
    for reference in references:
        found += [Text(f"{reference.evaluated_on}.", label=reference.path)]
        found += [on_one_line(_agreement(reference)), on_one_line(_aurocs(reference))]
        found += [Items(reference.notes, "Notes", "note")]
    return (*found, Text(_EXPLANATION, "soft")) if found else ()


def summary(references: tuple[SecondReference, ...]) -> tuple[Text | Table, ...]:
    """The same for a terminal."""
    found: list[Text | Table] = []
    for reference in references:
        found += [
            Text(""),
            Text(f"{reference.path}, {reference.evaluated_on}", label="Second labels"),
            Text(""),
        ]
        found += [_agreement(reference), Text(""), _aurocs(reference), Text("")]
        found += [Text(f"Note: {note}", "note") for note in reference.notes]
    return (*found, Text(_EXPLANATION)) if found else ()


def _agreement(reference: SecondReference) -> Table:
    rows = tuple(
        (
            _name(row),
            *_counts(row),
            *(estimate(row, name, f"{name}_low", f"{name}_high") for name in _LABELS),
        )
        for row in records(reference.table)
    )
    title = "Agreement of the first labels with the second"
    return Table(title, ("Finding", "Images", "Pos.", "First\npos.", *_LABELS.values()), rows, "lrrrrrr")


def _counts(row: Record) -> tuple[Cell, Cell, Cell]:
    return row["num"], row["num_positive"], row["num_positive_first"]


def _aurocs(reference: SecondReference) -> Table:
    name = "auroc_difference"
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (
            _name(row),
            *(estimate(row, column, f"{column}_low", f"{column}_high") for column in _AUROC),
            estimate(row, name, f"{name}_low", f"{name}_high", signed=True),
        )
        for row in records(reference.table)
    )
    columns = ("Finding", *(f"AUROC\n{label.lower()}" for label in _AUROC.values()), "Difference")
    return Table("AUROC of the model by both labels", columns, rows, "lrrr")


def _name(row: Record) -> str:
    """The finding, with the model's findings that make it up."""
    finding, made_of = str(row["finding"]), str(row["parts"]).split("|")
    return finding if len(made_of) == 1 else f"{finding} (any of {', '.join(made_of)})"
