"""Trackers get what log.jsonl gets, continue their run, tell nothing of the data, and stop no training."""

import importlib.machinery
import json
import struct
import sys
import threading
import time
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cxr.data.dataset import Dataset
from cxr.report import curves
from cxr.training import trackers, tracking
from cxr.training import train as loop
from cxr.training.trackers import describe
from cxr.training.tracking import Trackers
from cxr.training.train import Stopped, train
from tests.helpers.commands import call
from tests.helpers.models import ALONE, HEAD, Recipe
from tests.training.test_train import assert_same_run, at_step, terminate

SMALL = ("train.epochs=2", HEAD)


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs the tests may have a server."""
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "WANDB_MODE", "WANDB_PROJECT"):
        monkeypatch.delenv(name, raising=False)


def logged(run: Path) -> dict[str, list[tuple[int, float]]]:
    """(step, value) of every number in log.jsonl, by `kind/name`."""
    found: dict[str, list[tuple[int, float]]] = {}
    for text in (run / "log.jsonl").read_text().splitlines():
        line = json.loads(text)
        kind, step = line.pop("kind"), line.pop("step")
        for name, value in line.items():
            found.setdefault(f"{kind}/{name}", []).append((step, value))
    return found


@pytest.fixture(params=["mlflow", "wandb"])
def failing(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a tracker whose package raises whatever is asked of it."""

    class Module(types.ModuleType):
        def __getattr__(self, name: str) -> object:
            if name.startswith("__"):
                raise AttributeError(name)
            raise RuntimeError("the server\nis \x1b[31mon fire")

    for name in (request.param, f"{request.param}.entities", f"{request.param}.exceptions"):
        module = Module(name)
        module.__spec__ = importlib.machinery.ModuleSpec(name, None, origin="here")
        monkeypatch.setitem(sys.modules, name, module)
    return str(request.param)


