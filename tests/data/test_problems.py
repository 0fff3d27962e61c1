"""Problems of several datasets: all of a stage at once, each under the section of its dataset."""

import json
import shutil
from pathlib import Path

import pytest

from cxr.config.load import load
from cxr.data.dataset import list_dataset
from cxr.data.problems import Problems, in_section, new_stages
from cxr.errors import CxrError
from tests.helpers.commands import call


def also(root: Path, **keys: object) -> str:
    """The override that adds a dataset in CheXpert's layout."""
    section = {"source": "chexpert", "root": str(root), "split": "random"} | keys
    return f"data.also=[{json.dumps(section)}]"


def test_an_error_of_the_main_dataset_stays_as_it_is() -> None:
    error = CxrError("data.csv: no file a.csv", "set data.csv")
    with pytest.raises(CxrError) as raised, in_section("data"):
        raise error
    assert raised.value is error


def test_an_error_of_a_further_dataset_names_its_section() -> None:
    with pytest.raises(CxrError) as raised, in_section("data.also.1"):
        raise CxrError(["data.csv: no file a.csv", "b.csv: empty"], "set data.csv")
    assert raised.value.render().splitlines() == [
        "error: data.also.1: data.csv: no file a.csv",
        "error: data.also.1: b.csv: empty",
        "hint: set data.csv (write data.also.1.KEY for data.KEY)",
    ]


def test_a_path_needs_no_remark_on_keys() -> None:
    with pytest.raises(CxrError) as raised, in_section("data.also.0"):
        raise CxrError("b.csv: empty", "download it again")
    assert raised.value.hint == "download it again"


def test_a_stage_raises_the_problems_of_all_datasets_with_each_hint_once() -> None:
    stages = new_stages(3)
    for problems in (*stages.datasets[1:], stages.together):
        problems.add([f"{problems.key}: wrong"], "correct it")
    with pytest.raises(CxrError) as raised:
        stages.end_stage()
    assert raised.value.problems == ("data.also.0: wrong", "data.also.1: wrong", "data: wrong")
    assert raised.value.hint == "correct it"


def test_a_check_only_gathers_problems() -> None:
    stages = new_stages(1, stop=False)
    assert stages.datasets[0].attempt(lambda: len([1, 2])) == 2
    stages.datasets[0].add(["patient 7 is in two splits"], "move them", for_report=["1 patient is"])
    stages.end_stage()
    assert stages.datasets[0].for_report == ["1 patient is"]
    assert stages.datasets[0].private == ["patient 7 is in two splits"]


def test_a_policy_decides_between_an_error_and_a_warning() -> None:
    problems = Problems()
    problems.add_by_policy("skip", "3 files are unreadable", "export them again")
    problems.add_by_policy("error", "2 files have no row", "complete the table")
    assert (problems.warnings, problems.errors) == (["3 files are unreadable"], ["2 files have no row"])
    assert problems.hints == ["complete the table"]


def test_training_names_missing_files_of_both_datasets_at_once(
    recipe: Path, nih_root: Path, chexpert: Path, tmp_path: Path
) -> None:
    roots = [Path(shutil.copytree(root, tmp_path / root.name)) for root in (nih_root, chexpert)]
    for root in roots:
        next(iter(sorted(root.rglob("*.[pj][np]g")))).unlink()
    config = load(recipe, [f"data.root={roots[0]}", also(roots[1]), f"store.path={tmp_path / 'store'}"])
    with pytest.raises(CxrError) as raised:
        list_dataset(config)
    assert [text.partition(": ")[0] for text in raised.value.problems] == [str(root) for root in roots]
    assert "or data.missing=skip" in raised.value.hint
    assert "or data.also.0.missing=skip" in raised.value.hint


def test_a_store_that_would_replace_the_images_is_found_by_a_check(recipe: Path, tmp_path: Path) -> None:
    root = (load(recipe, [])).data.root
    arguments = ("check", recipe, f"store.path={root}", "--quick", "--out", tmp_path / "out")
    assert call(*arguments) == 1
    facts = json.loads((tmp_path / "out" / "check.json").read_text())
    assert facts["problems"] == [f"store.path: {root} is the folder of the images, or a folder above it"]
