"""An interval lies where the theory puts it, whatever the figure and however few the patients."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta, binomtest

from cxr.evaluation.statistics.bootstrap import resample_units
from cxr.evaluation.statistics.intervals import (
    NONE,
    Interval,
    count_units,
    effective_units,
    interval,
    mean_interval,
    metric_interval,
)
from cxr.evaluation.statistics.metrics import average_precision


def normal_draws(mean: float, std: float, num: int = 999) -> np.ndarray:
    draws = np.random.default_rng(0).normal(size=num)
    return np.asarray(mean + std * (draws - draws.mean()) / draws.std(ddof=1))


def test_an_interval_is_symmetric_about_the_logit_of_the_figure() -> None:
    low, high = interval(0.9, normal_draws(0.9, 0.01), 10**6)
    # sd of the logit by the delta method: 0.01 / (0.9 x 0.1); logit(0.9) = ln 9
    half = 1.959964 * 0.01 / 0.09
    assert np.log(low / (1 - low)) == pytest.approx(np.log(9) - half, abs=1e-5)
    assert np.log(high / (1 - high)) == pytest.approx(np.log(9) + half, abs=1e-5)
    assert 0.9 - low > high - 0.9  # there is less room above


def test_few_patients_widen_it() -> None:
    draws = normal_draws(0.5, 0.05)
    many, few, two = (interval(0.5, draws, num) for num in (1000, 5, 2))
    assert many.high == pytest.approx(0.598, abs=2e-3)
    # Student's 97.5 % quantile with 4 degrees of freedom, 2.776, times sqrt(5 / 4); the logit's sd is 0.05 / 0.25
    assert np.log(few.high / few.low) == pytest.approx(2.776 * np.sqrt(5 / 4) * 0.2, abs=1e-3)
    assert two.low < 0.05
    assert two.high > 0.95


def test_one_patient_or_an_undefined_figure_has_none() -> None:
    draws = normal_draws(0.5, 0.05)
    assert np.isnan(interval(0.5, draws, 1)).all()
    assert np.isnan(interval(np.nan, draws, 100)).all()
    assert np.isnan(interval(0.5, np.full(100, np.nan), 100)).all()
    assert np.isnan(interval(0.5, np.empty(0), 100)).all()


def test_half_of_the_draws_must_define_it() -> None:
    draws = normal_draws(0.5, 0.05, 1000)
    mostly = np.concatenate([draws, np.full(999, np.nan)])
    assert interval(0.5, mostly, 100) == interval(0.5, draws, 100)
    half = np.concatenate([draws, np.full(1000, np.nan)])
    assert np.isnan(interval(0.5, half, 100)).all()


@pytest.mark.parametrize("num", [2, 3, 30, 2797])
def test_a_figure_of_exactly_one_or_zero_has_the_exact_bound(num: int) -> None:
    assert interval(1.0, np.ones(1000), num) == pytest.approx((beta.ppf(0.025, num, 1), 1))
    assert interval(0.0, np.zeros(1000), num) == pytest.approx((0, beta.ppf(0.975, 1, num)))


@pytest.mark.parametrize("num", [7, 9, 52])
def test_perfect_ranks_have_the_exact_bound_for_average_precision_too(num: int) -> None:
    y = np.repeat([1.0, 0.0], num)
    point = average_precision(y, np.linspace(1, 0, 2 * num))
    assert point <= 1
    assert interval(point, np.full(100, point), num) == interval(1.0, np.ones(100), num)
    assert mean_interval(1 - 1e-16, np.ones(100), num, [Interval(0.6, 1.0)]) == Interval(0.6, 1.0)


def test_a_figure_that_never_varies_has_no_width() -> None:
    assert interval(0.5, np.full(100, 0.5), 40) == pytest.approx((0.5, 0.5))


@given(st.floats(0.001, 0.999), st.floats(0, 0.5), st.integers(2, 5000))
def test_an_interval_holds_its_figure_and_stays_inside(point: float, std: float, num: int) -> None:
    low, high = interval(point, normal_draws(point, std, 50), num)
    assert 0 <= low <= point + 1e-12
    assert point - 1e-12 <= high <= 1


def test_patients_are_counted_by_the_labels_and_calls_of_their_images() -> None:
    y = np.array([1, 0, 1, np.nan, 0, 0, 1])
    called = np.array([1, 0, 0, 1, 1, 0, 0], bool)
    found = count_units(y, called, resample_units(["a", "a", "a", "b", "c", "d", "d"], "patients", 100, 0))
    assert tuple(found) == pytest.approx((9 / 5, 3, 36 / 14, 2, 2, 16 / 6))
    assert found.for_metric("sensitivity") == found.positive == found.for_metric("auroc")
    assert found.for_metric("specificity") == found.negative
    assert (found.of_divisor("ppv"), found.of_divisor("npv")) == (found.called, found.not_called)
    assert found.for_metric("npv") == found.for_metric("brier") == found.positive  # of the rarer class


@given(st.lists(st.integers(1, 200), min_size=1, max_size=40))
def test_effective_patients_are_kishs(num_images: list[int]) -> None:
    found = effective_units(np.repeat(np.arange(len(num_images)), num_images))
    assert found == pytest.approx(sum(num_images) ** 2 / sum(num**2 for num in num_images))
    assert 1 <= found <= len(num_images) * (1 + 1e-12)


def test_three_of_three_calls_that_are_right_have_the_bound_of_three() -> None:
    y, called = np.repeat([1.0, 0.0], [103, 97]), np.arange(200) < 3
    units = count_units(y, called, resample_units(np.arange(200), "images", 100, 0))
    assert metric_interval("ppv", 1.0, np.ones(100), units) == pytest.approx(
        binomtest(3, 3).proportion_ci(method="exact")
    )


def test_f1_of_zero_has_the_bound_of_its_share_of_true_positives() -> None:
    y, called = (
        np.repeat([1.0, 0.0], [20, 180]),
        np.arange(200) >= 195,
    )  # 20 positive and 5 called: none is both
    units = count_units(y, called, resample_units(np.arange(200), "images", 100, 0))
    share = binomtest(0, 25).proportion_ci(method="exact").high
    low, high = metric_interval("f1", 0.0, np.zeros(100), units)
    assert low == 0 and high == pytest.approx(2 * share / (1 + share))


def test_a_mean_of_exactly_one_is_as_wide_as_the_widest_of_its_figures() -> None:
    own = [Interval(0.3, 1.0), NONE, Interval(0.9, 1.0)]
    assert mean_interval(1.0, np.ones(100), 500, own) == (0.3, 1.0)
    draws = normal_draws(0.9, 0.01)
    assert mean_interval(0.9, draws, 500, own) == interval(0.9, draws, 500)
