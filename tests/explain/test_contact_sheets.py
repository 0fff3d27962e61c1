import re
import stat
from pathlib import Path

import numpy as np
import pandas as pd

from cxr.evaluation.predictions import Predictions
from cxr.explain.contact_sheets import choose_examples
from cxr.explain.examples import KINDS
from tests.helpers.commands import call


def test_examples_are_the_most_confident_of_each_kind() -> None:
    y = np.array([[1], [1], [1], [0], [0], [0], [np.nan], [1]], dtype=np.float64)
    p = np.array([[0.6], [0.9], [0.2], [0.7], [0.8], [0.1], [1.0], [0.4]])
    rows = pd.DataFrame({"image": list("abcdefgh"), "patient_id": "", "split": "", "view": "", "sex": ""})
    predictions = Predictions(rows.assign(age=np.nan), ("Mass",), y, p)
    chosen = choose_examples(predictions, np.array([0.5]), 2)
    assert chosen == {(0, KINDS[0]): [1, 0], (0, KINDS[1]): [4, 3], (0, KINDS[2]): [2, 7]}
    assert choose_examples(predictions, np.array([0.5]), 1)[0, KINDS[2]] == [2]


def test_the_page_of_a_run_shows_images_with_maps_to_its_owner_alone(run: Path, tmp_path: Path) -> None:
    options = ("eval.draws=100", "--examples", "1")
    assert call("eval", run, *options, "--out", tmp_path / "with") == 0
    page = tmp_path / "with" / "report.html"
    text = page.read_text()
    names = pd.read_csv(tmp_path / "with" / "predictions.csv")["image"]
    shown = re.findall(r'<img src="data:image/jpeg;base64,[^"]+"\s+alt="([^"]+)"', text)
    assert shown and all(any(name in alt for name in names) for alt in shown)
    assert stat.S_IMODE(page.stat().st_mode) == 0o600
    assert "image/jpeg" not in (tmp_path / "with" / "report.md").read_text()

    assert call("eval", run, *options[:1], "--examples", "0", "--out", tmp_path / "without") == 0
    without = tmp_path / "without" / "report.html"
    assert "image/jpeg;base64" not in without.read_text()
    assert stat.S_IMODE(without.stat().st_mode) != 0o600


def test_an_ensemble_has_images_without_maps(run: Path, tmp_path: Path) -> None:
    import shutil

    second = shutil.copytree(run, tmp_path / "second")
    out = tmp_path / "out"
    assert call("eval", run, second, "eval.draws=100", "--examples", "1", "--out", out) == 0
    text = (out / "report.html").read_text()
    assert "image/jpeg;base64" in text and "class activation map" not in text


def test_a_negative_number_of_examples_is_refused(run: Path) -> None:
    assert call("eval", run, "--examples", "-1") == 2
