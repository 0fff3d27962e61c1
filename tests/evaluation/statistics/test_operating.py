import numpy as np
import pytest
from hypothesis import given, settings
from sklearn.metrics import (
    balanced_accuracy_score,
    class_likelihood_ratios,
    matthews_corrcoef,
    roc_auc_score,
    roc_curve,
)

from cxr.evaluation.statistics.bootstrap import Ranked, resample_units
from cxr.evaluation.statistics.decision import PROBABILITIES, NetBenefit, draw_net_benefit, net_benefit
from cxr.evaluation.statistics.intervals import correlation_interval, likelihood_interval, real_interval
from cxr.evaluation.statistics.metrics import Float, at_prevalence, at_threshold
from cxr.evaluation.statistics.operating import (
    draw_operating,
    further_rates,
    operating_points,
    partial_auroc,
    sensitivity_at,
)
from tests.evaluation.statistics.test_bootstrap import ROWS, drawn


def known(y: Float, p: Float, w: Float) -> tuple[Float, Float, Float]:
    counts = ~np.isnan(y) & (w > 0)
    return y[counts].astype(int), p[counts], w[counts]


@given(ROWS)
@settings(max_examples=200, deadline=None)
def test_partial_auroc_and_sensitivities_are_those_of_scikit_learns_curve(rows: Float) -> None:
    y, p, w = rows
    counts = Ranked(y, p, np.arange(len(y)), len(y)).count(w[:, None])
    labels, scores, weights = known(y, p, w)
    own = float(partial_auroc(*counts)[0])
    if not 0 < labels.sum() < len(labels):
        assert np.isnan(own) and np.isnan(sensitivity_at(*counts)).all()
        return
    assert own == pytest.approx(roc_auc_score(labels, scores, max_fpr=0.1, sample_weight=weights), abs=1e-12)
    grid = np.linspace(0, 1, 41)
    false, true, _ = roc_curve(labels, scores, sample_weight=weights, drop_intermediate=False)
    expected = np.interp(grid + 1e-10, false, true)
    np.testing.assert_allclose(sensitivity_at(*counts, grid)[:, 0], expected, atol=1e-8)


def test_every_draw_is_the_metric_of_its_resampled_rows() -> None:
    y, p, patients = drawn()
    resampling = resample_units(patients, "patients", 100, seed=3)
    found = draw_operating(y, p, np.array([0.5, 0.4, 0.6]), resampling)
    benefit = draw_net_benefit(y, p, resampling)
    for draw, counts in enumerate(np.concatenate(list(resampling.counts()), axis=1).T[:20].astype(int)):
        rows = np.repeat(np.arange(len(y)), counts[resampling.of_row])
        rows = rows[~np.isnan(y[rows, 1])]
        labels, scores = y[rows, 1].astype(int), p[rows, 1]
        called = np.greater_equal(scores, 0.4)
        ratios = class_likelihood_ratios(labels, called)
        expected = balanced_accuracy_score(labels, called), matthews_corrcoef(labels, called), *ratios
        assert [rate[1, draw] for rate in found.rates.values()] == pytest.approx(expected)
        assert found.partial_auroc[1, draw] == pytest.approx(roc_auc_score(labels, scores, max_fpr=0.1))
        assert benefit[1, :, :, draw] == pytest.approx(by_hand(labels, scores))


def by_hand(y: Float, p: Float) -> Float:
    """Net benefit as Vickers and Elkin write it, of the model and of treating every patient."""
    rows = []
    for calls in (p[None] >= PROBABILITIES[:, None], np.ones((len(PROBABILITIES), len(p)), bool)):
        true, false = (calls & (y == 1)).sum(axis=1), (calls & (y == 0)).sum(axis=1)
        rows.append(true / len(y) - false / len(y) * PROBABILITIES / (1 - PROBABILITIES))
    return np.array(rows)


def test_the_points_are_those_of_scikit_learn() -> None:
    y, p, _ = drawn()
    points, cells = operating_points(y, p, np.full(3, 0.5))
    labels, scores, _ = known(y[:, 0], p[:, 0], np.ones(len(y)))
    called = np.greater_equal(scores, 0.5)
    assert points.rates["mcc"][0, 0] == pytest.approx(matthews_corrcoef(labels, called))
    assert cells[0].sum() == len(labels)
    true, false = cells[0, 0], cells[0, 1]
    assert (true, false) == (called[labels == 1].sum(), called[labels == 0].sum())
    assert net_benefit(y[:, 0], p[:, 0]) == pytest.approx(by_hand(labels, scores))


def test_what_has_no_divisor_is_undefined_without_a_warning() -> None:
    nothing_called = further_rates(*(np.array(cell, float) for cell in (0, 0, 3, 7)))
    assert np.isnan(nothing_called.mcc) and np.isnan(nothing_called.lr_positive)
    assert nothing_called.lr_negative == 1 and nothing_called.balanced_accuracy == 0.5
    one_class = operating_points(np.ones((4, 1)), np.full((4, 1), 0.7), np.array([0.5]))[0]
    assert np.isnan(one_class.partial_auroc).all() and np.isnan(one_class.rates["balanced_accuracy"]).all()
    assert np.isnan(
        NetBenefit(np.array([np.nan]), np.array([0.5]), np.array([0]), 1).draw(np.ones((1, 1)))
    ).all()


def test_predictive_values_at_the_prevalence_of_the_rows_are_the_observed_ones() -> None:
    y, p, _ = drawn()
    labels, scores, _ = known(y[:, 0], p[:, 0], np.ones(len(y)))
    tp, fp, fn, tn = operating_points(y[:, :1], p[:, :1], np.array([0.5]))[1][0]
    observed = at_threshold(labels.astype(float), scores, 0.5)
    share = labels.mean()
    assert at_prevalence(tp, fn, fp, tn, share) == pytest.approx(observed.ppv)
    assert at_prevalence(tn, fp, fn, tp, 1 - share) == pytest.approx(observed.npv)
    # by hand: sensitivity 0.9, specificity 0.8, one image in a hundred
    assert at_prevalence(90, 10, 20, 80, 0.01) == pytest.approx(0.009 / (0.009 + 0.198))
    assert np.isnan(at_prevalence(0, 10, 0, 80, 0.01))


def test_intervals_of_ratios_and_correlations_are_symmetric_on_their_scales() -> None:
    logs = np.random.default_rng(0).normal(1, 0.2, 500)
    low, high = likelihood_interval(np.exp(1), np.append(np.exp(logs), [0, np.nan]), 50)
    expected = real_interval(1, logs, 50)
    assert (np.log(low), np.log(high)) == pytest.approx(expected)
    draws = np.random.default_rng(0).normal(0.6, 0.05, 500)
    low, high = correlation_interval(0.6, draws, 1e6)
    z = np.arctanh(0.6) + np.array([-1, 1]) * 1.959964 * draws.std(ddof=1) / (1 - 0.36)
    assert (low, high) == pytest.approx(np.tanh(z), abs=1e-4)
    assert np.isnan(correlation_interval(1.0, np.ones(500), 30).low)
