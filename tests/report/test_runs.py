"""cxr runs: what it says of runs, and of whatever else lies in their folder."""

import errno
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cxr.config.render import render
from cxr.config.schema import Config
from tests.helpers.commands import call, read_csv

Write = Callable[..., Path]
LOG = [
    {"kind": "first", "step": 1, "seconds": 1.5},
    {"kind": "step", "step": 20, "loss": 0.7, "lr": 1e-3},
    {"kind": "train", "step": 20, "epoch": 1, "loss": 0.8},
    {"kind": "epoch", "step": 20, "epoch": 1, "val_loss": 0.7, "val_auroc": 0.75, "best": 1, "lr": 1e-3},
    {"kind": "epoch", "step": 40, "epoch": 2, "val_loss": 0.6, "val_auroc": 0.7, "best": 0, "lr": 1e-3},
]


def write_run(folder: Path, test_auroc: float | None = None, epoch: int = 1, **keys: object) -> Path:
    """A run folder as `cxr train` and `cxr eval` leave it, without weights; returns it."""
    folder.mkdir(parents=True)
    values: dict[str, Any] = {
        "data": {"source": "nih", "root": "nih"},
        "recipe": "tiny",
        "out": folder,
    } | keys
    (folder / "config.yaml").write_text(render(Config.model_validate(values)))
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in LOG))
    (folder / "last.pt").write_bytes(bytes(3_000_000))
    if test_auroc is not None:
        mean = {"finding": "mean", "auroc": test_auroc, "auroc_low": 0.65, "auroc_high": 0.85}
        report = {"about": {"model": f"resnet18, epoch {epoch}, step 20"}, "summary": [mean]}
        (folder / "eval_test").mkdir()
        (folder / "eval_test" / "report.json").write_text(json.dumps(report))
    return folder


def rows(folder: Path, *options: str) -> dict[str, dict[str, str]]:
    """The rows of the CSV file by run, in their order."""
    file = folder.parent / "runs.csv"
    assert call("runs", folder, "--csv", file, *options) == 0
    return {row["run"]: row for row in read_csv(file)}


def test_a_run_is_a_row_with_its_recipe_data_epochs_aurocs_and_size(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "runs" / "first", 0.75)
    os.utime(folder / "last.pt", (1_000_000_000, 1_000_000_000))
    (row,) = rows(tmp_path / "runs").values()
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    assert row.pop("date").startswith("2001-09-")
    assert row == {
        "run": "first", "recipe": "tiny", "backbone": "densenet121", "data": "nih", "epochs": "2",
        "epochs_planned": "10", "best_epoch": "1", "val_auroc": "0.75", "test_auroc": "0.75",
        "test_auroc_low": "0.65", "test_auroc_high": "0.85", "bytes": str(size), "problem": "", "note": "",
    }  # fmt: skip


def test_a_trained_and_evaluated_run_is_listed_by_its_own_folder(run: Path, tmp_path: Path) -> None:
    assert call("eval", run, "--out", run / "eval_test") == 0
    report = json.loads((run / "eval_test" / "report.json").read_text())
    assert call("runs", run, "--csv", tmp_path / "runs.csv") == 0
    (row,) = read_csv(tmp_path / "runs.csv")
    assert (row["run"], row["recipe"], row["epochs"], row["problem"]) == ("run", "tiny", "1", "")
    assert float(row["test_auroc"]) == pytest.approx(report["summary"][0]["auroc"], abs=1e-15)
    assert row["note"] == ""


