from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import cohen_kappa_score, precision_score, recall_score, roc_auc_score

from cxr.config.schema import Eval
from cxr.errors import CxrError
from cxr.evaluation.join import LabelOptions
from cxr.evaluation.predictions import Predictions, read, write
from cxr.evaluation.second_reference import compare_references
from cxr.evaluation.thresholds import fixed
from tests.helpers.commands import call
from tests.helpers.predictions import draw_predictions

HOW = Eval(draws=100)
PARTS = ("Pneumonia", "Infiltration", "Consolidation")


@pytest.fixture
def first() -> Predictions:
    """90 images of 30 patients with labels of a program for four findings of ChestX-ray14."""
    return draw_predictions(90, (*PARTS, "Pneumothorax"))


@pytest.fixture
def google(first: Predictions, tmp_path: Path) -> Path:
    """Radiologists' labels of the first 60 of these images."""
    draws = np.random.default_rng(1)
    words = pd.DataFrame(
        np.where(draws.random((60, 4)) < 0.4, "YES", "NO"),
        columns=["Fracture", "Pneumothorax", "Airspace opacity", "Nodule or mass"],
    )
    words.insert(0, "Image Index", first.rows["image"][:60])
    words.insert(1, "Finding Labels", "No Finding")
    words.to_csv(tmp_path / "google.csv", index=False)
    return tmp_path / "google.csv"


def test_the_labels_and_the_model_are_scored_by_the_second_table(first: Predictions, google: Path) -> None:
    options = LabelOptions(skip_unlabelled=True)
    result = compare_references(first, fixed(first.findings), google, HOW, options)
    second = pd.read_csv(google).replace({"YES": 1, "NO": 0})
    table = result.table.set_index("finding")
    assert list(table.index) == ["Pneumothorax", "Lung Opacity"]

    places = {"Pneumothorax": [3], "Lung Opacity": [0, 1, 2]}
    columns = {"Pneumothorax": "Pneumothorax", "Lung Opacity": "Airspace opacity"}
    for finding, parts in places.items():
        labels, p = first.y[:60, parts], first.p[:60, parts].max(axis=1)
        y = np.where((labels == 1).any(axis=1), 1, np.where(np.isnan(labels).any(axis=1), np.nan, 0))
        known = ~np.isnan(y)
        y, p, truth = y[known], p[known], second[columns[finding]].to_numpy(float)[known]
        row = table.loc[finding]
        assert (row["num"], row["num_positive"], row["num_positive_first"]) == (
            known.sum(), truth.sum(), y.sum()
        )  # fmt: skip
        assert row["labels_kappa"] == pytest.approx(cohen_kappa_score(truth, y))
        assert row["labels_sensitivity"] == pytest.approx(recall_score(truth, y))
        assert row["labels_ppv"] == pytest.approx(precision_score(truth, y))
        assert row["auroc_first"] == pytest.approx(roc_auc_score(y, p))
        assert row["auroc_second"] == pytest.approx(roc_auc_score(truth, p))
        assert row["auroc_difference"] == pytest.approx(row["auroc_second"] - row["auroc_first"])
        assert row["auroc_difference_low"] < row["auroc_difference"] < row["auroc_difference_high"]
        assert row["model_sensitivity"] == pytest.approx(recall_score(truth, p >= 0.5))
    assert result.evaluated_on == "test rows (60 images, 20 patients)"
    assert result.notes[1:] == (
        "left out, since the model does not predict them: Fracture, Nodule/Mass",
        "it labels 60 of the 90 images evaluated",
    )


def test_a_table_of_a_part_is_taken_when_asked_for_alone(first: Predictions, google: Path) -> None:
    with pytest.raises(CxrError, match="does not label 30 of the 90 images evaluated") as error:
        compare_references(first, fixed(first.findings), google, HOW, LabelOptions())
    assert "--skip-unlabelled" in str(error.value.hint)


def test_a_table_of_other_findings_or_images_is_refused(first: Predictions, tmp_path: Path) -> None:
    rows = pd.DataFrame({"image": first.rows["image"], "Hernia": 1})
    rows.to_csv(tmp_path / "a.csv", index=False)
    rows.assign(image="x" + rows["image"], Pneumonia=0).to_csv(tmp_path / "b.csv", index=False)
    for name, problem in {"a.csv": "labels no finding", "b.csv": "does not label 90 of the 90"}.items():
        with pytest.raises(CxrError, match=problem):
            compare_references(
                first, fixed(first.findings), tmp_path / name, HOW, LabelOptions(skip_unlabelled=True)
            )


def test_the_report_shows_both_tables(
    first: Predictions, google: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(first, tmp_path / "p.csv")
    boxes = pd.DataFrame({"Image Index": first.rows["image"], "Target": [row % 2 for row in range(90)]})
    boxes.assign(x="", y="", width="", height="").to_csv(tmp_path / "boxes.csv", index=False)
    options = ("--second-labels", google, "--second-labels", tmp_path / "boxes.csv", "--skip-unlabelled")
    assert call("eval", tmp_path / "p.csv", *options, "eval.draws=100", "--out", tmp_path / "r") == 0
    table = pd.read_csv(tmp_path / "r" / "second_reference.csv")
    assert table[["table", "finding"]].to_numpy().tolist() == [
        ["google.csv", "Pneumothorax"],
        ["google.csv", "Lung Opacity"],
        ["boxes.csv", "Lung Opacity"],
    ]
    said, page = capsys.readouterr().out, (tmp_path / "r" / "report.html").read_text()
    for text in ("Airspace opacity is read as Lung Opacity", f"{table['labels_kappa'][0]:.3f}"):
        assert text in " ".join(said.split()) and text in page
    assert call("eval", tmp_path / "p.csv", *options[:4], "--out", tmp_path / "s") == 2


def test_a_model_of_narrower_findings_is_evaluated_on_radiologists_labels(
    first: Predictions, google: Path, tmp_path: Path
) -> None:
    write(first, tmp_path / "p.csv")
    found = read(tmp_path / "p.csv", google, options=LabelOptions(skip_unlabelled=True))
    assert found.findings == (*first.findings, "Lung Opacity") and len(found) == 60
    np.testing.assert_array_equal(found.p[:, 4], first.p[:60, :3].max(axis=1))
    opacity = (pd.read_csv(google)["Airspace opacity"] == "YES").to_numpy()
    np.testing.assert_array_equal(found.y[:, 4], opacity)
    # the labels of a program as a "reader" of the same images
    mined = pd.DataFrame({"image": first.rows["image"][:60], **dict.fromkeys(PARTS, 0), "Pneumothorax": 0})
    mined.loc[:9, "Infiltration"] = 1
    mined.to_csv(tmp_path / "mined.csv", index=False)
    options = ("--reference", google, "--out", tmp_path / "out", "eval.draws=100")
    assert call("readers", tmp_path / "p.csv", tmp_path / "mined.csv", *options) == 0
    table = pd.read_csv(tmp_path / "out" / "reader_metrics.csv").set_index(["finding", "metric"])
    assert table.loc[("Lung Opacity", "sensitivity"), "reader_value"] == pytest.approx(
        recall_score(opacity, np.arange(60) < 10)
    )
