import shutil
import subprocess

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from cxr.evaluation.statistics import delong
from cxr.evaluation.statistics.bootstrap import draw_auroc, resample_units
from cxr.evaluation.statistics.metrics import Float


def has_proc() -> bool:
    if shutil.which("Rscript") is None:
        return False
    return (
        subprocess.run(["Rscript", "-e", "library(pROC)"], capture_output=True, check=False).returncode == 0
    )


def drawn(num: int = 200, seed: int = 0) -> tuple[Float, Float]:
    """Labels and two related scores with ties."""
    draws = np.random.default_rng(seed)
    y = (draws.random(num) < 0.3).astype(np.float64)
    first = y + draws.normal(size=num)
    second = 0.6 * y + 0.7 * first + draws.normal(size=num)
    return y, np.stack([first, second], axis=1).round(1)


def by_definition(y: Float, scores: Float) -> tuple[Float, Float]:
    """DeLong et al. 1988, equations 4 to 6, pair by pair."""
    positive, negative = scores[y == 1], scores[y == 0]
    wins = (positive[:, None] > negative[None]) + 0.5 * (positive[:, None] == negative[None])
    v10, v01 = wins.mean(axis=1), wins.mean(axis=0)
    s10, s01 = (np.cov(part, rowvar=False) for part in (v10, v01))
    return wins.mean(axis=(0, 1)), s10 / len(positive) + s01 / len(negative)


def test_a_case_worked_by_hand() -> None:
    # positives 0.8 0.6 0.4, negatives 0.5 0.3: shares of negatives below 1, 1, 1/2; of positives above 2/3, 1
    y, scores = np.array([1.0, 1, 1, 0, 0]), np.array([[0.8], [0.6], [0.4], [0.5], [0.3]])
    auroc, covariance = delong.covariance(y, scores)
    assert auroc[0] == pytest.approx(5 / 6, abs=1e-15)
    variance_of_positives = (2 * (1 / 6) ** 2 + (1 / 3) ** 2) / 2
    variance_of_negatives = 2 * (1 / 6) ** 2
    assert covariance[0, 0] == pytest.approx(variance_of_positives / 3 + variance_of_negatives / 2, abs=1e-15)


@pytest.mark.parametrize("seed", range(5))
def test_midranks_give_what_the_definition_gives(seed: int) -> None:
    y, scores = drawn(seed=seed)
    auroc, covariance = delong.covariance(y, scores)
    expected, expected_covariance = by_definition(y, scores)
    np.testing.assert_allclose(auroc, expected, atol=1e-12)
    np.testing.assert_allclose(covariance, expected_covariance, atol=1e-12)
    assert auroc[0] == pytest.approx(roc_auc_score(y, scores[:, 0]), abs=1e-12)


@pytest.mark.skipif(not has_proc(), reason="needs R with pROC (Debian package r-cran-proc)")
@pytest.mark.parametrize("seed", [0, 1])
def test_intervals_and_p_values_are_those_of_proc(seed: int) -> None:
    y, scores = drawn(seed=seed)
    vectors = [f"c({','.join(map(str, values))})" for values in (y, scores[:, 0], scores[:, 1])]
    code = (
        f"suppressMessages(library(pROC)); y <- {vectors[0]};"
        f"a <- roc(y, {vectors[1]}, direction='<', levels=c(0, 1)); b <- roc(y, {vectors[2]}, direction='<',"
        "levels=c(0, 1)); cat(format(c(ci.auc(a), var(a), roc.test(a, b, method='delong')$p.value), digits=16))"
    )
    done = subprocess.run(["Rscript", "-e", code], capture_output=True, text=True, check=True)
    low, auroc, high, variance, p = map(float, done.stdout.split())
    own, covariance = delong.covariance(y, scores)
    assert own[0] == pytest.approx(auroc, abs=1e-12)
    assert covariance[0, 0] == pytest.approx(variance, rel=1e-10)
    assert delong.interval(own[0], covariance[0, 0]) == pytest.approx((low, high), abs=1e-10)
    assert delong.compare(y, scores[:, 0], scores[:, 1]) == pytest.approx(p, rel=1e-8)


def test_the_interval_stays_inside_zero_and_one() -> None:
    assert delong.interval(0.99, 0.01) == pytest.approx((0.794, 1.0), abs=1e-3)


def test_one_class_only_is_undefined() -> None:
    auroc, covariance = delong.covariance(np.ones(4), np.arange(8.0).reshape(4, 2))
    assert np.isnan(auroc).all()
    assert np.isnan(covariance).all()
    assert np.isnan(delong.compare(np.ones(3), np.arange(3.0), np.arange(3.0)[::-1]))


def test_a_score_does_not_differ_from_itself() -> None:
    y, scores = drawn()
    assert delong.compare(y, scores[:, 0], scores[:, 0]) == 1.0
    assert delong.compare(y, scores[:, 0], 3 * scores[:, 0]) == 1.0


