from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit
from sklearn.calibration import calibration_curve
from sklearn.metrics import log_loss

from cxr.evaluation.calibration import (
    Temperatures,
    calibration_table,
    fit,
    from_json,
    reliability_table,
    to_json,
)
from cxr.evaluation.predictions import Predictions
from cxr.evaluation.statistics import metrics
from cxr.evaluation.statistics.metrics import Float


def sure(temperature: float, num: int = 20_000, seed: int = 0) -> Predictions:
    """Probabilities whose logits are too large by a factor, and labels drawn from the right ones."""
    draws = np.random.default_rng(seed)
    right = draws.normal(-1, 1.5, num)
    y = (draws.random(num) < expit(right)).astype(np.float64)
    rows = pd.DataFrame(
        {"image": np.arange(num).astype(str), "patient_id": "", "split": "val", "view": "", "sex": ""}
    )
    return Predictions(rows.assign(age=np.nan), ("Mass",), y[:, None], expit(right * temperature)[:, None])


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_factor_is_found_again(temperature: float) -> None:
    assert fit(sure(temperature)).values[0] == pytest.approx(temperature, rel=0.05)


def test_no_other_temperature_has_a_lower_log_loss() -> None:
    predictions = sure(2.0, 500)
    found = fit(predictions).values[0]
    y, logits = predictions.y[:, 0], logit(predictions.p[:, 0])
    losses = {scale: log_loss(y, expit(logits / scale)) for scale in (found, 0.99 * found, 1.01 * found)}
    assert min(losses, key=losses.__getitem__) == found


def test_scaling_mends_the_calibration_of_other_rows() -> None:
    temperatures, test = fit(sure(3.0)), sure(3.0, seed=1)
    row = calibration_table(test, temperatures).iloc[0]
    assert row.ece > 0.08
    assert row.ece_after < 0.02
    assert row.brier_after < row.brier


def test_scaling_keeps_the_order() -> None:
    test = sure(3.0, 500)
    scaled = fit(test).apply(test.p)
    assert metrics.auroc(test.y[:, 0], scaled[:, 0]) == metrics.auroc(test.y[:, 0], test.p[:, 0])


@pytest.mark.parametrize("y", [np.zeros(9), np.ones(9), np.full(9, np.nan)])
def test_one_class_only_has_no_temperature(y: Float) -> None:
    predictions = replace(sure(1.0, 9), y=y[:, None])
    temperatures = fit(predictions)
    assert np.isnan(temperatures.values[0])
    np.testing.assert_allclose(temperatures.apply(predictions.p), predictions.p, rtol=1e-9)
    assert np.isnan(calibration_table(predictions, temperatures).iloc[0]["ece_after"])


def test_perfect_scores_cool_to_the_bound() -> None:
    predictions = sure(1.0, 50)
    assert fit(replace(predictions, p=np.where(predictions.y == 1, 0.6, 0.4))).values == (0.02,)
    assert fit(replace(predictions, p=np.where(predictions.y == 1, 0.4, 0.6))).values == (50.0,)


def test_certain_probabilities_stay_finite() -> None:
    predictions = replace(
        sure(1.0, 4), y=np.array([[1.0], [0], [0], [1]]), p=np.array([[1.0], [0], [1], [0]])
    )
    assert np.isfinite(fit(predictions).apply(predictions.p)).all()


def test_without_temperatures_there_is_only_before() -> None:
    row = calibration_table(sure(2.0, 300), None).iloc[0]
    assert row[["temperature", "brier_after", "ece_after"]].isna().all()
    assert row.ece == metrics.calibration_error(
        *(part[:, 0] for part in (sure(2.0, 300).y, sure(2.0, 300).p))
    )


def test_the_reliability_table_is_that_of_scikit_learn() -> None:
    predictions = sure(1.5, 1000)
    table = reliability_table(predictions)
    share, mean = calibration_curve(predictions.y[:, 0], predictions.p[:, 0], n_bins=10, strategy="quantile")
    np.testing.assert_allclose(table["positive"], share)
    np.testing.assert_allclose(table["mean_probability"], mean)
    assert table["num"].tolist() == [100] * 10


def test_equal_scores_are_one_group() -> None:
    predictions = replace(sure(1.0, 8), p=np.full((8, 1), 0.25))
    assert reliability_table(predictions)[["num", "lowest", "highest"]].to_numpy().tolist() == [
        [8, 0.25, 0.25]
    ]


def test_nothing_known_is_an_empty_table() -> None:
    assert len(reliability_table(replace(sure(1.0, 8), y=np.full((8, 1), np.nan)))) == 0


def test_json_gives_the_same_temperatures_back() -> None:
    temperatures = Temperatures(("Mass", "Hernia"), (1.25, np.nan), "validation rows (2 images)")
    back = from_json(to_json(temperatures))
    assert (back.findings, back.fitted_on) == (temperatures.findings, temperatures.fitted_on)
    np.testing.assert_array_equal(back.values, temperatures.values)
