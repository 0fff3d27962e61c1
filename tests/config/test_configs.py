"""Every shipped recipe says what it costs, and runs."""

import re
from pathlib import Path

import pandas as pd
import pytest

from cxr.cli import main
from cxr.config.load import load
from cxr.config.schema import Phantom
from cxr.phantom.dataset import generate
from tests.helpers.fakes import write_mimic, write_padchest

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))
SHIPPED = {"demo", "nih_densenet121", "nih_resnet50", "nih_pneumonia", "chexpert_densenet121", "chexnet_2017"}
SHIPPED |= {"mimic_densenet121", "padchest_densenet121", "nih_chexpert_densenet121"}
ALIKE = {"demo", "chexnet_2017", "nih_resnet50"}
"""Recipes of a dataset and a network that others train with in tests; `cxr check` looks at them."""
OWN_BACKBONE = {"nih_densenet121"}


def test_the_recipes_of_the_manual_are_there() -> None:
    assert {path.stem for path in CONFIGS} >= SHIPPED


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_recipe_opens_with_its_command_hardware_time_and_score(path: Path) -> None:
    opening = re.match(r"(#.*\n)+", path.read_text(encoding="utf-8"))
    assert opening
    assert re.match(rf"# cxr train {path.stem}\b", opening[0])
    for what in ("Hardware: ", "Time: ", "Score: "):
        assert what in opening[0]


@pytest.fixture(scope="session")
def roots(tmp_path_factory: pytest.TempPathFactory, nih_root: Path) -> dict[str, Path]:
    """A small dataset in the layout of each source that a recipe names."""
    folder = tmp_path_factory.mktemp("datasets")
    generate(folder / "chexpert", Phantom(num_images=40, size=48, layout="chexpert"), 2)
    written = {
        "mimic": write_mimic(folder / "mimic", repeats=4),
        "padchest": write_padchest(folder / "p", repeats=8),
    }
    return {"nih": nih_root, "phantom": nih_root, "chexpert": folder / "chexpert", **written}


@pytest.mark.parametrize("name", sorted(ALIKE))
def test_a_recipe_is_ready(name: str, roots: dict[str, Path], tmp_path: Path) -> None:
    path = CONFIGS[0].parent / f"{name}.yaml"
    root = f"data.root={roots[load(path).data.source]}"
    with pytest.raises(SystemExit) as ended:
        main(
            [
                "check",
                str(path),
                root,
                f"store.path={tmp_path / 'store'}",
                "--quick",
                "--out",
                str(tmp_path / "check"),
            ]
        )
    assert ended.value.code == 0


@pytest.mark.parametrize(
    "path", [path for path in CONFIGS if path.stem not in ALIKE], ids=lambda path: path.stem
)
def test_a_recipe_runs_tiny(path: Path, roots: dict[str, Path], tmp_path: Path) -> None:
    data = load(path).data
    root, further = roots[data.source], [roots[one.source] for one in data.also]
    size = ("image.size=32", "image.store_size=32", f"store.path={tmp_path / 'store'}")
    others = (f"data.also.{place}.root={folder}" for place, folder in enumerate(further))
    small = (
        f"data.root={root}",
        *others,
        "model.weights=none",
        "train.epochs=1",
        "train.batch_size=20",
        *size,
    )
    small += (
        ("train.select=loss",) if path.stem == "nih_pneumonia" else ()
    )  # 3 validation images, all without
    small += (
        () if path.stem in OWN_BACKBONE else ("model.backbone=resnet18", "model.train_layers=head")
    )  # which takes a sixth of the time
    with pytest.raises(SystemExit) as trained:
        main(["train", str(path), *small, f"out={tmp_path / 'run'}"])
    with pytest.raises(SystemExit) as judged:
        main(["eval", str(tmp_path / "run"), "eval.draws=100"])
    assert (trained.value.code, judged.value.code) == (0, 0)
    figures = pd.read_csv(tmp_path / "run" / "eval_test" / "metrics.csv").set_index("finding")["auroc"]
    assert 0 <= float(figures["mean"]) <= 1
