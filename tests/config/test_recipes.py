"""Recipes are found by name from any folder, and a wrong name is answered with the right one."""

from pathlib import Path

import pytest

from cxr.config.load import load
from cxr.config.recipes import find_recipe, list_recipes
from cxr.errors import CxrError
from tests.helpers.commands import call

CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", ["demo", "demo.yaml", "configs/demo.yaml"])
def test_a_recipe_goes_by_its_name_from_any_folder(name: str, elsewhere: Path) -> None:
    assert load(Path(name)) == load(CONFIGS / "demo.yaml")


def test_a_file_of_the_user_comes_before_a_recipe_of_that_name(elsewhere: Path) -> None:
    (elsewhere / "demo.yaml").write_text("data: {source: nih, root: here}\n")
    assert load(Path("demo.yaml")).data.source == "nih"
    assert load(Path("demo")).data.source == "phantom"


@pytest.mark.parametrize(
    ("name", "suggested"),
    [
        ("nih_densenet112", "nih_densenet121"),
        ("nih", "nih_densenet121"),
        ("NIH", "nih_densenet121"),
        ("chexnet", "chexnet_2017"),
        ("demmo.yaml", "demo"),
        ("configs/deno.yaml", "demo"),
    ],
)
def test_a_wrong_name_is_answered_with_the_right_one(name: str, suggested: str, elsewhere: Path) -> None:
    with pytest.raises(CxrError) as error:
        find_recipe(Path(name))
    assert str(error.value).startswith(f"{name}: no such file")
    assert suggested in str(error.value).partition("did you mean ")[2]


@pytest.mark.parametrize("name", ["", "x", "zzzzzzzz", "no/such/file.yaml", "nih" * 200])
def test_other_names_are_refused_without_a_guess(name: str, elsewhere: Path) -> None:
    with pytest.raises(CxrError) as error:
        find_recipe(Path(name))
    assert "did you mean" not in str(error.value)


def test_a_folder_is_no_recipe(elsewhere: Path) -> None:
    (elsewhere / "images").mkdir()
    with pytest.raises(CxrError, match="images: is a folder"):
        load(Path("images"))


def test_recipes_lists_each_with_hardware_time_and_score(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert call("recipes") == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80
    names = {path.stem for path in CONFIGS.glob("*.yaml")}
    assert names == {recipe.name for recipe in list_recipes()}
    assert names == {line for line in text.splitlines() if line in names}
    assert text.count("Hardware: ") == text.count("Time: ") == len(names)
    assert "Score: mean AUROC 0.979" in " ".join(text.split())


def test_config_prints_one_section_that_can_be_read_back(
    elsewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("config", "demo", "train", "data.source", "data.root", "train.epochs=3") == 0
    text = capsys.readouterr().out
    assert {line.split(":")[0] for line in text.splitlines() if line[0] != " "} == {"data", "train"}
    (elsewhere / "part.yaml").write_text(text)
    assert load(Path("part.yaml")).train == load(Path("demo"), ["train.epochs=3"]).train


def test_config_suggests_the_section_that_was_meant(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("config", "demo", "trian") == 2
    assert capsys.readouterr().err.startswith("error: trian: no such section or key; did you mean train?\n")
