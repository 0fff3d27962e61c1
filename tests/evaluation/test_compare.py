import io
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from cxr.config.schema import Eval
from cxr.errors import CxrError
from cxr.evaluation import predictions as predictions_file
from cxr.evaluation.compare import Compared, Comparison, compare
from cxr.evaluation.differences import holm
from cxr.evaluation.predictions import Predictions
from cxr.evaluation.statistics import delong, metrics
from cxr.evaluation.thresholds import choose, fixed
from cxr.report import markdown
from cxr.report.compare import document, summary, write
from cxr.report.terminal import render
from tests.helpers.commands import call

Draw = Callable[..., Predictions]
HOW = Eval(draws=400)


def model(name: str, predictions: Predictions, threshold: float = 0.4) -> Compared:
    return Compared(name, predictions, fixed(predictions.findings, threshold))


def noisier(predictions: Predictions) -> Predictions:
    noise = np.random.default_rng(5).normal(0, 0.3, predictions.p.shape)
    return replace(predictions, p=np.clip(predictions.p + noise, 0, 1))


def shown(comparison: Comparison) -> str:
    """The comparison on a wide terminal, with each run of blanks as one."""
    console = Console(width=200, file=io.StringIO())
    with console.capture() as capture:
        console.print(render(*summary(comparison)))
    return " ".join(capture.get().split())


def worse_and_better(draw: Draw, num: int = 900) -> Comparison:
    good = draw(num)
    good = replace(good, p=np.clip(good.p + 0.3 * np.nan_to_num(good.y), 0, 1))
    return compare(model("worse", noisier(good)), model("better", good), HOW)


def test_differences_are_of_the_points(draw: Draw) -> None:
    good = draw(300)
    table = compare(model("a", noisier(good)), model("b", good), HOW).table
    y, a, b = good.y[:, 1], noisier(good).p[:, 1], good.p[:, 1]
    row = table.iloc[1]
    assert (row.auroc_a, row.auroc_b) == (metrics.auroc(y, a), metrics.auroc(y, b))
    assert row.auroc_difference == row.auroc_b - row.auroc_a
    assert row.f1_difference == pytest.approx(
        metrics.at_threshold(y, b, 0.4).f1 - metrics.at_threshold(y, a, 0.4).f1
    )
    known = ~np.isnan(y)
    _, patients = np.unique(good.rows["patient_id"][known], return_inverse=True)
    parts = delong.clustered(y[known], np.stack([a[known], b[known]], axis=1), patients, patients.max() + 1)
    assert row.delong_p == row.auroc_p == pytest.approx(delong.compare_clustered([parts])[0].p, rel=1e-12)


def test_a_better_model_is_found_better(draw: Draw) -> None:
    table = worse_and_better(draw).table
    assert (table["auroc_low"] > 0).all()
    assert (table["auroc_p_bootstrap"] < 1e-3).all()
    assert (table["auroc_p"] < 1e-3).all() and (table["auroc_p_holm"][:3] < 2 / 401).all()


@pytest.mark.parametrize("num_positive", [1, 2, 3])
def test_few_positive_images_seldom_show_a_difference(num_positive: int) -> None:
    """Two models that differ by noise alone, on 40 findings of 300 patients."""
    draws, findings = np.random.default_rng(num_positive), tuple(f"finding {number}" for number in range(40))
    y = np.zeros((300, 40))
    for column in y.T:
        column[draws.choice(300, num_positive, replace=False)] = 1
    images = [f"{row:03d}" for row in range(300)]
    rows = pd.DataFrame(
        {"image": images, "patient_id": images, "split": "", "view": "", "sex": "", "age": 0.0}
    )
    first, second = (
        Predictions(rows, findings, y, 1 / (1 + np.exp(-y - draws.normal(size=y.shape)))) for _ in range(2)
    )
    comparison = compare(model("a", first), model("b", second), Eval(draws=200))
    table = comparison.table[:-1]
    for metric in ("auroc", "f1", "average_precision", "brier", "sensitivity_at_90"):
        assert table[[f"{metric}_p", f"{metric}_low"]].isna().all(axis=None) == (num_positive == 1)
        assert ((table[f"{metric}_low"] > 0) | (table[f"{metric}_high"] < 0)).sum() <= 4
        assert (table[f"{metric}_p"] < 0.05).sum() <= 4
    notes = " ".join(comparison.notes)
    assert ("fewer than 2 patients hold one of the classes: finding 0" in notes) == (num_positive == 1)
    assert (f"finding 0 ({num_positive})" in notes) == (num_positive > 1)


