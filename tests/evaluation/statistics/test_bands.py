import numpy as np
import pytest
from sklearn.metrics import precision_recall_curve, roc_curve

from cxr.evaluation.statistics.bands import GRID, Band, curve_bands
from cxr.evaluation.statistics.bootstrap import Resampling, resample_units
from cxr.evaluation.statistics.metrics import Float


def draw(num: int = 600, seed: int = 0) -> tuple[Float, Float, Resampling]:
    """Labels with unknown ones, tied scores, three images a patient."""
    draws = np.random.default_rng(seed)
    y = (draws.random(num) < 0.2).astype(np.float64)
    p = np.clip(np.round(draws.normal(0.4 + 0.25 * y, 0.2), 2), 0, 1)
    y[draws.random(num) < 0.1] = np.nan
    return y, p, resample_units(np.arange(num) // 3, "patients", 400, 0)


def bands(y: Float, p: Float, resampling: Resampling | None) -> tuple[Band, Band]:
    found = curve_bands(y, p, resampling)
    assert found is not None
    return found


def test_the_curves_are_those_of_scikit_learn() -> None:
    y, p, _ = draw()
    known = ~np.isnan(y)
    roc, _ = bands(y, p, None)
    false, true, _ = roc_curve(y[known], p[known], drop_intermediate=False)
    np.testing.assert_allclose(roc.y, np.interp(GRID, false, true))


def test_precision_at_a_recall_that_a_threshold_reaches_is_that_of_scikit_learn() -> None:
    draws = np.random.default_rng(0)
    y = np.repeat([1.0, 0.0], [100, 500])  # 100 positive rows: every recall is a place of the grid
    p = np.round(draws.normal(0.4 + 0.25 * y, 0.2), 2)
    _, precision = bands(y, p, None)
    precisions, recalls, _ = precision_recall_curve(y, p)
    for recall in np.unique(recalls)[1:]:
        place = int(np.argmin(np.abs(precision.x - recall)))
        assert precision.y[place] == pytest.approx(precisions[recalls == recall].max())


def test_sensitivities_at_a_place_are_those_of_plain_resampling_of_patients() -> None:
    y, p, resampling = draw()
    roc, _ = bands(y, p, resampling)
    drawn = []
    for weights in resampling.counts():
        for draw_weights in weights.T:
            row_weights = draw_weights[resampling.of_row]
            use = ~np.isnan(y) & (row_weights > 0)
            false, true, _ = roc_curve(
                y[use], p[use], sample_weight=row_weights[use], drop_intermediate=False
            )
            drawn.append(np.interp(0.2, false, true))
    low, high = np.quantile(drawn, [0.025, 0.975])
    place = int(np.searchsorted(GRID, 0.2))
    assert roc.low[place] == pytest.approx(low, abs=0.04)
    assert roc.high[place] == pytest.approx(high, abs=0.04)


def test_bounds_hold_the_curve_and_those_of_the_roc_never_fall() -> None:
    for seed in range(5):
        roc, precision = bands(*draw(120, seed))
        for band in (roc, precision):
            assert np.all(band.low <= band.y) and np.all(band.y <= band.high)
            assert np.all((band.low >= 0) & (band.high <= 1))
        assert np.all(np.diff(roc.low) >= 0) and np.all(np.diff(roc.high) >= 0)


def test_a_curve_without_an_error_has_the_exact_bound_of_its_patients() -> None:
    y = np.repeat([1.0, 0.0], 10)
    roc, precision = bands(y, y * 0.5, resample_units(np.arange(20), "patients", 400, 0))
    assert roc.low[-1] == pytest.approx(0.025 ** (1 / 10))  # Clopper and Pearson, 10 of 10
    assert precision.low[-1] == pytest.approx(0.025 ** (1 / 10))
    assert precision.low[49] == pytest.approx(0.025 ** (1 / 5))  # at a recall of one half


def test_one_class_alone_has_no_curve() -> None:
    assert curve_bands(np.ones(5), np.linspace(0, 1, 5), None) is None
