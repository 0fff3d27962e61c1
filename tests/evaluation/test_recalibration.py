import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

from cxr.evaluation.recalibration import (
    Recalibration,
    fit,
    from_json,
    no_recalibration,
    note_unfitted,
    to_json,
)
from cxr.evaluation.statistics import metrics
from cxr.evaluation.statistics.metrics import Float
from cxr.evaluation.thresholds import choose
from tests.helpers.predictions import miscalibrated


@pytest.mark.parametrize(("intercept", "slope"), [(0.0, 1.0), (-0.5, 0.6), (0.3, 2.0)])
def test_the_line_is_found_again(intercept: float, slope: float) -> None:
    found = fit(miscalibrated(intercept, slope))
    assert (found.intercepts[0], found.slopes[0]) == pytest.approx((intercept, slope), abs=0.07)


def test_the_line_is_that_of_scikit_learn() -> None:
    predictions, found = miscalibrated(-0.5, 0.6, 700), fit(miscalibrated(-0.5, 0.6, 700))
    model = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000)
    model.fit(logit(predictions.p), predictions.y[:, 0])
    expected = (model.intercept_[0], model.coef_[0, 0])
    assert (found.intercepts[0], found.slopes[0]) == pytest.approx(expected, abs=1e-4)
    np.testing.assert_allclose(found.apply(predictions.p)[:, 0], model.predict_proba(logit(predictions.p))[:, 1],
                               atol=1e-5)  # fmt: skip


def test_as_many_positive_images_are_expected_as_there_are() -> None:
    """A temperature alone cannot do this: it leaves a probability of 0.5 where it is."""
    predictions = miscalibrated(-0.5, 0.6, 700)
    assert fit(predictions).apply(predictions.p).sum() == pytest.approx(predictions.y.sum())


def test_order_and_calls_stay() -> None:
    predictions = miscalibrated(-0.5, 0.6, 500)
    found, thresholds = fit(predictions), choose(predictions, "youden")
    p, calibrated = predictions.p[:, 0], found.apply(predictions.p)[:, 0]
    assert metrics.auroc(predictions.y[:, 0], calibrated) == metrics.auroc(predictions.y[:, 0], p)
    moved = found.apply_to_thresholds(thresholds)
    np.testing.assert_array_equal(calibrated >= moved.values[0], p >= thresholds.values[0])
    assert moved.values != thresholds.values


SEPARATED = np.r_[np.zeros(20), np.ones(20)]
SEPARATES = "probabilities separate the classes perfectly, so that ever steeper slopes fit ever better"
QUARTERS = np.r_[np.tile([1.0, 0, 0, 0], 5), np.tile([0.0, 1, 1, 1], 5)]


@pytest.mark.parametrize(
    ("y", "p", "reason"),
    [
        (np.r_[np.ones(9), np.zeros(30)], None, "9 positive images, fewer than 10"),
        (np.r_[np.ones(1), np.zeros(30)], None, "1 positive image, fewer than 10"),
        (np.r_[np.ones(30), np.zeros(9)], None, "9 negative images, fewer than 10"),
        (np.full(30, np.nan), None, "0 positive images, fewer than 10"),
        (SEPARATED, np.where(SEPARATED == 1, 0.6, 0.4), SEPARATES),
        (SEPARATED, np.where(SEPARATED == 1, 0.3, 0.4), SEPARATES),
        # a probability of both classes lies at the border
        (SEPARATED, np.where(SEPARATED == 1, 0.6, np.tile([0.4, 0.6], 20)), SEPARATES),
        (SEPARATED, np.full(40, 0.3), "all probabilities are equal"),
        # a quarter of the first 20 and three quarters of the others are positive
        (QUARTERS, np.repeat([0.6, 0.4], 20), "its slope of -2.71 is not between 0.02 and 50"),
        (QUARTERS, np.repeat([0.5, 0.501], 20), "its slope of 549 is not between 0.02 and 50"),
    ],
)  # fmt: skip
def test_a_fit_that_cannot_be_relied_on_is_not_used(y: Float, p: Float | None, reason: str) -> None:
    base = miscalibrated(0.0, 1.0, len(y))
    predictions = replace(base, y=y[:, None], p=base.p if p is None else p[:, None])
    found = fit(predictions)
    assert (found.reasons, found.is_fitted) == ((reason,), (False,))
    np.testing.assert_array_equal(found.apply(predictions.p), predictions.p)
    assert note_unfitted(found)[0].startswith(
        f"no calibration could be fitted on validation rows ({len(y)} images) for Mass"
    )


