"""log.jsonl and TensorBoard's events: on a full disk, after a cut, and as TensorBoard reads them."""

import json
from datetime import datetime
from pathlib import Path

import pytest

from cxr.errors import CxrError
from cxr.training.runlog import RunLog, TextLog
from cxr.training.tracking import Trackers
from tests.helpers.models import Recipe
from tests.test_errors import fill


def open_log(recipe: Recipe, folder: Path, step: int = 0, epochs: int = 0) -> RunLog:
    """A log without trackers."""
    return RunLog(folder, step, epochs, True, TextLog(), Trackers(recipe(folder), step, enabled=False))


def test_a_full_disk_names_the_log_and_it_goes_on_afterwards(small_disk: Path, make_recipe: Recipe) -> None:
    log = open_log(make_recipe, small_disk)
    log.write("step", 1, {"loss": 0.5})
    fill(small_disk, leave=0)
    with pytest.raises(CxrError, match=r"log\.jsonl: the disk is full"):
        for step in range(2, 2000):
            log.write("step", step, {"loss": 0.5, "lr": 1e-3})
    (small_disk / "filler").unlink()
    open_log(make_recipe, small_disk, step=20).write("step", 21, {"loss": 0.25})
    lines = [json.loads(line) for line in (small_disk / "log.jsonl").read_text().splitlines()]
    assert lines[0]["step"] == 1 and lines[-1] == {"kind": "step", "step": 21, "loss": 0.25}
    assert all(line["step"] <= 21 for line in lines)


def test_a_full_disk_for_the_events_of_tensorboard_is_one_warning(
    small_disk: Path, make_recipe: Recipe, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("tensorboard")
    fill(small_disk, leave=0)
    with Trackers(make_recipe(small_disk, "log.to=[tensorboard]"), 0, enabled=True) as trackers:
        for step in range(2000):
            trackers.write(step, {"step/loss": 0.5})
    said = "".join(capsys.readouterr().err.split("\n"))
    assert said.count("tensorboard failed, and the training continues without it: CxrError: ") == 1
    assert "the disk is full" in said


def test_cut_and_garbled_lines_are_removed_when_a_run_is_resumed(
    tmp_path: Path, make_recipe: Recipe, capsys: pytest.CaptureFixture[str]
) -> None:
    good = json.dumps({"kind": "train", "step": 9, "epoch": 1, "loss": 0.5})
    later = json.dumps({"kind": "train", "step": 19, "epoch": 2, "loss": 0.4})
    (tmp_path / "log.jsonl").write_bytes(b"\xff\xfe\n[1]\n{}\n" + f"{good}\n{later}\n{good[:30]}".encode())
    open_log(make_recipe, tmp_path, 9, 1)
    assert (tmp_path / "log.jsonl").read_text() == f"{good}\n"
    assert "log.jsonl: 4 lines removed, cut or garbled" in "".join(capsys.readouterr().err.split("\n"))


def test_tensorboard_reads_the_events_of_a_resumed_run(tmp_path: Path, make_recipe: Recipe) -> None:
    loader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    for first in (1, 3):  # the second process goes on after step 2
        with Trackers(make_recipe(tmp_path), first - 1, enabled=True) as trackers:
            log = RunLog(tmp_path, first - 1, 0, True, TextLog(), trackers)
            for step in range(first, first + 3):
                log.write("step", step, {"loss": step / 8, "note": "text"})
    events = loader.EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert events.Tags()["scalars"] == ["step/loss"]
    assert [(one.step, one.value) for one in events.Scalars("step/loss")] == [
        (step, step / 8) for step in range(1, 6)
    ]


def test_the_text_log_keeps_what_was_noted_before_and_adds_to_that_of_a_resumed_run(tmp_path: Path) -> None:
    text = TextLog()
    text.note("device cpu")
    text.open(tmp_path, resume=False)
    text.note("epoch 1/2: validation AUROC 0.8\x1b[31m")
    again = TextLog()
    again.open(tmp_path, resume=True)
    again.note("resuming")
    lines = (tmp_path / "train.log").read_text().splitlines()
    assert [line[25:] for line in lines] == [
        "device cpu",
        "epoch 1/2: validation AUROC 0.8\x1b[31m",
        "resuming",
    ]
    assert all(datetime.strptime(line[:24], "%Y-%m-%d %H:%M:%S%z") for line in lines)
    TextLog().open(tmp_path, resume=False)
    assert (tmp_path / "train.log").read_text() == ""


def test_a_full_disk_for_the_text_log_names_it(small_disk: Path) -> None:
    text = TextLog()
    text.open(small_disk, resume=False)
    fill(small_disk, leave=0)
    with pytest.raises(CxrError, match=r"train\.log: the disk is full"):
        for _ in range(2000):
            text.note("a line")
