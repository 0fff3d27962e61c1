from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import cohen_kappa_score, f1_score, roc_auc_score

from cxr.config.schema import Eval
from cxr.errors import CxrError
from cxr.evaluation.readers import Against, compare_reader_files
from tests.evaluation.test_readers import reading_room

HOW = Eval(draws=100)


@pytest.mark.parametrize(("rule", "with_model"), [("chexnet", True), ("pairs", False)])
def test_a_reader_has_the_mean_of_his_scores_against_each_other(
    tmp_path: Path, rule: Literal["chexnet", "pairs"], with_model: bool
) -> None:
    path, files, calls = reading_room(tmp_path, num_readers=3)
    model = (pd.read_csv(path)["p_Pneumonia"] >= 0.5).astype(float).to_numpy()
    result = compare_reader_files(path, files, None, HOW, against=Against(rule))
    table = result.table.set_index("reader")
    kappas = result.metrics[result.metrics["metric"] == "kappa"].set_index("reader")
    for number in range(3):
        others = [*np.delete(calls, number, axis=0), *([model] if with_model else [])]
        row = table.loc[f"reader_{number}"]
        assert row["reader_f1"] == pytest.approx(np.mean([f1_score(o, calls[number]) for o in others]))
        assert row["model_f1"] == pytest.approx(np.mean([f1_score(own, model) for own in calls]))
        assert (row["rule"], row["num_ties"]) == (rule, 0)
        expected = np.mean([cohen_kappa_score(o, calls[number]) for o in others])
        assert kappas.loc[f"reader_{number}", "reader_value"] == pytest.approx(expected)
    assert table.loc["all readers", "reader_f1"] == pytest.approx(table["reader_f1"][:3].mean())
    assert not len(result.points)  # several references give no one curve


def test_a_table_of_ground_truth_takes_the_place_of_the_other_readers(tmp_path: Path) -> None:
    path, files, calls = reading_room(tmp_path)
    truth = calls[0].copy()
    frame = pd.read_csv(files[1]).assign(Pneumonia=np.where(np.arange(120) < 7, -1, truth).astype(int))
    frame.iloc[:110].to_csv(tmp_path / "truth.csv", index=False)
    against = Against(reference=tmp_path / "truth.csv")
    result = compare_reader_files(path, files[1:], None, HOW, against=against)
    row = result.table.set_index("reader").loc["reader_2"]
    known = slice(7, 110)  # an uncertain cell and an image that is not there are unknown
    assert (row["num"], row["num_positive"]) == (103, truth[known].sum())
    assert row["reader_f1"] == pytest.approx(f1_score(truth[known], calls[2][known]))
    assert f"10 of the 120 images are not labelled in {tmp_path / 'truth.csv'}" in result.notes


def test_what_cannot_be_combined_is_refused(tmp_path: Path) -> None:
    path, files, _ = reading_room(tmp_path)
    cases = {
        "cannot be combined with --reference": Against("pairs", files[0]),
        "is no margin": Against(reference=files[0], margin=5),
        "--margin: needs a ground truth": Against(margin=0.05),
        "--aided: needs a ground truth": Against(aided=tuple(files)),
        "--aided: 1 file for 4 readers": Against(reference=files[0], aided=(files[0],)),
    }
    for problem, against in cases.items():
        with pytest.raises(CxrError, match=problem):
            compare_reader_files(path, files, None, HOW, against=against)


def test_findings_that_the_reference_lacks_are_left_out_and_named(tmp_path: Path) -> None:
    path, files, _ = reading_room(tmp_path)
    pd.read_csv(path).assign(p_Mass=0.5).to_csv(path, index=False)
    for file in files:
        pd.read_csv(file).assign(Mass=0).to_csv(file, index=False)
    pd.read_csv(files[0]).drop(columns="Mass").to_csv(tmp_path / "truth.csv", index=False)
    against = Against(reference=tmp_path / "truth.csv")
    result = compare_reader_files(path, files, None, HOW, against=against)
    assert set(result.table["finding"]) == {"Pneumonia"}
    assert f"left out, since {tmp_path / 'truth.csv'} does not label them: Mass" in result.notes


def test_second_readings_are_set_against_the_first_of_the_same_readers(tmp_path: Path) -> None:
    path, files, calls = reading_room(tmp_path, num_readers=3)
    truth = (calls.sum(axis=0) > 1).astype(float)
    images = pd.read_csv(path)["image"]
    draws, second, aided = np.random.default_rng(0), [], []
    (tmp_path / "aided").mkdir()
    for file, own in zip(files, calls, strict=True):
        second.append(np.where(draws.random(120) < 0.5, truth, own))
        aided.append(tmp_path / "aided" / file.name)
        pd.DataFrame({"image": images, "Pneumonia": second[-1].astype(int)}).to_csv(aided[-1], index=False)
    pd.DataFrame({"image": images, "Pneumonia": truth.astype(int)}).to_csv(tmp_path / "t.csv", index=False)
    against = Against(reference=tmp_path / "t.csv", aided=tuple(aided))
    result = compare_reader_files(path, files, None, HOW, against=against)
    assert dict(result.about)["readers"] == "reader_0, reader_1, reader_2"
    assert len(result.table) == 4  # the first readings and their mean
    row = result.aided.query("metric == 'f1' and analysis == 'fixed readers'").iloc[0]
    without, with_help = (np.mean([f1_score(truth, own) for own in side]) for side in (calls, second))
    assert (row["unaided"], row["aided"]) == pytest.approx((without, with_help))
    assert row["difference"] == pytest.approx(with_help - without)
    # sensitivity of these readers: the mean over readers of each patient's gain, over the positive images
    row = result.aided.query("metric == 'sensitivity' and analysis == 'fixed readers'").iloc[0]
    gain = (np.mean(second, axis=0) - np.mean(calls, axis=0))[truth == 1]
    patients = (np.arange(120) // 2)[truth == 1]
    sums = pd.Series(gain - gain.mean()).groupby(patients).sum()
    variance = np.square(sums).sum() / len(gain) ** 2 * len(sums) / (len(sums) - 1)
    assert row["error"] == pytest.approx(np.sqrt(variance))


def test_readers_may_give_scores(tmp_path: Path) -> None:
    path, files, calls = reading_room(tmp_path, num_readers=2)
    draws = np.random.default_rng(5)
    scores = [np.clip(0.3 * own + 0.7 * draws.random(120), 0, 1) for own in calls]
    for file, score in zip(files, scores, strict=True):
        pd.read_csv(file).drop(columns="Pneumonia").assign(p_Pneumonia=score).to_csv(file, index=False)
    truth = tmp_path / "truth.csv"
    pd.DataFrame({"image": pd.read_csv(path)["image"], "Pneumonia": calls[0].astype(int)}).to_csv(
        truth, index=False
    )
    panel = compare_reader_files(path, files, None, HOW, against=Against(reference=truth)).panel
    row = panel[(panel["metric"] == "auroc") & (panel["analysis"] == "random readers")].iloc[0]
    assert row["readers"] == pytest.approx(np.mean([roc_auc_score(calls[0], own) for own in scores]))
    assert row["model"] == pytest.approx(roc_auc_score(calls[0], pd.read_csv(path)["p_Pneumonia"]))
    called = panel[(panel["metric"] == "f1")].iloc[0]
    assert called["readers"] == pytest.approx(np.mean([f1_score(calls[0], own >= 0.5) for own in scores]))
