import numpy as np
import numpy.typing as npt
import pytest
from scipy.stats import norm, t
from sklearn.metrics import balanced_accuracy_score, f1_score

from cxr.evaluation.statistics.delong import clustered_covariance
from cxr.evaluation.statistics.metrics import Float
from cxr.evaluation.statistics.mrmc import (
    CALL_METRICS,
    call_results,
    differences_of,
    fixed_readers,
    random_readers,
)


def test_a_case_by_hand() -> None:
    # 4 positive images of 4 patients. Model calls all; reader 1 calls the first 3, reader 2 the first 2.
    y = np.array([1.0, 1, 1, 1, 0, 0])
    calls = np.array([[1.0, 1, 1], [1, 1, 1], [1, 1, 0], [1, 0, 0], [0, 0, 0], [0, 1, 0]])
    found = call_results("sensitivity", y, calls, np.arange(6), 6)
    differences, covariance = differences_of(found)
    np.testing.assert_allclose(differences, [0.25, 0.5])
    # the differences of the images are 0 0 0 1 and 0 0 1 1; variances (3/16) and (1/4) over n - 1 = 3,
    # covariance (1/4 - 1/8) over 3
    np.testing.assert_allclose(covariance, np.array([[3 / 16, 1 / 8], [1 / 8, 1 / 4]]) / 3)
    # random readers: MS = 1/32, Cov2 = 1/24, Var = (1/32 + 2/24) / 2, freedom = ((1/32 + 1/12) / (1/32))^2
    result = random_readers(differences, covariance, 0.1)
    assert (result.value, result.error) == pytest.approx((0.375, np.sqrt((1 / 32 + 1 / 12) / 2)))
    assert result.freedom == pytest.approx((11 / 3) ** 2)
    assert result.p == pytest.approx(2 * t.sf(0.375 / result.error, (11 / 3) ** 2))
    assert result.p_noninferior == pytest.approx(t.sf(0.475 / result.error, (11 / 3) ** 2))
    # fixed readers: the variance of the mean difference over images, 0 0 1/2 1
    fixed = fixed_readers(differences, covariance, np.inf, None)
    assert fixed.error == pytest.approx(np.std([0, 0, 0.5, 1], ddof=1) / 2)
    assert fixed.p == pytest.approx(2 * norm.sf(0.375 / fixed.error)) and np.isnan(fixed.p_noninferior)


def panel(num: int = 80, num_readers: int = 5, seed: int = 0) -> tuple[Float, Float]:
    draws = np.random.default_rng(seed)
    y = (draws.random(num) < 0.4).astype(np.float64)
    wrong = draws.random((num, 1 + num_readers)) < np.linspace(0.1, 0.3, 1 + num_readers)
    return y, np.where(wrong, 1 - y[:, None], y[:, None])


def test_it_is_the_factorial_test_of_obuchowski_and_rockette_for_two_conditions() -> None:
    y, before = panel(seed=1)
    _, after = panel(seed=2)
    after = np.where(np.random.default_rng(3).random(after.shape) < 0.6, before, after)
    num_readers = before.shape[1]
    both = call_results("balanced_accuracy", y, np.hstack([after, before]), np.arange(80), 80)
    theta, matrix = both.auroc.reshape(2, -1), clustered_covariance(both)  # [2, J], [2 J, 2 J]

    # The two-way table as the paper has it: mean squares, and covariances by what two results share.
    of_treatment, of_reader, grand = theta.mean(axis=1), theta.mean(axis=0), theta.mean()
    square_t = num_readers * np.sum((of_treatment - grand) ** 2)
    residual = theta - of_treatment[:, None] - of_reader[None] + grand
    square_tr = np.sum(residual**2) / (num_readers - 1)
    blocks = matrix.reshape(2, num_readers, 2, num_readers)
    others = ~np.eye(num_readers, dtype=bool)
    cov2 = np.mean([blocks[i, :, i, :][others] for i in (0, 1)])  # two readers, one condition
    cov3 = np.mean([blocks[0, :, 1, :][others], blocks[1, :, 0, :][others]])  # two readers, two conditions
    divisor = square_tr + num_readers * max(cov2 - cov3, 0)
    freedom = (num_readers - 1) * (divisor / square_tr) ** 2

    found = random_readers(*differences_of(both, is_paired=True), None)
    assert (found.value / found.error) ** 2 == pytest.approx(square_t / divisor)
    assert found.freedom == pytest.approx(freedom)


@pytest.mark.parametrize("metric", CALL_METRICS)
def test_variances_are_those_of_leaving_out_one_patient_after_another(metric: str) -> None:
    y, calls = panel(num=400)
    patients = np.arange(400) // 2
    found = call_results(metric, y, calls, patients, 200)

    def results(rows: npt.NDArray[np.intp]) -> list[float]:
        known, said = y[rows], calls[rows]
        if metric == "balanced_accuracy":
            return [balanced_accuracy_score(known, said[:, k]) for k in range(6)]
        if metric == "f1":
            return [f1_score(known, said[:, k]) for k in range(6)]
        positive = known == (metric == "sensitivity")
        return [float((said[positive, k] == known[positive]).mean()) for k in range(6)]

    np.testing.assert_allclose(found.auroc, results(np.arange(400)))
    left_out = np.array([results(np.flatnonzero(patients != patient)) for patient in range(200)])
    jackknife = 199 / 200 * (left_out - left_out.mean(axis=0)).T @ (left_out - left_out.mean(axis=0))
    np.testing.assert_allclose(
        np.sqrt(np.diagonal(clustered_covariance(found))), np.sqrt(np.diagonal(jackknife)), rtol=0.02
    )


def test_the_random_reader_test_errs_about_as_often_as_it_says() -> None:
    draws, num_readers, errors = np.random.default_rng(0), 4, 0
    for _ in range(400):
        y = (draws.random(150) < 0.5).astype(np.float64)
        # each reader has skill of his own around that of the model, so that there is no mean difference
        skill = np.append(0.8, 0.8 + draws.normal(0, 0.04, num_readers))
        calls = np.where(draws.random((150, 5)) < skill, y[:, None], 1 - y[:, None])
        found = call_results("balanced_accuracy", y, calls, np.arange(150), 150)
        errors += random_readers(*differences_of(found), None).p < 0.05
    assert 0.02 < errors / 400 < 0.085


def test_one_reader_has_no_spread_of_readers_and_equal_calls_no_test() -> None:
    y, calls = panel(num_readers=1)
    differences, covariance = differences_of(call_results("f1", y, calls, np.arange(80), 80))
    assert np.isnan(random_readers(differences, covariance, 0.1).p)
    same = np.repeat(calls[:, :1], 3, axis=1)
    found = fixed_readers(*differences_of(call_results("f1", y, same, np.arange(80), 80)), np.inf, 0.1)
    assert found.value == 0 and np.isnan(found.p)
