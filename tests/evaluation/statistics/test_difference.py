"""A difference's interval and p-value are Student's, and agree, however few the patients."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import t, ttest_ind, ttest_rel

from cxr.evaluation.statistics.difference import Drawn, difference_interval, independent, mean_of, paired

DRAWS = np.random.default_rng(0).normal(size=(2, 4000))


def bootstrap_means(values: np.ndarray, seed: int, num_draws: int = 20_000) -> np.ndarray:
    drawn = np.random.default_rng(seed).integers(len(values), size=(num_draws, len(values)))
    return np.asarray(values[drawn].mean(axis=1))


def test_it_is_the_paired_t_test_of_means_of_patients() -> None:
    a, b = np.random.default_rng(1).uniform(0.2, 0.8, size=(2, 6))
    draws = bootstrap_means(a, 0), bootstrap_means(b, 0)
    found = paired((a.mean(), b.mean()), draws, 6).test()
    expected = ttest_rel(b, a)
    assert found.p == pytest.approx(expected.pvalue, rel=0.05)
    bounds = expected.confidence_interval()
    assert found.bounds() == pytest.approx((bounds.low, bounds.high), abs=0.01)


def test_of_other_patients_it_is_welchs_test() -> None:
    generator = np.random.default_rng(2)
    a, b = generator.uniform(0.4, 0.6, 5), generator.uniform(0.2, 0.8, 9)
    draws = bootstrap_means(a, 0), bootstrap_means(b, 1)
    found = independent((a.mean(), b.mean()), draws, (5, 9)).test()
    expected = ttest_ind(b, a, equal_var=False)
    assert found.freedom == pytest.approx(expected.df, rel=0.03)
    assert found.p == pytest.approx(expected.pvalue, rel=0.05)


@given(st.floats(0.01, 0.99), st.floats(0.01, 0.99), st.floats(0.001, 0.3), st.integers(2, 500))
def test_p_is_below_5_percent_where_the_interval_leaves_0_out(a: float, b: float, sd: float, n: int) -> None:
    found = paired((a, b), (a + sd * DRAWS[0], b + sd * DRAWS[1]), n).test()
    low, high = found.bounds(largest=np.inf)
    assert (found.p < 0.05) == (low > 0 or high < 0) or abs(found.p - 0.05) < 1e-9
    assert low - 1e-12 <= b - a <= high + 1e-12


def test_one_patient_of_a_class_or_undefined_draws_have_neither() -> None:
    draws = 0.5 + 0.1 * DRAWS[0], 0.6 + 0.1 * DRAWS[1]
    half = np.concatenate([draws[1][:2000], np.full(2000, np.nan)])
    for found in (paired((0.5, 0.6), draws, 1.9), paired((0.5, 0.6), (draws[0], half), 50),
                  paired((0.5, np.nan), draws, 50), mean_of([])):  # fmt: skip
        assert np.isnan([found.test().p, found.test().error, *found.test().bounds()]).all()
    assert np.isnan(difference_interval((0.5, 0.6), draws, 1)).all()


def test_few_patients_with_perfect_and_failing_calls_show_no_difference() -> None:
    never, always = np.zeros(100), np.ones(100)
    # without a draw that varies each side has the bound of n patients without an exception
    for num in (2, 3):
        assert paired((0.0, 1.0), (never, always), num).test().p > 0.05
    found = paired((0.0, 1.0), (never, always), 10).test()
    width = np.sqrt(2) * (1 - 0.025 ** (1 / 10))
    assert found.bounds() == pytest.approx((1 - width, 1.0))
    assert found.p == pytest.approx(2 * t.sf(t.ppf(0.975, 9) / width, 9))
    assert paired((1.0, 1.0), (always, always), 10).test().p == 1


def test_a_mean_has_the_error_and_freedom_of_its_findings() -> None:
    generator = np.random.default_rng(3)
    noise = [0.02 * generator.normal(size=4000) for _ in range(2)]
    parts = [paired((0.5, 0.6), (np.full(4000, 0.5), 0.6 + each), 5) for each in noise]
    found = mean_of(parts).test()
    # two independent findings of equal variance: s sqrt(5 / 4) / sqrt(2), degrees of freedom 2 x 4
    assert found.error == pytest.approx(0.02 * np.sqrt(5 / 4) / np.sqrt(2), rel=0.03)
    assert found.freedom == pytest.approx(8, rel=0.01)


def test_bounds_end_at_what_a_difference_can_be() -> None:
    found = Drawn(0.5, DRAWS[0], 0.0, 4).test()
    assert found.bounds() == (-1, 1)
    assert found.bounds(2) == (-2, 2)
