from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.special import logit

from cxr.evaluation.predictions import Predictions, as_table
from tests.helpers.commands import call

Draw = Callable[..., Predictions]
HOW = ("eval.scores=raw", "eval.draws=100", "eval.subgroups=[sex]")


@pytest.fixture
def scores(draw: Draw, tmp_path: Path) -> Path:
    """A file of logits, and one of their probabilities beside it."""
    predictions = draw(150)
    predictions = replace(predictions, p=np.clip(predictions.p, 0.01, 0.99))
    sexes = np.where(np.arange(150) // 3 % 2, "F", "M")
    table = as_table(replace(predictions, rows=predictions.rows.assign(sex=sexes)))
    table.to_csv(tmp_path / "probabilities.csv", index=False)
    for name in predictions.findings:
        table[f"p_{name}"] = logit(table[f"p_{name}"].astype(float))
    table.to_csv(tmp_path / "logits.csv", index=False)
    return tmp_path / "logits.csv"


def test_logits_rank_as_their_probabilities_and_have_nothing_else(
    scores: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("eval", scores, *HOW, "--out", tmp_path / "raw") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "scores are raw (eval.scores=raw): they only rank" in said
    assert "Thresholds: none, as scores are raw" in said
    assert call("eval", tmp_path / "probabilities.csv", *HOW[1:], "--out", tmp_path / "p") == 0
    raw, p = (pd.read_csv(tmp_path / name / "metrics.csv", index_col="finding") for name in ("raw", "p"))
    for name in ("auroc", "auroc_low", "auroc_high", "average_precision", "average_precision_low"):
        np.testing.assert_allclose(raw[name].drop("micro"), p[name].drop("micro"), rtol=1e-12)
    assert raw[["f1", "sensitivity", "ppv", "brier", "ece", "threshold", "f1_low"]].isna().all(axis=None)
    assert raw.loc[["micro"], "auroc"].isna().all()
    raw, p = (pd.read_csv(tmp_path / name / "operating_points.csv") for name in ("raw", "p"))
    for name in ("sensitivity_at_90", "partial_auroc", "partial_auroc_low"):
        np.testing.assert_allclose(raw[name], p[name], rtol=1e-12)
    assert raw[["tp", "mcc", "lr_positive"]].isna().all(axis=None)
    raw, p = (pd.read_csv(tmp_path / name / "subgroups.csv") for name in ("raw", "p"))
    np.testing.assert_allclose(raw["auroc"], p["auroc"], rtol=1e-12)
    assert raw["sensitivity"].isna().all() and not p["sensitivity"].isna().all()
    written = {path.name for path in (tmp_path / "raw").iterdir()}
    assert not written & {"calibration.csv", "reliability.csv", "prediction_sets.csv", "cooccurrence.csv"}
    again = pd.read_csv(tmp_path / "raw" / "predictions.csv")
    assert again["p_Mass"].min() < 0 < again["p_Mass"].max() - 1  # as they were given


@pytest.mark.figures
def test_a_report_of_raw_scores_has_its_curves(scores: Path, tmp_path: Path) -> None:
    assert call("eval", scores, *HOW, "--out", tmp_path / "raw") == 0
    drawn = {path.stem for path in (tmp_path / "raw" / "figures").iterdir()}
    assert {"auroc", "roc", "precision_recall"} <= drawn and not drawn & {"reliability", "decision_curve"}


def test_raw_scores_are_compared_by_their_ranks(scores: Path, tmp_path: Path) -> None:
    table = pd.read_csv(scores)
    rng = np.random.default_rng(0)
    noisy = table.copy()
    for name in table.filter(like="p_"):
        noisy[name] += rng.normal(0, 1, len(table))
    noisy.to_csv(tmp_path / "noisy.csv", index=False)
    assert call("compare", scores, tmp_path / "noisy.csv", *HOW, "--out", tmp_path / "out") == 0
    found = pd.read_csv(tmp_path / "out" / "comparison.csv")
    assert found[["auroc_p", "average_precision_p", "sensitivity_at_90_difference"]].notna().all(axis=None)
    assert found.filter(regex="^(f1|brier)_(a|b|p|difference)$").isna().all(axis=None)


@pytest.mark.parametrize(
    ("command", "options", "said"),
    [
        (("eval", "logits.csv"), (), "no probability"),
        (("eval", "logits.csv", "probabilities.csv"), ("eval.scores=raw",), "have no mean"),
        (("eval", "logits.csv"), ("eval.scores=raw", "--tune-on-test"), "raw scores have no thresholds"),
        (("readers", "logits.csv", "probabilities.csv"), ("eval.scores=raw",), "raw scores call nothing"),
        (("config", "demo"), ("eval.scores=raw",), "is for tables of predictions"),
    ],
)
def test_what_raw_scores_cannot_be_used_for_is_refused(
    scores: Path,
    command: tuple[str, ...],
    options: tuple[str, ...],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(scores.parent)
    assert call(*command, *options) == 2
    error = " ".join(capsys.readouterr().err.split())
    assert said in error and "hint: " in error


def test_text_is_no_score(scores: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = pd.read_csv(scores, dtype=str)
    table.loc[3, "p_Mass"] = "high"
    table.to_csv(scores, index=False)
    assert call("eval", scores, *HOW) == 2
    assert "p_Mass is high, no number" in capsys.readouterr().err
