"""Models, readers and a ground truth of 500 studies, in files as CheXpert's test set comes."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score, roc_curve

from cxr.findings import CHEXPERT_5, CHEXPERT_14
from tests.helpers.commands import call

READERS = ("bc4", "bc6", "bc8")
NUM_MODELS = 10


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`groundtruth.csv`, a file per reader with its columns in another order, and `modelN_predictions.csv`."""
    folder = tmp_path_factory.mktemp("room")
    draws = np.random.default_rng(3)
    studies = [f"CheXpert-v1.0/test/patient{64741 + row}/study1" for row in range(500)]
    severity = draws.normal(size=(500, 14))
    truth = (severity > np.quantile(severity, 0.75)).astype(int)

    def write(name: str, values: np.ndarray, findings: tuple[str, ...]) -> None:
        table = pd.DataFrame(values, columns=list(CHEXPERT_14))[list(findings)]
        table.insert(0, "Study", studies)
        table.to_csv(folder / f"{name}.csv", index=False)

    write("groundtruth", truth, CHEXPERT_14)
    for name in READERS:
        is_wrong = draws.random(truth.shape) < np.where(truth == 1, 0.25, 0.1)
        write(name, np.where(is_wrong, 1 - truth, truth), CHEXPERT_14[::-1])
    for number in range(NUM_MODELS):
        noisy = severity + (0.3 + 0.2 * number) * draws.normal(size=severity.shape)
        scores = (1 / (1 + np.exp(-noisy))).round(number % 3 + 1)  # ties, as of rounded files
        write(f"model{number}_predictions", scores, CHEXPERT_5)
    return folder


def read(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, index_col="Study")


@pytest.mark.parametrize("number", range(NUM_MODELS))
def test_aurocs_are_scikit_learns_and_readers_below_the_curve_are_counted(
    room: Path, tmp_path: Path, number: int
) -> None:
    name = room / f"model{number}_predictions.csv"
    files = [room / f"{reader}.csv" for reader in READERS]
    out = tmp_path / "out"
    options = ("--reference", room / "groundtruth.csv", "--out", out, "eval.draws=100")
    assert call("readers", name, *files, *options) == 0
    points = pd.read_csv(out / "reader_points.csv").set_index(["finding", "reader"])
    truth, scores = read(room / "groundtruth.csv"), read(name)
    assert set(points.index.get_level_values(0)) == set(CHEXPERT_5)
    for finding in CHEXPERT_5:
        y = truth[finding].to_numpy()
        assert points.loc[(finding, "bc4"), "auroc"] == roc_auc_score(y, scores[finding])
        rates, sensitivities, _ = roc_curve(y, scores[finding])
        for reader in READERS:
            calls = read(room / f"{reader}.csv")[finding].to_numpy()
            # counted directly: of thresholds and the lines between them, the highest at the reader's rate
            rate, sensitivity = calls[y == 0].mean(), calls[y == 1].mean()
            assert points.loc[(finding, reader), "is_below"] == (
                sensitivity < np.interp(rate, rates, sensitivities)
            )
    if number in (1, 2):  # models about as good as the readers
        assert 0 < points["is_below"].sum() < len(points)


def test_eval_takes_studies_for_rows(room: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name, truth = room / "model1_predictions.csv", room / "groundtruth.csv"
    assert call("eval", name, "--labels", truth, "--out", tmp_path, "eval.draws=100") == 0
    assert "Evaluated on all rows (500 studies, 500 patients)" in capsys.readouterr().out
    metrics = pd.read_csv(tmp_path / "metrics.csv").set_index("finding")
    for finding in CHEXPERT_5:
        expected = roc_auc_score(read(truth)[finding], read(name)[finding])
        assert metrics.loc[finding, "auroc"] == pytest.approx(expected, abs=1e-15)


def test_the_page_the_figure_and_the_terminal_say_the_same(
    room: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    files = [room / f"{reader}.csv" for reader in READERS]
    options = (
        "--reference",
        room / "groundtruth.csv",
        "--margin",
        "0.1",
        "--out",
        tmp_path,
        "eval.draws=100",
    )
    assert call("readers", room / "model5_predictions.csv", *files, *options) == 0
    said = capsys.readouterr().out
    assert max(map(len, said.splitlines()[:-1])) <= 100
    points = pd.read_csv(tmp_path / "reader_points.csv")
    num_below = points[points["finding"] == "Edema"]["is_below"].sum()
    page = (tmp_path / "readers.html").read_text()
    for text in (f"Edema {num_below} of 3", "above -0.1"):
        assert text in " ".join(said.split()) and text in page
    assert f"{num_below} of 3 readers below" in (tmp_path / "figures" / "readers_roc.svg").read_text()
    panel = pd.read_csv(tmp_path / "reader_panel.csv")
    assert (panel["is_noninferior"] == (panel["low"] > -0.1)).all()


def test_a_study_that_recurs_is_named_with_both_lines(
    room: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = pd.read_csv(room / "model0_predictions.csv")
    pd.concat([table, table.iloc[:1].assign(Edema=0.5)]).to_csv(tmp_path / "p.csv", index=False)
    assert call("eval", tmp_path / "p.csv", "--labels", room / "groundtruth.csv") == 2
    assert "p.csv:502: study CheXpert-v1.0/test/patient64741/study1 is row 2 again" in capsys.readouterr().err


def test_findings_with_few_positive_studies_are_named(
    room: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    truth = pd.read_csv(room / "groundtruth.csv")
    truth["Edema"] = truth["Edema"].where(truth["Edema"].cumsum() <= 12, 0)
    truth.to_csv(tmp_path / "truth.csv", index=False)
    options = ("--reference", tmp_path / "truth.csv", "eval.draws=100")
    assert call("readers", room / "model0_predictions.csv", room / "bc4.csv", *options) == 0
    assert "against the panel are too small: Edema (12)" in " ".join(capsys.readouterr().out.split())
