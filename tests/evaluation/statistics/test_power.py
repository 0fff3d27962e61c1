import numpy as np
import pytest
from scipy.stats import norm

from cxr.evaluation.statistics import delong, power
from cxr.evaluation.statistics.bootstrap import draw_auroc, resample_units
from cxr.evaluation.statistics.intervals import count_units, interval
from cxr.evaluation.statistics.metrics import Float
from cxr.evaluation.statistics.power import Design
from tests.helpers.commands import call


def draw_pair(
    draws: np.random.Generator, design: Design, aurocs: tuple[float, float], correlation: float
) -> tuple[Float, Float]:
    """(labels, scores of two models): binormal, with this correlation within either class."""
    y = np.r_[np.ones(round(design.num_positive)), np.zeros(round(design.num_negative))]
    shared = draws.normal(size=len(y))
    scores = [
        np.sqrt(correlation) * shared
        + np.sqrt(1 - correlation) * draws.normal(size=len(y))
        + np.sqrt(2) * norm.ppf(auroc) * y
        for auroc in aurocs
    ]
    return y, np.stack(scores, axis=1)


def test_errors_and_power_are_those_of_simulated_test_sets() -> None:
    design, aurocs, correlation = Design(400, 0.15), (0.75, 0.82), 0.6
    draws = np.random.default_rng(0)
    found, p_values = [], []
    for _ in range(600):
        y, scores = draw_pair(draws, design, aurocs, correlation)
        found.append(delong.covariance(y, scores)[0])
        p_values.append(delong.compare(y, scores[:, 0], scores[:, 1]))
    covariance = np.cov(np.array(found), rowvar=False)
    variance = power.auroc_covariance(0.75, 0.75, 1.0, design)
    # 600 sets know a standard deviation to 3 %, a variance to 6 %, and a share near 0.7 to 2 %
    assert covariance[0, 0] == pytest.approx(variance, rel=0.15)
    assert covariance[0, 1] == pytest.approx(power.auroc_covariance(*aurocs, correlation, design), rel=0.2)
    assert np.mean(np.array(p_values) < 0.05) == pytest.approx(
        power.power(*aurocs, correlation, design), abs=0.05
    )


def test_the_variance_of_chance_is_that_of_mann_and_whitney() -> None:
    design = Design(200, 0.25)
    # (n + m + 1) / (12 n m) of n positive and m negative images
    assert power.auroc_covariance(0.5, 0.5, 1.0, design) == pytest.approx(201 / (12 * 50 * 150), rel=1e-6)


def test_what_is_needed_has_the_power_and_less_has_not() -> None:
    design = Design(500, 0.1)
    num = power.num_patients_needed(0.80, 0.84, 0.5, design, 0.8)
    assert num is not None
    assert (
        power.power(0.80, 0.84, 0.5, Design(num, 0.1))
        >= 0.8
        > power.power(0.80, 0.84, 0.5, Design(num - 1, 0.1))
    )
    least = power.smallest_difference(0.80, 0.5, design, 0.8)
    assert least is not None
    assert power.power(0.80, 0.80 + least, 0.5, design) == pytest.approx(0.8, abs=1e-6)
    assert power.smallest_difference(0.97, 0.0, Design(20, 0.2), 0.9) is None
    assert power.power(0.8, 0.8, 0.5, design) == pytest.approx(0.05)


def test_the_expected_interval_is_as_wide_as_reports_are_on_average() -> None:
    design = Design(300, 0.2)
    low, high = power.expected_auroc_interval(0.8, design)
    draws, widths = np.random.default_rng(1), []
    for number in range(40):
        y, scores = draw_pair(draws, design, (0.8, 0.8), 0.5)
        resampling = resample_units(np.arange(len(y)), "patients", 200, number)
        drawn = draw_auroc(y[:, None], scores[:, :1], resampling)[0]
        units = count_units(y, scores[:, 0] > 0, resampling)
        bounds = interval(float(delong.covariance(y, scores)[0][0]), drawn, units.rarer)
        widths.append(bounds.high - bounds.low)
    assert high - low == pytest.approx(np.mean(widths), rel=0.06)


def test_images_of_a_patient_are_worth_less() -> None:
    assert Design(100, 0.2, 3, 0.0).num_effective == 300
    assert Design(100, 0.2, 3, 1.0).num_effective == 100
    assert Design(100, 0.2, 3, 0.5).num_effective == 150


def test_the_command_says_what_it_takes_for_granted(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("--patients", "2000", "--prevalence", "0.1", "--auroc", "0.82")
    assert call("plan", *arguments, "--other", "0.84", "--images", "2", "--sensitivity", "0.8") == 0
    text = " ".join(capsys.readouterr().out.split())
    for part in (
        "worth 2,353 independent images",
        "Sensitivity",
        "Power to tell 0.84 from 0.82",
        "design effect",
    ):
        assert part in text
    assert call("plan", *arguments) == 0
    assert "Power" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--patients", "2000", "--prevalence", "1.1", "--auroc", "0.8"), "--prevalence: 1.1 is not between"),
        (
            ("--patients", "2000", "--prevalence", "0.1", "--auroc", "0.8", "--other", "1"),
            "--other: 1 is not",
        ),
        (("--patients", "10", "--prevalence", "0.1", "--auroc", "0.8"), "1 images of the rarer class"),
    ],
)
def test_designs_without_an_answer_are_refused(
    arguments: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("plan", *arguments) == 2
    assert said in capsys.readouterr().err
