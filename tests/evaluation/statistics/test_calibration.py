import numpy as np
import pytest
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, log_loss

from cxr.evaluation.statistics import metrics
from cxr.evaluation.statistics.bootstrap import resample_units
from cxr.evaluation.statistics.calibration import measure, measure_errors, simulate_errors
from cxr.evaluation.statistics.logistic import fit_intercept, fit_line, logits
from cxr.evaluation.statistics.metrics import Float


def draw(
    num: int, mean: float, intercept: float = -0.4, slope: float = 0.7, seed: int = 0
) -> tuple[Float, Float]:
    """Labels and probabilities whose logits are not those that the labels were drawn by."""
    draws = np.random.default_rng(seed)
    x = draws.normal(mean, 1.5, num)
    return (draws.random(num) < expit(intercept + slope * x)).astype(np.float64), expit(x)


@pytest.mark.parametrize(("num", "mean"), [(200, 0.0), (3000, -3.0), (20_000, -5.5)])
def test_intercept_and_slope_are_those_of_scikit_learn(num: int, mean: float) -> None:
    y, p = draw(num, mean)
    theirs = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(logits(p)[:, None], y)
    (point,), _ = measure(y[:, None], p[:, None], None)
    assert (point.intercept, point.slope) == pytest.approx(
        (theirs.intercept_[0], theirs.coef_[0, 0]), abs=1e-4
    )


def test_the_large_intercept_makes_the_probabilities_right_on_average() -> None:
    y, p = draw(3000, -3.0)
    (point,), _ = measure(y[:, None], p[:, None], None)
    assert expit(logits(p) + point.in_the_large).sum() == pytest.approx(y.sum())


def test_brier_skill_log_loss_and_the_ratio_are_those_of_their_formulas() -> None:
    y, p = draw(3000, -3.0)
    (point,), _ = measure(y[:, None], p[:, None], None)
    chance = brier_score_loss(y, np.full(len(y), y.mean()))
    assert point.brier_skill == pytest.approx(1 - brier_score_loss(y, p) / chance)
    assert point.log_loss == pytest.approx(log_loss(y, p))
    assert point.observed_expected == pytest.approx(y.sum() / p.sum())


def test_unknown_labels_are_left_out_and_one_class_has_no_line() -> None:
    y, p = draw(300, 0.0)
    more = np.stack([np.append(y, np.nan), np.append(np.zeros(300), np.nan)], axis=1)
    (first, second), _ = measure(more, np.append(p, 0.5)[:, None].repeat(2, axis=1), None)
    (alone,), _ = measure(y[:, None], p[:, None], None)
    assert first == pytest.approx(alone)
    assert np.isnan(second[1:5]).all() and second.observed_expected == 0


@pytest.mark.parametrize(
    ("y", "x"),
    [([0, 0, 1, 1], [-2, -1, 1, 2]), ([0, 0, 1, 1], [-2, 1, 1, 2]), ([0, 1, 0, 1], [1, 1, 1, 1]), ([0, 0], [1, 2])],
)  # fmt: skip
def test_separated_classes_and_equal_logits_have_no_best_line(y: list[float], x: list[float]) -> None:
    assert fit_line(np.array(y, float), np.array(x, float)) is None


@pytest.mark.parametrize("mean", [-3.5, -1.0])
def test_one_step_of_newton_is_close_to_a_fit_of_every_draw(mean: float) -> None:
    y, p = draw(1500, mean)
    resampling = resample_units((np.arange(1500) // 3).astype(str), "patients", 100, 0)
    _, draws = measure(y[:, None], p[:, None], resampling)
    fitted = []
    for counts in resampling.counts():
        for num_drawn in counts.astype(int).T:
            rows = np.repeat(np.arange(1500), num_drawn[resampling.of_row])
            line = fit_line(y[rows], logits(p[rows]))
            assert line is not None
            fitted.append((fit_intercept(y[rows], logits(p[rows])), *line))
    for name, exact in zip(("in_the_large", "intercept", "slope"), np.array(fitted).T, strict=True):
        assert draws[name][0].std() == pytest.approx(exact.std(), rel=0.05)
        assert np.corrcoef(draws[name][0], exact)[0, 1] > 0.99


def test_draws_of_sums_are_the_metrics_of_the_drawn_rows() -> None:
    y, p = draw(300, -1.0)
    y[::7] = np.nan
    resampling = resample_units((np.arange(300) // 3).astype(str), "patients", 5, 0)
    _, draws = measure(y[:, None], p[:, None], resampling)
    for d, counts in enumerate(next(resampling.counts()).astype(int).T):
        rows = np.repeat(np.arange(300), counts[resampling.of_row])
        (point,), _ = measure(y[rows, None], p[rows, None], None)
        for name in ("observed_expected", "brier_skill", "log_loss"):
            assert draws[name][0, d] == pytest.approx(getattr(point, name))


def perfect(num: int, mean: float) -> tuple[Float, Float]:
    return draw(num, mean, intercept=0.0, slope=1.0)


@pytest.mark.parametrize(("num", "mean"), [(60, 0.0), (2000, -3.0)])
def test_the_errors_of_a_perfect_model_are_those_of_labels_drawn_row_by_row(num: int, mean: float) -> None:
    y, p = perfect(num, mean)
    draws = np.random.default_rng(1)
    found = np.array([measure_errors((draws.random(num) < p).astype(float), p) for _ in range(400)])
    deviations = found.std(axis=0) / np.sqrt(200)
    np.testing.assert_array_less(np.abs(found.mean(axis=0) - simulate_errors(y, p)), 4 * deviations)


def test_the_debiased_square_is_right_on_average_where_the_plain_error_is_too_large() -> None:
    """Two probabilities, wrong by 0.02 and right: squares of errors over bins of 200 rows each."""
    draws = np.random.default_rng(0)
    p = np.repeat([0.10, 0.40], 200)
    y = (draws.random((4000, 400)) < np.repeat([0.12, 0.40], 200)).astype(float)
    truth = 0.02**2 / 2
    plain = np.mean([(row[:200].mean() - 0.1) ** 2 / 2 + (row[200:].mean() - 0.4) ** 2 / 2 for row in y])
    # below 0 the root is 0: the square is compared before it, as the formula of Kumar et al. has it
    shares = y.reshape(4000, 2, 200).mean(axis=2)
    squares = ((shares - [0.1, 0.4]) ** 2 - shares * (1 - shares) / 199).mean(axis=1)
    assert squares.mean() == pytest.approx(truth, abs=4 * squares.std() / np.sqrt(4000)) and plain > 3 * truth
    for row, square in zip(y[:20], squares[:20], strict=True):
        assert measure_errors(row, p).debiased == pytest.approx(np.sqrt(max(0, square)))


def test_the_ece_is_that_of_the_metrics() -> None:
    y, p = draw(500, -1.0)
    y[3] = np.nan
    assert measure_errors(y, p).ece == pytest.approx(metrics.calibration_error(y, p))
    assert np.isnan(measure_errors(np.full(3, np.nan), np.full(3, 0.5))).all()
    assert np.isnan(simulate_errors(np.full(3, np.nan), np.full(3, 0.5))).all()


def test_the_order_of_rows_changes_no_error() -> None:
    y, p = draw(400, -1.0)
    p = p.round(2)  # ties
    other = np.random.default_rng(0).permutation(400)
    assert measure_errors(y, p) == pytest.approx(measure_errors(y[other], p[other]), abs=1e-12)
    assert simulate_errors(y, p) == simulate_errors(y[other], p[other])
