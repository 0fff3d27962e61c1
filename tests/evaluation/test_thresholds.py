import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score, f1_score

from cxr.errors import CxrError
from cxr.evaluation.join import IDENTITY
from cxr.evaluation.predictions import Predictions
from cxr.evaluation.report import score
from cxr.evaluation.statistics import metrics
from cxr.evaluation.thresholds import Rule, Thresholds, choose, fixed, from_json, hashed, origin, to_json

Draw = Callable[..., Predictions]
CELLS = st.tuples(st.sampled_from([0.0, 1.0, np.nan]), st.integers(0, 12).map(lambda part: part / 12))
BOTH_CLASSES = [(0.0, 0.25), (1.0, 0.5)]
FIGURES = {"f1": f1_score, "youden": balanced_accuracy_score}  # J = 2 x balanced accuracy - 1


def of(y: list[float], p: list[float]) -> Predictions:
    rows = pd.DataFrame({name: [f"{name}{row}" for row in range(len(y))] for name in IDENTITY}).assign(
        age=np.nan
    )
    return Predictions(rows, ("Mass",), np.array(y, np.float64)[:, None], np.array(p, np.float64)[:, None])


def chosen(y: list[float], p: list[float], rule: Rule) -> float:
    return choose(of(y, p), rule).values[0]


@pytest.mark.parametrize("rule", ["f1", "youden"])
@given(cells=st.lists(CELLS, max_size=30))
@settings(max_examples=100, deadline=None)
def test_no_threshold_is_better_and_no_larger_one_as_good(
    rule: Rule, cells: list[tuple[float, float]]
) -> None:
    y, p = np.array(cells + BOTH_CLASSES).T
    known = ~np.isnan(y)
    figure = {t: FIGURES[str(rule)](y[known], p[known] >= t) for t in sorted(set(p[known]))}
    best = max(figure.values())
    largest = max(t for t, value in figure.items() if value >= best - 1e-12)
    threshold = chosen(list(y), list(p), rule)
    assert ((p[known] >= threshold) == (p[known] >= largest)).all()


def test_a_threshold_lies_midway_to_the_next_lower_probability() -> None:
    assert chosen([0, 0, 1, 1], [0.1, 0.2, 0.6, 0.9], "f1") == pytest.approx(0.4)


def test_below_the_lowest_probability_lies_zero() -> None:
    assert chosen([1, 0, 1], [0.2, 0.4, 0.9], "f1") == pytest.approx(0.1)


def test_neighbouring_floats_are_told_apart() -> None:
    low = 0.5
    high = float(np.nextafter(low, 1))
    assert low < chosen([0, 1], [low, high], "f1") <= high


def test_scores_that_are_all_equal_are_all_called() -> None:
    assert chosen([0, 1, 0], [0.3, 0.3, 0.3], "youden") == pytest.approx(0.15)


@pytest.mark.parametrize("y", [[0, 0], [1, 1], [np.nan, np.nan], [1, np.nan]])
def test_one_class_only_falls_back_to_a_half_and_is_named(y: list[float]) -> None:
    thresholds = choose(of(y, [0.1, 0.9]), "f1")
    assert (thresholds.values, thresholds.fallback) == ((0.5,), ("Mass",))


def test_where_thresholds_come_from_is_kept(draw: Callable[..., Predictions]) -> None:
    thresholds = choose(draw(112, split="val"), "youden")
    assert (thresholds.rule, thresholds.chosen_on) == ("youden", "validation rows (112 images, 38 patients)")
    assert thresholds.images == hashed(f"val_{row:04d}.png" for row in range(112))


def test_a_number_is_taken_as_it_is() -> None:
    assert choose(of([0, 1], [0.1, 0.9]), 0.25) == Thresholds(
        ("Mass",), (0.25,), "fixed 0.25", "not chosen: fixed"
    )


@pytest.mark.parametrize("value", [-0.1, 1.5, float("nan")])
def test_a_number_that_is_no_probability_is_refused(value: float) -> None:
    with pytest.raises(CxrError) as error:
        fixed(("Mass",), value)
    assert error.value.render() == (
        f"error: eval.threshold: {value:g} is no probability\nhint: give f1, youden or a number from 0 to 1"
    )


def test_json_gives_the_same_thresholds_back(draw: Callable[..., Predictions]) -> None:
    thresholds = choose(draw(50), "f1")
    assert from_json(to_json(thresholds)) == thresholds


@pytest.mark.parametrize("least", [0.0, 0.5, 0.8, 0.9, 1.0])
@given(cells=st.lists(CELLS, max_size=30))
@settings(max_examples=60, deadline=None)
def test_a_sensitivity_is_reached_with_the_highest_specificity(
    least: float, cells: list[tuple[float, float]]
) -> None:
    y, p = np.array(cells + BOTH_CLASSES).T
    own = metrics.at_threshold(y, p, chosen(list(y), list(p), f"sensitivity={least}"))
    every = [metrics.at_threshold(y, p, t) for t in p[~np.isnan(y)]]
    assert own.sensitivity >= least - 1e-12
    assert own.specificity == max(point.specificity for point in every if point.sensitivity >= least - 1e-12)


@pytest.mark.parametrize("least", [0.0, 0.5, 0.8, 0.9, 1.0])
@given(cells=st.lists(CELLS, max_size=30))
@settings(max_examples=60, deadline=None)
def test_a_specificity_is_reached_with_the_highest_sensitivity(
    least: float, cells: list[tuple[float, float]]
) -> None:
    y, p = np.array(cells + BOTH_CLASSES).T
    thresholds = choose(of(list(y), list(p)), f"specificity={least}")
    every = [metrics.at_threshold(y, p, t) for t in p[~np.isnan(y)]]
    fitting = [point.sensitivity for point in every if point.specificity >= least - 1e-12]
    if not fitting:
        assert (thresholds.values, thresholds.fallback) == ((0.5,), ("Mass",))
    else:
        own = metrics.at_threshold(y, p, thresholds.values[0])
        assert own.specificity >= least - 1e-12
        assert own.sensitivity == max(fitting)


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("f1", "best F1 on validation rows (2 images)"),
        ("youden", "best Youden's J on validation rows (2 images)"),
        ("sensitivity=0.9", "sensitivity of at least 0.9 on validation rows (2 images)"),
        (0.25, "fixed 0.25 for every finding"),
    ],
)
def test_the_report_says_how_thresholds_were_chosen(rule: Rule, words: str) -> None:
    assert origin(choose(of([0, 1], [0.2, 0.7]), rule, "validation rows (2 images)")) == words


def test_thresholds_chosen_on_few_positive_images_are_named(draw: Draw) -> None:
    validation = draw(200, ("Mass", "Edema"))
    validation.y[:, 0] = np.arange(200) < 3
    validation.y[:, 1] = np.arange(200) < 10
    chosen = choose(validation, "youden")
    assert chosen.num_positive == (3, 10)
    assert chosen.few == ("Mass (3)",) == from_json(to_json(chosen)).few
    notes = score(draw(100, ("Mass", "Edema")), chosen).notes
    assert any(note.endswith("which other images may not confirm: Mass (3)") for note in notes)
    assert choose(validation, 0.3).few == fixed(("Mass",)).few == ()


def test_thresholds_of_an_earlier_version_have_no_counts(draw: Draw) -> None:
    chosen = choose(draw(200), "f1")
    written = json.loads(to_json(chosen))
    del written["num_positive"]
    assert from_json(json.dumps(written)) == replace(chosen, num_positive=())
