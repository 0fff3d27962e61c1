"""Rows -> tables: labels, findings that are positive together, views, sexes, ages and patients."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict

import numpy as np
import numpy.typing as npt
import pandas as pd

from cxr.check.result import Cells, Group, Patients, Together
from cxr.evaluation.subgroups import UNKNOWN, age_band
from cxr.findings import find
from cxr.labels.splits import SPLITS
from cxr.labels.table import LabelTable
from cxr.labels.targets import Targets

Fold = npt.NDArray[np.str_]

_BANDS = ((1, 1), (2, 2), (3, 5), (6, 10), (11, 20), (21, 10**9))


def count_cells(
    table: LabelTable, findings: Sequence[str], fold: Fold, names: Sequence[str] = SPLITS
) -> list[Cells]:
    """Cells of each finding in each split, as the source says them, under whichever name it has for the finding."""
    return [_count(table, finding, own, fold == own) for finding in findings for own in names]


def _count(table: LabelTable, finding: str, fold: str, rows: npt.NDArray[np.bool_]) -> Cells:
    said = find(finding, table.findings)
    if said is None:
        return Cells(finding, fold, 0, 0, 0, 0, int(rows.sum()))
    raw = table.raw[rows, table.findings.index(said)]
    positive, negative, uncertain = (int((raw == value).sum()) for value in (1, 0, -1))
    soft = int(((raw > 0) & (raw < 1)).sum())
    return Cells(finding, fold, positive, negative, uncertain, int(np.isnan(raw).sum()), soft=soft)


def add_cells(archives: Sequence[Sequence[Cells]]) -> list[Cells]:
    """The cells of several archives together, by finding and then by split."""
    every = pd.DataFrame([asdict(one) for cells in archives for one in cells])
    if every.empty:
        return []
    order = [name for name in (*SPLITS, "all") if name in set(every["fold"])]
    sums = every.groupby(["finding", "fold"], sort=False).sum()
    pairs = pd.MultiIndex.from_product([every["finding"].unique(), order])
    return [Cells(*pair, *map(int, row)) for pair, row in zip(pairs, sums.reindex(pairs, fill_value=0).to_numpy(),
                                                              strict=True)]  # fmt: skip


def count_together(table: LabelTable, findings: Sequence[str]) -> Together:
    """How many rows have each pair of findings."""
    positive = (table.raw[:, [table.findings.index(finding) for finding in findings]] == 1).astype(np.int64)
    return Together(tuple(findings), tuple(tuple(int(n) for n in row) for row in positive.T @ positive))


def count_groups(rows: pd.DataFrame, fold: Fold) -> list[Group]:
    """Rows by view, sex and age band, what is not known last."""
    columns = {
        "view": [view.strip() or UNKNOWN for view in rows["view"]],
        "sex": [sex or UNKNOWN for sex in rows["sex"]],
        "age": [age_band(float(age)) for age in rows["age"]],
    }
    return [group for name, values in columns.items() for group in _groups(name, values, fold)]


def _groups(column: str, values: Sequence[str], fold: Fold) -> list[Group]:
    table = pd.crosstab(pd.Series(values, dtype=object), pd.Series(list(fold), dtype=object))
    table = table.reindex(columns=list(SPLITS), fill_value=0).assign(
        all=pd.Series(values, dtype=object).value_counts()
    )
    names = sorted(table.index, key=lambda name: (name == UNKNOWN, name))
    return [
        Group(column, str(name), {key: int(table.loc[name, key]) for key in (*SPLITS, "all")})
        for name in names
    ]


def count_patients(ids: Sequence[str], fold: Fold) -> Patients:
    """Patients of all rows, and how many have images in two splits; their ids go no further."""
    rows = pd.DataFrame({"patient": list(ids), "fold": list(fold)}, dtype=object)
    known = rows[np.array([bool(name.strip()) for name in ids], bool)]
    each = known["patient"].value_counts()
    folds = known[known["fold"] != ""].groupby("patient")["fold"].nunique()
    return Patients(
        num=len(each),
        images_each=tuple((_band(low, high), int(each.between(low, high).sum())) for low, high in _BANDS),
        most_images=int(each.max()) if len(each) else 0,
        in_two_splits=int((folds > 1).sum()),
        rows_without=len(rows) - len(known),
    )


def _band(low: int, high: int) -> str:
    return str(low) if low == high else f"{low}+" if high == _BANDS[-1][1] else f"{low}-{high}"


def find_one_class(targets: Targets, fold: Fold) -> list[str]:
    """A line for each split, and for all together, in which kept targets of some findings are of one class."""
    everywhere = _one_class(targets, np.ones(len(fold), bool), least=0)  # soft labels teach, too
    lines = _lines("in any split: nothing to learn or measure", everywhere)
    constant = {finding for findings in everywhere.values() for finding in findings}
    for own in SPLITS:
        found = _one_class(targets, fold == own) if (fold == own).any() else {}
        effect = "nothing to learn there" if own == "train" else "AUROC is undefined there"
        rest = {lack: [name for name in findings if name not in constant] for lack, findings in found.items()}
        lines += _lines(f"in {own}: {effect}", rest)
    return lines


def _lines(where: str, lacking: Mapping[str, Sequence[str]]) -> list[str]:
    return [f"no {lack} {where}: {', '.join(findings)}" for lack, findings in lacking.items() if findings]


def _one_class(targets: Targets, rows: npt.NDArray[np.bool_], least: float = 0.999) -> dict[str, list[str]]:
    """The findings without a positive, and the others without a negative, among some rows.

    Args:
        targets: All rows.
        rows: Which of them.
        least: A target above it is positive, one below the rest of 1 negative.
    """
    y = np.where(targets.mask[rows], targets.y[rows], np.nan)
    has = {"positive": (y > least).any(axis=0), "negative": (y < 1 - least).any(axis=0)}
    names = np.array(targets.findings, dtype=object)
    return {
        "positive": list(names[~has["positive"]]),
        "negative": list(names[has["positive"] & ~has["negative"]]),
    }