@pytest.mark.parametrize("width", [80, 140])
def test_the_table_fits_a_terminal_and_loses_no_letter(
    width: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "chexpert_densenet121_with_a_long_name"
    write_run(tmp_path / name, 0.75, recipe="nih_chexpert_densenet121")
    monkeypatch.setenv("COLUMNS", str(width))
    assert call("runs", tmp_path) == 0
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= width
    cells = ["0.750", "(0.650-0.850)", "2/10", "3 MB"]
    assert all(cell in printed for cell in cells)
    first = "".join(line.split(" ")[0] for line in printed.splitlines()[2:])
    assert name in first.replace("─", "")


def test_what_is_no_run_is_one_row_with_a_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "runs"
    write_run(folder / "whole")
    (write_run(folder / "other program") / "config.yaml").write_text("model: {layers: 3}\nlr: 1\n")
    (write_run(folder / "cut") / "config.yaml").write_text("data: {source: nih, ro")
    (write_run(folder / "cut report", 0.75) / "eval_test" / "report.json").write_text('{"about": {"mod')
    (write_run(folder / "no recipe") / "config.yaml").unlink()
    (folder / "empty" / "deeper").mkdir(parents=True)
    (folder / "empty" / "config.yaml").write_text("x: 1\n")
    (folder / "a file").write_text("text")
    (folder / "mlruns").mkdir()
    problems = {name: row["problem"] for name, row in rows(folder).items()}
    assert re.fullmatch(
        r"config.yaml:1: unknown key model.layers.* \(and \d more\)", problems["other program"]
    )
    assert problems["cut"].startswith("config.yaml:1: ")
    assert problems["cut report"] == "eval_test/report.json: cannot be read"
    assert (problems["no recipe"], problems["empty"]) == ("config.yaml: no such file", "holds no run")
    assert problems["whole"] == "" and not {"a file", "mlruns"} & problems.keys()
    assert "empty: holds no run\n" in capsys.readouterr().out


def test_no_circle_of_links_is_endless(tmp_path: Path) -> None:
    run = write_run(tmp_path / "runs" / "group" / "first")
    (tmp_path / "runs" / "again").symlink_to(run)
    (tmp_path / "runs" / "group" / "up").symlink_to(tmp_path / "runs")
    (tmp_path / "runs" / "itself").symlink_to(tmp_path / "runs" / "itself")
    (tmp_path / "runs" / "gone").symlink_to(tmp_path / "nowhere")
    problems = {name: row["problem"] for name, row in rows(tmp_path / "runs").items()}
    listed = "is a link to a folder that is listed already"
    assert problems == {"again": listed, "group/first": "", "group/up": listed}


def test_a_folder_that_may_not_be_read_is_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_run(tmp_path / "runs" / "first")
    locked = tmp_path / "runs" / "locked"
    locked.mkdir()
    scan = os.scandir

    def refuse(path: Path) -> Any:  # noqa: ANN401  the iterator of os.scandir
        if path == locked:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return scan(path)

    monkeypatch.setattr("cxr.report.run_list.os.scandir", refuse)
    assert rows(tmp_path / "runs")["locked"]["problem"] == "cannot be read: Permission denied"


def test_a_report_of_another_epoch_than_the_best_is_noted(tmp_path: Path) -> None:
    write_run(tmp_path / "runs" / "first", 0.75, epoch=2)
    note = rows(tmp_path / "runs")["first"]["note"]
    assert note == "its test AUROC is of epoch 2, and the best is now epoch 1: cxr eval it again"


def test_metrics_sort_from_the_best_and_names_from_a(tmp_path: Path) -> None:
    for name, auroc in (("a", 0.6), ("b", None), ("c", 0.9)):
        write_run(tmp_path / "runs" / name, auroc)
    assert list(rows(tmp_path / "runs", "--sort", "test_auroc")) == ["c", "a", "b"]
    assert list(rows(tmp_path / "runs")) == ["a", "b", "c"]


def test_runs_are_filtered_by_keys_and_by_name(tmp_path: Path) -> None:
    write_run(tmp_path / "runs" / "a", model={"backbone": "resnet18"}, train={"lr": 3e-4})
    write_run(tmp_path / "runs" / "b", model={"backbone": "resnet18"}, recipe="2020")
    write_run(tmp_path / "runs" / "c_NIH")
    found = {
        condition: "".join(rows(tmp_path / "runs", *(f"--filter={text}" for text in condition.split())))
        for condition in (
            "model.backbone=resnet18",
            "model.backbone=resnet18 train.lr=0.0003",
            "nih",
            "recipe=2020",
            "data.root=nih a",
        )
    }
    assert list(found.values()) == ["ab", "a", "c_NIH", "b", "a"]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (("--filter", "train.epoch=3"), "--filter train.epoch: no such key; did you mean epochs?"),
        (("--filter", "train=3"), "--filter train: no such key"),
        (("--filter", "seed=[1"), "--filter seed: '[1' is no YAML value"),
        (("--sort", "auroc"), "--sort auroc: no such column"),
        (("--csv", "."), ".: is a folder"),
    ],
)
def test_wrong_options_are_errors(
    options: tuple[str, ...], problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("runs", tmp_path, *options) == 2
    assert capsys.readouterr().err.startswith(f"error: {problem}")


def test_a_folder_that_is_not_there_is_an_error_and_one_without_runs_is_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("runs", tmp_path / "absent") == 2
    assert "absent: no such folder\nhint: cxr train demo" in capsys.readouterr().err
    assert call("runs", tmp_path) == 0
    assert capsys.readouterr().err == f"{tmp_path}: no run\n"


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    file=st.sampled_from(["config.yaml", "log.jsonl", "eval_test/report.json"]),
    place=st.floats(0, 1, exclude_max=True),
    data=st.binary(max_size=8),
)
def test_a_garbled_file_of_a_run_is_never_a_traceback(
    tmp_path: Path, file: str, place: float, data: bytes
) -> None:
    path = tmp_path / "runs" / "first" / file
    if not path.exists():
        write_run(tmp_path / "runs" / "first", 0.75)
    whole = path.read_bytes()
    at = int(place * len(whole))
    path.write_bytes(whole[:at] + data + whole[at + 3 :])
    try:
        assert list(rows(tmp_path / "runs")) == ["first"]
    finally:
        path.write_bytes(whole)


def test_the_table_needs_neither_torch_nor_pandas(tmp_path: Path) -> None:
    write_run(tmp_path / "first", 0.75)
    code = (
        "import contextlib, sys, cxr.cli\n"
        f"with contextlib.suppress(SystemExit): cxr.cli.main(['runs', {str(tmp_path)!r}])\n"
        "print(sorted({'torch', 'pandas', 'matplotlib', 'sklearn'} & set(sys.modules)))"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.splitlines()[-1] == "[]" and "0.750" in printed
