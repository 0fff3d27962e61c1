"""A run notes what made it; its repeat is refused other inputs, and says what differs."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from cxr.environment import Environment
from cxr.patient_hash import VARIABLE
from cxr.report.repeat import Repeat
from cxr.report.run_record import RunRecord, read_record
from cxr.training.repeat import compare_runs, compare_tensors
from tests.helpers.commands import call
from tests.helpers.narrow import narrow_backbones


@pytest.fixture(scope="module")
def run(recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of two steps of the narrow network."""
    out = tmp_path_factory.mktemp("repeated") / "run"
    with narrow_backbones():
        assert call("train", recipe, f"out={out}") == 0
    return out


@pytest.fixture(scope="module")
def again(run: Path) -> Path:
    """The folder of its repeat."""
    with narrow_backbones():
        assert call("train", "--repeat", run) == 0
    return run.with_name("run-repeat")


def record_of(folder: Path) -> RunRecord:
    record = read_record(folder)
    assert record
    return record


def copy(run: Path, folder: Path) -> Path:
    shutil.copytree(run, folder, ignore=shutil.ignore_patterns("tensorboard"))
    return folder


def test_a_repeat_on_the_cpu_is_identical_bit_for_bit(run: Path, again: Path) -> None:
    said = json.loads((again / "repeat.json").read_text())
    assert said["identical"] and not said["environment"] and not said["changes"]
    assert set(said["largest_differences"].values()) == {0.0}
    assert [one["num_equal"] == one["num_tensors"] > 100 for one in said["weights"]] == [True] * 3
    assert len(said["epochs"]) == 1 and said["epochs"][0][1]["val_auroc"] > 0
    assert "every loss, every metric and every weight, bit for bit" in (again / "repeat.md").read_text()


def test_a_run_notes_seeds_versions_machine_command_and_inputs(run: Path, nih_root: Path) -> None:
    record = record_of(run)
    environment = record.begun.environment
    assert record.begun.command and record.seeds == {"seed": 0, "data.split_seed": 0}
    assert environment.versions["torch"] == torch.__version__.partition("+")[0]
    assert environment.num_threads == torch.get_num_threads() and environment.memory_gb > 0
    assert {name.removeprefix("labels: ") for name in record.files} >= {
        "config.yaml",
        "Data_Entry_2017_v2020.csv",
        "train_val_list.txt",
        "test_list.txt",
        "store",
    }
    assert record.files["labels: test_list.txt"].bytes == (nih_root / "test_list.txt").stat().st_size
    assert set(record.data) == {"train", "val", "test", "labels", "pixels"}


def test_the_commit_of_the_program_is_noted() -> None:
    from cxr.environment import describe_machine

    folder = Path(__file__).parents[2]
    if not (folder / ".git").exists() or not shutil.which("git"):
        pytest.skip("not run from a checkout, or git is not installed")
    assert len(describe_machine().commit) == 40


