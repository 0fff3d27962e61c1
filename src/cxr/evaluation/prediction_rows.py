"""Rows of one image in a CSV of predictions: equal ones are one, others are a mistake."""

import numpy as np
import numpy.typing as npt
import pandas as pd

from cxr.evaluation.join import STUDY, Mistakes
from cxr.labels.sheet import Sheet

Float = npt.NDArray[np.float64]
Rows = npt.NDArray[np.intp]

_FIRM = {"split": "split", "patient_id": "patient", STUDY: "study"}
"""What all rows of an image must say alike, as `cxr.labels.duplicates` holds for tables of labels."""


def row_mistakes(sheet: Sheet, rows: pd.DataFrame, values: Float) -> Mistakes:
    """Rows without an image, and rows of one image that do not all say the same.

    Args:
        sheet: The table.
        rows: [N] what it says of the images.
        values: [N, K] probabilities and labels.
    """
    images, mistakes = rows["image"], Mistakes()
    nameless = np.flatnonzero(images == "")
    if len(nameless):
        mistakes.append((f"{sheet.where(int(nameless[0]))}: no image name", "give every row its image"))
    before = _first_rows(images)
    for column, kind in _FIRM.items():
        told = (
            rows[column].to_numpy(dtype=object) if column in rows.columns else np.full(len(rows), "", object)
        )
        hint = f"an image has one {kind}: keep the right row of each"
        for row, line, more in _unlike(sheet, images, told != told[before], before):
            words = [str(told[place]) or "none" for place in (row, before[row])]
            what = f"image {images.iloc[row]} has the {kind} {words[0]!r} here and {words[1]!r} on line {line}{more}"
            mistakes.append((f"{sheet.where(row)}: {what}", hint))
    same = (values == values[before]) | (np.isnan(values) & np.isnan(values[before]))
    for row, line, more in _unlike(sheet, images, ~same.all(axis=1), before):
        what = f"image {images.iloc[row]} is given twice with other numbers, first on line {line}{more}"
        mistakes.append((f"{sheet.where(row)}: {what}", "keep one row per image"))
    return mistakes


def note_equal(rows: pd.DataFrame) -> list[str]:
    """A note where several rows are one image: how many, and what they tell of it differently."""
    num = rows["image"].nunique()
    if num == len(rows):
        return []
    before = _first_rows(rows["image"])
    others = [str(name) for name in rows.columns if name not in ("image", *_FIRM)]
    told = {name: rows[name].to_numpy(dtype=object) for name in others}
    unlike = [name for name, cells in told.items() if ((cells != cells[before]) & ~pd.isna(cells)).any()]
    note = f"{num:,} images on {len(rows):,} rows: equal rows of an image are one"
    return [note + (f"; rows of an image differ in {', '.join(unlike)}: the first is kept" if unlike else "")]


def _first_rows(images: "pd.Series[str]") -> Rows:
    """[N] the first row of each row's image."""
    codes = pd.factorize(images)[0]
    return np.unique(codes, return_index=True)[1][codes]


def _unlike(
    sheet: Sheet, images: "pd.Series[str]", differs: npt.NDArray[np.bool_], before: Rows
) -> list[tuple[int, int, str]]:
    """The first row that differs from its image's first one, the line of that, how many more; none where none does."""
    rows = np.flatnonzero(differs & (images != "").to_numpy())
    more = f" (and {len(rows) - 1:,} more such rows)" if len(rows) > 1 else ""
    return [(int(row), sheet.lines[int(before[row])], more) for row in rows[:1]]
