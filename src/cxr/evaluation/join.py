"""Labels of another file for the images of a table of predictions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt
import pandas as pd

from cxr.errors import CxrError
from cxr.evaluation.same_names import below_chexpert, match_names, slashed
from cxr.findings import find, name_key
from cxr.labels.duplicates import Duplicates
from cxr.labels.sheet import Sheet
from cxr.labels.sources import read_labels
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
        column: Column of classes or lists of findings, in place of a column per finding.
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
    """(rows completed from the label table, y [N, C], mistakes, notes); nothing is joined when there are mistakes."""
    y, labels = (
        np.full((len(rows), len(findings)), np.nan),
        source.path if isinstance(source, Sheet) else source,
    )
    try:
        table = read_labels(source, findings, options.column, options.duplicates)
    except CxrError as error:
        return rows, y, [(problem, error.hint) for problem in error.problems], []
    own = {finding: find(finding, table.findings) for finding in findings}
    common = {finding: name for finding, name in own.items() if name is not None}
    places = find_rows(rows, table.rows)
    mistakes = _join_mistakes(path, labels, table, rows["image"], places, common, options)
    if not mistakes:
        targets = resolve(table, list(common.values()), uncertain="ignore", blank=blank)
        known = np.where(targets.mask & ((targets.y == 0) | (targets.y == 1)), targets.y, np.nan)
        known = np.vstack(
            [known, np.full((1, len(common)), np.nan)]
        )  # the last row is of images without labels
        y[:, [findings.index(name) for name in common]] = known[places]
        found = places >= 0
        joined = _completed(
            rows[found].reset_index(drop=True), table.rows.iloc[places[found]].reset_index(drop=True)
        )
        rows = pd.concat([joined.set_index(np.flatnonzero(found)), rows[~found]]).sort_index()
    return rows, y, mistakes, [*table.notes, *_note_renamed(labels, common)]


def _note_renamed(labels: Path, common: Mapping[str, str]) -> list[str]:
    """Which findings the label table calls by another name of the same concept."""
    renamed = [f"{name} is its {own}" for name, own in common.items() if name_key(name) != name_key(own)]
    return [f"labels of {labels}: {', '.join(renamed)}"] if renamed else []


def _join_mistakes(
    path: Path,
    labels: Path,
    table: LabelTable,
    images: pd.Series,
    places: npt.NDArray[np.intp],
    common: Mapping[str, str],
    options: LabelOptions,
) -> Mistakes:
    if not common:
        return [(f"{labels}: labels no finding of {path}", f"it labels {', '.join(table.findings)}")]
    lost = images[(places < 0) & (images != "")]
    if not len(lost) or (options.skip_unlabelled and len(lost) < len(images)):
        return []
    what = (
        f"{path}: {len(lost):,} of {len(images):,} images have no label in {labels}, the first {lost.iloc[0]}"
    )
    hint = f"the label table names images like {table.rows['image'].iloc[0]}; file names must agree"
    if len(lost) < len(images):
        hint += ", or --skip-unlabelled evaluates the others alone"
    return [(what, hint)]


def find_rows(rows: pd.DataFrame, labelled: pd.DataFrame) -> npt.NDArray[np.intp]:
    """Row of the label table for each row: by study or patient in a table that has a row for each, else by image."""
    names = labelled["image"]
    for columns in ([STUDY], ["patient_id", STUDY], ["patient_id"]):
        if all(column in rows.columns for column in columns) and (names == _joined(labelled, columns)).all():
            ours = _joined(rows, columns)
            places = np.where(ours == "", -1, pd.Index(names).get_indexer(pd.Index(ours)))
            if (places >= 0).any():
                return places
    return find_places(rows["image"], names)


def _joined(rows: pd.DataFrame, columns: Sequence[str]) -> "pd.Series[str]":
    """The ids of each row with a slash between, as a table without an image column calls its rows; empty if one is."""
    known = np.logical_and.reduce([(rows[column] != "").to_numpy() for column in columns])
    ids = ["/".join(cells) for cells in zip(*(rows[column] for column in columns), strict=True)]
    return pd.Series(np.where(known, ids, ""), index=rows.index, dtype=str)


def find_places(images: pd.Series, labelled: pd.Series) -> npt.NDArray[np.intp]:
    """Row of the label table for each image, -1 where there is none or where it may be one of several.

    Images are found by `match_names`, those of a table of studies by the folder that they lie in.
    """
    places = match_names(images, labelled)
    for key in (slashed, below_chexpert):
        theirs = labelled.map(key)
        if (places < 0).any() and theirs.is_unique:
            folders = images.map(lambda name, key=key: key(str(PurePosixPath(slashed(name)).parent)))
            places = np.where(places < 0, pd.Index(theirs).get_indexer(pd.Index(folders)), places)
    return places


def _completed(rows: pd.DataFrame, labelled: pd.DataFrame) -> pd.DataFrame:
    names = [*IDENTITY[1:-1], *([STUDY] if (labelled[STUDY] != "").any() or STUDY in rows.columns else [])]
    own = {
        name: rows[name] if name in rows.columns else pd.Series([""] * len(rows), dtype=str) for name in names
    }
    text = {name: own[name].where(own[name] != "", labelled[name]) for name in names}
    return rows.assign(**text, age=rows["age"].fillna(labelled["age"].astype(np.float64)))
