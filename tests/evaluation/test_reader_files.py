from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score

from cxr.cli import main
from cxr.config.schema import Eval
from cxr.errors import CxrError
from cxr.evaluation.join import LabelOptions
from cxr.evaluation.reader_files import read_readings, read_thresholds
from cxr.evaluation.readers import compare_reader_files

HOW = Eval(draws=100)


@pytest.fixture
def room(tmp_path: Path) -> pd.DataFrame:
    """Predictions p.csv of 40 images and readings r1.csv, r2.csv of them; the truth of three findings."""
    draws = np.random.default_rng(2)
    truth = draws.integers(0, 2, (40, 3))
    frame = pd.DataFrame({"image": [f"a{row}.png" for row in range(40)]})
    named = dict(zip(("Edema", "Effusion", "COVID-19"), truth.T, strict=True))
    frame.assign(**{f"p_{k}": v * 0.4 + draws.random(40) * 0.6 for k, v in named.items()}).to_csv(
        tmp_path / "p.csv", index=False
    )
    for name in ("r1.csv", "r2.csv"):
        frame.assign(**named).to_csv(tmp_path / name, index=False)
    return frame.assign(**named)


def test_findings_and_images_that_a_reader_lacks_are_named(room: pd.DataFrame, tmp_path: Path) -> None:
    other = room.drop(columns="COVID-19").rename(columns={"Effusion": "Pleural Effusion"}).assign(Mass=1)
    other.loc[10:, "image"] = other.loc[10:, "image"].str.replace("a", "zz")
    other.to_csv(tmp_path / "r2.csv", index=False)
    result = compare_reader_files(tmp_path / "p.csv", [tmp_path / "r1.csv", tmp_path / "r2.csv"], None, HOW)
    assert list(dict.fromkeys(result.table["finding"])) == ["Edema", "Effusion"]
    assert result.notes[:4] == (
        "left out, since the model does not predict what reader r2 reads: Mass",
        "left out, since reader r2 does not read them: COVID-19",
        "30 of the 40 images of reader r2 are not predicted, the first zz10.png",
        "30 of the 40 predicted images are not read by reader r2, the first a10.png",
    )
    every = pd.read_csv(tmp_path / "p.csv")["p_Effusion"][:10] >= 0.5
    row = result.table.query("finding == 'Effusion' and reader == 'r1'").iloc[0]
    assert row["model_f1"] == pytest.approx(f1_score(other["Pleural Effusion"][:10], every))


def test_bare_columns_that_readers_read_are_probabilities_and_words_of_none_are_counted(
    tmp_path: Path,
) -> None:
    (tmp_path / "p.csv").write_text("image,p_Edema,blurred hilum\na,0.9,0.2\nb,0.1,0.7\n")
    (tmp_path / "r.csv").write_text("image,said\na,Edema\nb,Edemma|blurred hilum\n")
    _, predictions, readings, notes = read_readings(
        tmp_path / "p.csv", [tmp_path / "r.csv"], LabelOptions("said")
    )
    assert predictions.findings == ("Edema", "blurred hilum") and readings[0].calls.tolist() == [
        [1, 0],
        [0, 1],
    ]
    assert notes == ["reader r: words of column said that are none of the findings here: Edemma (1 row)"]


def test_readers_whose_files_have_one_name_are_told_apart_by_folder(
    room: pd.DataFrame, tmp_path: Path
) -> None:
    paths = [tmp_path / folder / "r.csv" for folder in "AB"]
    for path in paths:
        path.parent.mkdir()
        room.to_csv(path, index=False)
    assert [own.name for own in read_readings(tmp_path / "p.csv", paths)[2]] == ["A/r", "B/r"]


@pytest.mark.parametrize("cell", ["", "inf", "50", "-3", "nan", "half", "0.5%"])
def test_a_threshold_is_a_number_from_0_to_1(tmp_path: Path, cell: str) -> None:
    (tmp_path / "th.csv").write_text(f"finding,threshold\nMass,0.5\nEdema,{cell}\nmean,\n")
    with pytest.raises(CxrError, match=r"th\.csv:3: threshold of Edema is .*, no number from 0 to 1"):
        read_thresholds(tmp_path / "th.csv", ("Edema", "Mass"))


def test_every_mistake_of_thresholds_is_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "th.csv").write_text("finding,threshold\nEdema,0.5\nedema,0.9\nMass,2\n")
    with pytest.raises(CxrError) as error:
        read_thresholds(tmp_path / "th.csv", ("Edema", "Hernia"))
    assert [problem.replace(f"{tmp_path}/", "") for problem in error.value.problems] == [
        "th.csv:3: Edema is there twice, first on line 2",
        "th.csv:4: threshold of Mass is 2, no number from 0 to 1",
        "th.csv: is no metrics.csv with a threshold for each of Hernia",
    ]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
def test_thresholds_are_read_from_any_dialect(tmp_path: Path, encoding: str) -> None:
    text = "Finding;Threshold\nPleural Effusion;0,25\nmean;\n"
    (tmp_path / "th.csv").write_bytes(text.encode(encoding))
    assert read_thresholds(tmp_path / "th.csv", ("Effusion",)).values == (0.25,)


@pytest.mark.parametrize(
    "command", ["eval p.csv --labels l.csv", "compare p.csv q.csv --labels l.csv", "readers p.csv l.csv"]
)
@pytest.mark.parametrize(("rule", "status"), [("any", 0), ("anything", 2), ("", 2)])
def test_doubled_labels_are_joined_by_every_command_as_its_hint_says(
    room: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    command: str, rule: str, status: int,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    Path("q.csv").write_text(Path("p.csv").read_text())
    pd.concat([room, room.assign(Edema=0)]).to_csv("l.csv", index=False)
    with pytest.raises(SystemExit) as ended:
        main(
            [*command.split(), "eval.draws=100", *([f"data.duplicates={rule}"] if rule else []), "--out", "o"]
        )
    said = capsys.readouterr()
    assert ended.value.code == status, said.err
    assert (
        ("data.duplicates=any" in said.err) if status else "data.duplicates=any" in " ".join(said.out.split())
    )


def test_the_rule_for_doubled_labels_needs_a_table_of_labels(
    room: pd.DataFrame, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["eval", str(tmp_path / "p.csv"), "data.duplicates=any"])
    assert "give the table with --labels FILE" in capsys.readouterr().err
