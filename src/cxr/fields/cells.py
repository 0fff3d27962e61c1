"""What a label cell may say: one rule for every table that holds labels.

| a cell                                             | is    |
| -------------------------------------------------- | ----- |
| 1, 1.0, true, t, yes, y, positive, pos, present    | 1     |
| 0, 0.0, false, f, no, n, negative, neg, absent     | 0     |
| -1, -1.0, uncertain                                | -1    |
| empty, NA, N/A, nan, null, none, <NA>, `-`, `.`    | blank |
| a number between 0 and 1                           | soft  |

Case and white space around do not matter. A soft label is an error unless data.soft_labels allows it; so is
anything else.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cxr.arrays import Bool, Float32

_WORDS = {
    **dict.fromkeys(("true", "t", "yes", "y", "positive", "pos", "present"), 1.0),
    **dict.fromkeys(("false", "f", "no", "n", "negative", "neg", "absent"), 0.0),
    "uncertain": -1.0,
}
_BLANK = frozenset(("", "na", "n/a", "#n/a", "nan", "null", "none", "<na>", "-", "."))

LABEL_HINT = "a label is 1 (present), 0 (absent), -1 (uncertain) or blank (not mentioned)"
SOFT_HINT = "data.soft_labels=keep reads numbers between 0 and 1 as soft targets"


def is_blank(word: str) -> bool:
    """Whether a cell says nothing."""
    return word.strip().casefold() in _BLANK


def read_label(word: str) -> float | None:
    """A cell's 1, 0, -1, nan (blank), or a number between 0 and 1 (soft); None when it says anything else."""
    word = word.strip().casefold()
    if word in _BLANK:
        return math.nan
    if word in _WORDS:
        return _WORDS[word]
    try:
        value = float(word)
    except ValueError:
        return None
    return value if value == -1 or 0 <= value <= 1 else None  # also refuses inf


@dataclass(frozen=True)
class LabelColumn:
    """The cells of one column, read.

    Attributes:
        values: [N] 1, 0, -1, nan (blank) or a soft label; nan too where a cell is no label.
        wrong: First row whose cell is no label, None where there is none.
        soft: First row whose cell is a soft label, None where there is none.
        num_wrong: Cells that are no label.
        num_labels: Cells of 1, 0 or -1.
    """

    values: Float32
    wrong: int | None
    soft: int | None
    num_wrong: int
    num_labels: int


def read_column(cells: Sequence[str]) -> LabelColumn:
    """The labels of one column.

    Args:
        cells: [N] cells, as the table writes them.
    """
    # each distinct word is read once: a million cells say a handful of words
    import pandas as pd  # here, as views of DICOM files are read without it

    codes, words = pd.factorize(np.array(cells, dtype=object))
    labels = [read_label(str(word)) for word in words]
    is_wrong = np.array([label is None for label in labels], bool)[codes]  # [N]
    values = np.array([math.nan if label is None else label for label in labels], np.float32)[codes]  # [N]
    is_soft = (values > 0) & (values < 1)
    is_label = ~np.isnan(values) & ~is_soft
    return LabelColumn(
        values=values,
        wrong=_first_true(is_wrong),
        soft=_first_true(is_soft),
        num_wrong=int(is_wrong.sum()),
        num_labels=int(is_label.sum()),
    )


def _first_true(mask: Bool) -> int | None:
    return int(np.argmax(mask)) if mask.any() else None
