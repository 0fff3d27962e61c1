import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import (
    average_precision_score,
    f1_score,
    mean_squared_error,
    precision_score,
    recall_score,
    roc_auc_score,
)

from cxr.evaluation.statistics import metrics

CELLS = st.tuples(st.sampled_from([0.0, 1.0, np.nan]), st.integers(0, 20).map(lambda part: part / 20))
ROWS = st.lists(CELLS, max_size=60).map(lambda cells: np.array(cells, np.float64).reshape(-1, 2).T)


def every_metric(y: metrics.Float, p: metrics.Float, threshold: float = 0.5) -> metrics.Point:
    return metrics.point(y, p, threshold)


@given(ROWS, st.integers(0, 20).map(lambda part: part / 20))
@settings(max_examples=60, deadline=None)
def test_every_figure_of_the_known_rows_is_that_of_scikit_learn(
    rows: metrics.Float, threshold: float
) -> None:
    y, p = rows
    known = ~np.isnan(y)
    truth, scores = y[known], p[known]
    called = (scores >= threshold).astype(int)
    both = len(set(truth)) == 2
    expected = (
        roc_auc_score(truth, scores) if both else np.nan,
        average_precision_score(truth, scores) if both else np.nan,
        f1_score(truth, called, zero_division=0.0) if 1 in truth else np.nan,
        recall_score(truth, called) if 1 in truth else np.nan,
        recall_score(truth, called, pos_label=0) if 0 in truth else np.nan,
        precision_score(truth, called) if 1 in called else np.nan,
        precision_score(truth, called, pos_label=0) if 0 in called else np.nan,
        mean_squared_error(truth, scores) if len(truth) else np.nan,
    )
    assert every_metric(y, p, threshold)[:-1] == pytest.approx(expected, abs=1e-12, nan_ok=True)


@given(ROWS, st.randoms(use_true_random=False))
@settings(max_examples=50, deadline=None)
def test_the_order_of_rows_changes_nothing(rows: metrics.Float, random: "np.random.Generator") -> None:
    order = list(range(rows.shape[1]))
    random.shuffle(order)
    assert every_metric(*rows[:, order]) == pytest.approx(every_metric(*rows), abs=1e-12, nan_ok=True)


@given(ROWS)
@settings(max_examples=50, deadline=None)
def test_a_monotone_map_of_the_scores_changes_no_ranking_figure(rows: metrics.Float) -> None:
    y, p = rows
    assert every_metric(y, p**3 / 2)[:2] == pytest.approx(every_metric(y, p)[:2], abs=1e-12, nan_ok=True)


def test_counts_are_of_known_rows() -> None:
    assert metrics.count(np.array([1, 0, np.nan, 1])) == (3, 2)


def test_positives_only_leave_f1_and_sensitivity() -> None:
    y, p = np.ones(4), np.array([0.9, 0.8, 0.2, 0.6])
    assert every_metric(y, p)[:7] == pytest.approx((np.nan, np.nan, 6 / 7, 0.75, np.nan, 1, 0), nan_ok=True)


def test_negatives_only_leave_specificity() -> None:
    y, p = np.zeros(4), np.array([0.9, 0.8, 0.2, 0.6])
    assert every_metric(y, p)[:7] == pytest.approx((np.nan, np.nan, np.nan, np.nan, 0.25, 0, 1), nan_ok=True)


@pytest.mark.parametrize("num", [0, 5])
def test_no_known_row_leaves_nothing(num: int) -> None:
    assert np.isnan(every_metric(np.full(num, np.nan), np.full(num, 0.5))).all()


def test_equal_scores_rank_at_random() -> None:
    y = np.array([1.0, 0, 0, 0])
    assert every_metric(y, np.full(4, 0.3))[:5] == (0.5, 0.25, 0, 0, 1)


def test_a_score_at_the_threshold_is_positive() -> None:
    assert metrics.at_threshold(np.array([1.0, 0.0]), np.array([0.5, 0.4]), 0.5) == (1, 1, 1, 1, 1)


def test_the_macro_mean_is_over_defined_findings() -> None:
    assert metrics.macro_mean([0.5, np.nan, 1.0]) == 0.75
    assert np.isnan(metrics.macro_mean([np.nan]))


def test_the_calibration_error_is_the_gap_in_each_bin() -> None:
    y, p = np.array([0.0, 1, 1, 1, np.nan]), np.array([0.21, 0.24, 0.95, 1.0, 0.5])
    low, high = abs(1 - 0.45), abs(2 - 1.95)  # both of 0.2 to 0.267, both of 0.933 to 1
    assert metrics.calibration_error(y, p) == pytest.approx((low + high) / 4)


def test_probabilities_that_mean_what_they_say_have_no_calibration_error() -> None:
    p = np.repeat([0.1, 0.5, 0.9], 1000)
    y = np.concatenate([np.arange(1000) < 1000 * share for share in (0.1, 0.5, 0.9)]).astype(float)
    assert metrics.calibration_error(y, p) == pytest.approx(0, abs=1e-12)
