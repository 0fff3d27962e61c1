import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score, roc_auc_score

from cxr.errors import CxrError
from cxr.evaluation.predictions import Predictions
from cxr.evaluation.units import combine
from tests.helpers.commands import call

Draw = Callable[..., Predictions]


@pytest.mark.parametrize("how", ["max", "mean"])
def test_the_auroc_of_studies_is_that_of_their_images_grouped_by_pandas(draw: Draw, how: str) -> None:
    predictions = draw(60, ("Mass",))
    study = np.arange(60) // 3
    predictions.rows["study_id"] = [f"s{one}" for one in study]
    combined = combine(predictions, "study", how)  # type: ignore[arg-type]
    p = pd.Series(predictions.p[:, 0]).groupby(study).agg(how)
    y = pd.Series(predictions.y[:, 0]).groupby(study).max()
    assert len(combined) == 20
    assert roc_auc_score(combined.y[:, 0], combined.p[:, 0]) == roc_auc_score(y, p)


def test_chexperts_paths_tell_the_study_and_unknown_ones_are_an_error(draw: Draw) -> None:
    predictions = draw(4, ("Mass",))
    predictions.rows["image"] = [f"valid/patient1/study{n // 2}/view{n}.jpg" for n in range(4)]
    assert combine(predictions, "study", "max").rows["image"].tolist() == [
        "valid/patient1/study0", "valid/patient1/study1",
    ]  # fmt: skip
    predictions.rows.loc[2, "image"] = "x.jpg"
    with pytest.raises(CxrError, match=r"eval\.unit=study: 1 image names no study, the first x\.jpg"):
        combine(predictions, "study", "max")


def test_patients_with_different_labels_are_positive_and_counted(draw: Draw) -> None:
    predictions = draw(4, ("Mass",))
    predictions.rows["patient_id"] = ["1", "1", "2", "2"]
    predictions.y[:, 0] = [1, 0, 0, np.nan]
    combined = combine(predictions, "patient", "max")
    assert combined.y[:, 0].tolist() == [1, 0]
    assert combined.notes[1:] == (
        "1 have images with different labels and count as positive: Mass 1",
        "1 have images with and without a known label: the known ones count",
    )


def test_a_column_in_which_images_differ_says_so_and_the_age_is_the_lowest(draw: Draw) -> None:
    predictions = draw(4, ("Mass",))
    predictions.rows["patient_id"] = ["1", "1", "2", "2"]
    predictions.rows["view"], predictions.rows["age"] = ["PA", "lateral", "AP", "AP"], [51.0, 50, np.nan, 7]
    combined = combine(predictions, "patient", "max")
    assert combined.rows["view"].tolist() == ["mixed", "AP"] and combined.rows["age"].tolist() == [50, 7]
    assert (combined.unit, combined.describe()) == ("patient", "test rows (2 patients)")


def test_a_study_that_several_patients_have_is_one_of_each(draw: Draw) -> None:
    predictions = draw(60, ("Mass",))
    visit = np.arange(60) % 2
    predictions.rows["study_id"] = visit.astype(str)
    combined = combine(predictions, "study", "mean")
    grouped = (
        pd.Series(predictions.p[:, 0]).groupby([predictions.rows["patient_id"].to_numpy(), visit]).mean()
    )
    assert sorted(combined.p[:, 0]) == sorted(grouped) and combined.rows["image"].is_unique
    predictions.rows.loc[0, "patient_id"] = ""  # nobody can say whose it is
    assert len(combine(predictions, "study", "mean")) == len(combined) + 1


