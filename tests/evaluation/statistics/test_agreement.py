import numpy as np
import pytest
from sklearn.metrics import (
    cohen_kappa_score,
    f1_score,
    precision_score,
    recall_score,
)

from cxr.evaluation.statistics.agreement import METRICS, kappa_interval, score_calls, scored_interval
from cxr.evaluation.statistics.bootstrap import resample_units
from cxr.evaluation.statistics.metrics import Float


def rows(num: int = 90, seed: int = 0) -> tuple[Float, Float]:
    """A reference and calls that agree in three rows of four, with unknown cells of both."""
    draws = np.random.default_rng(seed)
    y = (draws.random(num) < 0.4).astype(np.float64)
    calls = np.where(draws.random(num) < 0.25, 1 - y, y)
    y[:3], calls[5:9] = np.nan, np.nan
    return y, calls


def by_scikit_learn(y: Float, calls: Float) -> dict[str, float]:
    return {
        "f1": f1_score(y, calls), "sensitivity": recall_score(y, calls),
        "specificity": recall_score(y, calls, pos_label=0), "ppv": precision_score(y, calls),
        "npv": precision_score(y, calls, pos_label=0), "kappa": cohen_kappa_score(y, calls),
    }  # fmt: skip


def test_every_metric_is_scikit_learns_on_rows_that_are_known_to_both() -> None:
    columns = [rows(seed=seed) for seed in range(3)]
    y, calls = (np.stack(side, axis=1) for side in zip(*columns, strict=True))
    resampling = resample_units(np.arange(90) // 3, "patients", 130, 0)
    for column, found in enumerate(score_calls(y, calls, resampling)):
        known = ~np.isnan(y[:, column]) & ~np.isnan(calls[:, column])
        expected = by_scikit_learn(y[known, column], calls[known, column])
        assert {name: one.value for name, one in found.items()} == pytest.approx(expected)


def test_a_draw_is_the_metric_of_the_drawn_patients_rows() -> None:
    y, calls = rows()
    resampling = resample_units(np.arange(90) // 3, "patients", 130, 0)
    found = score_calls(y[:, None], calls[:, None], resampling)[0]
    times = np.concatenate(list(resampling.counts()), axis=1)[:, 129].astype(int)
    drawn = np.repeat(np.arange(90), times[resampling.of_row])
    drawn = drawn[~np.isnan(y[drawn]) & ~np.isnan(calls[drawn])]
    expected = by_scikit_learn(y[drawn], calls[drawn])
    assert {name: found[name].draws[129] for name in METRICS} == pytest.approx(expected)


def test_perfect_agreement_is_bounded_by_the_exact_share_of_agreement() -> None:
    y = np.array([1.0] * 5 + [0.0] * 15)
    resampling = resample_units(np.arange(20), "patients", 100, 0)
    found = score_calls(y[:, None], y[:, None], resampling)[0]["kappa"]
    agreement, chance = 0.025 ** (1 / 20), 0.25**2 + 0.75**2
    assert scored_interval("kappa", found) == pytest.approx(((agreement - chance) / (1 - chance), 1.0))


def test_calls_that_are_all_alike_have_a_kappa_of_zero_without_an_interval() -> None:
    y = np.array([1.0] * 5 + [0.0] * 15)
    resampling = resample_units(np.arange(20), "patients", 100, 0)
    found = score_calls(y[:, None], np.zeros((20, 1)), resampling)[0]["kappa"]
    assert found.value == 0 and np.isnan(kappa_interval(*found)).all()


def test_the_interval_of_kappa_holds_it_and_is_wider_where_patients_recur() -> None:
    y, calls = (np.repeat(side, 4)[:, None] for side in rows())
    widths = []
    for names in (np.arange(360), np.arange(360) // 4):
        found = score_calls(y, calls, resample_units(names, "patients", 400, 0))[0]["kappa"]
        low, high = scored_interval("kappa", found)
        assert -1 <= low < found.value < high <= 1
        widths.append(high - low)
    assert widths[1] == pytest.approx(2 * widths[0], rel=0.2)  # each patient's rows are the same four times
