import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from cxr.errors import CxrError
from cxr.files import clear_leftovers, write_atomically, write_bytes, write_text

Save = Callable[[dict[str, torch.Tensor], Path], None]
FULL = "the disk is full\nhint: free some space or choose another folder; files written before are intact"


def contents(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_a_file_is_written_replaced_and_nothing_else_is_left(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "Übersicht\n")
    write_bytes(tmp_path / "a.txt", b"new\n")
    assert contents(tmp_path) == {"a.txt": "new\n"}


def test_folders_above_are_made(tmp_path: Path) -> None:
    write_text(tmp_path / "runs" / "one" / "a.txt", "text")
    assert (tmp_path / "runs" / "one" / "a.txt").read_text() == "text"


@pytest.mark.parametrize("fault", [RuntimeError("a bug"), KeyboardInterrupt()], ids=["fault", "interrupt"])
def test_a_stop_while_writing_leaves_the_old_file(tmp_path: Path, fault: BaseException) -> None:
    write_text(tmp_path / "a.txt", "old")

    def write(temporary: Path) -> None:
        temporary.write_text("half of the n")
        raise fault

    with pytest.raises(type(fault)):
        write_atomically(tmp_path / "a.txt", write)
    assert contents(tmp_path) == {"a.txt": "old"}


def test_a_stop_before_the_rename_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_text(tmp_path / "a.txt", "old")

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", stop)
    with pytest.raises(KeyboardInterrupt):
        write_text(tmp_path / "a.txt", "new")
    assert contents(tmp_path) == {"a.txt": "old"}


def test_the_new_file_is_on_the_disk_before_it_gets_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []
    sync, replace = os.fsync, os.replace

    def noted_sync(file: int) -> None:
        steps.append(os.readlink(f"/proc/self/fd/{file}"))
        sync(file)

    def noted_replace(old: Path, new: Path) -> None:
        steps.append("rename")
        replace(old, new)

    monkeypatch.setattr(os, "fsync", noted_sync)
    monkeypatch.setattr(os, "replace", noted_replace)
    write_text(tmp_path / "a.txt", "text")
    assert steps == [str(tmp_path / f".a.txt.{os.getpid()}.tmp"), "rename", str(tmp_path)]


def test_a_full_disk_leaves_the_old_file_and_says_so(small_disk: Path) -> None:
    write_text(small_disk / "a.txt", "old")
    with pytest.raises(CxrError) as error:
        write_bytes(small_disk / "a.txt", bytes(1 << 22))
    assert error.value.render() == f"error: {small_disk / 'a.txt'}: {FULL}"
    assert contents(small_disk) == {"a.txt": "old"}


@pytest.mark.parametrize("save", [torch.save, save_file])
def test_a_full_disk_is_said_for_weights_too(small_disk: Path, save: Save) -> None:
    weights = {"layer": torch.zeros(1_000_000)}
    with pytest.raises(CxrError) as error:
        write_atomically(small_disk / "best", lambda temporary: save(weights, temporary))
    assert error.value.render() == f"error: {small_disk / 'best'}: {FULL}"
    assert contents(small_disk) == {}


@pytest.fixture
def locked_folder(tmp_path: Path) -> Iterator[Path]:
    """Folder that may not be written, for root too where a read-only disk can be mounted."""
    folder = tmp_path / "locked"
    folder.mkdir()
    folder.chmod(0o500)
    if os.access(folder, os.W_OK):
        mount = ["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(folder)]
        if subprocess.run(mount, capture_output=True, check=False).returncode:
            pytest.skip("root may write everywhere, and mounting a read-only tmpfs is not permitted here")
        yield folder
        subprocess.run(["umount", "-l", folder], check=True)
    else:
        yield folder
        folder.chmod(0o700)


@pytest.mark.parametrize("name", ["a.txt", "below/a.txt"])
def test_a_folder_that_may_not_be_written_is_an_error(locked_folder: Path, name: str) -> None:
    with pytest.raises(CxrError) as error:
        write_text(locked_folder / name, "text")
    assert error.value.problems[0].startswith(f"{locked_folder / name}: cannot be written: ")
    assert error.value.hint == "choose a folder you may write to"
    assert not list(locked_folder.iterdir())


@pytest.mark.parametrize("name", ["file/a.txt", "file/below/a.txt", "folder"])
def test_a_file_where_a_folder_should_be_or_the_reverse_is_an_error(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("old")
    (tmp_path / "folder").mkdir()
    with pytest.raises(CxrError, match="cannot be written"):
        write_text(tmp_path / name, "text")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]
    assert (tmp_path / "file").read_text() == "old"


def test_a_fault_of_the_program_stays_one(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a bug"):
        write_atomically(tmp_path / "a", lambda temporary: np.asarray(["a bug"]).astype(float).tofile(temporary))
    assert contents(tmp_path) == {}


def test_what_a_killed_process_left_is_cleared_and_nothing_else(tmp_path: Path) -> None:
    process = subprocess.Popen(["true"])
    process.wait()
    for name in (f".a.txt.{process.pid}.tmp", f".a.txt.{os.getpid()}.tmp", ".notes.tmp", "a.txt"):
        (tmp_path / name).write_text("half")
    clear_leftovers(tmp_path)
    assert set(contents(tmp_path)) == {f".a.txt.{os.getpid()}.tmp", ".notes.tmp", "a.txt"}
