from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from cxr.commands.compare import note_other_keys
from cxr.config.schema import Eval
from cxr.errors import CxrError
from cxr.evaluation.compare import Compared, compare
from cxr.evaluation.differences import holm
from cxr.evaluation.family import compare_family
from cxr.evaluation.predictions import Predictions, as_table
from cxr.evaluation.seeds import compare_seeds, welch
from cxr.evaluation.statistics import delong, metrics
from cxr.evaluation.thresholds import fixed
from cxr.evaluation.unpaired import compare_unpaired
from tests.helpers.commands import call
from tests.helpers.predictions import draw_predictions

Draw = Callable[..., Predictions]
HOW = Eval(draws=200)


def model(name: str, predictions: Predictions) -> Compared:
    return Compared(name, predictions, fixed(predictions.findings, 0.4))


def noisier(predictions: Predictions, by: float, seed: int) -> Predictions:
    noise = np.random.default_rng(seed).normal(0, by, predictions.p.shape)
    return replace(predictions, p=np.clip(predictions.p + noise, 0, 1))


def elsewhere(predictions: Predictions, prefix: str = "b_") -> Predictions:
    rows = predictions.rows.assign(
        image=prefix + predictions.rows["image"], patient_id=prefix + predictions.rows["patient_id"]
    )
    return replace(predictions, rows=rows)


def three(draw: Draw) -> list[Compared]:
    base = draw(450)
    return [model(name, noisier(base, by, place)) for place, (name, by) in
            enumerate((("a", 0.3), ("b", 0.1), ("c", 0.02)))]  # fmt: skip


def test_every_pair_is_as_two_models_alone_and_corrected_together(draw: Draw) -> None:
    models = three(draw)
    family = compare_family(models, HOW)
    assert family.pairs == ((0, 1), (0, 2), (1, 2))
    alone = compare(models[0], models[2], HOW).table
    pd.testing.assert_frame_equal(family.comparisons[1].table, alone)
    findings = family.table[family.table["finding"] != "mean"]
    means = family.table[family.table["finding"] == "mean"]
    assert (len(findings), len(means)) == (9, 3)
    np.testing.assert_array_equal(findings["auroc_p_family"], holm(findings["auroc_p"].to_numpy()))
    np.testing.assert_array_equal(means["auroc_p_family"], holm(means["auroc_p"].to_numpy()))


def test_against_one_model_there_are_fewer_tests_to_correct_for(draw: Draw) -> None:
    models = three(draw)
    family = compare_family(models, HOW, reference=1)
    assert [found.names for found in family.comparisons] == [("b", "a"), ("b", "c")]
    assert "each model against B, 2 comparisons" in family.tests
    means = family.table[family.table["finding"] == "mean"]
    np.testing.assert_array_equal(means["auroc_p_family"], holm(means["auroc_p"].to_numpy()))


def test_independent_sides_have_the_sum_of_their_variances(draw: Draw) -> None:
    inside, outside = draw(300), elsewhere(noisier(draw(240, seed=4), 0.2, 1))
    # a patient an image, where DeLong's variances are exact to compare with
    inside, outside = (
        replace(side, rows=side.rows.assign(patient_id=side.rows["image"])) for side in (inside, outside)
    )
    row = compare_unpaired(model("in", inside), model("out", outside), HOW).table.iloc[0]
    sides = []
    for side in (inside, outside):
        known = ~np.isnan(side.y[:, 0])
        auroc, variance = delong.covariance(side.y[known, 0], side.p[known, :1])
        rarer = min((side.y[:, 0] == label).sum() for label in (0, 1))
        # as in DeLong's own test, the normal distribution where each class has enough patients
        sides.append((float(auroc[0]), float(variance[0, 0]), np.inf if rarer >= 20 else rarer - 1))
    difference = sides[1][0] - sides[0][0]
    error = np.sqrt(sides[0][1] + sides[1][1])
    assert row["auroc_difference"] == pytest.approx(difference)
    assert row["auroc_error"] == pytest.approx(error)
    # Welch's degrees of freedom
    with np.errstate(divide="ignore"):
        freedom = error**4 / np.sum([variance**2 / of_side for _, variance, of_side in sides])
    assert row["auroc_p"] == pytest.approx(2 * stats.t.sf(abs(difference) / error, freedom))
    assert row["num_b"] == np.sum(~np.isnan(outside.y[:, 0]))
    assert row["auroc_low"] < difference < row["auroc_high"]


def test_two_test_sets_of_one_population_are_seldom_told_apart() -> None:
    p_values = []
    for seed in range(60):
        sides = (
            draw_predictions(210, ("Mass",), seed=seed),
            elsewhere(draw_predictions(150, ("Mass",), seed=seed + 500)),
        )
        found = compare_unpaired(model("a", sides[0]), model("b", sides[1]), Eval(draws=100))
        p_values.append(found.table["auroc_p"].iloc[-1])
    assert np.mean(np.array(p_values) < 0.05) <= 0.15  # 5 % with a standard error of 2.8 %


def test_unpaired_draws_of_both_sides_are_independent(draw: Draw) -> None:
    one = draw(300)
    found = compare_unpaired(model("a", one), model("b", elsewhere(one)), HOW).table.iloc[-1]
    # the same numbers twice: with the same draws the interval would be 0 to 0
    assert found["auroc_difference"] == 0 and found["auroc_low"] < -0.01 and found["auroc_high"] > 0.01


