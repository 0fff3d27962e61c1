from pathlib import Path

import numpy as np
import pytest

from cxr.errors import CxrError
from cxr.labels.reading import make_rows
from cxr.labels.table import LabelTable
from cxr.labels.targets import count_targets, resolve

NAN = float("nan")


def make_table(cells: list[list[float]], findings: tuple[str, ...] = ("Mass", "Edema")) -> LabelTable:
    rows = make_rows({"image": [f"{n}.png" for n in range(len(cells))]})
    return LabelTable("table", Path("root"), rows, findings, np.array(cells, dtype=np.float32))


UNSURE = make_table([[1, 0], [-1, 0], [NAN, -1]])


@pytest.mark.parametrize(
    ("policy", "y", "masked"),
    [("ignore", 0, True), ("zeros", 0, False), ("ones", 1, False)],
)
def test_an_uncertain_cell_becomes_what_its_policy_says(policy: str, y: float, masked: bool) -> None:
    targets = resolve(UNSURE, ["Mass"], policy)  # type: ignore[arg-type]
    assert targets.y[:, 0].tolist() == [1, y, 0]
    assert targets.mask[:, 0].tolist() == [True, not masked, True]


def test_a_range_draws_soft_targets_that_the_seed_repeats() -> None:
    table = make_table([[-1, -1]] * 100)
    first, again, other = (resolve(table, ["Mass"], (0.55, 0.85), seed=seed).y for seed in (3, 3, 4))
    assert ((first >= 0.55) & (first <= 0.85)).all()
    assert (first == again).all() and (first != other).any()


def test_a_findings_soft_targets_do_not_depend_on_the_other_findings_asked_for() -> None:
    table = make_table([[-1, -1]] * 10)
    alone = resolve(table, ["Edema"], (0.2, 0.8)).y[:, 0]
    assert (alone == resolve(table, ["Mass", "Edema"], (0.2, 0.8)).y[:, 1]).all()


def test_a_mapping_gives_each_finding_its_policy_and_the_rest_the_default() -> None:
    targets = resolve(make_table([[-1, -1]]), ["Mass", "Edema"], {"Mass": "ones", "default": "zeros"})
    assert targets.y.tolist() == [[1, 0]]
    assert targets.mask.all()


def test_blank_cells_are_negative_or_masked() -> None:
    assert resolve(UNSURE, ["Mass"], blank="negative").mask[2, 0]
    assert not resolve(UNSURE, ["Mass"], blank="masked").mask[2, 0]


def test_resolving_leaves_the_table_as_it_was() -> None:
    before = UNSURE.raw.copy()
    resolve(UNSURE, ["Edema", "Mass"], "ones", "masked")
    np.testing.assert_array_equal(UNSURE.raw, before)


def test_counts_add_up_to_the_rows() -> None:
    counts = count_targets(resolve(UNSURE, ["Mass", "Edema"], {"Mass": (0.4, 0.6)}, "masked"))
    assert counts["finding"].tolist() == ["Mass", "Edema"]
    assert counts[["positive", "negative", "soft", "masked"]].values.tolist() == [[1, 0, 1, 1], [0, 2, 0, 1]]


def test_an_unlabelled_finding_is_refused_with_the_labelled_ones() -> None:
    with pytest.raises(CxrError) as error:
        resolve(UNSURE, ["Mass", "Hernia"])
    assert (
        error.value.render()
        == "error: data.findings: root has no labels for 'Hernia'\nhint: it labels Mass, Edema"
    )