def test_means_and_their_p_are_of_the_same_findings(draw: Draw) -> None:
    first = draw(300)
    first.y[:, 2] = np.where(np.arange(300) == 7, 1, 0)  # one positive image: an AUROC without an error
    comparison = compare(model("a", noisier(first)), model("b", first), HOW)
    mean, findings = comparison.table.iloc[-1], comparison.table[:2]
    for metric in ("auroc", "f1", "brier"):
        assert mean[f"{metric}_a"] == pytest.approx(findings[f"{metric}_a"].mean())
        assert mean[f"{metric}_difference"] == pytest.approx(findings[f"{metric}_difference"].mean())
        assert not np.isnan(mean[f"{metric}_p"])
    assert "the means are over the 2 of 3 findings that have enough" in comparison.notes


def test_chosen_thresholds_beside_fixed_ones_are_marked(draw: Draw) -> None:
    fixed_model, validation = model("a", draw(200)), draw(100, split="val")
    chosen = Compared("b", noisier(draw(200)), choose(validation, "f1"))
    page = shown(compare(fixed_model, chosen, HOW))
    assert "F1 marked * stands beside F1 at thresholds of another kind" in page
    assert re.search(r"Mass +0\.\d{3}\* +0\.\d{3}\* +[+-]0\.\d{3}\* \(", page)
    assert "*" not in shown(compare(fixed_model, model("b", noisier(draw(200))), HOW))


