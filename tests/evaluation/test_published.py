from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cxr.config.schema import Eval
from cxr.evaluation.predictions import Predictions
from cxr.evaluation.published import Published, beside, on_chexpert, recognise_test
from cxr.evaluation.report import Report, score
from cxr.evaluation.same_labels import hash_labels
from cxr.evaluation.thresholds import fixed
from cxr.findings import CHEXPERT_5, NIH_14
from cxr.labels.table import LabelTable
from cxr.report import markdown
from cxr.report.evaluation import published_lines
from cxr.report.evaluation_page import page
from cxr.report.run_files import Training


@pytest.mark.real
def test_the_official_test_list_is_known_by_its_names(sample_data: Path) -> None:
    names = (sample_data / "nih-1024" / "test_list.txt").read_text().split()
    assert recognise_test(reversed(names)) == "NIH official"
    assert recognise_test(f"images/{name}" for name in names) == "NIH official"
    assert recognise_test(names[1:]) == ""


def nih_labels(full_nih: LabelTable, images: set[str]) -> Predictions:
    """The images with NIH's labels, below a folder and with the findings in another order."""
    rows = full_nih.rows["image"].isin(images).to_numpy()
    findings = NIH_14[::-1]
    y = full_nih.raw[rows][:, [full_nih.findings.index(name) for name in findings]].astype(np.float64)
    images_of_rows = "images/" + full_nih.rows["image"][rows]
    identity = pd.DataFrame(
        {"image": images_of_rows, "patient_id": "", "split": "test", "view": "", "sex": ""}
    )
    return Predictions(identity.assign(age=np.nan), findings, np.nan_to_num(y), np.zeros(y.shape))


def stand_beside(predictions: Predictions) -> Published:
    return beside(predictions.rows["image"], hash_labels(predictions))


@pytest.mark.real
def test_official_results_stand_beside_a_run_on_the_official_test_list(
    sample_data: Path, full_nih: LabelTable
) -> None:
    names = (sample_data / "nih-1024" / "test_list.txt").read_text().split()
    found = stand_beside(nih_labels(full_nih, set(names)))
    assert (found.split, set(found.same["split"])) == ("NIH official", {"official"})
    assert set(found.other["split"]) == {"community", "random-unpublished"} and not found.relabelled


@pytest.mark.real
def test_other_labels_of_the_same_images_are_comparable_with_nothing(
    sample_data: Path, full_nih: LabelTable
) -> None:
    own = nih_labels(full_nih, set((sample_data / "nih-1024" / "test_list.txt").read_text().split()))
    own.y[7, 3] = 1 - own.y[7, 3]
    found = stand_beside(own)
    assert (found.split, found.relabelled, len(found.same)) == ("", "NIH official", 0)
    report = replace(small(), published=found)
    assert published_lines(report) == [
        "Published results: the test images are those of NIH official, and their labels are not those of "
        "Data_Entry_2017_v2020.csv."
    ]
    text = markdown.render(page(report, (), Training()))
    assert "Not comparable: the test images are those of NIH official" in text


@pytest.mark.real
def test_community_results_stand_beside_a_run_on_the_community_test_list(
    sample_data: Path, full_nih: LabelTable
) -> None:
    folds = pd.read_csv(sample_data / "splits" / "nih_community_patients.csv", dtype=str)
    test = set(folds[folds.iloc[:, 1] == "test"].iloc[:, 0].astype(int))
    of_test = full_nih.rows["patient_id"].astype(int).isin(test)
    own = nih_labels(full_nih, set(full_nih.rows["image"][of_test]))
    found = stand_beside(own)
    assert (found.split, len(own)) == ("NIH community", 22_433)
    assert set(found.same["split"]) == {"community"}
    assert "reproduce-chexnet" in set(found.same["result"])


def test_the_hash_of_labels_knows_no_order_and_no_folder() -> None:
    own = predictions(("Mass", "Edema"))
    own.y[3] = [np.nan, 1]
    other = own.select(np.arange(20)[::-1])
    moved = replace(other, rows=other.rows.assign(image="folder/" + other.rows["image"]))
    turned = replace(moved, findings=("Edema", "Mass"), y=moved.y[:, ::-1])
    assert hash_labels(turned) == hash_labels(own)
    for change in (0.0, 1.0):  # a label that was unknown
        own.y[3, 0] = change
        assert hash_labels(turned) != hash_labels(own)


def small() -> Report:
    own = predictions(NIH_14)
    return score(own, fixed(own.findings), config=Eval(interval="none"))


def predictions(findings: tuple[str, ...]) -> Predictions:
    y = np.tile([[0.0], [1.0]], (10, len(findings)))
    rows = pd.DataFrame(
        {"image": [f"{row}.png" for row in range(20)], "patient_id": "", "split": "test", "view": ""}
    )
    return Predictions(
        rows.assign(sex="", age=np.nan), findings, y, np.tile([[0.4], [0.6]], (10, len(findings)))
    )


def test_other_images_are_comparable_with_nothing() -> None:
    report = small()
    assert report.published is not None
    assert (report.published.split, len(report.published.same), len(report.published.other)) == ("", 0, 21)
    assert published_lines(report) == ["Published results: none was measured on exactly these test images."]
    assert "On other patients or labels: not comparable" in markdown.render(page(report, (), Training()))


def test_other_findings_have_no_published_results() -> None:
    own = predictions(("Pneumonia",))
    assert score(own, fixed(own.findings), config=Eval(interval="none")).published is None


def test_every_published_mean_is_that_of_its_findings() -> None:
    table = beside(["a.png"], "").other
    given = table.dropna(subset=list(NIH_14))
    np.testing.assert_allclose(given[list(NIH_14)].mean(axis=1), given["mean"], atol=0.006)
    assert len(given) == 7


def test_no_published_result_is_without_its_source_split_and_views() -> None:
    tables = beside(["a.png"], "").other, on_chexpert().other
    for table in tables:
        assert table[["result", "year", "split", "views", "mean", "source"]].notna().all(axis=None)
        assert table["mean"].between(0.7, 0.95).all() and not table["result"].duplicated().any()
        bounds = table[["mean_low", "mean_high"]].dropna()
        assert (bounds["mean_low"] < bounds["mean_high"]).all()
    assert set(tables[0].query("result.str.startswith('EVA-X')")["mean"]) == {0.835, 0.833, 0.824}


@pytest.mark.parametrize(
    "findings",
    [CHEXPERT_5, ("edema", "Atelectasis", "Consolidation", "Cardiomegaly", "Pleural_Effusion")],
)
def test_results_on_chexpert_stand_below_a_report_of_its_findings_as_not_comparable(
    findings: tuple[str, ...],
) -> None:
    own = predictions(findings)
    report = score(own, fixed(own.findings), config=Eval(interval="none"))
    assert report.published is not None and report.published.dataset == "CheXpert"
    assert published_lines(report) == []
    text = markdown.render(page(report, (), Training()))
    assert "## Published results on CheXpert" in text and "Not comparable: which images these are" in text
    assert "| DeepAUC-v1 (arXiv 2012.03173) (2020) | 0.930 | 2.8 |" in text
