from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cxr.errors import CxrError
from cxr.labels.duplicates import join_rows
from cxr.labels.reading import make_rows
from cxr.labels.table import LabelTable

CELLS = st.sampled_from([1.0, 0.0, -1.0, np.nan])
ROWS = st.lists(st.tuples(st.sampled_from("abc"), CELLS, CELLS), min_size=1, max_size=14)


def table_of(rows: list[tuple[str, float, float]], **columns: list[str]) -> LabelTable:
    images = [row[0] for row in rows]
    known = {"image": images, "patient_id": [f"p{image}" for image in images]} | columns
    raw = np.array([row[1:] for row in rows], np.float32)
    return LabelTable("table", Path("x.csv"), make_rows(known), ("Mass", "Edema"), raw)


def reference(cells: list[float], how: str) -> float:
    """One finding of one image, spelled out."""
    if len({str(cell) for cell in cells}) == 1:
        return cells[0]
    says = [cell for cell in cells if cell == cell]
    yes, no = says.count(1), says.count(0)
    present = {"any": yes > 0, "all": yes == len(says), "majority": yes > len(says) / 2}[how]
    absent = {"any": no == len(says), "all": no > 0, "majority": no > len(says) / 2}[how]
    return 1 if present else 0 if absent else -1


@pytest.mark.parametrize("how", ["any", "all", "majority"])
@given(rows=ROWS)
@settings(max_examples=100, deadline=None)
def test_rows_of_an_image_are_joined_as_the_rule_says(how: str, rows: list[tuple[str, float, float]]) -> None:
    joined = join_rows(table_of(rows), how)  # type: ignore[arg-type]
    images = list(dict.fromkeys(row[0] for row in rows))
    assert joined.rows["image"].tolist() == images
    expected = [
        [reference([cells[c] for name, *cells in rows if name == image], how) for c in range(2)]
        for image in images
    ]
    np.testing.assert_array_equal(joined.raw, np.array(expected, np.float32))


def test_equal_rows_are_one_and_different_ones_an_error_that_names_both() -> None:
    rows = [("a", 1.0, np.nan), ("b", 0.0, 0.0), ("a", 1.0, np.nan)]
    joined = join_rows(table_of(rows), "error")
    assert len(joined) == 2 and joined.notes == ("2 images on 3 rows: equal rows of an image count as one",)
    with pytest.raises(CxrError) as error:
        join_rows(table_of([*rows, ("b", 1.0, 0.0)]), "error", "data.source=nih reads such a table")
    assert error.value.problems == ("x.csv: row 4: image b: Mass is 1 here and 0 at x.csv: row 2",)
    assert (
        error.value.hint.startswith("data.duplicates=any, all or majority")
        and "data.source=nih" in error.value.hint
    )


def test_an_image_of_two_patients_is_refused_under_every_rule() -> None:
    table = table_of([("a", 1.0, 0.0), ("a", 1.0, 0.0)], patient_id=["1", "2"])
    with pytest.raises(CxrError, match="image a is of patient '2' here and '1' at"):
        join_rows(table, "any")


def test_what_the_first_row_leaves_blank_comes_from_the_next_and_differences_are_said() -> None:
    rows = [("a", 1.0, 0.0)] * 3
    joined = join_rows(table_of(rows, view=["", "PA", "AP"], age=["", "58", "58"]), "error")
    assert joined.rows[["view", "age"]].to_numpy().tolist() == [["PA", 58.0]]
    assert joined.notes[0].endswith("rows of an image differ in view: the first that is not blank is kept")


def test_soft_labels_are_joined_by_their_size() -> None:
    rows = [("a", 0.25, 1.0), ("a", 0.75, 0.5)]
    for rule, expected in (("any", [0.75, 1.0]), ("all", [0.25, 0.5]), ("majority", [0.5, 0.75])):
        joined = join_rows(table_of(rows), rule)  # type: ignore[arg-type]
        np.testing.assert_array_equal(joined.raw, [expected])
