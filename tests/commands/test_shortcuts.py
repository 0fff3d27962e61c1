import json
from pathlib import Path

import pytest

from tests.helpers.commands import call, read_csv


def test_shortcuts_writes_a_page_and_tables(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert call("shortcuts", run, "eval.draws=100", "--out", out) == 0
    said = capsys.readouterr().out
    assert "chest hidden" in said and said.endswith(f"report: {out / 'shortcuts.html'}\n")
    written = json.loads((out / "shortcuts.json").read_text())
    for name in ("regions", "within", "probes", "maps"):
        file = "shortcuts.csv" if name == "regions" else f"shortcuts_{name}.csv"
        assert len(read_csv(out / file)) == len(written[name])
    assert (out / "shortcuts.html").stat().st_mode & 0o077 == 0  # it shows an image


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (("--lungs", "segmentation"), "no weights of the segmentation of lungs"),
        (("--max-images", "-1"), "--max-images -1: is negative"),
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
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert call("shortcuts", run, *options, "--out", tmp_path / "out") == 2
    assert problem in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_model_from_elsewhere_has_no_dataset(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("shortcuts", "xrv:densenet121-res224-all") == 2
    assert "names no dataset to examine it on" in capsys.readouterr().err