def test_a_tracker_that_fails_is_one_warning_and_changes_nothing(
    failing: str, make_recipe: Recipe, dataset: Dataset, trained_head: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    run = train(make_recipe(tmp_path, HEAD, f"log.to=[{failing}]"), dataset, ALONE)
    assert_same_run(run, trained_head)
    said = "".join(capsys.readouterr().err.split("\n"))
    warning = f"warning: {failing} failed, and the training continues without it: RuntimeError: the server is"
    assert said.count(warning) == said.count("on fire") == 1 and "Traceback" not in said


class Refusing:
    """A tracker that takes its run and a few numbers, and then raises."""

    run_id = "abc"

    def __init__(self, start: trackers.Start) -> None:
        self.num_written = 0

    def write(self, step: int, numbers: trackers.Numbers) -> None:
        self.num_written += 1
        if self.num_written == 2:
            sys.exit("the library ends the process")

    def close(self, ending: trackers.Ending) -> None:
        raise AssertionError("it gets nothing after its failure")


def test_a_tracker_that_ends_the_process_ends_its_thread_alone(
    make_recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(trackers.OPEN, "tensorboard", Refusing)
    with Trackers(make_recipe(tmp_path, "log.to=[tensorboard]"), 0, True) as following:
        for step in range(5):
            following.write(step, {"step/loss": 0.5})
    said = capsys.readouterr().err
    assert said.count("tensorboard failed") == said.count("SystemExit: the library ends the process") == 1
    assert json.loads((tmp_path / "trackers.json").read_text()) == {"tensorboard": "abc"}


def test_a_tracker_that_never_answers_is_not_waited_for(
    make_recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answered = threading.Event()
    monkeypatch.setitem(trackers.OPEN, "tensorboard", lambda start: answered.wait())
    monkeypatch.setattr(tracking, "SECONDS_TO_CLOSE", 0.2)
    before = time.monotonic()
    with Trackers(make_recipe(tmp_path, "log.to=[tensorboard]"), 0, True) as following:
        following.write(1, {"step/loss": 0.5})
    assert time.monotonic() - before < 5
    answered.set()
    assert "tensorboard failed, and the training continues without it: it has not finished" in (
        capsys.readouterr().err
    )


@pytest.mark.parametrize("name", ["mlflow", "wandb", "tensorboard"])
def test_a_tracker_that_is_not_installed_is_an_error_before_anything_is_packed(
    name: str,
    recipe: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).mkdir()  # as W&B leaves one behind; it is no package
    arguments = (f"out={tmp_path / 'run'}", f"store.path={tmp_path / 'store'}", f"log.to=[{name}]")
    assert call("train", recipe, *arguments) == 2
    assert capsys.readouterr().err.endswith(
        f"error: log.to: {name} is not installed\n"
        f"hint: pip install 'cxr[{name}]', or leave it out of log.to\n"
    )
    assert {path.name for path in tmp_path.iterdir()} == {name}


def test_tensorboard_gets_events_where_it_is_installed_unless_the_recipe_says_otherwise(
    make_recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("tensorboard")
    assert trackers.choose(make_recipe(tmp_path)) == ("tensorboard",)
    assert trackers.choose(make_recipe(tmp_path, "log.to=[]")) == ()
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    assert trackers.choose(make_recipe(tmp_path)) == ()


def test_trackers_are_told_no_path_and_nothing_of_the_data(make_recipe: Recipe, tmp_path: Path) -> None:
    facts = describe(make_recipe(tmp_path / "patient 7", f"model.weights={tmp_path / 'patient 7.pt'}"))
    assert facts["train.lr"] == 0.001 and facts["data.source"] == "phantom"
    assert facts["model.weights"] == "a file"
    assert not [value for value in map(str, facts.values()) if "/" in value or "patient 7" in value]
    assert not [key for key in facts if key.startswith(("store", "out", "data.root"))]


def stop_and_resume(config_names: str, make_recipe: Recipe, dataset: Dataset, out: Path) -> Path:
    """A run that is stopped in its second epoch and resumed, with a tracker."""
    config = make_recipe(out, *SMALL, f"log.to=[{config_names}]")
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Stopped):
        patch.setattr(loop, "train_step", at_step(7, terminate))
        train(config, dataset, ALONE)
    return train(config, dataset, ALONE, resume=True)


@pytest.mark.filterwarnings("ignore")  # of the tracker's own
def test_mlflow_has_every_number_of_the_log_in_one_run_though_the_training_was_stopped(
    make_recipe: Recipe, dataset: Dataset, phantom: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mlflow = pytest.importorskip("mlflow")
    out = stop_and_resume("mlflow", make_recipe, dataset, tmp_path / "my run")
    assert "failed" not in capsys.readouterr().err
    client = mlflow.MlflowClient((out / "mlruns").as_uri())
    (experiment,) = (one for one in client.search_experiments() if one.name == "cxr")
    (run,) = client.search_runs([experiment.experiment_id])
    assert json.loads((out / "trackers.json").read_text()) == {"mlflow": run.info.run_id}
    assert (run.info.status, run.info.run_name, run.data.params["train.lr"]) == (
        "FINISHED",
        "my run",
        "0.001",
    )
    assert not [value for value in run.data.params.values() if str(phantom) in value]
    for name, points in logged(out).items():
        metrics = client.get_metric_history(run.info.run_id, name)
        assert {(one.step, one.value) for one in metrics} >= set(points)


@pytest.mark.filterwarnings("ignore")
def test_wandb_keeps_every_number_of_the_log_offline_under_one_id_though_the_training_was_stopped(
    make_recipe: Recipe, dataset: Dataset, phantom: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("wandb")
    out = stop_and_resume("wandb", make_recipe, dataset, tmp_path / "my run")
    assert "failed" not in capsys.readouterr().err
    files = sorted((out / "wandb").glob("offline-run-*/run-*.wandb"))
    run_id = json.loads((out / "trackers.json").read_text())["wandb"]
    assert [path.name for path in files] == [f"run-{run_id}.wandb"] * 2
    wait_for_end(files[-1])
    records = [record for path in files for record in read_wandb(path)]
    kept = list(filter(None, map(read_numbers, records)))
    points = {(name, line["step"], value) for line in kept for name, value in line.items()}
    assert points >= {(name, step, value) for name, found in logged(out).items() for step, value in found}
    sent = b"".join(path.read_bytes() for path in files)
    assert str(phantom.parent).encode() not in sent and not any(record.run.host for record in records)


def wait_for_end(path: Path) -> None:
    """Wait until the process of W&B has closed a file, which may be a moment after its run is finished."""
    deadline = time.monotonic() + 30
    while not any(record.HasField("exit") for record in read_wandb(path)) and time.monotonic() < deadline:
        time.sleep(0.1)


def read_wandb(path: Path) -> Iterator[Any]:
    """The records of an offline run, which are in the format of LevelDB's log, after a head of 7 bytes."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, place, whole = path.read_bytes(), 7, b""
    while place + 7 <= len(data):
        if 32768 - place % 32768 < 7:  # the end of a block holds no head of a record
            place += 32768 - place % 32768
            continue
        length, kind = struct.unpack("<HB", data[place + 4 : place + 7])  # after a checksum
        whole += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # a whole record, or the last part of one
            yield Record.FromString(whole)
            whole = b""


def read_numbers(record: Any) -> dict[str, float]:  # noqa: ANN401  a class of W&B
    return {item.key or item.nested_key[0]: json.loads(item.value_json) for item in record.history.item}


def test_curves_are_drawn_after_every_epoch(
    make_recipe: Recipe, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = []

    def fill(drawing: object, history: curves.History, steps: object) -> None:
        drawn.append([(epoch["loss"], epoch["val_auroc"]) for epoch in history])

    monkeypatch.setattr(curves, "fill", fill)
    out = train(make_recipe(tmp_path, *SMALL), dataset, ALONE)
    log = logged(out)
    rows = list(zip(log["train/loss"], log["epoch/val_auroc"], strict=True))
    epochs = [(loss, auroc) for (_, loss), (_, auroc) in rows]
    assert drawn[-1] == epochs and drawn[0] == epochs[: len(drawn[0])]
    assert (out / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_curves_that_cannot_be_drawn_are_one_warning_and_change_nothing(
    make_recipe: Recipe, dataset: Dataset, trained_head: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(curves, "fill", lambda *_: 1 / 0)
    assert_same_run(train(make_recipe(tmp_path, HEAD), dataset, ALONE), trained_head)
    said = capsys.readouterr().err
    assert said.count("warning: curves.png failed, and the training continues without it: ZeroDivision") == 1
    assert not (tmp_path / "curves.png").exists()
