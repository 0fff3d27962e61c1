import math

import numpy as np
import pytest

from cxr.fields.cells import read_column, read_label

CELLS = {
    1: "1 1.0 1. +1 true True TRUE T yes Y positive Pos present".split(),
    0: "0 0.0 -0 false F no N negative NEG absent".split(),
    -1: "-1 -1.0 uncertain Uncertain".split(),
}
BLANK = ["", " ", "NA", "N/A", "nan", "NaN", "null", "NULL", "none", "None", "<NA>", "-", ".", "\u00a0"]


@pytest.mark.parametrize(
    ("cell", "value"), [(cell, value) for value, cells in CELLS.items() for cell in cells]
)
def test_words_and_numbers_are_labels(cell: str, value: float) -> None:
    assert read_label(cell) == read_label(f" {cell}\u00a0") == value


@pytest.mark.parametrize("cell", BLANK)
def test_words_for_nothing_are_blank(cell: str) -> None:
    value = read_label(cell)
    assert value is not None and math.isnan(value)


@pytest.mark.parametrize(
    "cell", ["2", "-2", "1.5", "-0.5", "inf", "-inf", "x", "?", "1 0", "0,5", "oui", "maybe"]
)
def test_anything_else_is_no_label(cell: str) -> None:
    assert read_label(cell) is None


def test_a_column_tells_its_first_wrong_and_its_first_soft_cell() -> None:
    column = read_column(["1", "0.25", "x", "", "no", "x"])
    np.testing.assert_array_equal(column.values, np.array([1, 0.25, np.nan, np.nan, 0, np.nan], np.float32))
    assert (column.wrong, column.soft, column.num_wrong, column.num_labels) == (2, 1, 2, 2)
