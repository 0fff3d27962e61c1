from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit

from cxr.config.schema import Eval
from cxr.evaluation.metric_tables import MEAN
from cxr.evaluation.operating import operating_tables
from cxr.evaluation.prediction_sets import fit_sets
from cxr.evaluation.predictions import Predictions
from cxr.evaluation.recalibration import fit
from cxr.evaluation.report import Report, score
from cxr.evaluation.set_table import set_table
from cxr.evaluation.statistics.bootstrap import resampling_of
from cxr.evaluation.statistics.conformal import fit_limits
from cxr.evaluation.thresholds import choose, fixed
from cxr.report import markdown
from cxr.report.evaluation import facts
from cxr.report.evaluation_page import page
from cxr.report.figures import draw as draw_figures
from cxr.report.run_files import Training

Draw = Callable[..., Predictions]


def reported(draw: Draw, **keys: object) -> Report:
    validated = draw(400, split="val", seed=1)
    config = Eval.model_validate({"draws": 200} | keys)
    return score(draw(600), choose(validated, "f1"), config=config, recalibration=fit(validated, config))


def test_intervals_hold_their_metric_and_agree_with_the_metrics_beside_them(draw: Draw) -> None:
    report = reported(draw)
    assert report.operating is not None
    points = report.operating.points
    for name in (
        "balanced_accuracy",
        "mcc",
        "lr_positive",
        "lr_negative",
        "sensitivity_at_90",
        "partial_auroc",
    ):
        rows = points[points[f"{name}_low"].notna()]
        assert len(rows) >= 3  # MCC has none where a sensitivity is 1
        assert (rows[f"{name}_low"] <= rows[name]).all() and (rows[name] < rows[f"{name}_high"]).all()
    findings = points[points["finding"] != MEAN]
    shares = findings["tp"] / (findings["tp"] + findings["fn"])
    np.testing.assert_allclose(shares.astype(float), report.table["sensitivity"])
    np.testing.assert_allclose(
        findings["tp"] + findings["fp"] + findings["fn"] + findings["tn"], report.table["num"]
    )
    assert points[points["finding"] == MEAN]["mcc"].item() == pytest.approx(findings["mcc"].mean())


def test_predictive_values_at_the_share_of_positive_images_have_the_odds_of_the_ratios(draw: Draw) -> None:
    predictions = draw(600)
    resampling, _ = resampling_of(predictions.rows, Eval(draws=200))
    found = operating_tables(predictions, np.full(3, 0.4), resampling, [0.2])
    row, values = found.points.iloc[0], found.predictive_values.iloc[0]
    for end in ("", "_low", "_high"):
        assert values[f"ppv{end}"] == pytest.approx(expit(np.log(0.25) + np.log(row[f"lr_positive{end}"])))
    assert values["npv_low"] == pytest.approx(1 - expit(np.log(0.25) + np.log(row["lr_negative_high"])))


def test_without_a_false_positive_the_ppv_has_the_exact_bound_of_the_specificity(draw: Draw) -> None:
    predictions = draw(60)
    y = np.tile([1.0, 0.0], 30)[:, None]
    perfect = Predictions(predictions.rows, ("Mass",), y, 0.2 + 0.6 * y)
    resampling, _ = resampling_of(perfect.rows, Eval(draws=100, interval="images"))
    values = operating_tables(perfect, np.array([0.5]), resampling, [0.1]).predictive_values.iloc[0]
    specificity = 0.025 ** (1 / 30)
    assert (values["ppv"], values["ppv_high"]) == (1, 1)
    assert values["ppv_low"] == pytest.approx(0.1 / (0.1 + 0.9 * (1 - specificity)))
    assert values["npv_low"] == pytest.approx(0.9 / (0.9 + 0.1 * (1 - specificity)))


@pytest.mark.parametrize("level", [0.8, 0.9])
def test_sets_have_the_label_of_new_images_as_often_as_stated(level: float) -> None:
    draws = np.random.default_rng(0)
    held = []
    for _ in range(400):
        y = (draws.random(400) < 0.2).astype(np.float64)
        p = expit(draws.normal(size=400) + 1.5 * y)
        limits = fit_limits(y[:200], p[:200], level)
        new, scores = y[200:], p[200:]
        held.append([np.mean(scores[new == 1] >= limits.lowest), np.mean(scores[new == 0] <= limits.highest)])
    missed = [int((round(200 * share) + 1) * (1 - level)) for share in (0.2, 0.8)]
    assert all(missed)
    # at least the level, and above it by less than one image of the class
    assert (np.mean(held, axis=0) > level - 0.01).all()
    assert (np.mean(held, axis=0) < level + np.array([1 / 41, 1 / 161]) + 0.01).all()


def test_too_few_images_allow_no_limit() -> None:
    y, p = np.array([1.0] * 8 + [0.0] * 9), np.linspace(0.1, 0.9, 17)
    limits = fit_limits(y, p, 0.9)
    assert limits.lowest == 0  # of 8 positive images none may be missed
    assert limits.highest == p[-1]  # of 9 negative ones the highest may be, and its own probability is in


def test_the_shares_of_sets_are_counted(draw: Draw) -> None:
    validated, tested = draw(400, split="val", seed=1), draw(300)
    sets = fit_sets(validated, 0.8)
    resampling, _ = resampling_of(tested.rows, Eval(draws=100))
    row = set_table(tested, sets, resampling).iloc[1]
    y, p = tested.y[:, 1], tested.p[:, 1]
    present, absent = p >= sets.lowest[1], p <= sets.highest[1]
    assert row["coverage_positive"] == present[y == 1].mean()
    assert row["coverage_negative"] == absent[y == 0].mean()
    known = ~np.isnan(y)
    assert row["mean_size"] == pytest.approx((present.astype(int) + absent)[known].mean())
    assert row["coverage_positive_low"] < row["coverage_positive"] < row["coverage_positive_high"]


def test_four_times_the_patients_halve_an_interval(draw: Draw) -> None:
    report = reported(draw, planned_patients=800)
    assert report.planned is not None
    planned = report.planned.set_index("finding")
    now = report.table.set_index("finding").loc["Mass"]
    width = now["auroc_high"] - now["auroc_low"]
    # a little less than half: 200 patients have a larger quantile of Student's distribution than 800
    assert 0.46 * width < planned.loc["Mass", "auroc_width"] < 0.5 * width
    same = reported(draw, planned_patients=200).planned
    assert same is not None
    row = same.set_index("finding").loc["Mass"]
    assert (row["auroc_low"], row["auroc_high"]) == pytest.approx((now["auroc_low"], now["auroc_high"]))
    assert reported(draw).planned is None


def test_the_page_shows_them_and_json_is_strict(draw: Draw) -> None:
    report = reported(draw, planned_patients=500)
    text = markdown.render(page(report, draw_figures(report, draw(600)), Training()))
    for heading in ("## Operating points", "PPV at 0.05", "## Decision curves", "## Prediction sets",
                    "## Planned test set"):  # fmt: skip
        assert heading in text
    assert facts(report)["prediction_sets"]


def test_a_finding_without_labels_has_counts_and_nothing_else(draw: Draw) -> None:
    unknown = replace(draw(60), y=np.full((60, 3), np.nan))
    report = score(unknown, fixed(unknown.findings), config=Eval(draws=100))
    assert report.operating is not None
    assert report.operating.points["partial_auroc"].isna().all()
    assert report.operating.decision["net_benefit"].isna().all()
    text = markdown.render(page(report, draw_figures(report, unknown), Training()))
    assert "## Operating points" in text