def test_csv_files_take_thresholds_of_validation_rows_or_a_report(
    draw: Draw, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, rows in (("a", draw(200)), ("b", noisier(draw(200)))):
        predictions_file.write(rows, tmp_path / f"{name}.csv")
        predictions_file.write(draw(100, split="val"), tmp_path / f"{name}_val.csv")
    files = [tmp_path / "a.csv", tmp_path / "b.csv"]
    both = [text for name in "ab" for text in ("--validation", tmp_path / f"{name}_val.csv")]
    assert call("compare", *files, *both, "eval.draws=100") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert said.count("best F1 on validation rows") == 2
    assert call("compare", *files, *both[:2]) == 2
    assert "--validation: 1 file for 2 CSVs of predictions" in capsys.readouterr().err
    table = tmp_path / "metrics.csv"
    table.write_text("finding,threshold\nMass,0.3\nEdema,0.4\nHernia,0.5\n")
    assert call("compare", *files, "--thresholds", table, "--thresholds", table, "eval.draws=100") == 0
    assert "as given in" in capsys.readouterr().out


def test_a_model_does_not_differ_from_itself(draw: Draw) -> None:
    table = compare(model("a", draw(200)), model("a", draw(200)), HOW).table
    for figure in ("auroc", "f1"):
        assert (table[f"{figure}_difference"] == 0).all()
        assert (table[f"{figure}_p"] == 1).all()
    assert (table["delong_p"][:3] == 1).all()


def test_the_other_way_round_has_the_opposite_sign(draw: Draw) -> None:
    a, b = model("a", noisier(draw(200))), model("b", draw(200))
    straight, reverse = compare(a, b, HOW).table, compare(b, a, HOW).table
    np.testing.assert_array_equal(straight["auroc_difference"], -reverse["auroc_difference"])
    np.testing.assert_allclose(straight["auroc_low"], -reverse["auroc_high"], atol=1e-15)
    np.testing.assert_allclose(straight["auroc_p"], reverse["auroc_p"], rtol=1e-9)
    np.testing.assert_array_equal(straight["auroc_p_bootstrap"], reverse["auroc_p_bootstrap"])


def test_two_models_alike_are_seldom_told_apart() -> None:
    """Of 200 pairs that differ by noise alone, one a finding, about one in twenty is found different."""
    draws, findings = np.random.default_rng(0), tuple(f"finding {number}" for number in range(200))
    y = (draws.random((300, 200)) < 0.3).astype(np.float64)
    rows = pd.DataFrame({"image": [f"{row:03d}" for row in range(300)], "split": "", "view": "", "sex": ""})
    rows = rows.assign(patient_id=rows["image"], age=np.nan)
    first, second = (
        Predictions(rows, findings, y, 1 / (1 + np.exp(-y - draws.normal(size=y.shape)))) for _ in range(2)
    )
    table = compare(model("a", first), model("b", second), Eval(draws=200)).table
    assert 2 <= (table["auroc_p"][:200] < 0.05).sum() <= 20  # 10 expected, standard deviation 3


def test_holm_is_as_published() -> None:
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(holm([0.5, np.nan, 0.9]), [1.0, np.nan, 1.0])
    assert len(holm([])) == 0


def test_an_undefined_finding_is_left_out_of_the_mean(draw: Draw) -> None:
    first = draw(200)
    first.y[:, 2] = 0
    table = compare(model("a", noisier(first)), model("b", first), HOW).table
    assert table.iloc[2][["auroc_a", "auroc_difference", "auroc_p", "delong_p"]].isna().all()
    assert table["auroc_b"].iloc[-1] == pytest.approx(table["auroc_b"].iloc[:2].mean())


def test_intervals_must_be_paired(draw: Draw) -> None:
    with pytest.raises(CxrError, match=r"eval.interval: delong gives no paired intervals"):
        compare(model("a", draw(20)), model("b", draw(20)), Eval(interval="delong"))


def test_the_pages_say_what_was_compared(draw: Draw, tmp_path: Path) -> None:
    comparison = worse_and_better(draw)
    write(comparison, tmp_path)
    table = pd.read_csv(tmp_path / "comparison.csv")
    assert table["finding"].tolist() == ["Mass", "Edema", "Hernia", "mean"]
    facts = json.loads((tmp_path / "comparison.json").read_text())
    assert (facts["a"], facts["mean"]["num"]) == ("worse", 900)
    page = markdown.render(document(comparison))
    assert page.startswith(
        "# better against worse\n\nEvaluated on test rows (900 images, 300 patients). Intervals: 95 %,"
    )
    assert "Research tool, not a medical device." in page


def test_the_terminal_needs_80_columns(draw: Draw) -> None:
    console = Console(width=80, file=io.StringIO())
    with console.capture() as capture:
        console.print(render(*summary(worse_and_better(draw))))
    lines = capture.get().splitlines()
    assert not any("…" in line for line in lines)
    assert lines[:3] == ["A: worse", "B: better", "Evaluated on test rows (900 images, 300 patients)"]


def test_other_pixels_and_views_are_said_before_any_p_value(draw: Draw, tmp_path: Path) -> None:
    a, b = model("A1", draw(90)), model("B1", noisier(draw(90)))
    a = replace(
        a, made=(("pixels", "256 (pad) to 224"), ("views", "all"), ("test-time augmentation", "none"))
    )
    b = replace(
        b, made=(("pixels", "256 (crop) to 224"), ("views", "PA"), ("test-time augmentation", "none"))
    )
    comparison = compare(a, b, HOW)
    said = shown(comparison)
    warning = "pixels differ, so the difference is not one of the models alone: A 256 (pad) to 224, B 256 (crop) to 224"
    assert f"Warning: {warning}" in said and said.index(warning) < said.index("Holm")
    assert said.count("Warning: ") == 2 and "Warning: views differ" in said
    write(comparison, tmp_path)
    assert json.loads((tmp_path / "comparison.json").read_text())["warnings"][0] == warning
    assert warning.split(":")[0] in (tmp_path / "comparison.md").read_text().split("## AUROC")[0]
    assert (
        compare(a, replace(b, made=()), HOW).warnings == ()
    )  # what is not known of one side is not compared


def test_reports_beside_predictions_tell_of_their_pixels(
    draw: Draw, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, fit in (("a", "pad"), ("b", "crop")):
        (tmp_path / name).mkdir()
        predictions_file.write(draw(60), tmp_path / name / "predictions.csv")
        (tmp_path / name / "report.json").write_text(json.dumps({"about": {"pixels": f"256 ({fit}) to 224"}}))
    files = [tmp_path / name / "predictions.csv" for name in ("a", "b")]
    assert call("compare", *files, "eval.draws=100") == 0
    assert "Warning: pixels differ" in " ".join(capsys.readouterr().out.split())
    (tmp_path / "b" / "report.json").write_text("[")
    assert call("compare", *files, "eval.draws=100") == 0
    assert "Warning" not in capsys.readouterr().out