def test_images_of_both_sides_are_refused_and_patients_are_warned_of(draw: Draw) -> None:
    one = draw(90)
    with pytest.raises(CxrError, match=r"--unpaired: 90 images of b are those of a"):
        compare_unpaired(model("a", one), model("b", one), HOW)
    same_patients = replace(one, rows=one.rows.assign(image="b_" + one.rows["image"]))
    found = compare_unpaired(model("a", one), model("b", same_patients), HOW)
    assert "30 patient ids are in both" in found.warnings[0]


def test_welch_is_scipys() -> None:
    a, b = np.array([0.80, 0.81, 0.83]), np.array([0.84, 0.85, 0.85, 0.86])
    expected = stats.ttest_ind(b, a, equal_var=False).confidence_interval()
    assert welch(a, b) == pytest.approx((expected.low, expected.high))
    assert welch(np.array([0.5, 0.5]), np.array([0.6, 0.6])) == pytest.approx((0.1, 0.1))


def test_runs_of_a_recipe_have_a_mean_and_a_spread(draw: Draw) -> None:
    base = draw(450)
    runs = [model(f"{name}{seed}", noisier(base, by, 10 * place + seed))
            for place, (name, by) in enumerate((("a", 0.2), ("b", 0.2), ("c", 0.02))) for seed in range(3)]  # fmt: skip
    found = compare_seeds(runs, 3, HOW)
    assert found.recipes == (("a0", "a1", "a2"), ("b0", "b1", "b2"), ("c0", "c1", "c2"))
    aurocs = [metrics.auroc(run.predictions.y[:, 0], run.predictions.p[:, 0]) for run in runs[:3]]
    row = found.runs.query("recipe == 'A' and finding == 'Mass' and metric == 'auroc'").iloc[0]
    assert (row["mean"], row["sd"]) == pytest.approx((np.mean(aurocs), np.std(aurocs, ddof=1)))
    assert (row["lowest"], row["highest"]) == (min(aurocs), max(aurocs))
    means = found.differences.query("finding == 'mean' and metric == 'auroc'")
    assert list(zip(means["a"], means["b"], means["within_seed_noise"], strict=True)) == [
        ("A", "B", True),
        ("A", "C", False),
        ("B", "C", False),
    ]
    assert (means["patient_low"] < means["difference"]).all()
    assert (means["difference"] < means["patient_high"]).all()


def test_keys_of_eval_that_differ_are_said_and_whose_hold(draw: Draw) -> None:
    first, second = model("a", draw(60)), model("b", draw(60))
    keys = Eval(draws=200), Eval(draws=500, threshold="youden", subgroups=("sex",))
    assert note_other_keys(second, keys[1], (first, keys[0]), 1).notes == (
        "eval.threshold differs: A f1, B youden; each has its own",
        "eval.draws differs: A 200, B 500; that of A holds for all",
    )
    assert note_other_keys(second, keys[0], (first, keys[0]), 1).notes == ()


@pytest.fixture
def files(draw: Draw, tmp_path: Path) -> list[Path]:
    base = draw(120)
    written = []
    for place in range(4):
        path = tmp_path / f"{place}.csv"
        as_table(noisier(base, 0.1, place)).to_csv(path, index=False)
        written.append(path)
    as_table(elsewhere(draw(90, seed=3))).to_csv(tmp_path / "other.csv", index=False)
    return [*written, tmp_path / "other.csv"]


@pytest.mark.parametrize(
    ("options", "num", "said"),
    [
        (("--against", "x.csv"), 3, "--against: x.csv is none of the models"),
        (("--unpaired",), 3, "--unpaired takes two models"),
        (("--seeds", "3"), 4, "--seeds: 4 models are no recipes of 3 runs each"),
        (("--seeds", "2", "--unpaired"), 4, "--unpaired"),
        ((), 1, "cxr compare takes two to 26"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    files: list[Path], options: tuple[str, ...], num: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("compare", *files[:num], *options, "eval.draws=100") == 2
    assert said in " ".join(capsys.readouterr().err.split())


@pytest.mark.figures
def test_the_command_writes_every_kind(
    files: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)  # names of files in the output are short
    files = [Path(path.name) for path in files]
    kinds: dict[str, list[str | Path]] = {
        "family": [*files[:3]],
        "against": [*files[:3], "--against", files[2]],
        "seeds": [*files[:4], "--seeds", "2"],
        "unpaired": [files[0], files[4], "--unpaired"],
    }
    for name, arguments in kinds.items():
        assert call("compare", *arguments, "eval.draws=100", "--out", tmp_path / name) == 0
        shown = capsys.readouterr().out
        assert "…" not in shown
    columns = {path.parent.name: list(pd.read_csv(path)) for path in tmp_path.glob("*/*.csv")}
    two = list(pd.read_csv(tmp_path / "unpaired" / "comparison.csv"))
    assert two[-4:] == ["auroc_error", "auroc_detectable", "num_b", "num_positive_b"]
    assert columns["family"] == ["a", "b", *two[:-2], "auroc_p_family"]
    for name in ("family", "against", "seeds", "unpaired"):
        assert {"comparison.json", "comparison.md", "comparison.html"} <= {
            p.name for p in (tmp_path / name).iterdir()
        }
        page = (tmp_path / name / "comparison.html").read_text()
        assert "\\n" not in page  # a heading that breaks on the terminal alone
    assert {path.stem for path in (tmp_path / "family" / "figures").iterdir()} == {"differences", "roc"}
    header = (tmp_path / "seeds" / "seed_differences.csv").read_text().splitlines()[0]
    assert (
        header
        == "a,b,finding,metric,difference,seed_low,seed_high,patient_low,patient_high,within_seed_noise"
    )
    header = (tmp_path / "seeds" / "seeds.csv").read_text().splitlines()[0]
    assert header == "recipe,finding,metric,num_runs,mean,sd,lowest,highest"
