"""cxr pack and cxr train: what is looked at first, how they stop, and how they go on."""

import json
import os
import shlex
import shutil
import signal
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pytest

from cxr.cli import main
from cxr.data import store_files
from cxr.data.file_records import PACKED, load_records
from cxr.errors import UnavailableFileError
from cxr.images.grey import Grey
from cxr.images.read import read_file
from cxr.training import train as loop
from cxr.training.step import train_step
from tests.helpers.fakes import write_image, write_lines, write_nih

HINT = "; resume with: "


class Ended(NamedTuple):
    """A command that has ended."""

    status: int
    out: str
    err: str


Call = Callable[..., Ended]


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Call:
    def run(*arguments: str | Path) -> Ended:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        assert isinstance(ended.value.code, int)
        printed = capsys.readouterr()
        assert "Traceback" not in printed.err
        return Ended(ended.value.code, printed.out, printed.err)

    return run


def go_on(call: Call, printed: str) -> Ended:
    """Give the command that a stopped one has printed."""
    program, *arguments = shlex.split(printed.splitlines()[-1].partition(HINT)[2])
    assert program == "cxr"
    return call(*arguments)


@pytest.fixture
def small(tmp_path: Path, narrow: None) -> tuple[str, str]:
    """A recipe of six images in folders whose names need quotes, and where its run goes."""
    home = tmp_path / "my data"
    write_nih(home / "nih")
    lines = [
        f"data: {{source: nih, root: {home / 'nih'}, val_fraction: 0.5, findings: [Cardiomegaly, Mass]}}",
        "image: {store_size: 32, size: 32}",
        f"store: {{path: {home / 'store'}, workers: 1}}",
        "model: {backbone: resnet18, weights: none, train_layers: head}",
        "train: {epochs: 2, batch_size: 1, precision: fp32, select: loss}",
    ]
    return str(write_lines(home / "a recipe.yaml", lines)), f"out={home / 'the run'}"


def link(folder: Path, to: Path) -> Path:
    """A copy of a run folder without logs; the files are shared: they are replaced, not changed in place."""
    shutil.copytree(
        folder, to, copy_function=os.link, ignore=shutil.ignore_patterns("tensorboard", "train.log")
    )
    return to


