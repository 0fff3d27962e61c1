"""An image, a row: tables with a row per box, mask or reader become tables with a row per image.

Rows of an image whose labels are equal are one row. Rows whose labels differ are an error, or joined by a
rule:

| data.duplicates | a finding is present (1)           | absent (0)                         | else         |
| --------------- | ---------------------------------- | ---------------------------------- | ------------ |
| any             | if any row says so                 | if all rows that say anything do   | uncertain -1 |
| all             | if all rows that say anything do   | if any row says so                 | uncertain -1 |
| majority        | if more than half of them say so   | if more than half say so           | uncertain -1 |

A blank cell says nothing; a finding of which no row says anything stays blank. Of soft labels, `any` takes
the largest and `all` the smallest cell, `majority` the mean.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from cxr.errors import CxrError
from cxr.labels.problems import MAX_NAMED, count_more
from cxr.labels.table import Float, LabelTable

Duplicates = Literal["error", "any", "all", "majority"]
Rows = npt.NDArray[np.intp]

_SAME = ("patient_id", "study_id", "split")
"""What all rows of an image must say alike: another patient or split is a mistake, whatever the rule."""


def join_rows(table: LabelTable, rule: Duplicates, hint: str = "") -> LabelTable:
    """The table with one row an image, in the order of the images' first rows.

    Args:
        table: N rows of M images, with `where` for errors.
        rule: What becomes of rows of an image whose labels differ.
        hint: The reader that understands such a table, for the error.

    Raises:
        CxrError: An image without a name; rows of an image that differ in patient, study or split, or in
        labels.
    """
    images = table.rows["image"]
    where = table.where or (lambda row: f"{table.root}: row {row + 1}")
    nameless = np.flatnonzero(images == "")
    if len(nameless):
        problem = f"{where(int(nameless[0]))}: no image name{count_more(len(nameless))}"
        raise CxrError(problem, "every row needs the name of its image")
    codes, names = pd.factorize(images)  # [N] the image of each row, in the order of the first rows; [M]
    if len(names) == len(table):
        return table
    first = np.unique(codes, return_index=True)[1]  # [M] the first row of each image
    for column in _SAME:
        _check_alike(table.rows, column, codes, first, where)
    differs = _find_different(table.raw, codes, len(names))
    if rule == "error" and differs.any():
        raise _difference(table, codes, first, differs, where, hint)
    raw = table.raw[first]
    note = f"{len(names):,} images on {len(table):,} rows: equal rows of an image count as one"
    if differs.any():
        raw = np.where(differs, _join_labels(table.raw, codes, len(names), rule), raw).astype(np.float32)
        num_differing = int(differs.any(axis=1).sum())
        note += f"; the labels of {num_differing:,} differ and are joined by data.duplicates={rule}"
    rows, unlike = _first_known(table.rows, codes, first)
    if unlike:
        note += f"; rows of an image differ in {', '.join(unlike)}: the first that is not blank is kept"
    return replace(table, rows=rows, raw=raw, notes=(*table.notes, note), where=None)


def _check_alike(
    rows: pd.DataFrame, column: str, codes: Rows, first: Rows, where: Callable[[int], str]
) -> None:
    """Refuse an image under two patients, studies or splits."""
    values = rows[column].to_numpy(dtype=object)
    wrong = np.flatnonzero(values != values[first[codes]])
    if len(wrong):
        row = int(wrong[0])
        before = int(first[codes[row]])
        kind = column.removesuffix("_id")
        problem = f"image {rows['image'].iloc[row]} is of {kind} {values[row]!r} here"
        problem += f" and {values[before]!r} at {where(before)}"
        raise CxrError(f"{where(row)}: {problem}", f"an image has one {kind}; correct the table")


def _find_different(raw: Float, codes: Rows, num_images: int) -> npt.NDArray[np.bool_]:
    """[M, C] where the rows of an image do not all say the same; blank is something else than 0."""
    filled = np.where(np.isnan(raw), np.float32(-9), raw)  # [N, C]; -9 is no label
    low = np.full((num_images, raw.shape[1]), np.inf, np.float32)
    high = np.full((num_images, raw.shape[1]), -np.inf, np.float32)
    np.minimum.at(low, codes, filled)  # the smallest and the largest cell of each image's rows
    np.maximum.at(high, codes, filled)
    return np.asarray(low != high)


def _join_labels(raw: Float, codes: Rows, num_images: int, rule: Duplicates) -> Float:
    """[M, C] labels of the rows of each image by the rule; see the table above."""

    def total(values: npt.NDArray[np.generic]) -> npt.NDArray[np.float64]:
        """[M, C] the sum over the rows of each image."""
        sums = np.zeros((num_images, raw.shape[1]))
        # every row is added, where `sums[codes] += ...` would keep one row of each image
        np.add.at(sums, codes, values.astype(np.float64))
        return sums

    num_present, num_absent = total(raw == 1), total(raw == 0)
    num_said = total(~np.isnan(raw))  # uncertain cells included
    has_soft = total((raw > 0) & (raw < 1)) > 0
    is_sure = (raw >= 0) & ~np.isnan(raw)  # soft cells included
    # `level` is the label where any row is soft; elsewhere present, absent, or else uncertain
    if rule == "any":
        # an uncertain row among absent ones leaves the finding uncertain
        present, absent = num_present > 0, num_absent == num_said
        # from the smallest label up to the largest cell
        level = np.zeros_like(num_present)
        np.maximum.at(level, codes, np.where(is_sure, raw, 0))
    elif rule == "all":
        present, absent = num_present == num_said, num_absent > 0
        # from the largest label down to the smallest cell
        level = np.ones_like(num_present)
        np.minimum.at(level, codes, np.where(is_sure, raw, 1))
    else:
        present, absent = 2 * num_present > num_said, 2 * num_absent > num_said
        level = total(np.where(is_sure, raw, 0)) / np.maximum(total(is_sure), 1)
    label = np.where(has_soft, level, np.where(present, 1, np.where(absent, 0, -1)))
    return np.where(num_said == 0, np.nan, label).astype(np.float32)


def _first_known(rows: pd.DataFrame, codes: Rows, first: Rows) -> tuple[pd.DataFrame, list[str]]:
    """(the first row of each image, its empty cells filled from the next; columns in which rows differ)."""
    joined = rows.iloc[first].reset_index(drop=True)
    unlike = []
    for column in rows.columns:
        if column in ("image", "path", *_SAME):
            continue
        # pandas' `first` skips nan, so that a blank cell is filled from the image's next row
        known = rows[column].replace("", np.nan).groupby(codes)
        filled = known.first().reset_index(drop=True)
        joined[column] = filled if column == "age" else filled.fillna("").astype(str)
        if (known.nunique() > 1).any():
            unlike.append(column)
    return joined, unlike


def _difference(
    table: LabelTable,
    codes: Rows,
    first: Rows,
    differs: npt.NDArray[np.bool_],
    where: Callable[[int], str],
    hint: str,
) -> CxrError:
    """The error that names the first finding of each image in which its rows differ."""
    images = np.flatnonzero(differs.any(axis=1))
    problems = []
    for image in images[:MAX_NAMED]:
        column = int(np.argmax(differs[image]))
        rows = np.flatnonzero(codes == image)
        cells = table.raw[rows, column]
        is_same = (cells == cells[0]) | (np.isnan(cells) & np.isnan(cells[0]))
        other = int(np.argmax(~is_same))
        name = table.rows["image"].iloc[int(first[image])]
        problem = f"image {name}: {table.findings[column]} is {_show(cells[other])} here"
        problem += f" and {_show(cells[0])} at {where(int(first[image]))}"
        problems.append(f"{where(int(rows[other]))}: {problem}")
    if len(images) > MAX_NAMED:
        num_more = len(images) - MAX_NAMED
        problems.append(f"{table.root}: {num_more:,} more images have rows with different labels")
    rules = "data.duplicates=any, all or majority joins the rows of an image"
    return CxrError(problems, f"{rules}; {hint}" if hint else rules)


def _show(cell: float) -> str:
    return "blank" if np.isnan(cell) else f"{cell:g}"
