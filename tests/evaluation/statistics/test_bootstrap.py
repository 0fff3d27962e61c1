import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, brier_score_loss, f1_score, roc_auc_score

from cxr.config.schema import Eval
from cxr.evaluation.statistics import bootstrap, metrics
from cxr.evaluation.statistics.bootstrap import (
    Ranked,
    Summed,
    draw_auroc,
    draw_metrics,
    resample_units,
    resampling_of,
)
from cxr.evaluation.statistics.metrics import Float, Point

CELLS = st.tuples(
    st.sampled_from([0.0, 1.0, np.nan]),
    st.integers(0, 12).map(lambda part: part / 12),  # ties
    st.sampled_from([0.0, 0.0, 0.5, 1.0, 2.0, 3.75]),  # rows left out, and weights that are no counts
)
ROWS = st.lists(CELLS, min_size=1, max_size=60).map(
    lambda cells: np.array(cells, np.float64).reshape(-1, 3).T
)


def by_sklearn(y: Float, p: Float, w: Float, threshold: float = 0.5) -> tuple[float, ...]:
    """AUROC, average precision, F1 and Brier score by scikit-learn on the rows that count."""
    counts = ~np.isnan(y) & (w > 0)
    y, p, w = y[counts].astype(int), p[counts], w[counts]
    both = 0 < y.sum() < len(y)
    ranking = (
        [metric(y, p, sample_weight=w) for metric in (roc_auc_score, average_precision_score)] if both else []
    )
    f1 = f1_score(y, p >= threshold, sample_weight=w, zero_division=0.0) if y.any() else np.nan
    brier = brier_score_loss(y, p, sample_weight=w, pos_label=1) if len(y) else np.nan
    return *(ranking or [np.nan, np.nan]), f1, brier


def by_kernel(y: Float, p: Float, w: Float, threshold: float = 0.5) -> tuple[float, ...]:
    own = np.arange(len(y))
    auroc, precision = Ranked(y, p, own, len(y)).auroc_and_precision(w[:, None])
    f1, *_, brier = Summed(y, p, threshold, own, len(y)).metrics(w[:, None])
    return tuple(float(metric[0]) for metric in (auroc, precision, f1, brier))


@given(ROWS)
@settings(max_examples=300, deadline=None)
def test_weighted_figures_are_those_of_scikit_learn(rows: Float) -> None:
    assert by_kernel(*rows) == pytest.approx(by_sklearn(*rows), abs=1e-12, nan_ok=True)


@given(ROWS)
@settings(max_examples=100, deadline=None)
def test_weights_of_one_give_the_point_estimate(rows: Float) -> None:
    y, p, _ = rows
    point = metrics.point(y, p, 0.5)
    expected = (point.auroc, point.average_precision, point.f1, point.brier)
    assert by_kernel(y, p, np.ones(len(y))) == pytest.approx(expected, abs=1e-12, nan_ok=True)


