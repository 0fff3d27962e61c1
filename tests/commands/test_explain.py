import json
from pathlib import Path

import pytest

from tests.helpers.commands import call, read_csv


def test_a_run_is_scored_against_the_boxes_of_its_dataset(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("explain", run, "--out", tmp_path / "out", "eval.draws=100") == 0
    out = capsys.readouterr().out
    assert "Method: CAM (Zhou et al. 2016)" in out and "left out: " in out
    assert "The pointing game is above chance, prior and random weights" in " ".join(out.split())
    table = read_csv(tmp_path / "out" / "explain.csv")
    written = json.loads((tmp_path / "out" / "explain.json").read_text())
    assert [row["finding"] for row in table] == [row["finding"] for row in written["findings"]]
    page = (tmp_path / "out" / "explain.html").read_text()
    assert "Maps scored against boxes" in page and "IoBB 0.25" in page
    assert "data:image/jpeg;base64," in page and "probability 0." in page
    assert (tmp_path / "out" / "explain.html").stat().st_mode & 0o077 == 0  # it shows patients
    assert (tmp_path / "out" / "explain_images.csv").stat().st_mode & 0o077 == 0  # it names patients


@pytest.mark.parametrize("method", ["gradcam", "gradcam++", "occlusion", "integrated"])
def test_every_method_is_scored(run: Path, tmp_path: Path, method: str, nih_root: Path) -> None:
    lines = (nih_root / "BBox_List_2017.csv").read_text().splitlines()
    tested = (nih_root / "test_list.txt").read_text().split()
    few = [line for line in lines[1:] if line.split(",")[0] in tested][:4]
    (tmp_path / "boxes.csv").write_text("\n".join([lines[0], *few]))
    options = ("--boxes", tmp_path / "boxes.csv", "--method", method, "--out", tmp_path / "out")
    assert call("explain", run, *options, "--examples", "0") == 0
    assert "data:image/jpeg" not in (tmp_path / "out" / "explain.html").read_text()
    rows = read_csv(tmp_path / "out" / "explain.csv")
    assert sum(int(row["num_boxes"]) for row in rows if row["map"] == "model") == 4


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (("--boxes", "none.csv"), "none.csv: No such file or directory"),
        (("--examples", "-1"), "--examples -1: is negative"),
        (("--boxes", "masks.json", "--frame", "1024"), "masks.json holds masks, which state their size"),
        (("--frame", "0"), "--frame 0: is no width of an image"),
        (("--boxes", "fracture.csv"), "no box can be scored: left out: 1 box of <b>Fracture, which"),
        (("--boxes", "flat.csv"), "flat.csv:2: is a box of no size: width 0, height 4"),
        (("image.size=48",), "trained at 32 pixels, asked for 48"),
    ],
)
def test_mistakes_are_named_and_nothing_is_written(
    run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: tuple[str, ...],
    problem: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    heading = "image,finding,x,y,width,height\n"
    Path("fracture.csv").write_text(heading + "x.png,<b>Fracture,1,2,3,4\n")
    Path("masks.json").write_text('{"x": {"Mass": {"size": [1, 2], "counts": "11"}}}')
    Path("flat.csv").write_text(heading + "x.png,Mass,1,2,0,4\n")
    assert call("explain", run, *options, "--out", "out") == 2
    assert problem in capsys.readouterr().err
    assert not Path("out").exists()
