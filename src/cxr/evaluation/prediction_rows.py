"""Several rows of one image in a CSV of predictions: equal rows count as one, others are a mistake."""

import numpy as np
import numpy.typing as npt
import pandas as pd

from cxr.evaluation.join import STUDY, Mistakes
from cxr.labels.sheet import Sheet

Float = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]

_MUST_AGREE = {"split": "split", "patient_id": "patient", STUDY: "study"}
"""Columns that must agree in all rows of an image, as `cxr.labels.duplicates` asks of tables of labels."""


def row_mistakes(sheet: Sheet, rows: pd.DataFrame, values: Float) -> Mistakes:
    """Rows without an image, and rows of one image that differ.

    Args:
        sheet: The table.
        rows: [N] IDENTITY columns and the study, as the file has them.
        values: [N, K] probabilities and labels.
    """
    images, mistakes = rows["image"], Mistakes()
    nameless = np.flatnonzero(images == "")
    if len(nameless):
        mistakes.append((f"{sheet.where(int(nameless[0]))}: no image name", "give every row its image"))
    # each row is compared with the first of its image: where all equal it, they are equal among themselves
    first = _first_rows(images)
    for column, kind in _MUST_AGREE.items():
        if column not in rows.columns:
            continue
        cells = rows[column].to_numpy(dtype=object)
        different = _different_rows(images, cells != cells[first])
        if len(different):
            row = int(different[0])
            here, there = (str(cell) or "none" for cell in (cells[row], cells[first[row]]))
            line = sheet.lines[int(first[row])]
            problem = f"image {images.iloc[row]} has the {kind} {here!r} here and {there!r} on line {line}"
            hint = f"an image has one {kind}: keep the right row of each"
            mistakes.append((f"{sheet.where(row)}: {problem}{_more(different)}", hint))
    # nan is an unknown label or an empty cell, and equal to itself here
    is_same = (values == values[first]) | (np.isnan(values) & np.isnan(values[first]))
    different = _different_rows(images, ~is_same.all(axis=1))
    if len(different):
        row = int(different[0])
        line = sheet.lines[int(first[row])]
        problem = f"image {images.iloc[row]} is given twice with other numbers, first on line {line}"
        mistakes.append((f"{sheet.where(row)}: {problem}{_more(different)}", "keep one row per image"))
    return mistakes


def note_equal(rows: pd.DataFrame) -> list[str]:
    """A note where images have several rows: how many, and in which columns those differ."""
    num_images = rows["image"].nunique()
    if num_images == len(rows):
        return []
    first = _first_rows(rows["image"])
    different = []
    for name in rows.columns:
        if name in ("image", *_MUST_AGREE):
            continue
        cells = rows[name].to_numpy(dtype=object)
        if ((cells != cells[first]) & ~pd.isna(cells)).any():
            different.append(str(name))
    note = f"{num_images:,} images on {len(rows):,} rows: equal rows of an image count as one"
    if different:
        note += f"; rows of an image differ in {', '.join(different)}: the first is kept"
    return [note]


def _first_rows(images: "pd.Series[str]") -> Indices:
    """[N] the first row of each row's image."""
    codes = pd.factorize(images)[0]
    # [K] the first row of each distinct image, then [N] by each row's number of its image
    return np.unique(codes, return_index=True)[1][codes]


def _different_rows(images: "pd.Series[str]", is_different: npt.NDArray[np.bool_]) -> Indices:
    """Rows that differ from the first row of their image, as far as they name one."""
    return np.flatnonzero(is_different & (images != "").to_numpy())


def _more(rows: Indices) -> str:
    return f" (and {len(rows) - 1:,} more such rows)" if len(rows) > 1 else ""
