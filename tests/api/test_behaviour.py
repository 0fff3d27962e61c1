from pathlib import Path

import pandas as pd
import pytest

import cxr
from tests.helpers.commands import call


def test_the_tables_are_those_of_the_commands(run: Path, tmp_path: Path) -> None:
    model = cxr.load(run, "cpu")
    drops = model.robustness("eval.draws=100", kinds=["crop"])
    assert call("robustness", run, "eval.draws=100", "--kinds", "crop", "--out", tmp_path) == 0
    written = pd.read_csv(tmp_path / "robustness.csv")
    pd.testing.assert_frame_equal(drops.reset_index(drop=True), written, check_dtype=False)
    found = model.shortcuts("eval.draws=100", max_images=6)
    assert found.regions["change"].nunique() == 6 and found.lungs.startswith("a fixed template")
    assert any(note.endswith("--max-images 0 takes all") for note in found.notes)


def test_mistakes_are_named_in_the_words_of_python(run: Path) -> None:
    model = cxr.load(run, "cpu")
    with pytest.raises(cxr.CxrError, match="kinds= rain: no such kind"):
        model.robustness(kinds=["rain"])
    with pytest.raises(cxr.CxrError, match="lungs='left': is none of them"):
        model.shortcuts(lungs="left")