def test_the_note_on_fits_that_are_not_used_is_in_order_of_their_reasons() -> None:
    findings = ("Mass", "Edema", "Hernia", "Nodule", "Effusion")
    reasons = ("3 positive images, fewer than 10", SEPARATES, "1 positive image, fewer than 10", "",
               "its slope of 549 is not between 0.02 and 50")  # fmt: skip
    found = replace(no_recalibration(findings), reasons=reasons, fitted_on="validation rows (40 images)")
    assert note_unfitted(found) == [
        "no calibration could be fitted on validation rows (40 images) for Mass (3), Hernia (1): fewer than 10 "
        f"positive images; Edema: {SEPARATES}; Effusion (549): the slope is not between 0.02 and 50"
    ]


def test_calibrated_probabilities_end_where_the_validation_images_do() -> None:
    lines = Recalibration(("Mass",), (0.3,), (6.67,), ("",), "validation rows", num_images=(165,))
    p = np.array([0.0, 1e-6, 0.1, 0.45, 0.5, 0.6, 0.999, 1.0])[:, None]
    found = lines.apply(p)[:, 0]
    line = expit(0.3 + 6.67 * logit(np.clip(p[:, 0], 1e-12, 1 - 1e-12)))
    assert found[0] == pytest.approx(1 / 167) and found[-1] == pytest.approx(1 - 1 / 167)
    inside = (line >= 2 / 167) & (line <= 1 - 2 / 167)
    assert inside.sum() == 3
    np.testing.assert_array_equal(found[inside], lines.apply(p)[inside, 0])
    np.testing.assert_allclose(found[inside], line[inside], rtol=1e-12)
    # the order, and with it every call, stays
    fine = lines.apply(np.linspace(0.02, 0.98, 500)[:, None])[:, 0]
    assert (np.diff(fine) > 0).all()
    assert fit(miscalibrated(0.0, 1.0, 400)).num_images == (400,)


def test_json_gives_the_same_back() -> None:
    lines = Recalibration(
        ("Mass", "Hernia"), (-0.5, np.nan), (0.75, np.nan), ("", "1 positive"), "validation rows"
    )
    for each in (lines, replace(lines, num_images=(20, 30))):
        assert repr(from_json(to_json(each))) == repr(each)


def test_temperatures_of_an_earlier_version_are_slopes() -> None:
    text = '{"findings": ["a", "b", "c"], "values": [1.25, null, 50.0], "fitted_on": "validation rows (2 images)"}'
    found = from_json(text)
    np.testing.assert_array_equal(found.slopes, [0.8, np.nan, np.nan])
    np.testing.assert_array_equal(found.intercepts, [0.0, np.nan, np.nan])
    assert found.is_temperature
    assert found.unfitted == ("b (one class only)", "c (its temperature ended at the bound of 50)")
    np.testing.assert_allclose(found.apply(np.array([0.2, 0.2, 0.2])), [expit(logit(0.2) / 1.25), 0.2, 0.2])


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"slopes": [-1.0, None]}, "greater than 0"),
        ({"slopes": [1.0]}, "1 slopes for 2 findings"),
        ({"reasons": ["", ""]}, "Hernia has a calibration and a reason"),
    ],
)
def test_numbers_that_are_none_are_refused(change: dict[str, object], problem: str) -> None:
    lines = Recalibration(
        ("Mass", "Hernia"), (-0.5, np.nan), (0.75, np.nan), ("", "1 positive"), "validation rows"
    )
    with pytest.raises(ValueError, match=problem):
        from_json(json.dumps(json.loads(to_json(lines)) | change))


def test_findings_without_a_fit_share_their_reason() -> None:
    equal = "all probabilities are equal"
    reasons = (equal, "", "3 positive images, fewer than 10", equal)
    lines = (float("nan"), 1.0, float("nan"), float("nan"))
    found = Recalibration(("a", "b", "c", "d"), lines, lines, reasons, "validation rows")
    assert found.unfitted == (f"a, d ({equal})", "c (3 positive images, fewer than 10)")