def test_another_label_table_is_refused_unless_it_may_differ(
    run: Path, nih_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "nih"
    shutil.copytree(nih_root, other)
    table = other / "Data_Entry_2017_v2020.csv"
    table.write_text(table.read_text().replace("No Finding", "Mass"))
    given = [f"data.root={other}", f"out={tmp_path / 'again'}", f"store.path={tmp_path / 'store'}"]
    assert call("train", "--repeat", run, *given) == 2
    said = capsys.readouterr().err
    assert f"{run}: labels: Data_Entry_2017_v2020.csv: {table} is another file than the run read" in said
    assert "hint: give it the run's own files, or --allow-changes" in said
    assert not (tmp_path / "again").exists() and not (tmp_path / "store").exists()

    with narrow_backbones():
        assert call("train", "--repeat", run, *given, "--allow-changes") == 0
    report = json.loads((tmp_path / "again" / "repeat.json").read_text())
    assert not report["identical"] and len(report["changes"]) == 2
    assert any(change.startswith("labels: not those of the run") for change in report["changes"])


def test_a_key_that_changes_numbers_is_refused(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("train", "--repeat", run, "train.lr=0.5", "store.where=disk") == 2
    said = capsys.readouterr().err
    assert "train.lr was 0.0001 and is now 0.5" in said and "store.where" not in said


def test_what_is_no_run_and_the_run_itself_are_refused(
    run: Path, recipe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("train", "--repeat", recipe) == 2
    assert "is no run folder" in capsys.readouterr().err
    assert call("train", "--repeat", run, f"out={run}") == 2
    assert "is the run itself" in capsys.readouterr().err
    assert call("train", recipe, "--allow-changes") == 2
    assert "goes with --repeat alone" in capsys.readouterr().err


def test_a_recipe_that_was_edited_since_is_refused(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edited = copy(run, tmp_path / "run")
    text = (edited / "config.yaml").read_text()
    (edited / "config.yaml").write_text(text.replace("lr: 0.0001", "lr: 0.001"))
    assert call("train", "--repeat", edited) == 2
    assert "config.yaml is another file than the run read" in capsys.readouterr().err


def test_a_run_of_an_earlier_version_is_checked_by_last_pt(
    run: Path, again: Path, nih_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = copy(run, tmp_path / "run")
    (old / "run.json").unlink()
    other = tmp_path / "nih"
    shutil.copytree(nih_root, other)
    table = other / "Data_Entry_2017_v2020.csv"
    table.write_text(table.read_text().replace("No Finding", "Mass", 1))
    assert call("train", "--repeat", old, f"data.root={other}") == 2
    assert "labels: not those of the run" in capsys.readouterr().err
    compared = compare_runs(old, again)
    assert compared.is_identical and not compared.environment
    assert "has no run.json: versions are those of its checkpoint" in compared.notes[0]


def test_a_finished_repeat_is_compared_again_by_resuming_it(
    run: Path, again: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (again / "repeat.json").unlink()
    with narrow_backbones():
        assert call("train", "--repeat", run, "--resume") == 0
    assert json.loads((again / "repeat.json").read_text())["identical"]
    assert len(record_of(again).resumed) == 1


def test_a_loss_and_an_environment_that_differ_are_said(run: Path, again: Path, tmp_path: Path) -> None:
    other = copy(again, tmp_path / "run")
    lines = [json.loads(line) for line in (other / "log.jsonl").read_text().splitlines()]
    for line in lines:
        if line["kind"] == "epoch":
            line["val_loss"] += 0.25
    (other / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    record = record_of(other)
    versions = record.begun.environment.versions | {"torch": "9.9"}
    environment = record.begun.environment.model_copy(update={"versions": versions})
    begun = record.begun.model_copy(update={"environment": environment})
    record = record.model_copy(update={"begun": begun, "resumed": ()})
    (other / "run.json").write_text(record.model_dump_json())
    found = compare_runs(run, other)
    assert not found.is_identical
    assert found.differences()["validation loss"] == pytest.approx(0.25)
    assert found.differences()["validation AUROC"] == 0
    assert [(name, now) for name, _, now in found.environment] == [("torch", "9.9")]


def test_weights_are_compared_bit_by_bit() -> None:
    then = {"a": torch.tensor([0.0, 1.0]), "b": torch.tensor([1.0]), "c": torch.tensor([np.nan])}
    found = compare_tensors("x", then, {**then, "a": torch.tensor([-0.0, 1.0]), "b": torch.tensor([1.5])})
    assert (found.num_tensors, found.num_equal, found.largest) == (3, 1, 0.5)
    assert np.isnan(compare_tensors("x", then, {"a": then["a"]}).largest)
    assert compare_tensors("x", then, dict(then)).is_equal


def test_nothing_to_compare_is_not_identical(run: Path, again: Path) -> None:
    whole = compare_runs(run, again)
    assert whole.is_identical
    assert not replace(whole, weights=()).is_identical
    assert not replace(whole, epochs=()).is_identical
    assert not replace(whole, epochs=((1, {"loss": 1.0}, {}),)).is_identical
    assert isinstance(whole, Repeat)


def test_with_a_key_the_hashes_of_names_need_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    from cxr.training.record import hide_names

    identity = {"train": "a" * 64, "labels": "b" * 64, "pixels": "c" * 64}
    assert hide_names(identity, remember_patients=True) == identity
    assert set(hide_names(identity, remember_patients=False)) == {"labels", "pixels"}
    monkeypatch.setenv(VARIABLE, "x" * 32)
    hidden = hide_names(identity, remember_patients=True)
    assert hidden.keys() == identity.keys() and not set(hidden.values()) & set(identity.values())


def test_a_damaged_run_json_is_left_out(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "run.json").write_text((run / "run.json").read_text()[:100])
    assert read_record(tmp_path) is None
    assert "cut or garbled" in capsys.readouterr().err
    assert Environment().texts()["device"] == ""
