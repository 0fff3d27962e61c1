from collections.abc import Callable

import numpy as np
import pytest

from cxr.errors import CxrError
from cxr.explain import robustness_page
from cxr.explain.robustness import COLUMNS, KINDS, Robustness, check_kinds, measure_robustness
from cxr.explain.sample import Sample
from cxr.report import html
from tests.helpers.behaviour import by_key

SHOWN = ("fgsm", "brightness_up", "inversion")


@pytest.fixture(scope="module")
def found(make_sample: Callable[..., Sample]) -> Robustness:
    return measure_robustness(make_sample(), SHOWN)


def test_a_model_that_reads_brightness_loses_what_is_known_by_hand(found: Robustness) -> None:
    assert tuple(found.table) == COLUMNS
    rows = by_key(found.table, "kind", "level", "finding")
    clean = rows["unchanged", "0", "Mass"]["auroc"]
    assert rows["inversion", "5", "Mass"]["auroc"] == pytest.approx(1 - clean)  # the order is turned round
    # mixed with less than half of the negative, the order stays but for rounding
    assert rows["inversion", "1", "Mass"]["drop"] == pytest.approx(0, abs=0.02)
    drops = [rows["fgsm", str(level), "mean"]["drop"] for level in range(1, 6)]
    assert drops == sorted(drops) and drops[-1] > 0.01
    assert [rows["fgsm", str(level), "mean"]["strength"] for level in range(1, 6)] == [0.5, 1, 2, 4, 8]
    assert np.isnan(rows["unchanged", "0", "mean"]["strength"])


def test_the_page_has_every_kind_with_its_pictures(found: Robustness) -> None:
    page = html.render(robustness_page.document(found, (("run", "planted"),)))
    assert page.count("data:image/jpeg") == 5 * len(SHOWN)
    assert (
        "FGSM" in page and "inversion (ours)" in page and "PGD takes 10 steps of 0.25 of the radius" in page
    )


def test_kinds_keep_their_order_and_unknown_ones_are_named() -> None:
    assert check_kinds(()) == KINDS
    assert check_kinds(("jpeg", "pgd")) == ("pgd", "jpeg")
    with pytest.raises(CxrError, match="--kinds rain: no such kind"):
        check_kinds(("pgd", "rain"))
