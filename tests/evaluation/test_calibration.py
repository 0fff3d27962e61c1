from dataclasses import replace

import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss, log_loss

from cxr.evaluation.calibration import calibration_table, reliability_table
from cxr.evaluation.recalibration import fit, from_json
from cxr.evaluation.statistics import metrics
from cxr.evaluation.statistics.bootstrap import resample_units
from tests.helpers.predictions import miscalibrated


def test_recalibration_mends_the_calibration_of_other_rows() -> None:
    test = miscalibrated(-0.7, 0.4, seed=1)
    row = calibration_table(test, fit(miscalibrated(-0.7, 0.4))).iloc[0]
    assert row.ece > 0.08 and row.ece_after < 0.02
    assert row.brier_after < row.brier and row.log_loss_after < row.log_loss
    assert row.observed_expected < 0.85
    assert row.observed_expected_after == pytest.approx(1, abs=0.03)
    assert (row.fitted_intercept, row.fitted_slope) == pytest.approx((row.intercept, row.slope), abs=0.1)


def test_metrics_after_are_those_of_the_calibrated_probabilities() -> None:
    test, lines = miscalibrated(-0.7, 0.4, 500, seed=1), fit(miscalibrated(-0.7, 0.4, 500))
    row = calibration_table(test, lines).iloc[0]
    y, p = test.y[:, 0], lines.apply(test.p)[:, 0]
    expected = (brier_score_loss(y, p), log_loss(y, p), metrics.calibration_error(y, p), y.sum() / p.sum())
    found = (row.brier_after, row.log_loss_after, row.ece_after, row.observed_expected_after)
    assert found == pytest.approx(expected)


def test_without_a_fit_there_is_only_before() -> None:
    test = miscalibrated(0.0, 1.0, 300)
    few = fit(miscalibrated(0.0, 1.0, 9))
    for row, reason in (
        (calibration_table(test, None).iloc[0], ""),
        (calibration_table(test, few).iloc[0], few.reasons[0]),
    ):
        names = ["temperature", "fitted_slope", *(f"{name}_after" for name in ("brier", "ece", "log_loss"))]
        assert row[names].isna().all() and row.not_fitted == reason
        assert row.ece == pytest.approx(metrics.calibration_error(test.y[:, 0], test.p[:, 0]))


def test_a_temperature_of_an_earlier_version_is_named() -> None:
    old = from_json('{"findings": ["Mass"], "values": [1.25], "fitted_on": "validation rows"}')
    row = calibration_table(miscalibrated(0.0, 1.0, 300), old).iloc[0]
    assert (row.temperature, row.fitted_intercept, row.fitted_slope) == (1.25, 0, 0.8)


def test_intervals_hold_the_metric_and_are_over_patients() -> None:
    test = miscalibrated(-0.7, 0.4, 400)
    patients = resample_units((np.arange(400) // 8).astype(str), "patients", 200, 0)
    row = calibration_table(test, None, patients).iloc[0]
    for name in ("observed_expected", "in_the_large", "intercept", "slope", "brier_skill", "log_loss"):
        assert row[f"{name}_low"] < row[name] < row[f"{name}_high"], name
    # eight copies of each image: as many patients know no more than one image each did
    copies = test.select(np.repeat(np.arange(400), 8))
    each = resample_units(np.repeat(np.arange(400), 8).astype(str), "patients", 200, 0)
    alone = resample_units(np.arange(400).astype(str), "patients", 200, 0)
    wide, narrow = (
        calibration_table(rows, None, units).iloc[0] for rows, units in ((copies, each), (test, alone))
    )
    assert wide.slope_high == pytest.approx(narrow.slope_high, rel=0.02)


def test_the_reliability_table_is_that_of_scikit_learn() -> None:
    predictions = miscalibrated(0.0, 1.5, 1000)
    table = reliability_table(predictions)
    share, mean = calibration_curve(predictions.y[:, 0], predictions.p[:, 0], n_bins=10, strategy="quantile")
    np.testing.assert_allclose(table["positive"], share)
    np.testing.assert_allclose(table["mean_probability"], mean)
    assert table["num"].tolist() == [100] * 10


def test_equal_scores_are_one_group() -> None:
    predictions = replace(miscalibrated(0.0, 1.0, 8), p=np.full((8, 1), 0.25))
    assert reliability_table(predictions)[["num", "lowest", "highest"]].to_numpy().tolist() == [
        [8, 0.25, 0.25]
    ]


def test_many_rows_of_the_highest_probability_are_a_group() -> None:
    certain = replace(miscalibrated(0.0, 1.0, 11), p=np.array([[0.2]] * 4 + [[0.8]] * 7))
    assert reliability_table(certain)[["num", "lowest"]].to_numpy().tolist() == [[4, 0.2], [7, 0.8]]


def test_nothing_known_is_an_empty_table() -> None:
    assert len(reliability_table(replace(miscalibrated(0.0, 1.0, 8), y=np.full((8, 1), np.nan)))) == 0


def test_bars_of_the_reliability_figure_are_those_of_plain_resampling_of_patients() -> None:
    predictions = miscalibrated(0.0, 1.0, 900)
    predictions.y[::7] = np.nan
    resampling = resample_units(np.arange(900) // 3, "patients", 400, 0)
    row = reliability_table(predictions, resampling).iloc[6]
    y, p = predictions.y[:, 0], predictions.p[:, 0]
    inside = (p >= row.lowest) & (p <= row.highest) & ~np.isnan(y)
    assert (inside.sum(), y[inside].sum()) == (row.num, row.num_positive)
    shares = []
    for weights in resampling.counts():
        for draw in weights.T:
            times = draw[resampling.of_row][inside]
            shares.append((times * y[inside]).sum() / times.sum())
    low, high = np.quantile(shares, [0.025, 0.975])
    assert (row.positive_low, row.positive_high) == pytest.approx((low, high), abs=0.02)
    assert reliability_table(predictions)["positive_low"].isna().all()
    unknown = replace(predictions, y=np.full((900, 1), np.nan))
    assert len(reliability_table(unknown, resampling)) == 0
