"""Rows -> tables: labels, findings that are positive together, views, sexes, ages, patients and files."""

import itertools
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from cxr.check.files import Facts
from cxr.check.result import Cells, Files, Group, Patients, Together
from cxr.evaluation.subgroups import UNKNOWN, age_band
from cxr.evaluation.thresholds import MIN_POSITIVE, find_few
from cxr.findings import find
from cxr.labels.splits import SPLITS
from cxr.labels.table import LabelTable
from cxr.labels.targets import Targets

RowSplits = npt.NDArray[np.str_]

_NO_LIMIT = 10**9
_BANDS = ((1, 1), (2, 2), (3, 5), (6, 10), (11, 20), (21, _NO_LIMIT))
"""(fewest, most) images of a patient that are counted together."""
_NUM_SIZES = 8


def count_cells(
    table: LabelTable, findings: Sequence[str], splits: RowSplits, names: Sequence[str] = SPLITS
) -> list[Cells]:
    """Cells of each finding in each split, as the source gives them under its own name of the finding."""
    return [_count_cells(table, finding, name, splits == name) for finding in findings for name in names]


def _count_cells(table: LabelTable, finding: str, split: str, rows: npt.NDArray[np.bool_]) -> Cells:
    name = find(finding, table.findings)
    if name is None:
        return Cells(finding, split, 0, 0, 0, 0, unlabelled=int(rows.sum()))
    # [rows of the split] as the source says them; the policies of the config change nothing here
    raw = table.raw[rows, table.findings.index(name)]
    return Cells(
        finding,
        split,
        positive=int((raw == 1).sum()),
        negative=int((raw == 0).sum()),
        uncertain=int((raw == -1).sum()),
        blank=int(np.isnan(raw).sum()),
        soft=int(((raw > 0) & (raw < 1)).sum()),
    )


def add_cells(datasets: Sequence[Sequence[Cells]]) -> list[Cells]:
    """The cells of several datasets together, by finding and then by split."""
    by_place: dict[tuple[str, str], list[Cells]] = defaultdict(list)
    for cell in itertools.chain.from_iterable(datasets):
        by_place[cell.finding, cell.split].append(cell)
    findings = list(dict.fromkeys(finding for finding, _ in by_place))
    used = {split for _, split in by_place}
    splits = [name for name in (*SPLITS, "all") if name in used]
    kinds = ("positive", "negative", "uncertain", "blank", "unlabelled", "soft")  # in the order of Cells
    added = []
    for finding, split in itertools.product(findings, splits):
        cells = by_place[finding, split]
        sums = [sum(getattr(cell, kind) for cell in cells) for kind in kinds]
        added.append(Cells(finding, split, *sums))
    return added


def count_together(table: LabelTable, findings: Sequence[str]) -> Together:
    """How many rows are positive for each pair of findings."""
    # on the diagonal each finding meets itself: how many rows are positive for it
    columns = [table.findings.index(finding) for finding in findings]
    positive = (table.raw[:, columns] == 1).astype(np.int64)  # [N, C]
    pairs = positive.T @ positive  # [C, C]
    return Together(tuple(findings), tuple(tuple(row) for row in pairs.tolist()))


def count_groups(rows: pd.DataFrame, splits: RowSplits) -> list[Group]:
    """Rows by view, sex and age band, unknown ones last."""
    columns = {
        "view": [view.strip() or UNKNOWN for view in rows["view"]],
        "sex": [sex or UNKNOWN for sex in rows["sex"]],
        "age": [age_band(float(age)) for age in rows["age"]],
    }
    groups = []
    for column, values in columns.items():
        counted = Counter(zip(values, splits.tolist(), strict=True))
        total = Counter(values)
        for name in sorted(total, key=lambda name: (name == UNKNOWN, name)):
            images = {split: counted[name, split] for split in SPLITS}
            groups.append(Group(column, name, images | {"all": total[name]}))
    return groups


def count_patients(ids: Sequence[str], splits: RowSplits) -> Patients:
    """Patients of all rows, and how many have images in two splits; their ids go no further."""
    rows = pd.DataFrame({"patient": list(ids), "split": list(splits)}, dtype=object)
    # a blank id is no patient: images without one must not look like one person's
    known = rows[np.array([bool(name.strip()) for name in ids], bool)]
    num_images = known["patient"].value_counts()
    # rows in no split are left out here: they leak nothing
    num_splits = known[known["split"] != ""].groupby("patient")["split"].nunique()
    return Patients(
        num=len(num_images),
        images_each=tuple(
            (_name_band(low, high), int(num_images.between(low, high).sum())) for low, high in _BANDS
        ),
        most_images=int(num_images.max()) if len(num_images) else 0,
        in_two_splits=int((num_splits > 1).sum()),
        rows_without=len(rows) - len(known),
    )


