import errno
import fcntl
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from cxr.errors import CxrError
from cxr.files import clear_leftovers, only_one, write_atomically, write_bytes, write_new_bytes, write_text

Save = Callable[[dict[str, torch.Tensor], Path], None]
FULL = "the disk is full\nhint: free some space or choose another folder; files written before are intact"


def contents(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_a_file_is_written_replaced_and_nothing_else_is_left(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "Übersicht\n")
    write_bytes(tmp_path / "a.txt", b"new\n")
    assert contents(tmp_path) == {"a.txt": "new\n"}


@pytest.mark.parametrize("has_links", [True, False])
def test_a_new_file_replaces_none(tmp_path: Path, has_links: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(source: Path, target: Path) -> None:
        raise OSError(errno.EPERM, "no hard links here")

    if not has_links:
        monkeypatch.setattr(os, "link", refuse)
    assert write_new_bytes(tmp_path / "folder" / "a", b"first")
    assert not write_new_bytes(tmp_path / "folder" / "a", b"second")
    assert contents(tmp_path / "folder") == {"a": "first"}


def test_of_many_that_write_one_new_file_one_does(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        done = list(pool.map(lambda number: write_new_bytes(tmp_path / "a", b"%d" % number), range(40)))
    assert sum(done) == 1 and contents(tmp_path) == {"a": str(done.index(True))}


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


def test_a_stop_before_the_rename_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_text(tmp_path / "a.txt", "old")

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", stop)
    with pytest.raises(KeyboardInterrupt):
        write_text(tmp_path / "a.txt", "new")
    assert contents(tmp_path) == {"a.txt": "old"}


def test_the_new_file_is_on_the_disk_before_it_gets_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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
        write_atomically(
            tmp_path / "a", lambda temporary: np.asarray(["a bug"]).astype(float).tofile(temporary)
        )
    assert contents(tmp_path) == {}


def test_what_a_killed_process_left_is_cleared_and_nothing_else(tmp_path: Path) -> None:
    process = subprocess.Popen(["true"])
    process.wait()
    for name in (f".a.txt.{process.pid}.tmp", f".a.txt.{os.getpid()}.tmp", ".notes.tmp", "a.txt"):
        (tmp_path / name).write_text("half")
    clear_leftovers(tmp_path)
    assert set(contents(tmp_path)) == {f".a.txt.{os.getpid()}.tmp", ".notes.tmp", "a.txt"}


def test_leftovers_in_folders_below_are_cleared_and_those_behind_links_are_not(tmp_path: Path) -> None:
    process = subprocess.Popen(["true"])
    process.wait()
    elsewhere = tmp_path / "elsewhere"
    for folder in (tmp_path / "report", tmp_path / "report" / "figures", elsewhere):
        folder.mkdir()
        (folder / f".roc.svg.{process.pid}.tmp").write_text("half")
    (tmp_path / "report" / "link").symlink_to(elsewhere)
    clear_leftovers(tmp_path / "report")
    assert list(tmp_path.rglob("*.tmp")) == [elsewhere / f".roc.svg.{process.pid}.tmp"]


def test_a_process_that_has_the_number_of_a_killed_one_is_not_taken_for_it(tmp_path: Path) -> None:
    left = tmp_path / f".a.txt.{os.getpid()}.tmp"
    left.write_text("half")
    os.utime(left, (1e9, 1e9))  # long before this process began
    clear_leftovers(tmp_path)
    assert contents(tmp_path) == {}


def test_a_file_that_another_machine_is_writing_stays(tmp_path: Path) -> None:
    process = subprocess.Popen(["true"])
    process.wait()
    writing = tmp_path / f".a.txt.{process.pid}.tmp"  # no process here has its number
    with writing.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # as its writer does, wherever it runs
        clear_leftovers(tmp_path)
        assert writing.exists()
    clear_leftovers(tmp_path)
    assert not writing.exists()


def test_what_is_being_written_stays_and_two_may_write_one_file(tmp_path: Path) -> None:
    def write(temporary: Path) -> None:
        clear_leftovers(tmp_path)
        write_text(tmp_path / "a.txt", "inner")
        temporary.write_text("outer")

    write_atomically(tmp_path / "a.txt", write)
    assert contents(tmp_path) == {"a.txt": "outer"}


@pytest.mark.parametrize("mask", [0o022, 0o077])
@pytest.mark.parametrize(
    ("private", "before", "after"),
    [
        (False, None, 0o666),
        (False, 0o640, 0o640),
        (True, 0o644, 0o600),
        (True, None, 0o600),
        (True, 0o400, 0o600),
    ],
)
def test_modes_are_kept_and_private_files_are_the_owners(
    tmp_path: Path, mask: int, private: bool, before: int | None, after: int
) -> None:
    old = os.umask(mask)
    try:
        if before:
            (tmp_path / "a.txt").touch()
            (tmp_path / "a.txt").chmod(before)
        seen: list[int] = []
        write_atomically(tmp_path / "a.txt", lambda path: seen.append(path.stat().st_mode & 0o777), private)
        assert (tmp_path / "a.txt").stat().st_mode & 0o777 == (after & ~mask if before is None else after)
        assert not private or seen == [0o600]  # also while it is written
    finally:
        os.umask(old)


def test_a_name_as_long_as_a_name_can_be_is_written(tmp_path: Path) -> None:
    write_text(tmp_path / ("ü" * 127), "text")
    assert contents(tmp_path) == {"ü" * 127: "text"}


def test_a_failing_disk_is_an_error_that_names_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(CxrError, match=r"a\.txt: cannot be written: Input/output error"):
        write_text(tmp_path / "a.txt", "text")
    assert contents(tmp_path) == {}


def test_a_lock_that_its_holder_removes_is_taken_in_its_new_place(tmp_path: Path) -> None:
    lock, held = tmp_path / "lock", [False, False]

    def work(place: int) -> None:
        while True:
            try:
                with only_one(lock, "taken"):
                    assert not held[1 - place]
                    held[place] = True
                    time.sleep(0.001)
                    held[place] = False
                return
            except CxrError:
                time.sleep(0.0005)

    with ThreadPoolExecutor(2) as pool:
        for _ in range(20):
            list(pool.map(work, (0, 1)))
    assert not lock.exists()
