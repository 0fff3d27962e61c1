import errno
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cxr.data import store_files
from cxr.data.checksums import check_pixels
from cxr.data.file_records import PACKED, load_records
from cxr.data.manifest import Manifest, make_manifest
from cxr.data.pack import Begin, begin, pack
from cxr.data.row_packer import RowPacker
from cxr.data.store import Store, open_store
from cxr.data.store_files import StoreFiles, list_files
from cxr.errors import CxrError, UnavailableFileError, UnreadableImageError
from cxr.files import only_one
from cxr.images.grey import Grey, Intensity
from cxr.images.notes import Note
from cxr.images.prepare import Preprocess, prepare
from cxr.images.read import read_file
from tests.helpers.fakes import write_image

HOW = Preprocess(32)


class Source:
    """Images of different shapes in one folder, and their store beside it."""

    def __init__(self, root: Path, num: int = 12) -> None:
        self.root, self.folder, self.partial = root / "files", root / "store", root / "store.partial"
        self.paths = [f"{row:05}.png" for row in range(num)]
        self.root.mkdir(parents=True)
        for row, path in enumerate(self.paths):
            pixels = np.random.default_rng(row).integers(
                0, 256, (20 + row % 7 * 9, 64 - row % 5 * 11), dtype=np.uint8
            )
            assert cv2.imwrite(str(self.root / path), pixels)

    def wanted(self, how: Preprocess = HOW) -> Manifest:
        return make_manifest("nih", self.paths, how)

    def pack(
        self, how: Preprocess = HOW, unreadable: Literal["error", "skip"] = "error", workers: int = 2
    ) -> Store:
        return pack(self.root, self.paths, self.paths, self.wanted(how), self.folder, unreadable, workers)

    def files(self) -> StoreFiles:
        return list_files(self.root, self.paths, self.paths, "bit-depth", None)

    def begin(self, how: Begin) -> Store:
        begin(how, self.files(), self.wanted(), self.folder)
        return self.pack()

    def open(self) -> Store:
        return open_store(self.folder, self.wanted(), self.files())

    def expected(self, how: Preprocess = HOW) -> Grey:
        return np.stack([prepare(read_file(self.root / path), how) for path in self.paths])

    def num_packed(self) -> int:
        return (
            int((load_records(self.partial).status == PACKED).sum())
            if (self.partial / "rows.npz").exists()
            else 0
        )

    def spoil(self, rows: Sequence[int]) -> None:
        for row in rows:
            (self.root / self.paths[row]).write_bytes(b"")


@pytest.fixture
def source(tmp_path: Path) -> Source:
    return Source(tmp_path)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that are read, as they are read."""
    names: list[str] = []

    def read(path: Path, intensity: Intensity, note: Note) -> Grey:
        names.append(path.name)
        return read_file(path, intensity, note)

    monkeypatch.setattr(store_files, "read_file", read)
    return names


@pytest.mark.parametrize("workers", [0, 1, 2, 7, 30])
def test_each_row_is_its_prepared_file_whatever_the_number_of_workers(source: Source, workers: int) -> None:
    np.testing.assert_array_equal(source.pack(workers=workers).pixels, source.expected())


@pytest.mark.parametrize("how", [Preprocess(16), Preprocess(48, "squash"), Preprocess(20, "crop")])
def test_each_row_is_its_prepared_file_under_every_preprocess(source: Source, how: Preprocess) -> None:
    store = source.pack(how)
    np.testing.assert_array_equal(store.pixels, source.expected(how))
    assert store.readable.all()


def test_a_store_holds_its_files_and_nothing_else(source: Source) -> None:
    source.pack()
    assert sorted(path.name for path in source.folder.iterdir()) == [
        "images.txt",
        "manifest.json",
        "pixels.u8",
        "rows.npz",
    ]
    assert (source.folder / "images.txt").read_text().splitlines() == source.paths
    assert not source.partial.exists()


def test_each_file_is_read_once(source: Source, reads: list[str]) -> None:
    source.pack(workers=5)
    assert sorted(reads) == source.paths


def test_no_more_images_are_alive_than_there_are_workers(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[weakref.ref[Grey]] = []
    most = 0

    def read(path: Path, intensity: Intensity, note: Note) -> Grey:
        nonlocal most
        picture = read_file(path, intensity, note)
        seen.append(weakref.ref(picture))
        most = max(most, sum(one() is not None for one in list(seen)))
        time.sleep(0.002)
        return picture

    monkeypatch.setattr(store_files, "read_file", read)
    source.pack(workers=3)
    assert 1 <= most <= 3


SLOW_PACK = """
import sys, time
from pathlib import Path
from typing import Literal
from cxr.data import row_packer, store_files
from cxr.data.manifest import make_manifest
from cxr.data.pack import pack
from cxr.images.prepare import Preprocess
from cxr.images.read import read_file

