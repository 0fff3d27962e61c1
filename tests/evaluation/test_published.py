from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cxr.config.schema import Eval
from cxr.evaluation.predictions import Predictions
from cxr.evaluation.published import beside, recognise_test
from cxr.evaluation.report import score
from cxr.evaluation.thresholds import fixed
from cxr.findings import NIH_14
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


@pytest.mark.real
def test_official_results_stand_beside_a_run_on_the_official_test_list(sample_data: Path) -> None:
    split, same, other = beside((sample_data / "nih-1024" / "test_list.txt").read_text().split())
    assert (split, set(same["split"])) == ("NIH official", {"official"})
    assert set(other["split"]) == {"community", "random-unpublished"}


@pytest.mark.real
def test_community_results_stand_beside_a_run_on_the_community_test_list(
    sample_data: Path, xrv_data: Path
) -> None:
    folds = pd.read_csv(sample_data / "splits" / "nih_community_patients.csv", dtype=str)
    test = set(folds[folds.iloc[:, 1] == "test"].iloc[:, 0].astype(int))
    table = pd.read_csv(xrv_data / "Data_Entry_2017_v2020.csv.gz")
    names = table["Image Index"][table["Patient ID"].isin(test)]
    split, same, _ = beside(names)
    assert (split, len(names)) == ("NIH community", 22_433)
    assert set(same["split"]) == {"community"}
    assert "reproduce-chexnet" in set(same["result"])


def predictions(findings: tuple[str, ...]) -> Predictions:
    y = np.tile([[0.0], [1.0]], (10, len(findings)))
    rows = pd.DataFrame(
        {"image": [f"{row}.png" for row in range(20)], "patient_id": "", "split": "test", "view": ""}
    )
    return Predictions(
        rows.assign(sex="", age=np.nan), findings, y, np.tile([[0.4], [0.6]], (10, len(findings)))
    )


def test_other_images_are_comparable_with_nothing() -> None:
    own = predictions(NIH_14)
    report = score(own, fixed(own.findings), config=Eval(interval="none"))
    assert report.published is not None
    assert (report.published.split, len(report.published.same), len(report.published.other)) == ("", 0, 12)
    assert published_lines(report) == ["Published results: none was measured on exactly these test images."]
    assert "On other patients: not comparable" in markdown.render(page(report, (), Training()))


def test_other_findings_have_no_published_results() -> None:
    own = predictions(("Pneumonia",))
    assert score(own, fixed(own.findings), config=Eval(interval="none")).published is None


def test_every_published_mean_is_that_of_its_findings() -> None:
    table = beside(["a.png"]).other
    given = table.dropna(subset=list(NIH_14))
    np.testing.assert_allclose(given[list(NIH_14)].mean(axis=1), given["mean"], atol=0.006)
    assert len(given) == 7
