"""Labels of another file for the images of a table of predictions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt
import pandas as pd

from cxr.errors import CxrError
from cxr.evaluation.same_names import below_chexpert, match_names, slashed
from cxr.findings import NO_FINDING, find, name_key
from cxr.labels.duplicates import Duplicates
from cxr.labels.label_csv import name_labels, read_labels
from cxr.labels.sheet import Sheet
from cxr.labels.table import LabelTable
from cxr.labels.targets import Blank, resolve

IDENTITY = ("image", "patient_id", "split", "view", "sex", "age")
"""Columns that say which image a row is: text, age in years."""

STUDY = "study_id"
"""Further column that says which study an image belongs to."""

Mistakes = list[tuple[str, str]]
"""(`WHERE: WHAT`, hint) of each mistake found so far."""


@dataclass(frozen=True)
class LabelOptions:
    """How labels are read beside predictions.

    Attributes:
        column: Column of classes or lists of findings, in place of one column per finding.
        skip_unlabelled: Whether images that the label table does not name are left out, rather than refused.
        duplicates: What becomes of rows of an image whose labels differ.
    """

    column: str | None = None
    skip_unlabelled: bool = False
    duplicates: Duplicates = "error"


DEFAULT = LabelOptions()


def join_labels(
    path: Path,
    source: Sheet | Path,
    blank: Blank,
    rows: pd.DataFrame,
    findings: tuple[str, ...],
    options: LabelOptions = DEFAULT,
) -> tuple[pd.DataFrame, npt.NDArray[np.float64], Mistakes, list[str]]:
    """(rows completed from the label table, y [N, C], mistakes, notes).

    Nothing is joined when there are mistakes.

    Args:
        path: The predictions, for messages.
        source: The label table; its path where it could not be read, which is then one of the mistakes.
        blank: What a blank label means.
        rows: [N] of the predictions.
        findings: C names.
        options: How the label table is read.
    """
    y = np.full((len(rows), len(findings)), np.nan)
    labels = source.path if isinstance(source, Sheet) else source
    try:
        table = read_labels(source, findings, options.column, options.duplicates)
    except CxrError as error:
        return rows, y, [(problem, error.hint) for problem in error.problems], []

    # our finding -> the label table's name of the same concept
    names = {finding: find(finding, table.findings) for finding in findings}
    common = {finding: name for finding, name in names.items() if name is not None}
    table_rows = find_rows(rows, table.rows)
    mistakes = _mistakes(path, labels, table, rows["image"], table_rows, common, options)
    if not mistakes:
        targets = resolve(table, list(common.values()), uncertain="ignore", blank=blank)
        # a soft label, between 0 and 1, is a target of the loss and nothing that a metric knows
        is_label = targets.mask & ((targets.y == 0) | (targets.y == 1))
        known = np.where(is_label, targets.y, np.nan)
        # one more row of nan, on which index -1 of an image without labels falls
        known = np.vstack([known, np.full((1, len(common)), np.nan)])
        y[:, [findings.index(name) for name in common]] = known[table_rows]
        rows = _complete(rows, table.rows, table_rows)
    notes = [*table.notes, *_note_renamed(labels, common)]
    if not mistakes:
        notes += _note_unpredicted(source, table, findings, table_rows, options)
        notes += _note_blank(labels, table, common, blank)
    return rows, y, mistakes, notes


def _note_renamed(labels: Path, common: Mapping[str, str]) -> list[str]:
    """Which findings the label table calls by another name of the same concept."""
    renamed = [
        f"{finding} is its {name}" for finding, name in common.items() if name_key(finding) != name_key(name)
    ]
    return [f"labels of {labels}: {', '.join(renamed)}"] if renamed else []


def _note_unpredicted(
    source: Sheet | Path,
    table: LabelTable,
    findings: Sequence[str],
    table_rows: npt.NDArray[np.intp],
    options: LabelOptions,
) -> list[str]:
    """What the label table labels and nobody predicted: findings, and images or studies."""
    notes = []
    labelled = name_labels(source, options.column) if isinstance(source, Sheet) else table.findings
    lacking = [name for name in labelled if find(name, (*findings, NO_FINDING)) is None]
    if lacking:
        notes.append(f"labelled but not predicted, so not evaluated: {', '.join(lacking)}")
    num_predicted, num_labelled = len(np.unique(table_rows[table_rows >= 0])), len(table.rows)
    if num_predicted < num_labelled:
        notes.append(
            f"{num_predicted:,} of {num_labelled:,} labelled rows have a prediction; others are not evaluated"
        )
    return notes


def _note_blank(labels: Path, table: LabelTable, common: Mapping[str, str], blank: Blank) -> list[str]:
    """Findings without a single label, which count as absent in every image."""
    if blank != "negative":
        return []
    is_empty = np.all(np.isnan(table.raw), axis=0)  # [C of the table]
    empty = [finding for finding, name in common.items() if is_empty[table.findings.index(name)]]
    if not empty:
        return []
    return [f"blank in every row of {labels}, which counts as absent: {', '.join(empty)}"]


def _mistakes(
    path: Path,
    labels: Path,
    table: LabelTable,
    images: pd.Series,
    table_rows: npt.NDArray[np.intp],
    common: Mapping[str, str],
    options: LabelOptions,
) -> Mistakes:
    """A table that labels no finding, or images without a label, unless these are to be skipped."""
    if not common:
        return [(f"{labels}: labels no finding of {path}", f"it labels {', '.join(table.findings)}")]
    unlabelled = images[(table_rows < 0) & (images != "")]
    if not len(unlabelled) or (options.skip_unlabelled and len(unlabelled) < len(images)):
        return []
    counts = f"{len(unlabelled):,} of {len(images):,} images"
    problem = f"{path}: {counts} have no label in {labels}, the first {unlabelled.iloc[0]}"
    hint = f"the label table names images like {table.rows['image'].iloc[0]}; file names must agree"
    if len(unlabelled) < len(images):
        hint += ", or --skip-unlabelled evaluates the others alone"
    return [(problem, hint)]


def find_rows(rows: pd.DataFrame, labelled: pd.DataFrame) -> npt.NDArray[np.intp]:
    """[N] row of the label table for each row, -1 where there is none or where it may be one of several.

    A table with one row per study or patient is searched by these ids, any other by the image.
    """
    names = labelled["image"]
    for columns in ([STUDY], ["patient_id", STUDY], ["patient_id"]):
        # A table without an image column names its rows by these ids.
        is_named_so = all(column in rows.columns for column in columns) and (
            (names == _join_ids(labelled, columns)).all()
        )
        if is_named_so:
            ids = _join_ids(rows, columns)
            # an unknown id must not match another unknown one
            found = np.where(ids == "", -1, pd.Index(names).get_indexer(pd.Index(ids)))
            if (found >= 0).any():
                return found
    return find_images(rows["image"], names)


def _join_ids(rows: pd.DataFrame, columns: Sequence[str]) -> "pd.Series[str]":
    """[N] the ids of each row with a slash between; empty if one of them is."""
    known = np.logical_and.reduce([(rows[column] != "").to_numpy() for column in columns])
    ids = ["/".join(cells) for cells in zip(*(rows[column] for column in columns), strict=True)]
    return pd.Series(np.where(known, ids, ""), index=rows.index, dtype=str)


def find_images(images: pd.Series, labelled: pd.Series) -> npt.NDArray[np.intp]:
    """[N] row of the label table for each image, -1 where there is none or where it may be one of several.

    Images are found by `match_names`, those of a table of studies by the folder that they lie in.
    """
    found = match_names(images, labelled)
    for normalise in (slashed, below_chexpert):
        names = labelled.map(normalise)
        if (found < 0).any() and names.is_unique:
            # a study is named by its folder: the image's own path ends one level deeper
            folders = [normalise(str(PurePosixPath(slashed(image)).parent)) for image in images]
            found = np.where(found < 0, pd.Index(names).get_indexer(pd.Index(folders)), found)
    return found


def _complete(rows: pd.DataFrame, labelled: pd.DataFrame, table_rows: npt.NDArray[np.intp]) -> pd.DataFrame:
    """The rows, empty IDENTITY cells taken from their row of the label table, where they have one."""
    found = table_rows >= 0
    ours = rows[found].reset_index(drop=True)
    theirs = labelled.iloc[table_rows[found]].reset_index(drop=True)
    names = list(IDENTITY[1:-1])  # all but the image and the age
    if (theirs[STUDY] != "").any() or STUDY in rows.columns:
        names.append(STUDY)
    columns = {}
    for name in names:
        cells = ours[name] if name in ours.columns else pd.Series([""] * len(ours), dtype=str)
        columns[name] = cells.where(cells != "", theirs[name])
    completed = ours.assign(**columns, age=ours["age"].fillna(theirs["age"].astype(np.float64)))
    # back in the order of the predictions, those without a label among them
    return pd.concat([completed.set_index(np.flatnonzero(found)), rows[~found]]).sort_index()