def slowly(path, intensity, note):
    time.sleep(0.004)
    return read_file(path, intensity, note)

store_files.read_file, row_packer._SECONDS_BETWEEN_SAVES = slowly, 0.01
paths = [f"{row:05}.png" for row in range(int(sys.argv[2]))]
root = Path(sys.argv[1])
pack(root / "files", paths, paths, make_manifest("nih", paths, Preprocess(32)), root / "store", workers=2)
"""


def kill_while_packing(source: Source, seconds: float) -> int:
    """How many rows are packed when a packing process is killed `seconds` after it has got further."""
    command = [sys.executable, "-c", SLOW_PACK, str(source.root.parent), str(len(source.paths))]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    before = source.num_packed()
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, env=environment) as process:
        while source.num_packed() == before:
            assert process.poll() is None
            time.sleep(0.002)
        time.sleep(seconds)
        process.kill()
    return source.num_packed()


def test_packing_resumes_after_kills_and_gives_the_same_bytes(tmp_path: Path, reads: list[str]) -> None:
    source = Source(tmp_path, num=600)
    straight = source.expected().tobytes()
    done, when = [0], random.Random(0)
    for _ in range(4):
        done.append(kill_while_packing(source, when.uniform(0, 0.15)))
        assert done[-2] < done[-1] < 600  # each goes on where the last was killed
    store = source.pack()
    assert len(reads) == 600 - done[-1]
    assert np.asarray(store.pixels).tobytes() == straight


def test_going_on_is_said(source: Source, capsys: pytest.CaptureFixture[str]) -> None:
    source.spoil([3, 4])
    with pytest.raises(CxrError):
        source.pack()
    capsys.readouterr()
    with pytest.raises(CxrError):
        source.pack()
    assert f"{source.partial}: resuming after 10 of 12 images" in capsys.readouterr().err


def test_what_an_interrupt_left_is_saved(
    source: Source, monkeypatch: pytest.MonkeyPatch, reads: list[str]
) -> None:
    monkeypatch.setattr(RowPacker, "_save_now_and_then", interrupt_after_one)
    with pytest.raises(KeyboardInterrupt):
        source.pack(workers=1)
    monkeypatch.undo()
    assert source.num_packed() == len(reads) > 0
    np.testing.assert_array_equal(source.pack().pixels, source.expected())


def interrupt_after_one(packer: RowPacker) -> None:
    while not (packer.records.status == PACKED).any():
        time.sleep(0.001)
    raise KeyboardInterrupt


@pytest.mark.parametrize("change", ["images", "preprocess", "length"])
def test_what_is_left_of_another_pack_is_discarded(source: Source, reads: list[str], change: str) -> None:
    source.spoil([0])
    with pytest.raises(CxrError):
        source.pack()
    write_image(source.root / source.paths[0])
    reads.clear()
    if change == "images":
        source.paths.reverse()
    if change == "length":
        source.paths.pop()
    how = Preprocess(16) if change == "preprocess" else HOW
    np.testing.assert_array_equal(source.pack(how).pixels, source.expected(how))
    assert sorted(reads) == sorted(source.paths)


def test_what_is_left_without_its_pixels_is_packed_anew(source: Source) -> None:
    source.spoil([0])
    with pytest.raises(CxrError):
        source.pack()
    write_image(source.root / source.paths[0])
    (source.partial / "pixels.u8").unlink()
    np.testing.assert_array_equal(source.pack().pixels, source.expected())


def test_every_unreadable_file_is_named_and_what_is_done_is_kept(source: Source, reads: list[str]) -> None:
    source.spoil([2, 7])
    (source.root / source.paths[9]).write_text("no picture")
    with pytest.raises(CxrError) as error:
        source.pack()
    assert error.value.render().replace(f"{source.root}/", "") == (
        "error: 00002.png: file is empty (0 bytes)\n"
        "error: 00007.png: file is empty (0 bytes)\n"
        "error: 00009.png: not a PNG, JPEG, TIFF or DICOM image\n"
        "hint: download them again, or data.unreadable=skip; "
        "skipped files are listed in unreadable.csv beside the store"
    )
    assert not source.folder.exists()
    for row in (2, 7, 9):
        write_image(source.root / source.paths[row])
    reads.clear()
    np.testing.assert_array_equal(source.pack().pixels, source.expected())
    assert sorted(reads) == ["00002.png", "00007.png", "00009.png"]


def test_after_twenty_unreadable_files_the_rest_is_counted(tmp_path: Path) -> None:
    source = Source(tmp_path, num=30)
    source.spoil(range(23))
    with pytest.raises(CxrError) as error:
        source.pack()
    *named, rest = error.value.problems
    assert named == [f"{source.root / path}: file is empty (0 bytes)" for path in source.paths[:20]]
    assert rest == f"{source.root}: 3 more unreadable files"


def test_skipped_files_are_black_marked_and_listed(
    source: Source, capsys: pytest.CaptureFixture[str]
) -> None:
    source.spoil([5, 1])
    store = source.pack(unreadable="skip")
    assert np.flatnonzero(~store.readable).tolist() == [1, 5]
    assert not store.pixels[[1, 5]].any()
    assert (source.folder / "unreadable.csv").read_text().splitlines() == [
        "image,path,reason",
        "00001.png,00001.png,file is empty (0 bytes)",
        "00005.png,00005.png,file is empty (0 bytes)",
    ]
    assert "warning: 2 of 12 files unreadable and skipped" in capsys.readouterr().err


def test_skipping_after_an_error_reads_only_the_bad_files_again(source: Source, reads: list[str]) -> None:
    source.spoil([4])
    with pytest.raises(CxrError):
        source.pack()
    reads.clear()
    assert not source.pack(unreadable="skip").readable[4]
    assert reads == ["00004.png"]


def test_a_fault_of_the_program_is_no_unreadable_file(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: Path, *_: object) -> Grey:
        raise RuntimeError("a bug")

    monkeypatch.setattr(store_files, "read_file", fail)
    with pytest.raises(RuntimeError, match="a bug"):
        source.pack()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("pack_")]


def test_a_second_packer_is_refused(source: Source) -> None:
    with only_one(source.folder.with_name("store.lock"), "taken"), pytest.raises(CxrError) as error:
        source.pack()
    assert error.value.render() == (
        f"error: {source.partial}: another process is packing this store\nhint: wait until it has finished"
    )
    assert source.pack().readable.all()


def test_a_new_store_takes_the_place_of_the_whole_old_one(source: Source) -> None:
    source.spoil([1])
    source.pack(unreadable="skip")
    write_image(source.root / source.paths[1])
    np.testing.assert_array_equal(source.pack(Preprocess(16)).pixels, source.expected(Preprocess(16)))
    assert not (source.folder / "unreadable.csv").exists()
    assert sorted(path.name for path in source.folder.parent.iterdir()) == ["files", "store"]


def test_an_old_store_moved_aside_before_a_kill_is_cleared(source: Source) -> None:
    (source.folder.with_name("store.old")).mkdir()
    source.pack()
    assert sorted(path.name for path in source.folder.parent.iterdir()) == ["files", "store"]


def test_a_disk_too_small_is_an_error_before_any_file_is_read(
    source: Source, small_disk: Path, reads: list[str]
) -> None:
    source.folder = small_disk / "store"
    with pytest.raises(CxrError) as error:
        source.pack(Preprocess(1024))
    assert error.value.render() == (
        f"error: {small_disk}/store.partial: the disk is full\n"
        "hint: free some space or choose another folder; files written before are intact"
    )
    assert not list(small_disk.iterdir())
    assert not reads


def test_a_disk_that_is_full_already_is_an_error(source: Source, small_disk: Path) -> None:
    source.folder = small_disk / "store"
    filler = small_disk / "filler"
    with pytest.raises(OSError, match="No space left"):
        filler.write_bytes(bytes(1 << 22))
    with pytest.raises(CxrError, match="the disk is full"):
        source.pack()
    assert list(small_disk.iterdir()) == [filler]


def age(path: Path, seconds: int) -> None:
    """Give a file another time and leave what is in it."""
    facts = path.stat()
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns - seconds * 10**9))


def draw_another(path: Path) -> None:
    """Another image of the same number of bytes at the same place."""
    size, pixels = path.stat().st_size, cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert pixels is not None and cv2.imwrite(str(path), 255 - pixels)
    path.write_bytes(path.read_bytes().ljust(size, b"\0"))
    assert path.stat().st_size == size


CHANGES: dict[str, Callable[[Path], object]] = {
    "another size": lambda path: write_image(path, 40),
    "the same size": draw_another,
    "gone": lambda path: path.unlink(),
    "empty": lambda path: path.write_bytes(b""),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_has_changed_refuses_the_store_and_is_packed_again_by_update(
    source: Source, reads: list[str], change: str
) -> None:
    source.pack()
    CHANGES[change](source.root / source.paths[3])
    with pytest.raises(CxrError) as error:
        source.open()
    assert error.value.render() == (
        f"error: {source.folder}: 1 file of 12 changed since packing: 00003.png\n"
        "hint: cxr pack CONFIG --update reads these files again and keeps the rest"
    )
    write_image(source.root / source.paths[3], 24)
    reads.clear()
    np.testing.assert_array_equal(source.begin("update").pixels, source.expected())
    assert set(reads) == {"00003.png"}
    assert sorted(path.name for path in source.folder.parent.iterdir()) == ["files", "store"]


def test_a_file_with_another_time_alone_is_read_once_and_is_the_same(
    source: Source, reads: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    source.spoil([5])
    source.pack(unreadable="skip")
    for row in (2, 5, 7):
        age(source.root / source.paths[row], 3600)
    reads.clear()
    source.open()
    assert sorted(reads) == ["00002.png", "00005.png", "00007.png"]
    assert "3 files of the same size and another time: reading to compare" in capsys.readouterr().err
    source.open()
    assert len(reads) == 3
    before = (source.folder / "rows.npz").read_bytes()
    source.open()
    assert (source.folder / "rows.npz").read_bytes() == before


def test_an_unreadable_file_that_is_replaced_has_changed(source: Source) -> None:
    source.spoil([5])
    source.pack(unreadable="skip")
    write_image(source.root / source.paths[5])
    with pytest.raises(CxrError, match=r"1 file of 12 changed since packing: 00005\.png"):
        source.open()
    assert source.begin("update").readable.all()
    assert not (source.folder / "unreadable.csv").exists()


def test_a_dataset_that_was_moved_or_kept_in_whole_seconds_is_the_same(
    source: Source, reads: list[str]
) -> None:
    for path in source.paths:
        age(source.root / path, 60)
    source.pack()
    source.root = source.root.rename(source.root.with_name("moved"))
    for place, path in enumerate(source.paths):  # as a disk of whole or of even seconds keeps times
        time = (source.root / path).stat().st_mtime_ns
        whole = time // 10**9 * 10**9 if place % 2 else (time // (2 * 10**9) + 1) * 2 * 10**9
        os.utime(source.root / path, ns=(whole, whole))
    reads.clear()
    source.open()
    assert reads == []


def test_a_time_in_whole_seconds_says_nothing_of_a_file_that_is_just_written(
    source: Source, reads: list[str]
) -> None:
    now = int(time.time())
    for path in source.paths:
        os.utime(source.root / path, (now, now))
    source.pack()
    draw_another(source.root / source.paths[1])  # within the same second
    os.utime(source.root / source.paths[1], (now, now))
    with pytest.raises(CxrError, match=r"1 file of 12 changed since packing: 00001\.png"):
        source.open()


@pytest.mark.parametrize("time", [0, 1, -(10**9), 2**33 * 10**9], ids=["1970", "a layer", "1969", "2242"])
def test_any_time_that_a_file_can_have_is_a_time(source: Source, reads: list[str], time: int) -> None:
    for path in source.paths:
        os.utime(source.root / path, ns=(time, time))
    source.pack()
    reads.clear()
    source.open()
    assert reads == []


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.integers(0, 11), st.sampled_from(["touched", "coarse", *CHANGES])))
def test_exactly_the_files_that_changed_are_named(
    tmp_path_factory: pytest.TempPathFactory, done: dict[int, str]
) -> None:
    source = Source(tmp_path_factory.mktemp("dataset"))
    source.pack()
    for row, what in done.items():
        path = source.root / source.paths[row]
        if what == "touched":
            age(path, 100)
        elif what == "coarse":
            os.utime(path, (path.stat().st_mtime_ns // 10**9,) * 2)
        else:
            CHANGES[what](path)
    changed = [source.paths[row] for row, what in sorted(done.items()) if what in CHANGES]
    if not changed:
        source.open()
        return
    with pytest.raises(CxrError) as error:
        source.open()
    first = ", ".join([*changed[:5], *(["..."] if len(changed) > 5 else [])])
    assert error.value.problems[0].endswith(f" of 12 changed since packing: {first}")
    assert f" {len(changed)} file" in error.value.problems[0]


def test_damaged_rows_are_packed_again_by_update_and_the_rest_is_kept(
    source: Source, reads: list[str]
) -> None:
    store = source.pack()
    data = bytearray((source.folder / "pixels.u8").read_bytes())
    for row in (0, 11):
        data[row * HOW.size**2 + 5] ^= 1
    (source.folder / "pixels.u8").write_bytes(data)
    with pytest.raises(CxrError, match=r"2 images of 12 damaged on this disk: 00000\.png, 00011\.png"):
        check_pixels(source.open())
    reads.clear()
    store = source.begin("update")
    assert sorted(reads) == ["00000.png", "00011.png"]
    check_pixels(store)
    np.testing.assert_array_equal(store.pixels, source.expected())


def test_a_pack_that_goes_on_reads_changed_files_again(source: Source, reads: list[str]) -> None:
    source.spoil([0, 9])
    with pytest.raises(CxrError):
        source.pack()
    write_image(source.root / source.paths[0])
    write_image(source.root / source.paths[9])
    draw_another(source.root / source.paths[4])
    age(source.root / source.paths[6], 60)
    reads.clear()
    np.testing.assert_array_equal(source.pack().pixels, source.expected())
    assert sorted(reads) == ["00000.png", "00004.png", "00006.png", "00009.png"]


def test_overwrite_drops_all_that_was_packed_even_an_interrupted_pack(
    source: Source, reads: list[str]
) -> None:
    source.pack()
    source.spoil([2])
    for _ in range(2):
        reads.clear()
        with pytest.raises(CxrError, match="file is empty"):
            source.begin("overwrite")
        assert sorted(reads) == source.paths
    write_image(source.root / source.paths[2])
    np.testing.assert_array_equal(source.pack().pixels, source.expected())  # and that one goes on
    assert reads[len(source.paths) :] == ["00002.png"]


NUMBERS = [errno.EACCES, errno.EMFILE, errno.ENFILE, errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENOMEM]


@pytest.mark.parametrize(
    "number", [*NUMBERS, None], ids=lambda number: errno.errorcode.get(number, "no memory")
)
def test_what_is_not_in_the_file_is_no_damage_and_the_pack_can_be_resumed(
    source: Source, monkeypatch: pytest.MonkeyPatch, number: int | None
) -> None:
    opened = os.open

    def refuse(path: Path, flags: int, mode: int = 0o777) -> int:
        if str(path).endswith("00006.png"):
            raise MemoryError if number is None else OSError(number, os.strerror(number))
        return opened(path, flags, mode)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        with pytest.raises(CxrError) as error:
            source.pack(unreadable="skip")
    said = os.strerror(number or errno.ENOMEM)
    assert error.value.problems == (f"{source.root}/00006.png: cannot be read: {said}",)
    assert "then run the same command again: it resumes" in error.value.hint
    assert not (source.partial / "unreadable.csv").exists()
    store = source.pack(unreadable="skip")
    assert store.readable.all()
    np.testing.assert_array_equal(store.pixels, source.expected())


def test_all_files_that_may_not_be_read_are_named_at_the_end(
    source: Source, monkeypatch: pytest.MonkeyPatch, reads: list[str]
) -> None:
    def refuse(path: Path, intensity: Intensity, note: Note) -> Grey:
        if path.name in ("00001.png", "00008.png"):
            raise UnavailableFileError(path, PermissionError(errno.EACCES, ""))
        return read_file(path, intensity, note)

    monkeypatch.setattr(store_files, "read_file", refuse)
    with pytest.raises(CxrError) as error:
        source.pack()
    assert [problem.rpartition("/")[2] for problem in error.value.problems] == [
        f"{name}: cannot be read: Permission denied" for name in ("00001.png", "00008.png")
    ]
    assert source.num_packed() == 10


def test_a_folder_that_is_unmounted_while_it_is_packed_is_no_damage(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unmount(path: Path, intensity: Intensity, note: Note) -> Grey:
        if path.name == "00004.png":
            source.root.rename(source.root.with_name("away"))
        return read_file(path, intensity, note)

    monkeypatch.setattr(store_files, "read_file", unmount)
    with pytest.raises(CxrError, match="cannot be read: No such file or directory"):
        source.pack(unreadable="skip", workers=1)
    assert source.num_packed() == 4


@pytest.mark.parametrize("second", [False, True], ids=["once", "twice"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_saves_what_is_packed_and_a_second_ends_at_once(
    source: Source, number: signal.Signals, second: bool
) -> None:
    script = SLOW_PACK.replace(
        "time.sleep(0.004)", "time.sleep(60 if path.name > '00003.png' and TWICE else 0.05)"
    )
    command = [sys.executable, "-c", script.replace("TWICE", str(second)), str(source.root.parent), "12"]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
        while source.num_packed() < 2:
            time.sleep(0.002)
        process.send_signal(number)
        if second:
            time.sleep(0.1)
            process.send_signal(number)
        process.communicate(timeout=20)
    assert process.returncode == (
        -number if second else 1
    )  # Interrupted, which the command turns into its status
    assert 2 <= source.num_packed() < 12
    np.testing.assert_array_equal(source.pack().pixels, source.expected())


@pytest.fixture
def nih_1024(sample_data: Path) -> Iterator[tuple[Path, list[str]]]:
    root = sample_data / "nih-1024"
    yield root, sorted(str(path.relative_to(root)) for path in root.glob("images_*/images/*.png"))


@pytest.mark.real
def test_real_radiographs_pack_to_what_prediction_sees(
    tmp_path: Path, nih_1024: tuple[Path, list[str]]
) -> None:
    root, paths = nih_1024
    how = Preprocess(256)
    store = pack(root, paths, paths, make_manifest("nih", paths, how), tmp_path / "store", workers=2)
    assert len(paths) == 130
    assert store.readable.all()
    for row, path in enumerate(paths):
        np.testing.assert_array_equal(store.pixels[row], prepare(read_file(root / path), how))


def test_pixels_come_from_a_function_where_there_is_one(tmp_path: Path) -> None:
    def read(key: str) -> Grey:
        if key == "bad":
            raise UnreadableImageError(key, "is bad")
        return np.full((8, 8), int(key), np.uint8)

    keys, where = ["7", "bad", "200"], (tmp_path / "nowhere", tmp_path / "store")
    wanted = make_manifest("made", keys, HOW)
    store = pack(where[0], keys, keys, wanted, where[1], "skip", 2, read)
    assert [int(square.max()) for square in np.asarray(store.pixels)] == [7, 0, 200]
    assert store.readable.tolist() == [True, False, True]


@pytest.mark.parametrize("name", ["store", "store.partial", "store.old"])
def test_packing_removes_no_folder_of_anything_else(source: Source, name: str) -> None:
    folder = source.folder.with_name(name)
    (folder / "photos").mkdir(parents=True)
    ways: tuple[Begin | None, ...] = ("overwrite", "update", None)
    for how in ways:
        with pytest.raises(CxrError) as error:
            source.begin(how) if how else source.pack()
        assert error.value.problems == (f"{folder}: holds what is no part of a store: photos",)
        assert "--overwrite" not in error.value.hint
    assert (folder / "photos").is_dir()
    shutil.rmtree(folder)
    folder.mkdir()
    assert source.pack().readable.all()  # an empty folder is no loss
