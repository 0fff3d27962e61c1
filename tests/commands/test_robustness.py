import json
from pathlib import Path

import pytest

from tests.helpers.commands import call, read_csv


def test_robustness_writes_a_page_and_a_table(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert call("robustness", run, "eval.draws=100", "--kinds", "pgd,marker", "--out", out) == 0
    said = capsys.readouterr().out
    assert "Strength 5" in said and said.endswith(f"report: {out / 'robustness.html'}\n")
    rows = read_csv(out / "robustness.csv")
    assert {row["kind"] for row in rows} == {"unchanged", "pgd", "marker"}
    assert len(rows) == 11 * 15 == len(json.loads((out / "robustness.json").read_text())["results"])
    assert (out / "robustness.html").stat().st_mode & 0o077 == 0  # it shows an image


def test_the_unchanged_images_have_the_auroc_and_intervals_of_eval(run: Path, tmp_path: Path) -> None:
    options = (run, "eval.draws=100", "--out")
    assert call("eval", *options, tmp_path / "eval", "--examples", "0") == 0
    assert call("robustness", *options, tmp_path / "robustness", "--kinds", "crop") == 0
    of_eval = {row["finding"]: row for row in read_csv(tmp_path / "eval" / "metrics.csv")}
    unchanged = [
        row for row in read_csv(tmp_path / "robustness" / "robustness.csv") if row["kind"] == "unchanged"
    ]
    assert len(unchanged) == 15
    for row in unchanged:
        for column in ("auroc", "auroc_low", "auroc_high"):
            expected = of_eval[row["finding"]][column]
            assert bool(row[column]) == bool(expected)
            if expected:
                assert float(row[column]) == pytest.approx(float(expected), abs=1e-12)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (("--kinds", "rain"), "--kinds rain: no such kind"),
        (("--seed", "-1"), "--seed -1: is negative"),
    ],
)
def test_mistakes_are_named_and_nothing_is_written(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], problem: str
) -> None:
    assert call("robustness", run, *options, "--out", tmp_path / "out") == 2
    assert problem in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
