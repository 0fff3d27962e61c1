from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from cxr.explain import shortcuts_page
from cxr.explain.sample import Sample, predict_changed
from cxr.explain.shortcuts import Shortcuts, find_shortcuts, find_warnings
from cxr.report import html
from tests.helpers.behaviour import by_key

MakeSample = Callable[..., Sample]


@pytest.fixture(scope="module")
def found(make_sample: MakeSample) -> Shortcuts:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cxr.explain.probe._STRENGTHS", (1e-2,))
        return find_shortcuts(make_sample(), None)


def auroc(found: Shortcuts, change: str, finding: str) -> float:
    return float(by_key(found.regions, "change", "finding")[change, finding]["auroc"])


def test_a_finding_read_from_a_corner_is_warned_of_and_one_read_from_a_lung_is_not(found: Shortcuts) -> None:
    (warning,) = found.warnings
    assert warning.startswith(
        "with the chest hidden the model still tells findings apart, as AUROC: Effusion 0.9"
    )
    assert "Mass" not in warning
    assert auroc(found, "unchanged", "Effusion") > 0.9 < auroc(found, "unchanged", "Mass")
    assert auroc(found, "corners hidden", "Mass") == auroc(found, "unchanged", "Mass")
    assert auroc(found, "lungs hidden", "Effusion") == auroc(found, "unchanged", "Effusion")
    for change, finding in (("corners hidden", "Effusion"), ("chest hidden", "Mass")):
        assert abs(auroc(found, change, finding) - 0.5) < 0.25


def test_probes_and_maps_are_of_the_features(found: Shortcuts) -> None:
    assert set(found.probes["target"].str.partition(":")[0]) >= {"view", "sex", "age"}
    assert found.maps["finding"].tolist() == ["Effusion", "Mass"]
    # a map of one cell is everywhere the same
    np.testing.assert_allclose(found.maps["border"], found.maps["area"], rtol=1e-5)


def test_the_page_says_the_warning_first_and_shows_an_image(found: Shortcuts) -> None:
    page = html.render(shortcuts_page.document(found, (("run", "planted"),)))
    assert page.index("Warning: with the chest hidden") < page.index("<h2>Hidden regions")
    assert page.count("data:image/jpeg") == 6 and "a fixed template" in page


def frames(within: dict[str, object], probes: dict[str, object]) -> tuple[pd.DataFrame, ...]:
    hidden = pd.DataFrame(columns=["change", "finding", "auroc", "auroc_low", "auroc_high", "kept"])
    return hidden, pd.DataFrame([within]), pd.DataFrame([probes])


@pytest.mark.parametrize(
    ("finding", "drop", "low", "probe_low", "is_warned"),
    [
        ("Mass", 0.06, 0.01, 0.7, True),
        ("Mass", 0.04, 0.01, 0.7, False),  # too little for one finding
        ("mean", 0.04, 0.01, 0.7, True),
        ("mean", 0.04, -0.01, 0.7, False),  # may be chance
        ("mean", 0.04, 0.01, 0.45, False),  # the features do not tell the view
    ],
)
def test_a_loss_within_views_is_warned_of_by_the_stated_rule(
    finding: str, drop: float, low: float, probe_low: float, is_warned: bool
) -> None:
    within = {
        "attribute": "view",
        "finding": finding,
        "auroc": 0.8,
        "within": 0.8 - drop,
        "drop": drop,
        "drop_low": low,
    }
    probes = {"target": "view: AP", "metric": "AUROC", "low": probe_low}
    warnings = find_warnings(*frames(within, probes))
    assert bool(warnings) == is_warned
    if is_warned:
        assert f"{finding} 0.800, within {0.8 - drop:.3f}" in warnings[0]


def test_an_unchanged_image_has_the_probabilities_of_cxr_eval(make_sample: MakeSample) -> None:
    sample = make_sample()
    same = predict_changed(sample, {"same": lambda images, rows: images}, "")["same"]
    np.testing.assert_array_equal(same, sample.predictions.p)
