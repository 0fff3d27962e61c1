"""A short version of the simulation behind docs/statistics.md."""

import numpy as np
import pytest

from benchmarks.coverage import coverage, draw_set
from benchmarks.coverage_calibration import LINE, cover, find_truth
from cxr.evaluation.statistics.metrics import auroc


@pytest.mark.parametrize(("true_auroc", "prevalence"), [(0.7, 0.2), (0.9, 0.05)])
def test_patient_intervals_hold_the_truth_as_often_as_they_say(true_auroc: float, prevalence: float) -> None:
    found = coverage(true_auroc, prevalence, num_sets=150, num_draws=100, num_patients=200)
    # 94 % as docs/statistics.md measured it on 600 patients; a share of 150 sets has a standard deviation of 1.9 %
    assert 0.90 <= found.patients <= 0.98
    # images of a patient are not independent: intervals over images are too narrow
    assert 0.70 <= found.images <= 0.87


@pytest.mark.parametrize("true_auroc", [0.7, 0.9])
def test_simulated_scores_have_the_auroc_they_are_drawn_for(true_auroc: float) -> None:
    y, score, _ = draw_set(np.random.default_rng(0), true_auroc, 0.2, 20_000)
    assert auroc(y, score) == pytest.approx(true_auroc, abs=0.01)
    assert y.mean() == pytest.approx(0.2, abs=0.01)


def test_intervals_of_calibration_hold_the_truth_as_often_as_they_say() -> None:
    truth = find_truth(0.9, 0.2, num=300_000)
    assert (truth.intercept, truth.slope) == pytest.approx(LINE, abs=0.02)
    # a share of 150 sets has a standard deviation of 1.8 %
    shares = cover(truth, 0.9, 0.2, num_patients=100, num_sets=150)
    assert (shares > 0.89).all(), shares