def kill_at(number: signal.Signals, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Send this process a signal while it packs an image."""

    def read(path: Path, *_: object) -> Grey:
        if path.name == name:
            os.kill(os.getpid(), number)
            time.sleep(0.2)  # the main thread looks up twenty times a second
        return read_file(path)

    monkeypatch.setattr(store_files, "read_file", read)


@pytest.mark.parametrize(
    ("number", "options"),
    [(signal.SIGTERM, ()), (signal.SIGHUP, ("--overwrite",)), (signal.SIGINT, ())],
    ids=["TERM", "HUP while overwriting", "INT"],
)
def test_a_signal_stops_pack_with_the_command_that_continues(
    call: Call,
    small: tuple[str, str],
    monkeypatch: pytest.MonkeyPatch,
    number: signal.Signals,
    options: tuple[str, ...],
) -> None:
    recipe, out = small
    store = Path(recipe).parent / "store"
    assert call("pack", recipe, out, "image.store_size=48").status == 0
    straight = (store / "pixels.u8").read_bytes()
    if not options:
        shutil.rmtree(store)
    with monkeypatch.context() as patch:
        kill_at(number, "00000002_000.png", patch)
        stopped = call("pack", recipe, out, "image.store_size=48", *options)
    assert stopped.status == 128 + number
    assert stopped.err.splitlines()[-1].startswith("stopped and saved; resume with: cxr pack ")
    partial = store.with_name("store.partial")
    num_packed = int((load_records(partial).status == PACKED).sum())
    assert 0 < num_packed < 6
    again = go_on(call, stopped.err)
    assert again.status == 0
    assert f"resuming after {num_packed} of 6 images" in again.err
    assert (store / "pixels.u8").read_bytes() == straight
    assert not partial.exists()


def test_an_overwrite_of_two_datasets_that_is_stopped_in_the_first_forgets_none(
    call: Call, small: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_nih(tmp_path / "more")
    also = f"data.also=[{{source: nih, root: {tmp_path / 'more'}, val_fraction: 0.5}}]"
    assert call("pack", *small, also).status == 0
    with monkeypatch.context() as patch:
        kill_at(signal.SIGTERM, "00000002_000.png", patch)
        stopped = call("pack", *small, also, "--overwrite")
    assert stopped.status == 128 + signal.SIGTERM
    reads: list[str] = []

    def read(path: Path, *_: object) -> Grey:
        reads.append(path.parts[-3])
        return read_file(path)

    monkeypatch.setattr(store_files, "read_file", read)
    assert go_on(call, stopped.err).status == 0
    assert (reads.count("more"), 0 < reads.count("nih") < 6) == (6, True)


def test_a_signal_stops_train_while_it_packs_and_while_it_trains(
    call: Call, small: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (recipe, out), number = small, signal.SIGHUP
    with monkeypatch.context() as patch:
        kill_at(number, "00000002_000.png", patch)
        packed = call("train", recipe, out)
    assert (packed.status, packed.err.splitlines()[-1].partition(HINT)[0]) == (
        128 + number,
        "stopped and saved",
    )

    def kill(*arguments: object) -> object:
        os.kill(os.getpid(), number)
        return train_step(*arguments)  # type: ignore[arg-type]  # handed on unread

    with monkeypatch.context() as patch:
        patch.setattr(loop, "train_step", kill)
        trained = go_on(call, packed.err)
    assert (trained.status, trained.err.splitlines()[-1].partition(HINT)[0]) == (
        128 + number,
        "stopped and saved",
    )
    assert "--resume" in trained.err
    refused = call("train", recipe, out)  # as after a kill that left no word
    assert refused.status == 2
    assert refused.err.splitlines()[-1].startswith(
        "hint: --overwrite replaces it, out=FOLDER keeps both; resume with: "
    )
    assert go_on(call, refused.err).status == 0
    assert "finished already, after 2 epochs" in go_on(call, trained.err).err


def test_a_signal_ends_eval_and_leaves_nothing_half_written(
    call: Call, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kill(descriptor: int) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(os, "fsync", kill)
    ended = call("eval", run, "--out", tmp_path / "report")
    assert (ended.status, ended.err.splitlines()[-1]) == (128 + signal.SIGTERM, "stopped")
    assert list((tmp_path / "report").iterdir()) == []


def test_signals_that_are_ignored_stay_ignored(
    call: Call, small: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup starts a command
    try:
        kill_at(signal.SIGHUP, "00000002_000.png", monkeypatch)
        assert call("pack", *small).status == 0
    finally:
        signal.signal(signal.SIGHUP, before)


ORDER = {
    "no data": (["data.root=nowhere"], "nowhere: no such folder"),
    "a finding that is not labelled": (["data.findings=[Edem]"], "has no labels for 'Edem'"),
    "a list that is not there": (
        ["data.split=lists", "data.lists={train: a.txt, val: b.txt, test: c.txt}"],
        "data.lists: no file a.txt",
    ),
    "a leak": (["data.split=column"], "split"),
    "no images that train": (["data.split=random", "data.test_fraction=0.9"], "none is left for training"),
    "no view that is validated": (["data.views=[AP]"], "data.split: no images for val"),
    "one class only": (["train.select=auroc", "data.findings=[Edema]"], "one class only"),
    "a store of other pixels": (["image.store_size=64"], "packed with preprocess.size 32"),
    "a folder that is a file": (["out=FILE/run"], "FILE/run: cannot be written"),
}


@pytest.mark.parametrize("fault", ORDER)
def test_problems_of_the_data_are_shown_before_weights_are_fetched_and_a_file_is_packed(
    call: Call, small: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    overrides, what = ORDER[fault]
    (tmp_path / "FILE").touch()
    if fault == "a store of other pixels":
        assert call("pack", *small).status == 0
    monkeypatch.setattr("cxr.model.load_weights.check_weights", lambda *_, **__: pytest.fail("fetched"))
    monkeypatch.setattr("cxr.data.open_stores.pack", lambda *_: pytest.fail("packed"))
    ended = call("train", *small, *(text.replace("FILE", str(tmp_path / "FILE")) for text in overrides))
    assert ended.status == 2
    assert what in ended.err
    assert not (Path(small[0]).parent / "the run").exists()


def test_another_run_is_refused_on_resuming_before_a_file_is_packed(
    call: Call, small: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Path(small[0]).parent
    assert call("train", *small).status == 0
    shutil.rmtree(home / "store")
    monkeypatch.setattr("cxr.data.open_stores.pack", lambda *_: pytest.fail("packed"))
    assert "train.lr was 0.0001 and is now 0.5" in call("train", *small, "train.lr=0.5", "--resume").err
    table = home / "nih" / "Data_Entry_2017_v2020.csv"
    table.write_text(table.read_text().replace("Mass|Nodule", "Nodule"))
    ended = call("train", *small, "--resume")
    assert (ended.status, "the labels in" in ended.err) == (2, True)
    last = home / "the run" / "last.pt"
    last.write_bytes(last.read_bytes()[:-500])
    assert f"{last}: cannot be resumed from" in call("train", *small, "--resume").err


def test_a_run_that_was_moved_continues_where_it_and_its_data_are_now(
    call: Call, run: Path, tmp_path: Path
) -> None:
    moved = link(run, tmp_path / "moved here")
    before = {path.name: path.stat().st_mtime_ns for path in run.iterdir()}
    ended = call("train", moved / "config.yaml", "--resume")
    assert ended.status == 0
    assert f"the run was in {run} and is now in {moved}" in ended.err
    assert "finished already" in ended.err
    assert f"out: {moved}" in (moved / "config.yaml").read_text()
    assert {path.name: path.stat().st_mtime_ns for path in run.iterdir()} == before
    again = call("train", moved / "config.yaml", "store.where=disk", "--resume")
    assert "the run was in" not in again.err
    assert "where: disk" in (moved / "config.yaml").read_text()  # so that the next command needs not say it


def test_a_run_folder_is_its_recipe_and_is_continued_where_it_is(
    call: Call, small: tuple[str, str], tmp_path: Path
) -> None:
    recipe, out = small
    assert call("train", recipe, out, "train.schedule=constant", "train.epochs=1").status == 0
    run = Path(out.removeprefix("out="))
    copied = shutil.copytree(run, tmp_path / "copy")
    assert "recipe: a recipe " in call("config", copied).out
    assert "holds a run already" in call("train", copied).err
    ended = call("train", copied, "--resume", "train.epochs=2")
    assert (ended.status, "resuming at epoch 2" in ended.err) == (0, True)
    assert (run / "last.pt").stat().st_mtime_ns < (copied / "last.pt").stat().st_mtime_ns
    (copied / "last.pt").unlink()
    assert f"{copied}: there is no last.pt to resume from" in call("train", copied, "--resume").err


def test_out_is_refused_where_it_would_change_nothing(call: Call, run: Path) -> None:
    for command in (("eval", run), ("compare", run, run / "best.safetensors"), ("eval", "p.csv")):
        ended = call(*command, "out=some where")
        assert (ended.status, ended.err.splitlines()[-1]) == (
            2,
            "hint: --out 'some where' names the folder of the report",
        )


def test_a_changed_file_is_named_by_every_command_and_update_packs_it_again(
    call: Call, small: tuple[str, str]
) -> None:
    home = Path(small[0]).parent
    assert call("pack", *small).status == 0
    write_image(home / "nih" / "images" / "00000002_000.png", 40)
    for command in ("pack", "train", "check"):
        ended = call(command, *small, *(("--out", home / "check") if command == "check" else ()))
        assert ended.status == (1 if command == "check" else 2)
        assert "1 file of 6 changed since packing: images/00000002_000.png" in " ".join(
            (ended.out + ended.err).split()
        )
        assert "cxr pack CONFIG --update" in ended.out + ended.err
    assert "1 changed and 0 damaged of 6 images" in call("pack", *small, "--update").err
    assert call("pack", *small).status == 0
    assert "give one of them" in call("pack", *small, "--update", "--overwrite").err


def test_a_damaged_row_is_named_by_train_and_check(call: Call, small: tuple[str, ...]) -> None:
    home = Path(small[0]).parent
    small = (*small, "data.split=random", "data.test_fraction=0")  # every image trains or validates
    assert call("pack", *small).status == 0
    data = np.fromfile(home / "store" / "pixels.u8", np.uint8)
    data[32 * 32 * 4] ^= 1
    data.tofile(home / "store" / "pixels.u8")
    for command in ("train", "check"):
        ended = call(command, *small, *(("--out", home / "check") if command == "check" else ()))
        assert ended.status == (1 if command == "check" else 2)
        assert "1 image of 6 damaged on this disk: 00000003_001.png" in " ".join(
            (ended.out + ended.err).split()
        )
    assert call("pack", *small, "--update").status == 0
    assert call("check", *small, "--out", home / "check").status == 0


def test_predict_names_a_file_that_cannot_be_read_now_and_continues(
    call: Call, run: Path, nih_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = sorted((nih_root / "images").iterdir())[:3]

    def read(path: Path, *how: str) -> Grey:
        if path == files[1]:
            raise UnavailableFileError(path, OSError(24, ""))
        return read_file(path)

    monkeypatch.setattr("cxr.deploy.predict_files.read_file", read)
    ended = call("predict", run, "--format", "json", *files)
    assert ended.status == 1
    printed = [json.loads(line) for line in ended.out.splitlines()]
    assert {line["image"]: line.get("error") for line in printed} == {
        str(files[0]): None,
        str(files[1]): "cannot be read: Too many open files",
        str(files[2]): None,
    }


def test_files_that_name_patients_are_for_their_owner_alone_and_others_keep_their_mode(
    call: Call, run: Path, tmp_path: Path
) -> None:
    report = tmp_path / "report"
    report.mkdir()
    for name, mode in (("predictions.csv", 0o644), ("report.json", 0o640)):
        (report / name).write_text("old")
        (report / name).chmod(mode)
    assert call("eval", run, "--out", report).status == 0
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in report.iterdir() if path.is_file()}
    assert modes.pop("predictions.csv") == 0o600
    assert modes.pop("report.json") == 0o640
    assert modes.pop("report.html") == 0o600  # shows images
    assert set(modes.values()) == {0o666 & ~current_umask()}


def current_umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_a_store_never_replaces_the_images(call: Call, small: tuple[str, str], tmp_path: Path) -> None:
    home = Path(small[0]).parent
    before = sorted((home / "nih").rglob("*"))
    for place in (home / "nih", home):
        for options in ((), ("--overwrite",), ("--update",)):
            ended = call("pack", *small, f"store.path={place}", *options)
            assert ended.status == 2 and "is the folder of the images, or a folder above it" in ended.err
    assert sorted((home / "nih").rglob("*")) == before


def stop_after_one_epoch(call: Call, small: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> str:
    """Train and stop between two epochs; returns what was printed."""
    with monkeypatch.context() as patch:
        patch.setattr(loop, "_is_stop_agreed", lambda world, request: True)
        patch.setattr(loop, "_save_or_stop", lambda *_: None)
        ended = call("train", *small)
    assert ended.status == 128 + signal.SIGTERM
    return ended.err


def test_other_pixels_are_refused_on_resuming(
    call: Call, small: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    printed = stop_after_one_epoch(call, small, monkeypatch)
    home = Path(small[0]).parent
    for path in (home / "nih" / "images").iterdir():
        path.write_bytes(cv2.imencode(".png", np.asarray(255 - read_file(path), np.uint8))[1].tobytes())
    assert call("pack", *small, "--overwrite").status == 0
    refused = go_on(call, printed)
    assert refused.status == 2
    assert "the pixels in" in refused.err and "are not those that the run began with" in refused.err


def test_another_patient_key_is_refused_on_resuming(
    call: Call, small: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXR_PATIENT_KEY", "0123456789abcdef0123456789abcdef")
    printed = stop_after_one_epoch(call, small, monkeypatch)
    monkeypatch.setenv("CXR_PATIENT_KEY", "another key of thirty two letters")
    assert "the run's patients are hashed with the key" in go_on(call, printed).err
    monkeypatch.delenv("CXR_PATIENT_KEY")
    refused = go_on(call, printed)
    assert refused.status == 2 and "and now with no key" in refused.err
    monkeypatch.setenv("CXR_PATIENT_KEY", "0123456789abcdef0123456789abcdef")
    assert go_on(call, printed).status == 0


@pytest.mark.parametrize("option", ["--overwrite", "--update"])
def test_a_stop_before_packing_begins_again_keeps_the_option(
    call: Call, small: tuple[str, str], monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    assert call("pack", *small).status == 0

    def stop(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr("cxr.data.dataset.begin_again", stop)
    assert call("pack", *small, option).err.splitlines()[-1].endswith(option)


def test_a_signal_while_files_are_compared_ends_between_two_looks(
    call: Call, small: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert call("pack", *small).status == 0
    for path in (Path(small[0]).parent / "nih" / "images").iterdir():
        os.utime(path, (1, 1))
    kill_at(signal.SIGTERM, "00000002_000.png", monkeypatch)
    stopped = call("pack", *small)
    assert stopped.status == 128 + signal.SIGTERM
    assert not [thread for thread in threading.enumerate() if thread.name.startswith(("compare", "pack"))]
