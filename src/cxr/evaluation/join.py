"""Labels of another file for the images of a table of predictions."""

import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt
import pandas as pd

from cxr.data.labels import Blank, LabelTable, resolve
from cxr.data.sources import read_labels
from cxr.errors import CxrError

IDENTITY = ("image", "patient_id", "split", "view", "sex", "age")
"""Columns that say which image a row is: text, age in years."""

Mistakes = list[tuple[str, str]]
"""(`WHERE: WHAT`, hint) of each mistake found so far."""


def join_labels(
    path: Path, labels: Path, blank: Blank, rows: pd.DataFrame, findings: tuple[str, ...]
) -> tuple[pd.DataFrame, npt.NDArray[np.float64], Mistakes]:
    """Rows completed from the label table, y [N, C] and mistakes; nothing is joined when there are mistakes."""
    y = np.full((len(rows), len(findings)), np.nan)
    try:
        table = read_labels(labels)
    except CxrError as error:
        return rows, y, [(problem, error.hint) for problem in error.problems]
    common = [finding for finding in findings if finding in table.findings]
    places = find_places(rows["image"], table.rows["image"])
    mistakes = _join_mistakes(path, labels, table, rows["image"], places, common)
    if not mistakes:
        targets = resolve(table, common, uncertain="ignore", blank=blank)
        known = np.where(targets.mask, targets.y, np.nan)
        y[:, [findings.index(name) for name in common]] = known[places]
        rows = _completed(rows, table.rows.iloc[places].reset_index(drop=True))
    return rows, y, mistakes


def _join_mistakes(
    path: Path, labels: Path, table: LabelTable, images: pd.Series, places: npt.NDArray[np.intp], common: Sequence[str]
) -> Mistakes:
    if not common:
        return [(f"{labels}: labels no finding of {path}", f"it labels {', '.join(table.findings)}")]
    lost = images[(places < 0) & (images != "")]
    if not len(lost):
        return []
    what = f"{path}: {len(lost):,} of {len(images):,} images have no label in {labels}, the first {lost.iloc[0]}"
    return [(what, "give a table that labels these images; the file names must agree")]


def find_places(images: pd.Series, labelled: pd.Series) -> npt.NDArray[np.intp]:
    """Row of the label table for each image, -1 where there is none; a looser key only where it is unambiguous."""
    places = np.full(len(images), -1, np.intp)
    for key in (_whole_name, _from_patient, _file_name):
        ours, theirs = images.map(key), labelled.map(key)
        if theirs.is_unique and ours.nunique() == images.nunique():
            places = np.where(places < 0, pd.Index(theirs).get_indexer(pd.Index(ours)), places)
        if (places >= 0).all():
            break
    return places


def _whole_name(name: str) -> str:
    return name.strip().replace("\\", "/")


def _from_patient(name: str) -> str:
    """CheXpert's path without the folders above train, valid, test or the patient."""
    found = re.search(r"((train|valid|test)/)?patient\d+/.*", _whole_name(name))
    return found[0] if found else name


def _file_name(name: str) -> str:
    return PurePosixPath(_whole_name(name)).name


def _completed(rows: pd.DataFrame, labelled: pd.DataFrame) -> pd.DataFrame:
    text = {name: rows[name].where(rows[name] != "", labelled[name]) for name in IDENTITY[1:-1]}
    return rows.assign(**text, age=rows["age"].fillna(labelled["age"].astype(np.float64)))
