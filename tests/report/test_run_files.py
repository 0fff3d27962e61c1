"""Files beside a checkpoint: cut and garbled ones are left out with a warning."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cxr.config.render import render
from cxr.config.schema import Config
from cxr.report.evaluation_page import counts
from cxr.report.run_files import Counts, Training, read_training

LOG = [
    {"kind": "first", "step": 1, "seconds": 1.5},
    {"kind": "train", "step": 9, "epoch": 1, "loss": 0.8},
    {"kind": "epoch", "step": 9, "epoch": 1, "val_loss": 0.7, "val_auroc": None},
    {"kind": "epoch", "step": 18, "epoch": 2, "val_loss": 0.65, "val_auroc": 0.75},
]
CELLS = {"finding": "Mass", "positive": 3, "negative": 1200, "soft": 0, "masked": 2}
COUNTS = {
    "images": {"train": 5},
    "patients": {"train": 5},
    "dropped": {"no file": 4},
    "cells": {"train": [CELLS]},
}
FILES = {
    "log.jsonl": "".join(json.dumps(line) + "\n" for line in LOG).encode(),
    "counts.json": json.dumps(COUNTS).encode(),
    "config.yaml": render(
        Config.model_validate(
            {"data": {"source": "table", "root": "data", "split": "random"}, "out": "runs/ü"}
        )
    ).encode(),
}


def write(folder: Path) -> Path:
    for name, data in FILES.items():
        (folder / name).write_bytes(data)
    return folder


def test_whole_files_are_read_without_a_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    training = read_training(write(tmp_path))
    assert training.history == (
        {"loss": 0.8, "val_loss": 0.7, "val_auroc": None},
        {"val_loss": 0.65, "val_auroc": 0.75},
    )
    assert training.counts == Counts.model_validate(COUNTS)
    assert training.config == FILES["config.yaml"].decode()
    assert capsys.readouterr().err == ""


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from(sorted(FILES)), share=st.floats(0, 1, exclude_max=True))
def test_a_file_cut_anywhere_is_left_out_with_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, share: float
) -> None:
    data = FILES[name][: int(share * len(FILES[name]))]
    (write(tmp_path) / name).write_bytes(data)
    training = read_training(tmp_path)
    assert training.counts is None or counts(training.counts)
    said = capsys.readouterr().err
    if name == "log.jsonl":
        is_whole = not data or data.endswith((b"\n", b"}"))
        assert len(training.history) <= 2
    else:
        is_whole = False
        assert not (training.counts if name == "counts.json" else training.config)
    assert (f"{tmp_path / name}: " in "".join(said.split("\n"))) is not is_whole


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(sorted(FILES)),
    places=st.lists(
        st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=4
    ),
)
def test_a_garbled_file_is_never_a_traceback(
    tmp_path: Path, name: str, places: list[tuple[float, int]]
) -> None:
    data = bytearray(FILES[name])
    for share, byte in places:
        data[int(share * len(data))] = byte
    (write(tmp_path) / name).write_bytes(data)
    training = read_training(tmp_path)
    assert training.counts is None or counts(training.counts)


@pytest.mark.parametrize(
    "text", ["[]", "null", "3", '{"images": []}', "[" * 10**5, '{"kind": 1}', "\0", "NaN"]
)
def test_other_content_is_left_out(tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    for name in FILES:
        (tmp_path / name).write_text(text + "\n")
    assert read_training(tmp_path) == Training()
    assert capsys.readouterr().err.count("warning: ") == 3


def test_folders_in_the_place_of_files_bring_nothing(tmp_path: Path) -> None:
    for name in FILES:
        (tmp_path / name).mkdir()
    assert read_training(tmp_path) == Training()
