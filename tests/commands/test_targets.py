"""The arguments of eval, compare and readers: what each is taken for, and what is refused."""

from pathlib import Path

import pytest

from cxr.commands.targets import Kind, Targets, file_options, parse_targets, split_overrides
from cxr.errors import CxrError
from cxr.evaluation.join import DEFAULT


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two runs, a weight file, two recipes and an empty folder, which is the current one."""
    for run in ("run", "other"):
        (tmp_path / run).mkdir()
        (tmp_path / run / "best.safetensors").write_bytes(b"x")
    (tmp_path / "empty").mkdir()
    for name in ("old.pth", "r.yaml", "s.yml"):
        (tmp_path / name).write_bytes(b"x")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def kinds(targets: Targets) -> dict[str, Kind]:
    return {str(model.path): model.kind for model in targets.models}


def refusal(*arguments: str) -> str:
    with pytest.raises(CxrError) as error:
        parse_targets(arguments)
    return error.value.render()


@pytest.mark.usefixtures("home")
def test_every_argument_is_taken_for_what_it_is() -> None:
    targets = parse_targets(["run", "p.csv", "eval.draws=9", "xrv:name", "old.pth", "r.yaml", "seed=1"])
    assert kinds(targets) == {
        "run": "run",
        "p.csv": "predictions",
        "xrv:name": "weights",
        "old.pth": "weights",
    }
    assert (targets.recipe, targets.overrides) == (Path("r.yaml"), ("eval.draws=9", "seed=1"))


@pytest.mark.usefixtures("home")
def test_weights_are_evaluated_on_the_recipe_or_else_on_the_data_of_the_first_run() -> None:
    assert parse_targets(["old.pth", "run", "r.yaml"]).recipe == Path("r.yaml")
    assert parse_targets(["old.pth", "run", "other"]).recipe == Path("run")
    assert parse_targets(["old.pth"]).recipe is None
    assert parse_targets(["run", "other"]).recipe is None


def test_a_file_whose_name_holds_an_equals_sign_is_no_override(home: Path) -> None:
    (home / "lr=3.csv").touch()
    paths, overrides = split_overrides(["lr=3.csv", "lr=4.csv"])
    assert (paths, overrides) == ([Path("lr=3.csv")], ["lr=4.csv"])


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ("eval.draws=9", "nothing to evaluate"),
        ("run out=x", "out=x: names the folder of a run that is trained, and changes nothing here"),
        ("run other/../run", "other/../run: is given twice"),
        ("absent", "absent: no such run folder or checkpoint file"),
        ("r.yaml", "r.yaml: a recipe is no model"),
        ("p.csv r.yaml", "r.yaml: a recipe is no model"),
        ("run r.yaml", "r.yaml: a recipe beside run, which has its own data"),
        ("empty r.yaml", "empty: "),
        ("old.pth r.yaml s.yml", "s.yml: a second recipe"),
    ],
)
def test_what_is_no_model_or_has_no_use_is_refused(arguments: str, problem: str) -> None:
    assert refusal(*arguments.split()).startswith(f"error: {problem}")


@pytest.mark.parametrize(
    ("override", "has_labels", "problem"),
    [
        ("train.lr=1", True, "train.lr=1: a predictions file has no config"),
        ("data.duplicates=frist", True, "data.duplicates=frist: no such rule"),
        ("data.duplicates=error", False, "data.duplicates=error: joins rows of a table of labels"),
        ("eval.drows=9", True, "eval.drows=9: unknown key eval.drows"),
    ],
)
def test_files_take_no_key_that_would_change_nothing(override: str, has_labels: bool, problem: str) -> None:
    with pytest.raises(CxrError) as error:
        file_options([override], DEFAULT, has_labels)
    assert error.value.problems[0].startswith(problem)


def test_files_take_eval_keys_and_the_last_rule_for_duplicates() -> None:
    overrides = ["data.duplicates=error", "eval.draws=100", "data.duplicates=majority"]
    config, options = file_options(overrides, DEFAULT, has_labels=True)
    assert (config.draws, options.duplicates) == (100, "majority")


def test_a_run_folder_with_the_name_of_its_recipe_is_a_run(home: Path) -> None:
    (home / "run").rename(home / "demo")
    assert kinds(parse_targets(["demo"])) == {"demo": "run"}
    assert parse_targets(["old.pth", "nih_densenet121"]).recipe == Path("nih_densenet121")
