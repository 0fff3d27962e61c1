"""A path that the operating system says nothing of is an error of the usual form at every door."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from cxr.cli import main
from cxr.errors import CxrError
from cxr.paths import exists, is_file, is_folder, refuse_pipe
from tests.helpers.fakes import write_lines
from tests.helpers.powers import without_roots_powers

NAMES = ["shut/inside", "loop", "a" * 300, "file/inside", "pipe"]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder that holds one path of each kind that cannot be used."""
    (tmp_path / "shut" / "inside").mkdir(parents=True)
    (tmp_path / "shut").chmod(0)
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    with without_roots_powers():
        yield tmp_path
    (tmp_path / "shut").chmod(0o700)


@pytest.mark.parametrize("name", ["shut/inside", "loop", "a" * 300, "b/" * 2500, "a\0b", "\ud800"])
def test_what_cannot_be_known_is_an_error(folder: Path, name: str) -> None:
    for ask in (is_folder, is_file, exists):
        with pytest.raises(CxrError, match=re.escape(name[:9])):
            ask(folder / name)


def test_what_can_be_known_is_said(folder: Path) -> None:
    assert [is_folder(folder / name) for name in ("shut", "file", "absent", "file/x", "pipe")] == [
        True,
        *[False] * 4,
    ]
    assert [is_file(folder / name) for name in ("file", "shut", "pipe", "zero")] == [
        True,
        False,
        False,
        False,
    ]
    assert [exists(folder / name) for name in ("pipe", "absent")] == [True, False]
    for name in ("pipe", "zero"):
        with pytest.raises(CxrError, match="is a pipe or a device"):
            refuse_pipe(folder / name)


def doors(path: str, recipe: Path, run: Path, scores: Path, image: Path) -> list[list[str]]:
    """Commands that are given a path where a file or a folder is wanted."""
    train = ["train", str(recipe), "train.epochs=1"]
    return [
        ["config", path],
        ["check", str(recipe), "--quick", "--out", f"{path}/out"],
        ["pack", str(recipe), f"data.root={path}"],
        ["pack", str(recipe), "data.source=table", "data.split=random", f"data.csv={path}"],
        ["pack", str(recipe), "data.split=lists", f"data.lists={{train: {path}, val: {path}, test: {path}}}"],
        ["pack", str(recipe), f"store.path={path}/store"],
        [*train, f"out={path}/run"],
        [*train, f"model.weights={path}/x.pth", f"out={recipe.parent / 'never'}"],
        ["eval", path],
        ["eval", str(scores), "--labels", path],
        ["eval", str(scores), "--validation", path],
        ["eval", str(scores), "eval.draws=100", "--out", f"{path}/out"],
        ["readers", str(scores), path],
        ["readers", str(scores), str(scores), "--thresholds", path],
        ["predict", path, str(image)],
        ["predict", str(run), path],
        ["predict", str(run), str(image), "--heatmaps", f"{path}/maps"],
        ["phantom", f"{path}/new", "--images", "3"],
    ]


@pytest.mark.parametrize("name", NAMES, ids=[name[:8] for name in NAMES])
def test_every_door_says_so_in_the_usual_form(
    folder: Path, name: str, recipe: Path, run: Path, nih_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scores = write_lines(folder / "p.csv", ["image,y_Mass,p_Mass", "a.png,1,0.5", "b.png,0,0.25"])
    image = next((nih_root / "images").iterdir())
    for command in doors(str(folder / name), recipe, run, scores, image):
        with pytest.raises(SystemExit) as ended:
            main(command)
        said = capsys.readouterr().err
        assert ended.value.code == 2, command
        assert "error: " in said and "\nhint: " in said and "Traceback" not in said, command


def test_an_image_that_may_not_be_read_does_not_stop_the_others(
    folder: Path, run: Path, nih_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = next((nih_root / "images").iterdir())
    with pytest.raises(SystemExit) as ended:
        main(["predict", str(run), *(str(folder / name) for name in NAMES), str(image)])
    said = capsys.readouterr()
    assert ended.value.code == 1
    assert image.name in said.out
    assert said.err.count("error: ") == len(NAMES)


def test_a_long_override_is_no_path(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["eval", str(run), f"data.findings=[{'x' * 300}]"])
    assert "too long" not in capsys.readouterr().err