@given(ROWS, st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_a_weight_counts_a_row_so_often(rows: Float, random: "np.random.Generator") -> None:
    y, p, w = rows
    counts = np.ceil(w).astype(int)
    repeated = np.repeat(np.arange(len(y)), counts)
    expected = by_kernel(y[repeated], p[repeated], np.ones(len(repeated))) if len(repeated) else (np.nan,) * 4
    assert by_kernel(y, p, counts.astype(float)) == pytest.approx(expected, abs=1e-12, nan_ok=True)


@given(ROWS)
@settings(max_examples=50, deadline=None)
def test_auroc_alone_is_the_same_auroc(rows: Float) -> None:
    y, p, w = rows
    ranked = Ranked(y, p, np.arange(len(y)), len(y))
    np.testing.assert_array_equal(ranked.auroc(w[:, None]), ranked.auroc_and_precision(w[:, None])[0])


def drawn(num: int = 400, num_findings: int = 3, seed: int = 0) -> tuple[Float, Float, np.ndarray]:
    draws = np.random.default_rng(seed)
    y = (draws.random((num, num_findings)) < 0.3).astype(np.float64)
    p = np.clip(draws.random(y.shape) * 0.8 + 0.2 * y, 0, 1).round(2)
    y[draws.random(y.shape) < 0.1] = np.nan
    return y, p, draws.integers(0, 120, num)


def test_every_draw_is_the_figure_of_its_resampled_rows() -> None:
    y, p, patients = drawn()
    resampling = resample_units(patients, "patients", 200, seed=3)
    drawn_metrics = draw_metrics(y, p, np.array([0.5, 0.4, 0.6]), resampling)
    for draw, counts in enumerate(np.concatenate(list(resampling.counts()), axis=1).T[:40].astype(int)):
        rows = np.repeat(np.arange(len(y)), counts[resampling.of_row])
        for c, threshold in enumerate((0.5, 0.4, 0.6)):
            expected = metrics.point(y[rows, c], p[rows, c], threshold)
            own = [drawn_metrics[name][c, draw] for name in bootstrap.RESAMPLED]
            assert own == pytest.approx(expected[:-1], abs=1e-12, nan_ok=True)
    np.testing.assert_array_equal(draw_auroc(y, p, resampling), drawn_metrics["auroc"])


def test_a_draw_takes_as_many_patients_as_there_are() -> None:
    resampling = resample_units(["a", "b", "b", "c"], "patients", 300, seed=0)
    counts = np.concatenate(list(resampling.counts()), axis=1)
    assert counts.shape == (3, 300)
    assert (counts.sum(axis=0) == 3).all()
    assert len(np.unique(counts, axis=1).T) == 10  # every way to draw 3 of 3


def test_the_seed_is_the_draws() -> None:
    first, again, other = (
        np.concatenate(list(resample_units(range(50), "images", 200, seed).counts()), axis=1)
        for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_the_order_of_rows_changes_no_draw() -> None:
    y, p, patients = drawn()
    order = np.random.default_rng(1).permutation(len(y))
    thresholds = np.full(3, 0.5)
    straight = draw_metrics(y, p, thresholds, resample_units(patients, "patients", 150, 0))
    mixed = draw_metrics(y[order], p[order], thresholds, resample_units(patients[order], "patients", 150, 0))
    for name in ("auroc", "average_precision", "f1"):
        np.testing.assert_array_equal(straight[name], mixed[name])
    np.testing.assert_allclose(straight["brier"], mixed["brier"], rtol=1e-14)


def test_images_of_one_patient_widen_the_interval() -> None:
    draws = np.random.default_rng(0)
    patients = np.repeat(np.arange(150), 6)
    y = np.repeat(draws.random(150) < 0.4, 6).astype(np.float64)[:, None]
    p = np.repeat(draws.normal(size=150), 6)[:, None] + y + 0.1 * draws.normal(size=(900, 1))
    by_patient = draw_auroc(y, p, resample_units(patients, "patients", 400, 0)).std()
    by_image = draw_auroc(y, p, resample_units(np.arange(900), "images", 400, 0)).std()
    assert by_patient > 2 * by_image  # six copies of almost the same image are one


def test_one_class_only_is_undefined_without_a_warning() -> None:
    y, p = np.array([[1.0, 0.0], [1.0, np.nan]]), np.full((2, 2), 0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drawn_metrics = draw_metrics(y, p, np.full(2, 0.5), resample_units(["a", "b"], "images", 100, 0))
    assert np.isnan(drawn_metrics["auroc"]).all()
    assert (drawn_metrics["f1"][0] == 1).all()
    assert np.isnan(drawn_metrics["f1"][1]).all()


def test_every_figure_but_the_calibration_error_is_resampled() -> None:
    assert (*bootstrap.RESAMPLED, "ece") == Point._fields


def test_resampling_follows_the_config() -> None:
    rows = pd.DataFrame({"image": ["a", "b", "c"], "patient_id": ["1", "1", "2"]})
    assert resampling_of(rows, Eval(interval="none")) == (None, [])
    by_patient, notes = resampling_of(rows, Eval(draws=100))
    by_image, _ = resampling_of(rows, Eval(interval="images", draws=100))
    assert by_patient is not None
    assert by_image is not None
    assert (by_patient.num_units, by_image.num_units, notes) == (2, 3, [])
