import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from cxr.config.schema import Eval
from cxr.evaluation.changes import COLUMNS, MEAN, UNCHANGED, compare_changes
from cxr.evaluation.predictions import Predictions
from cxr.evaluation.statistics.bootstrap import Resampling, draw_auroc, resampling_of
from cxr.evaluation.statistics.intervals import rarer_units
from cxr.evaluation.within import compare_within
from tests.helpers.behaviour import by_key
from tests.helpers.predictions import Draw


def resample(predictions: Predictions) -> Resampling:
    resampling, _ = resampling_of(predictions.rows, Eval(draws=200))
    assert resampling
    return resampling


def test_auroc_and_its_drop_are_those_of_scikit_learn(draw: Draw) -> None:
    predictions = draw(300)
    changed = np.random.default_rng(1).random(predictions.p.shape)
    columns = compare_changes(predictions, {"noise": changed}, resample(predictions))
    assert tuple(columns) == COLUMNS
    table = by_key(columns, "change", "finding")
    before, after = [], []
    for c, finding in enumerate(predictions.findings):
        known = ~np.isnan(predictions.y[:, c])
        labels = predictions.y[known, c]
        before.append(roc_auc_score(labels, predictions.p[known, c]))
        after.append(roc_auc_score(labels, changed[known, c]))
        assert table[UNCHANGED, finding]["auroc"] == pytest.approx(before[-1])
        assert table["noise", finding]["auroc"] == pytest.approx(after[-1])
        assert table["noise", finding]["drop"] == pytest.approx(before[-1] - after[-1])
        kept = (after[-1] - 0.5) / (before[-1] - 0.5)
        assert table["noise", finding]["kept"] == pytest.approx(kept)
    assert table["noise", MEAN]["drop"] == pytest.approx(np.mean(before) - np.mean(after))


def test_the_interval_of_a_drop_is_paired(draw: Draw) -> None:
    predictions = draw(300)
    rank = np.argsort(np.argsort(predictions.p, axis=0), axis=0) / len(predictions)  # the same order, no ties
    resampling = resample(predictions)
    table = compare_changes(predictions, {"ranks": predictions.p**2, "other": rank}, resampling)
    same = table[table["change"] == "ranks"]
    assert (same[["drop", "drop_low", "drop_high"]].to_numpy() == 0).all()
    draws = draw_auroc(predictions.y, predictions.p, resampling) - draw_auroc(predictions.y, rank, resampling)
    other = table[table["change"] == "other"].iloc[0]
    n = rarer_units(predictions.y[:, 0], resampling)
    half = stats.t.ppf(0.975, n - 1) * draws[0].std(ddof=1) * np.sqrt(n / (n - 1))
    assert [other["drop_low"], other["drop_high"]] == pytest.approx(
        [other["drop"] - half, other["drop"] + half]
    )


def test_without_draws_there_are_points_alone(draw: Draw) -> None:
    predictions = draw(60)
    table = compare_changes(predictions, {"same": predictions.p}, None)
    assert table["auroc"].notna().all() and table[["auroc_low", "drop_low", "drop_high"]].isna().all(
        axis=None
    )


def test_a_score_that_tells_only_the_view_is_worth_nothing_within_it(draw: Draw) -> None:
    predictions = draw(600, ("Mass",))
    view = np.repeat(np.random.default_rng(2).random(200) < 0.5, 3)
    noise = np.random.default_rng(3).random((2, 600))
    y = (noise[0] < np.where(view, 0.6, 0.1)).astype(float)[:, None]
    rows = predictions.rows.assign(view=np.where(view, "AP", "PA"))
    only_view = Predictions(rows, ("Mass",), y, np.where(view, 0.8, 0.2)[:, None])
    row, mean = compare_within(only_view, "view", resample(only_view))
    assert row["within"] == 0.5 and row["auroc"] == pytest.approx(roc_auc_score(y[:, 0], view))
    assert float(str(row["drop_low"])) > 0.1
    assert (mean["finding"], mean["within"], mean["drop"]) == ("mean", row["within"], row["drop"])


def test_groups_are_weighted_by_their_pairs_and_small_ones_left_out(draw: Draw) -> None:
    predictions = draw(300, ("Mass",))
    views = np.array(["AP"] * 90 + ["PA"] * 195 + ["LL"] * 9 + [""] * 6)
    predictions.rows["view"] = views
    row = compare_within(predictions, "view", resample(predictions))[0]
    weights, aurocs = [], []
    for view in ("AP", "PA"):
        known = (views == view) & ~np.isnan(predictions.y[:, 0])
        labels = predictions.y[known, 0]
        weights.append(labels.sum() * (1 - labels).sum())
        aurocs.append(roc_auc_score(labels, predictions.p[known, 0]))
    assert row["within"] == pytest.approx(np.average(aurocs, weights=weights))
    used = np.isin(views, ["AP", "PA"]) & ~np.isnan(predictions.y[:, 0])
    assert row["num"] == used.sum() and row["num_groups"] == 2
    assert row["auroc"] == pytest.approx(roc_auc_score(predictions.y[used, 0], predictions.p[used, 0]))


def test_one_view_has_no_auroc_within_views(draw: Draw) -> None:
    assert compare_within(draw(60), "view", None) == []
