import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from cxr.config.schema import Eval
from cxr.errors import CxrError
from cxr.evaluation.predictions import Predictions
from cxr.evaluation.report import score
from cxr.evaluation.statistics import metrics
from cxr.evaluation.statistics.bootstrap import draw_auroc, resampling_of
from cxr.evaluation.statistics.metrics import GROUP_METRICS
from cxr.evaluation.subgroups import Subgroups, age_band, subgroups
from cxr.evaluation.thresholds import fixed
from cxr.report import markdown
from cxr.report.document import Estimate, format_cell
from cxr.report.evaluation_page import page
from cxr.report.run_files import Training
from cxr.report.subgroups import mark_vacuous

Draw = Callable[..., Predictions]


def cut(predictions: Predictions, *attributes: str, draws: int = 100) -> Subgroups:
    return subgroups(predictions, attributes, resampling_of(predictions.rows, Eval(draws=draws))[0])


def by_key(table: pd.DataFrame) -> dict[tuple[str, str], Any]:
    """(group, finding) -> row."""
    return {(row["group"], row["finding"]): row for row in table.to_dict("records")}


def two_sexes(draw: Draw, num: int = 400) -> Predictions:
    """Men get random scores."""
    predictions = draw(num, ("Mass", "Edema"))
    predictions.rows["sex"] = np.where(np.arange(num) // 3 % 2, "M", "F")
    men = (predictions.rows["sex"] == "M").to_numpy()
    predictions.p[men] = np.random.default_rng(1).random((men.sum(), 2))
    return predictions


def test_every_group_has_the_auroc_of_its_rows(draw: Draw) -> None:
    predictions = two_sexes(draw)
    groups = by_key(cut(predictions, "sex").groups)
    for sex in ("F", "M"):
        own = predictions.select((predictions.rows["sex"] == sex).to_numpy())
        row = groups[sex, "Edema"]
        assert row["auroc"] == pytest.approx(metrics.auroc(own.y[:, 1], own.p[:, 1]), abs=1e-12)
        assert (row["num"], row["num_positive"]) == metrics.count(own.y[:, 1])
        assert row["auroc_low"] < row["auroc"] < row["auroc_high"]


def test_a_tiny_group_does_not_remove_the_means_of_the_others(draw: Draw) -> None:
    predictions = two_sexes(draw)
    predictions.rows.loc[:5, "sex"] = "other"
    report = score(predictions, fixed(predictions.findings), config=Eval(draws=100, subgroups=("sex",)))
    assert report.subgroups is not None
    means = report.subgroups.groups.query("finding == 'mean'")
    assert means["group"].tolist() == ["F", "M"] and means["num_findings"].tolist() == [2, 2]
    assert (
        "subgroups with too few patients for any AUROC, which the means of the others leave aside: sex other"
        in report.notes
    )


def test_the_mean_is_over_findings_that_every_group_has(draw: Draw) -> None:
    predictions = two_sexes(draw)
    predictions.y[(predictions.rows["sex"] == "M").to_numpy(), 1] = 0
    groups = by_key(cut(predictions, "sex").groups)
    assert np.isnan(groups["M", "Edema"]["auroc"])
    assert groups["F", "mean"]["auroc"] == groups["F", "Mass"]["auroc"]


def test_the_gap_is_between_the_best_and_the_worst_group(draw: Draw) -> None:
    groups, gaps = cut(two_sexes(draw), "sex")
    row: Any = next(row for row in gaps.to_dict("records") if row["finding"] == "Mass")
    own = by_key(groups)
    assert (row["best"], row["worst"]) == ("F", "M")
    assert row["gap"] == own["F", "Mass"]["auroc"] - own["M", "Mass"]["auroc"]
    assert 0 < row["gap_low"] < row["gap"] < row["gap_high"]


def test_intervals_of_the_gaps_hold_together(draw: Draw) -> None:
    predictions = two_sexes(draw)
    gaps = cut(predictions, "sex", draws=500).gaps
    resampling = resampling_of(predictions.rows, Eval(draws=500))[0]
    assert resampling is not None
    men = (predictions.rows["sex"] == "M").to_numpy()[:, None]
    women, others = (
        draw_auroc(np.where(mask, predictions.y, np.nan), predictions.p, resampling) for mask in (~men, men)
    )
    differences = women - others  # of Mass and Edema: the largest of their deviations decides
    deviations = differences.std(axis=1, ddof=1)
    largest = np.abs((differences - gaps["gap"].to_numpy()[:, None]) / deviations[:, None]).max(axis=0)
    half = np.quantile(largest, 0.95) * deviations
    np.testing.assert_allclose(gaps["gap_high"] - gaps["gap"], half, rtol=1e-9)
    assert np.quantile(largest, 0.95) > 1.96


def test_rates_of_a_group_are_those_of_its_rows(draw: Draw) -> None:
    predictions = two_sexes(draw)
    resampling = resampling_of(predictions.rows, Eval(draws=100))[0]
    row = by_key(subgroups(predictions, ["sex"], resampling, np.array([0.3, 0.4])).groups)["M", "Edema"]
    own = predictions.select((predictions.rows["sex"] == "M").to_numpy())
    known = ~np.isnan(own.y[:, 1])
    y, p = own.y[known, 1], own.p[known, 1]
    point = metrics.at_threshold(y, p, 0.4)
    assert (row["sensitivity"], row["ppv"]) == (point.sensitivity, point.ppv)
    assert row["false_positive_rate"] == pytest.approx(1 - point.specificity)
    assert row["observed_expected"] == pytest.approx(y.sum() / p.sum())
    for name in GROUP_METRICS:
        assert row[f"{name}_low"] < row[name] < row[f"{name}_high"]
    assert row["num_positive_patients"] == own.rows["patient_id"][own.y[:, 1] == 1].nunique()


def test_ten_patients_of_each_class_are_needed_not_ten_images(draw: Draw) -> None:
    predictions = draw(120, ("Mass",))
    predictions.y[:] = np.tile([0.0, 1.0], 60)[:, None]
    predictions.rows["view"] = np.where(np.arange(120) < 30, "AP", "PA")
    predictions.rows.loc[:29, "patient_id"] = np.repeat([f"{patient}" for patient in range(9)], 4)[:30]
    groups = by_key(cut(predictions, "view").groups)
    assert (groups["AP", "Mass"]["num_positive"], groups["AP", "Mass"]["num_positive_patients"]) == (15, 8)
    assert np.isnan(groups["AP", "Mass"]["auroc"]) and not np.isnan(groups["PA", "Mass"]["auroc"])


def test_the_page_says_how_many_findings_a_mean_is_over_and_counts_whole_images(draw: Draw) -> None:
    predictions = two_sexes(draw)
    predictions.y[(predictions.rows["sex"] == "M").to_numpy(), 1] = 0
    config = Eval(draws=100, subgroups=("sex",))
    report = score(predictions, fixed(predictions.findings), config=config)
    text = markdown.render(page(report, (), Training()))
    assert "AUROC by sex (mean over 1 of 2 findings)" in text
    assert re.search(r"\| Edema +\| [^|]*\| \(0 of \d+\) ", text)


def test_an_interval_that_says_nothing_is_marked() -> None:
    assert format_cell(mark_vacuous(Estimate(0.8, 0.0001, 0.9999))) == "0.800 (0.000-1.000), too few patients"
    assert format_cell(mark_vacuous(Estimate(0.8, 0.001, 0.9999))) == "0.800 (0.001-1.000)"


def test_rows_of_unknown_sex_are_no_group_of_the_gap_or_the_mean(draw: Draw) -> None:
    predictions = two_sexes(draw)
    predictions.rows.loc[:8, "sex"] = ""
    known = cut(predictions.select(np.arange(9, len(predictions))), "sex")
    groups, gaps = cut(predictions, "sex")
    assert ("unknown", "Mass") in by_key(groups) and ("unknown", "mean") not in by_key(groups)
    assert gaps["gap"].tolist() == known.gaps["gap"].tolist()
    assert by_key(groups)["M", "mean"]["auroc"] == by_key(known.groups)["M", "mean"]["auroc"]


def test_few_images_have_counts_in_place_of_a_figure(draw: Draw) -> None:
    predictions = draw(200, ("Mass",))
    predictions.y[:] = 0
    predictions.y[:19] = 1
    predictions.rows["patient_id"] = predictions.rows["image"]
    predictions.rows["view"] = np.where(np.arange(200) % 2, "PA", "AP")
    groups = by_key(cut(predictions, "view").groups)
    ap, pa = groups["AP", "Mass"], groups["PA", "Mass"]
    assert [(row["num"], row["num_positive"]) for row in (ap, pa)] == [(100, 10), (100, 9)]
    assert not np.isnan(ap["auroc"])
    assert np.isnan(pa["auroc"])
    assert len(cut(predictions, "view").gaps) == 0


@pytest.mark.parametrize(
    ("age", "band"),
    [
        (0, "0-19"),
        (19.9, "0-19"),
        (20, "20-39"),
        (59, "40-59"),
        (79, "60-79"),
        (80, "80+"),
        (np.nan, "unknown"),
    ],
)
def test_ages_go_by_twenty_years(age: float, band: str) -> None:
    assert age_band(age) == band


def test_groups_stand_in_order_and_the_unknown_last(draw: Draw) -> None:
    predictions = draw(600, ("Mass",))
    predictions.rows["age"] = np.resize([np.nan, 85, 45, 5, 25], 600)
    groups = cut(predictions, "age").groups
    assert list(dict.fromkeys(groups["group"])) == ["0-19", "20-39", "40-59", "80+", "unknown"]
    predictions.rows["scanner"] = np.resize(["10 T", "", "a", "2"], 600)
    assert list(dict.fromkeys(cut(predictions, "scanner").groups["group"])) == ["2", "10 T", "a", "unknown"]


def test_a_single_group_is_no_subgroup(draw: Draw) -> None:
    assert len(cut(draw(100), "view").groups) == 0


def test_a_column_that_is_not_there_is_an_error(draw: Draw) -> None:
    with pytest.raises(CxrError) as error:
        cut(draw(10), "sex", "scaner")
    assert error.value.render() == (
        "error: eval.subgroups: no column 'scaner'\nhint: the predictions have the columns split, view, sex, age"
    )


def test_without_resampling_there_are_no_intervals(draw: Draw) -> None:
    groups, gaps = subgroups(two_sexes(draw), ["sex"], None)
    assert groups["auroc"].notna().all()
    assert groups["auroc_low"].isna().all()
    assert gaps["gap"].notna().all()