def test_a_score_differs_from_its_opposite() -> None:
    y, scores = drawn()
    assert delong.compare(y, scores[:, 0], -scores[:, 0]) < 1e-6


def test_obuchowskis_case_worked_by_hand() -> None:
    # Patients a (positives 3, 1; negative 2) and b (positive 4; negative 0), c (negative 1).
    y, units = np.array([1.0, 1, 0, 1, 0, 0]), np.array([0, 0, 0, 1, 1, 2])
    scores = np.array([[3.0], [1], [2], [4], [0], [1]])
    found = delong.clustered(y, scores, units, 3)
    # V10: of the negatives 2, 0, 1 lie below 3, 1, 4: 1, (1 + 1/2) / 3, 1; V01: positives above 2, 0, 1: 2/3, 1, 5/6
    assert found.auroc[0] == pytest.approx((1 + 1 / 2 + 1) / 3)
    auroc = 5 / 6
    x = [1 + 1 / 2 - 2 * auroc, 1 - auroc, 0]  # sums of V10 of each patient less m_i times the AUROC
    z = [2 / 3 - auroc, 1 - auroc, 5 / 6 - auroc]
    s10 = 2 / ((2 - 1) * 3) * sum(v * v for v in x)  # 2 patients have positives, of which there are 3
    s01 = 3 / ((3 - 1) * 3) * sum(v * v for v in z)
    s11 = 3 / (3 - 1) * sum(v * w for v, w in zip(x, z, strict=True))
    expected = s10 / 3 + s01 / 3 + 2 * s11 / 9
    assert delong.clustered_covariance(found)[0, 0] == pytest.approx(expected, abs=1e-15)
    assert found.freedom == pytest.approx(9 / 5 - 1)  # the three positives of two patients are worth 9 / 5


@pytest.mark.parametrize("seed", range(3))
def test_one_image_a_patient_gives_delongs_variance_and_p(seed: int) -> None:
    y, scores = drawn(seed=seed)
    parts = delong.clustered(y, scores, np.random.default_rng(seed).permutation(len(y)), len(y))
    np.testing.assert_allclose(
        delong.clustered_covariance(parts), delong.covariance(y, scores)[1], atol=1e-15
    )
    by_finding, mean = delong.compare_clustered([parts])
    p = delong.compare(y, scores[:, 0], scores[:, 1])
    assert by_finding.p == mean.p == pytest.approx(p, rel=1e-9)
    # with fewer than 20 of a class, Student's distribution of the same z
    few = np.flatnonzero((y == 0) | (np.cumsum(y == 1) <= 19))
    parts = delong.clustered(y[few], scores[few], np.arange(len(few)), len(few))
    z = stats.norm.isf(delong.compare(y[few], scores[few, 0], scores[few, 1]) / 2)
    assert delong.compare_clustered([parts])[0].p == pytest.approx(2 * stats.t.sf(z, 18), rel=1e-9)


def test_copies_of_every_image_change_no_clustered_p_value() -> None:
    y, scores = drawn()
    units = np.tile(np.arange(len(y)), 3)
    parts = delong.clustered(np.tile(y, 3), np.tile(scores, (3, 1)), units, len(y))
    single = delong.clustered(y, scores, units[: len(y)], len(y))
    tripled, once = (delong.clustered_covariance(each) for each in (parts, single))
    np.testing.assert_allclose(tripled, once, atol=1e-15)
    assert parts.freedom == pytest.approx(min((y == 1).sum(), (y == 0).sum()) - 1)


def test_the_error_of_a_mean_is_that_of_the_bootstrap() -> None:
    draws = np.random.default_rng(0)
    units = draws.integers(0, 200, 1200)
    shared = draws.normal(size=(200, 2, 3))[units]
    y = (draws.random((1200, 3)) < 0.3).astype(np.float64)
    scores = shared + draws.normal(size=(1200, 2, 3)) + y[:, None]
    parts = [delong.clustered(y[:, c], scores[:, :, c], units, 200) for c in range(3)]
    resampling = resample_units(units, "patients", 4000, 0)
    first, second = (draw_auroc(y, scores[:, side], resampling) for side in (0, 1))
    found = delong.compare_clustered(parts)
    errors = [*(second - first).std(axis=1), (second - first).mean(axis=0).std()]
    assert [each.error for each in found] == pytest.approx(errors, rel=0.04)


def test_findings_without_both_classes_are_left_out_of_the_mean() -> None:
    y, scores = drawn()
    units = np.arange(len(y)) // 2
    whole, none = (delong.clustered(labels, scores, units, 100) for labels in (y, np.zeros(len(y))))
    found = delong.compare_clustered([whole, none])
    assert np.isnan(found[1].p) and found[2].p == pytest.approx(found[0].p)
    assert np.isnan(delong.compare_clustered([none])[-1].p)
