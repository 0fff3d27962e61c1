"""One image, one row: tables with a row per box, mask or reader become tables with a row per image.

Rows of an image whose labels are equal are one row. Rows whose labels differ are an error, or joined by a rule:

| data.duplicates | a finding is present (1)                | absent (0)                        | else         |
| --------------- | --------------------------------------- | --------------------------------- | ------------ |
| any             | where any row says so                   | where all rows that say anything  | uncertain -1 |
| all             | where all rows that say anything say so | where any row says so             | uncertain -1 |
| majority        | where more than half of them say so     | where more than half say absent   | uncertain -1 |

A blank cell says nothing; a finding of which no row says anything stays blank. Of soft labels, `any` takes the largest
and `all` the smallest cell, `majority` the mean.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from cxr.errors import CxrError
from cxr.labels.table import Float, LabelTable

Duplicates = Literal["error", "any", "all", "majority"]
Rows = npt.NDArray[np.intp]

_FIRM = ("patient_id", "study_id", "split")
"""What all rows of an image must say alike: another patient or split is a mistake that no rule mends."""
_NAMED = 5


def join_rows(table: LabelTable, how: Duplicates, hint: str = "") -> LabelTable:
    """The table with one row an image, in the order of the images' first rows.

    Args:
        table: N rows, with `where` for errors.
        how: What becomes of rows of an image whose labels differ.
        hint: The reader that understands such a table, for the error.

    Raises:
        CxrError: An image without a name; rows of an image that differ in patient, study or split, or in labels.
    """
    images = table.rows["image"]
    where = table.where or (lambda row: f"{table.root}: row {row + 1}")
    _check_named(images, where)
    codes, names = pd.factorize(images)
    if len(names) == len(table):
        return table
    first = np.unique(codes, return_index=True)[1]
    for column in _FIRM:
        _check_alike(table.rows, column, codes, first, where)
    differs = _differs(table.raw, codes, len(names))
    if how == "error" and differs.any():
        raise _difference(table, codes, first, differs, where, hint)
    raw = table.raw[first]
    note = f"{len(names):,} images on {len(table):,} rows: equal rows of an image are one"
    if differs.any():
        raw = np.where(differs, _joined(table.raw, codes, len(names), how), raw).astype(np.float32)
        num = int(differs.any(axis=1).sum())
        note += f"; the labels of {num:,} differ and are joined by data.duplicates={how}"
    rows, unlike = _first_known(table.rows, codes, first)
    if unlike:
        note += f"; rows of an image differ in {', '.join(unlike)}: the first that is not blank is kept"
    return replace(table, rows=rows, raw=raw, notes=(*table.notes, note), where=None)


def _check_named(images: "pd.Series[str]", where: Callable[[int], str]) -> None:
    nameless = np.flatnonzero(images == "")
    if len(nameless):
        more = f" (and {len(nameless) - 1:,} more rows)" if len(nameless) > 1 else ""
        raise CxrError(
            f"{where(int(nameless[0]))}: no image name{more}", "every row needs the name of its image"
        )


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
        what = f"image {rows['image'].iloc[row]} is of {kind} {values[row]!r} here and {values[before]!r} at"
        raise CxrError(f"{where(row)}: {what} {where(before)}", f"an image has one {kind}; correct the table")


def _differs(raw: Float, codes: Rows, num: int) -> npt.NDArray[np.bool_]:
    """[M, C] where the rows of an image do not all say the same; blank is something else than 0."""
    filled = np.where(np.isnan(raw), np.float32(-9), raw)
    low, high = (
        np.full((num, raw.shape[1]), np.inf, np.float32),
        np.full((num, raw.shape[1]), -np.inf, np.float32),
    )
    np.minimum.at(low, codes, filled)
    np.maximum.at(high, codes, filled)
    return np.asarray(low != high)


def _joined(raw: Float, codes: Rows, num: int, how: Duplicates) -> Float:
    """[M, C] labels of the rows of each image by the rule; see the table above."""

    def total(values: npt.NDArray[np.generic]) -> npt.NDArray[np.float64]:
        sums = np.zeros((num, raw.shape[1]))
        np.add.at(sums, codes, values.astype(np.float64))
        return sums

    soft = (raw > 0) & (raw < 1)
    is_soft = total(soft) > 0
    yes, no, says = total(raw == 1), total(raw == 0), total(~np.isnan(raw))
    sure = (raw >= 0) & ~np.isnan(raw)  # soft ones among them
    if how == "any":
        present, absent = yes > 0, no == says
        level = np.zeros_like(yes)
        np.maximum.at(level, codes, np.where(sure, raw, 0))
    elif how == "all":
        present, absent = yes == says, no > 0
        level = np.ones_like(yes)
        np.minimum.at(level, codes, np.where(sure, raw, 1))
    else:
        present, absent = 2 * yes > says, 2 * no > says
        level = total(np.where(sure, raw, 0)) / np.maximum(total(sure), 1)
    value = np.where(is_soft, level, np.where(present, 1, np.where(absent, 0, -1)))
    return np.where(says == 0, np.nan, value).astype(np.float32)


def _first_known(rows: pd.DataFrame, codes: Rows, first: Rows) -> tuple[pd.DataFrame, list[str]]:
    """(the first row of each image, cells empty there filled from its next rows; columns in which rows differ)."""
    whole, unlike = rows.iloc[first].reset_index(drop=True), []
    for column in rows.columns:
        if column in ("image", "path", *_FIRM):
            continue
        known = rows[column].replace("", np.nan).groupby(codes)
        filled = known.first().reset_index(drop=True)
        whole[column] = filled if column == "age" else filled.fillna("").astype(str)
        unlike += [column] if (known.nunique() > 1).any() else []
    return whole, unlike


def _difference(
    table: LabelTable,
    codes: Rows,
    first: Rows,
    differs: npt.NDArray[np.bool_],
    where: Callable[[int], str],
    hint: str,
) -> CxrError:
    problems = []
    images = np.flatnonzero(differs.any(axis=1))
    for image in images[:_NAMED]:
        column = int(np.argmax(differs[image]))
        rows = np.flatnonzero(codes == image)
        own = table.raw[rows, column]
        other = int(rows[np.argmax(~((own == own[0]) | (np.isnan(own) & np.isnan(own[0]))))])
        name = table.rows["image"].iloc[int(first[image])]
        what = f"image {name}: {table.findings[column]} is {_cell(table.raw[other, column])} here and"
        problems.append(f"{where(other)}: {what} {_cell(own[0])} at {where(int(first[image]))}")
    if len(images) > _NAMED:
        problems.append(f"{table.root}: {len(images) - _NAMED:,} more images have rows with different labels")
    how = "data.duplicates=any, all or majority joins the rows of an image"
    return CxrError(problems, f"{how}; {hint}" if hint else how)


def _cell(value: float) -> str:
    return "blank" if np.isnan(value) else f"{value:g}"
