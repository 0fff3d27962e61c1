import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import mean_absolute_error, r2_score

from cxr.arrays import Float32
from cxr.config.schema import Eval
from cxr.evaluation.statistics.bootstrap import resampling_of
from cxr.explain.probe import COLUMNS, Rows, _age_metrics, probe
from tests.helpers.behaviour import by_key


def people(num: int, first: int, seed: int) -> pd.DataFrame:
    """Patients with two images each."""
    draws = np.random.default_rng(seed)
    patients = np.repeat(np.arange(first, first + num), 2).astype(str)
    columns: dict[str, object] = {
        "image": [f"{seed}_{place}" for place in range(2 * num)],
        "patient_id": patients,
    }
    columns |= {
        "view": draws.choice(["AP", "PA"], 2 * num),
        "sex": np.repeat(draws.choice(["F", "M"], num), 2),
    }
    return pd.DataFrame(columns).assign(age=np.repeat(draws.integers(20, 80, num), 2).astype(float))


def features(table: pd.DataFrame, seed: int, planted: bool) -> Float32:
    """Noise [n, 12]; with the view in one direction and the age in another."""
    values = np.random.default_rng(seed).normal(size=(len(table), 12))
    if planted:
        values[:, 3] += 2.5 * (table["view"] == "AP")
        values[:, 5] += table["age"] / 10
    return values.astype(np.float32)


@pytest.fixture(scope="module")
def found() -> pd.DataFrame:
    fit, test = people(120, 0, 7), people(100, 100, 8)  # 20 patients are in both
    rows = [
        Rows(table, {"model": features(table, 2 + n, True), "random": features(table, 4 + n, False)})
        for n, table in enumerate((fit, test))
    ]
    resampling, _ = resampling_of(test, Eval(draws=200))
    table, notes = probe(rows[0], rows[1], resampling)
    assert notes == []
    return table


def test_a_probe_finds_what_is_planted_and_nothing_else(found: pd.DataFrame) -> None:
    assert tuple(found) == COLUMNS
    rows = by_key(found, "target", "metric")
    view, sex = rows["view: AP", "AUROC"], rows["sex: F", "AUROC"]
    assert view["low"] > 0.85 and view["random_low"] < 0.5 < view["random_high"]
    assert sex["low"] < 0.5 < sex["high"]
    (above,) = (row for (target, _), row in rows.items() if target.startswith("age above"))
    assert above["low"] > 0.8
    assert rows["age", "R2"]["low"] > 0.5 > rows["age", "R2"]["random_high"]
    error = rows["age", "MAE (years)"]
    assert error["high"] < error["chance"] and error["random_high"] > error["chance"] * 0.9


def test_patients_of_the_test_images_are_not_fitted_on(found: pd.DataFrame) -> None:
    assert set(found["num_fit"]) == {200} and set(found["num_test"]) == {200}


def test_age_metrics_are_those_of_scikit_learn() -> None:
    ages = np.random.default_rng(0).integers(20, 80, 50).astype(float)
    predicted = ages + np.random.default_rng(1).normal(0, 9, 50)
    r2, mae = _age_metrics(ages - predicted, ages, None, None)
    assert r2[0] == pytest.approx(r2_score(ages, predicted))
    assert mae[0] == pytest.approx(mean_absolute_error(ages, predicted))


def test_few_patients_are_a_note() -> None:
    fit, test = people(30, 0, 0), people(8, 100, 1)
    rows = [
        Rows(table, dict.fromkeys(("model", "random"), features(table, 0, True))) for table in (fit, test)
    ]
    table, notes = probe(rows[0], rows[1], None)
    assert "not probed: view: AP: fewer than 10 patients of a class are tested on" in notes
    assert not table["target"].str.startswith("view").any()