def _name_band(low: int, high: int) -> str:
    if low == high:
        return str(low)
    return f"{low}+" if high == _NO_LIMIT else f"{low}-{high}"


def count_files(
    num_rows: int,
    num_found: int,
    num_absent: int,
    facts: Sequence[Facts],
    unnamed: tuple[int, tuple[str, ...]],
) -> Files:
    """Counts of files.

    Args:
        num_rows: Rows of the label table.
        num_found: Rows with a file.
        num_absent: Names in the dataset's lists without a row.
        facts: What the files are; none under --quick.
        unnamed: Image files that no row names, and the first of them.
    """
    readable = [fact for fact in facts if not fact.reason]
    # the eight most frequent
    sizes = Counter((fact.width, fact.height) for fact in readable).most_common(_NUM_SIZES)
    median = None
    if readable:
        width = float(np.median([fact.width for fact in readable]))
        height = float(np.median([fact.height for fact in readable]))
        median = round(width), round(height)
    is_decoded = bool(facts)
    return Files(
        named=num_rows,
        missing=num_rows - num_found,
        absent=num_absent,
        read=len(readable) if is_decoded else None,
        unreadable=sum(fact.is_faulty for fact in facts) if is_decoded else None,
        num_bytes=sum(fact.num_bytes for fact in readable) if is_decoded else None,
        median_size=median,
        sizes=tuple((width, height, num) for (width, height), num in sizes),
        grey_as_colour=sum(fact.kind == "grey as colour" for fact in readable) if is_decoded else None,
        unnamed=unnamed[0],
        first_unnamed=unnamed[1],
        not_read=sum(bool(fact.hint) for fact in facts) if is_decoded else None,
    )


def find_one_class(targets: Targets, splits: RowSplits) -> list[str]:
    """A line for each split, and for all together, in which targets of some findings are of one class."""
    everywhere = _list_one_class(targets, np.ones(len(splits), bool), least=0)  # soft labels teach, too
    lines = _write_lines("in any split: nothing to learn or measure", everywhere)
    # findings of one class everywhere are not named again for each split
    named = {finding for findings in everywhere.values() for finding in findings}
    for split in SPLITS:
        rows = splits == split
        if not rows.any():
            continue
        effect = "nothing to learn there" if split == "train" else "AUROC is undefined there"
        found = _list_one_class(targets, rows)
        rest = {lack: [name for name in findings if name not in named] for lack, findings in found.items()}
        lines += _write_lines(f"in {split}: {effect}", rest)
    return lines


def find_few_positive(targets: Targets, splits: RowSplits) -> list[str]:
    """A line on findings with so few positive validation images that no threshold can be relied on.

    Those without any are left to `find_one_class`.
    """
    rows = splits == "val"
    num_positive = (targets.mask[rows] & (targets.y[rows] == 1)).sum(axis=0)
    few = find_few(targets.findings, [int(num) for num in num_positive])
    named = ", ".join(f"{finding} ({num})" for finding, num in few.items() if num)
    fewer = f"validation has fewer than {MIN_POSITIVE} positive images of"
    return [f"{fewer} {named}: thresholds will be unreliable"] if named else []


def _write_lines(where: str, lacking: Mapping[str, Sequence[str]]) -> list[str]:
    return [f"no {lack} {where}: {', '.join(findings)}" for lack, findings in lacking.items() if findings]


def _list_one_class(
    targets: Targets, rows: npt.NDArray[np.bool_], least: float = 0.999
) -> dict[str, list[str]]:
    """The findings without a positive, and the others without a negative, among some rows.

    Args:
        targets: All rows.
        rows: Which of them.
        least: A target above it is positive, one below 1 - least is negative.
    """
    # masked cells are nan, for which both comparisons below are false
    y = np.where(targets.mask[rows], targets.y[rows], np.nan)
    has_positive = (y > least).any(axis=0)
    has_negative = (y < 1 - least).any(axis=0)
    names = np.array(targets.findings, dtype=object)
    return {
        "positive": list(names[~has_positive]),
        "negative": list(names[has_positive & ~has_negative]),
    }
