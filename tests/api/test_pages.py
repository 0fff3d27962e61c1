"""docs/python.md and docs/first_steps.ipynb do what they say, on a tiny run in place of the demo's."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from cxr.evaluation.predictions import write
from tests.helpers.predictions import draw_predictions

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture
def demo(run: Path, recipe: Path, nih_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a run, images and a recipe where those of the demo are."""
    (tmp_path / "runs/demo").mkdir(parents=True)
    (tmp_path / "runs/demo/best.safetensors").symlink_to(run / "best.safetensors")
    (tmp_path / "data").mkdir()
    (tmp_path / "data/phantom").symlink_to(nih_root)
    (tmp_path / "demo").symlink_to(recipe)  # a file goes before the recipe of its name
    monkeypatch.chdir(tmp_path)
    return tmp_path


def execute(parts: list[str], page: str) -> dict[str, Any]:
    """The names after all parts of a page, one after the other as in one session."""
    names: dict[str, Any] = {}
    for number, part in enumerate(parts, 1):
        exec(compile(part, f"{page}, block {number}", "exec"), names)
    return names


def test_every_block_of_the_page_runs(demo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(draw_predictions(60), demo / "runs/demo/eval_test/predictions.csv")
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / "python.md").read_text(encoding="utf-8"), re.DOTALL)
    capsys.readouterr()
    names = execute(blocks, "docs/python.md")
    assert len(blocks) == 8
    assert names["features"].shape == (2, 512)
    assert (demo / "effusion.png").is_file() and (demo / "report.html").is_file()
    assert "Cardiomegaly" in capsys.readouterr().out


def test_every_cell_of_the_notebook_runs(demo: Path) -> None:
    notebook = json.loads((DOCS / "first_steps.ipynb").read_text(encoding="utf-8"))
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    names = execute(["".join(cell["source"]) for cell in cells], "docs/first_steps.ipynb")
    assert len(names["predictions"]) == len(names["tests"]) > 0
    assert (demo / "report.html").is_file()


def test_the_notebook_is_one_and_holds_no_results() -> None:
    notebook = json.loads((DOCS / "first_steps.ipynb").read_text(encoding="utf-8"))
    assert (notebook["nbformat"], notebook["metadata"]["kernelspec"]["name"]) == (4, "python3")
    cells = notebook["cells"]
    assert len({cell["id"] for cell in cells}) == len(cells) > 10
    assert all(cell["outputs"] == [] for cell in cells if cell["cell_type"] == "code")


def test_the_page_names_every_name() -> None:
    import cxr

    page = (DOCS / "python.md").read_text(encoding="utf-8")
    members = [name for part in (cxr.Model, cxr.Report, cxr.Dataset) for name in vars(part) if name[0] != "_"]
    assert {"load", "score", "CxrError", *members} <= set(re.findall(r"\w+", page))