def write_studies(folder: Path) -> tuple[Path, Path]:
    """Test and validation predictions of three images a study, with labels that are a study's."""
    paths = []
    for split, seed in (("test", 0), ("val", 1)):
        draws = np.random.default_rng(seed)
        y = np.repeat((draws.random(60) < 0.4).astype(int), 3)
        table = pd.DataFrame(
            {"image": [f"{split}{row}.png" for row in range(180)], "Study": np.arange(180) // 3}
        )
        table["Study"] = split + table["Study"].astype(str)
        table = table.assign(patient_id=table["Study"], split=split, y_Mass=y)
        p = np.clip(0.25 * y + draws.random(180) * 0.7, 0, 1).round(4)
        paths.append(folder / f"{split}.csv")
        table.assign(p_Mass=p).to_csv(paths[-1], index=False)
    return paths[0], paths[1]


@pytest.mark.parametrize("how", ["max", "mean"])
def test_both_units_are_reported_each_at_thresholds_of_its_own_unit(
    tmp_path: Path, how: str, capsys: pytest.CaptureFixture[str]
) -> None:
    test, val = write_studies(tmp_path)
    options = ("eval.unit=study", f"eval.combine={how}", "eval.draws=100", "--validation", val)
    assert call("eval", test, *options, "--out", tmp_path / "r") == 0
    said = capsys.readouterr().out
    assert "By image (180 images): mean AUROC" in said
    assert "pairs of a study and a finding, not studies" in said
    by_study = pd.read_csv(tmp_path / "r" / "metrics.csv").set_index("finding").loc["Mass"]
    by_image = pd.read_csv(tmp_path / "r" / "metrics_by_image.csv").set_index("finding").loc["Mass"]
    images, tuned = pd.read_csv(test), pd.read_csv(val)
    for found, unit in ((by_study, ["Study"]), (by_image, ["image"])):
        grouped, chosen_on = (
            rows.groupby(unit).agg({"y_Mass": "max", "p_Mass": how}) for rows in (images, tuned)
        )
        assert found["num"] == len(grouped)
        assert found["auroc"] == pytest.approx(roc_auc_score(grouped["y_Mass"], grouped["p_Mass"]))
        best = max(
            f1_score(chosen_on["y_Mass"], chosen_on["p_Mass"] >= cut) for cut in chosen_on["p_Mass"].unique()
        )
        called = chosen_on["p_Mass"] >= found["threshold"]
        assert f1_score(chosen_on["y_Mass"], called) == best
        assert found["f1"] == pytest.approx(
            f1_score(grouped["y_Mass"], grouped["p_Mass"] >= found["threshold"])
        )
    facts = json.loads((tmp_path / "r" / "report.json").read_text())
    assert facts["thresholds"]["chosen_on"] == "validation rows (60 studies, 60 patients)"
    assert facts["metrics_by_image"][0]["auroc"] == by_image["auroc"]
    page = (tmp_path / "r" / "report.html").read_text()
    assert "Single images" in page and ">Studies<" in page.replace("\n", "").replace(" ", "")


def test_images_alone_have_no_second_table(tmp_path: Path) -> None:
    test, _ = write_studies(tmp_path)
    assert call("eval", test, "eval.draws=100", "--out", tmp_path / "r") == 0
    assert not (tmp_path / "r" / "metrics_by_image.csv").exists()


def test_readers_of_studies_are_compared_with_a_model_of_images(tmp_path: Path) -> None:
    test, _ = write_studies(tmp_path)
    truth = pd.read_csv(test).groupby("Study").agg(Mass=("y_Mass", "max")).reset_index()
    truth.to_csv(tmp_path / "truth.csv", index=False)
    truth.assign(Mass=np.where(np.arange(60) < 12, 1 - truth["Mass"], truth["Mass"])).to_csv(
        tmp_path / "reader.csv", index=False
    )
    options = ("--reference", tmp_path / "truth.csv", "eval.unit=study", "eval.draws=100")
    assert call("readers", test, tmp_path / "reader.csv", *options, "--out", tmp_path / "r") == 0
    point = pd.read_csv(tmp_path / "r" / "reader_points.csv").iloc[0]
    largest = pd.read_csv(test).groupby("Study")["p_Mass"].max()
    assert (point["num"], point["auroc"]) == (
        60, pytest.approx(roc_auc_score(truth.set_index("Study")["Mass"], largest))
    )  # fmt: skip
