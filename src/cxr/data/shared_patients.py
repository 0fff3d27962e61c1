"""Leaks between datasets: patients or files that two of them put into different splits.

Within one dataset `labels.splits.check_leak` looks for leaks, and `model.leak_check` in what a model has
seen.
"""

import os
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from cxr.config.schema import Data
from cxr.data.combine import OWN_IDS
from cxr.data.problems import Problems, in_section
from cxr.errors import CxrError
from cxr.labels.problems import shorten_problems
from cxr.labels.splits import SPLIT_RULES, Split, assign, check_leak
from cxr.labels.table import LabelTable

RowSplits = npt.NDArray[np.str_]
"""[N] train, val, test or empty."""


def split_rows(table: LabelTable, data: Data, problems: Problems) -> Split | None:
    """The split of every row, also where it is refused; None once it is noted why there can be none."""
    try:
        with in_section(problems.key):
            return assign(table, data)
    except CxrError as error:
        refused = error
    # `assign` refuses a table (a) with rows without a patient, (b) with a leak, (c) that cannot be split.
    # A check still shows the split of (a) and (b); the error of (c) says why there is none.
    split = problems.attempt(lambda: SPLIT_RULES[data.split](table, data))
    ids = table.rows["patient_id"]
    has_unknown = bool((ids.str.strip() == "").any())
    if has_unknown:
        problems.add_error(refused)
    num_leaked = int((_count_splits(ids, split.assigned) > 1).sum()) if split else 0
    if num_leaked:
        text = f"{problems.key}.split: leak: patients in more than one split: {num_leaked:,}"
        # `assign` raises for rows without a patient first; the error then names no patient of the leak
        problems.add([text] if has_unknown else refused.problems, refused.hint, for_report=[text])
    return split


def _count_splits(patient_ids: "pd.Series[str]", splits: RowSplits) -> "pd.Series[int]":
    """In how many of train, val and test each patient is; rows without a patient or a split are left out."""
    rows = pd.DataFrame({"patient": list(patient_ids), "split": list(splits)}, dtype=object)
    # a blank patient is no patient: images without one would else look like one person's
    is_known = (rows["split"] != "") & (rows["patient"].str.strip() != "")
    return rows[is_known].groupby("patient")["split"].nunique()


def check_shared_patients(
    id_spaces: Sequence[str], tables: Sequence[LabelTable], splits: Sequence[RowSplits], problems: Problems
) -> None:
    """Note patients, or else image files, that two datasets put into different splits.

    Args:
        id_spaces: For each dataset, where a patient id means the same person; parts of one table share it.
        tables: Their label tables.
        splits: The splits of their rows.
        problems: Collects the problems.
    """
    patients = [table.rows["patient_id"] for table in tables]
    for space in dict.fromkeys(space for space in id_spaces if id_spaces.count(space) > 1):
        same = [number for number, other in enumerate(id_spaces) if other == space]
        ids = pd.concat([patients[number] for number in same], ignore_index=True)
        together = np.concatenate([splits[number] for number in same])
        try:
            check_leak(ids, together)
        except CxrError as error:
            # Patients who leak within one dataset were noted there; only the others are counted here.
            alone = pd.concat([_count_splits(patients[number], splits[number]) for number in same])
            num_splits = _count_splits(ids, together)
            # patients who leak within a dataset: that was said of it already
            is_leak_alone = alone.groupby(level=0).max().reindex(num_splits.index) > 1
            num_leaked = int(((num_splits > 1) & ~is_leak_alone).sum())
            hint = "two datasets hold the same patients; give both the same split"
            if space in OWN_IDS:
                hint += f", or if equal ids are other people, give each {space} a data.name"
            if num_leaked:
                text = f"data.split: leak: patients in different splits of two datasets: {num_leaked:,}"
                problems.add(error.problems, hint, for_report=[text])
    if len(tables) > 1 and not problems.errors:
        _check_shared_files(tables, splits, problems)


def _check_shared_files(
    tables: Sequence[LabelTable], splits: Sequence[RowSplits], problems: Problems
) -> None:
    """Note image files that are in different splits of two datasets, whatever these call them."""
    first: dict[str, str] = {}  # the split of each file in the first dataset that has it, by its real path
    shared: list[str] = []
    for table, row_splits in zip(tables, splits, strict=True):
        # real paths, as two datasets may reach one folder through different links
        top = os.path.realpath(table.root)
        files: dict[str, str] = {}
        for path, split in zip(table.rows["path"], row_splits, strict=True):
            if path and split:
                files[os.path.normpath(os.path.join(top, path))] = str(split)
        shared += [path for path, split in files.items() if first.get(path, split) != split]
        first = files | first
    if shared:
        texts = [f"data.also: {path} is in two datasets, in another split of each" for path in shared]
        texts = shorten_problems(texts, "data.also", "image files are in two splits")
        problems.add(texts, "give both datasets the same split, or leave one of them out")
