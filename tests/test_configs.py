"""Every shipped recipe says what it costs, and runs."""

import re
from pathlib import Path

import pandas as pd
import pytest

from cxr.cli import main
from cxr.config_file import load

CONFIGS = sorted((Path(__file__).parents[1] / "configs").glob("*.yaml"))
SHIPPED = {"demo", "nih_densenet121", "nih_resnet50", "nih_pneumonia", "chexpert_densenet121", "chexnet_2017"}


def test_the_recipes_of_the_manual_are_there() -> None:
    assert {path.stem for path in CONFIGS} >= SHIPPED


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_recipe_opens_with_its_command_hardware_time_and_score(path: Path) -> None:
    opening = re.match(r"(#.*\n)+", path.read_text(encoding="utf-8"))
    assert opening
    assert re.match(rf"# cxr train configs/{path.stem}\.yaml\b", opening[0])
    for what in ("Hardware: ", "Time: ", "Score: "):
        assert what in opening[0]


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_recipe_runs_tiny(path: Path, archive: Path, chexpert: Path, tmp_path: Path) -> None:
    roots, data = {"chexpert": chexpert}, load(path).data
    further = [f"data.also.{place}.root={roots.get(one.source, archive)}" for place, one in enumerate(data.also)]
    root = roots.get(data.source, archive)
    size = ("image.size=32", "image.store_size=32", f"store.path={tmp_path / 'store'}")
    small = (f"data.root={root}", "model.weights=none", "train.epochs=1", "train.batch_size=20", *size, *further)
    with pytest.raises(SystemExit) as trained:
        main(["train", str(path), *small, f"out={tmp_path / 'run'}"])
    with pytest.raises(SystemExit) as judged:
        main(["eval", str(tmp_path / "run")])
    assert (trained.value.code, judged.value.code) == (0, 0)
    figures = pd.read_csv(tmp_path / "run" / "eval_test" / "metrics.csv").set_index("finding")["auroc"]
    assert 0 <= float(figures["mean"]) <= 1
