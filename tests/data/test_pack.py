import os
import random
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import pytest

import cxr.data.pack as packing
from cxr.data.image import Grey, Preprocess, UnreadableImageError, prepare, read_file
from cxr.data.pack import pack
from cxr.data.store import PACKED, Manifest, Store, describe, fingerprint
from cxr.errors import CxrError
from cxr.files import only_one
from tests.fakes import write_image

HOW = Preprocess(32)


class Archive:
    """Images of different shapes in one folder, and their store beside it."""

    def __init__(self, root: Path, num: int = 12) -> None:
        self.root, self.folder, self.partial = root / "files", root / "store", root / "store.partial"
        self.paths = [f"{row:05}.png" for row in range(num)]
        self.root.mkdir(parents=True)
        for row, path in enumerate(self.paths):
            pixels = np.random.default_rng(row).integers(0, 256, (20 + row % 7 * 9, 64 - row % 5 * 11), dtype=np.uint8)
            assert cv2.imwrite(str(self.root / path), pixels)

    def wanted(self, how: Preprocess = HOW) -> Manifest:
        return describe("nih", self.paths, how)

    def pack(self, how: Preprocess = HOW, unreadable: Literal["error", "skip"] = "error", workers: int = 2) -> Store:
        return pack(self.root, self.paths, self.paths, self.wanted(how), self.folder, unreadable, workers)

    def expected(self, how: Preprocess = HOW) -> Grey:
        return np.stack([prepare(read_file(self.root / path), how) for path in self.paths])

    def num_packed(self) -> int:
        status = self.partial / "status.u8"
        return status.read_bytes().count(PACKED) if status.exists() else 0

    def spoil(self, rows: Sequence[int]) -> None:
        for row in rows:
            (self.root / self.paths[row]).write_bytes(b"")


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return Archive(tmp_path)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that are read, as they are read."""
    names: list[str] = []

    def read(path: Path, *how: Any) -> Grey:  # noqa: ANN401
        names.append(path.name)
        return read_file(path, *how)

    monkeypatch.setattr(packing, "read_file", read)
    return names


@pytest.mark.parametrize("workers", [0, 1, 2, 7, 30])
def test_each_row_is_its_prepared_file_whatever_the_number_of_workers(archive: Archive, workers: int) -> None:
    np.testing.assert_array_equal(archive.pack(workers=workers).pixels, archive.expected())


@pytest.mark.parametrize("how", [Preprocess(16), Preprocess(48, "squash"), Preprocess(20, "crop")])
def test_each_row_is_its_prepared_file_under_every_preprocess(archive: Archive, how: Preprocess) -> None:
    store = archive.pack(how)
    np.testing.assert_array_equal(store.pixels, archive.expected(how))
    assert store.readable.all()


def test_a_store_holds_its_files_and_nothing_else(archive: Archive) -> None:
    archive.pack()
    assert sorted(path.name for path in archive.folder.iterdir()) == [
        "images.txt",
        "manifest.json",
        "pixels.u8",
        "status.u8",
    ]
    assert (archive.folder / "images.txt").read_text().splitlines() == archive.paths
    assert not archive.partial.exists()


def test_each_file_is_read_once(archive: Archive, reads: list[str]) -> None:
    archive.pack(workers=5)
    assert sorted(reads) == archive.paths


def test_no_more_pictures_are_alive_than_there_are_workers(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[weakref.ref[Grey]] = []
    most = 0

    def read(path: Path, *how: Any) -> Grey:  # noqa: ANN401
        nonlocal most
        picture = read_file(path, *how)
        seen.append(weakref.ref(picture))
        most = max(most, sum(one() is not None for one in list(seen)))
        time.sleep(0.002)
        return picture

    monkeypatch.setattr(packing, "read_file", read)
    archive.pack(workers=3)
    assert 1 <= most <= 3


SLOW_PACK = """
import sys, time
from pathlib import Path
from typing import Literal
import cxr.data.pack as packing
from cxr.data.image import Preprocess, read_file
from cxr.data.store import describe

def slowly(path, *how):
    time.sleep(0.004)
    return read_file(path, *how)

packing.read_file, packing._SAVE_SECONDS = slowly, 0.01
paths = [f"{row:05}.png" for row in range(int(sys.argv[2]))]
root = Path(sys.argv[1])
packing.pack(root / "files", paths, paths, describe("nih", paths, Preprocess(32)), root / "store", workers=2)
"""


def kill_while_packing(archive: Archive, seconds: float) -> int:
    """How many rows are packed when a packing process is killed `seconds` after it has got further."""
    command = [sys.executable, "-c", SLOW_PACK, str(archive.root.parent), str(len(archive.paths))]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    before = archive.num_packed()
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, env=environment) as process:
        while archive.num_packed() == before:
            assert process.poll() is None
            time.sleep(0.002)
        time.sleep(seconds)
        process.kill()
    return archive.num_packed()


def test_packing_goes_on_after_kills_and_gives_the_same_bytes(tmp_path: Path, reads: list[str]) -> None:
    archive = Archive(tmp_path, num=600)
    straight = archive.expected().tobytes()
    done, when = [0], random.Random(0)
    for _ in range(4):
        done.append(kill_while_packing(archive, when.uniform(0, 0.15)))
        assert done[-2] < done[-1] < 600  # each goes on where the last was killed
    store = archive.pack()
    assert len(reads) == 600 - done[-1]
    assert np.asarray(store.pixels).tobytes() == straight


def test_going_on_is_said(archive: Archive, capsys: pytest.CaptureFixture[str]) -> None:
    archive.spoil([3, 4])
    with pytest.raises(CxrError):
        archive.pack()
    capsys.readouterr()
    with pytest.raises(CxrError):
        archive.pack()
    assert f"{archive.partial}: going on after 10 of 12 images" in capsys.readouterr().err


def test_what_an_interrupt_left_is_saved(archive: Archive, monkeypatch: pytest.MonkeyPatch, reads: list[str]) -> None:
    monkeypatch.setattr(packing._Packing, "_save_now_and_then", interrupt_after_one)
    with pytest.raises(KeyboardInterrupt):
        archive.pack(workers=1)
    monkeypatch.undo()
    assert archive.num_packed() == len(reads) > 0
    np.testing.assert_array_equal(archive.pack().pixels, archive.expected())


def interrupt_after_one(job: packing._Packing) -> None:
    while not job.status.count(PACKED):
        time.sleep(0.001)
    raise KeyboardInterrupt


@pytest.mark.parametrize("change", ["images", "preprocess", "length"])
def test_what_is_left_of_another_pack_is_discarded(archive: Archive, reads: list[str], change: str) -> None:
    archive.spoil([0])
    with pytest.raises(CxrError):
        archive.pack()
    write_image(archive.root / archive.paths[0])
    reads.clear()
    if change == "images":
        archive.paths.reverse()
    if change == "length":
        archive.paths.pop()
    how = Preprocess(16) if change == "preprocess" else HOW
    np.testing.assert_array_equal(archive.pack(how).pixels, archive.expected(how))
    assert sorted(reads) == sorted(archive.paths)


def test_what_is_left_without_its_pixels_is_packed_anew(archive: Archive) -> None:
    archive.spoil([0])
    with pytest.raises(CxrError):
        archive.pack()
    write_image(archive.root / archive.paths[0])
    (archive.partial / "pixels.u8").unlink()
    np.testing.assert_array_equal(archive.pack().pixels, archive.expected())


def test_every_unreadable_file_is_named_and_what_is_done_is_kept(archive: Archive, reads: list[str]) -> None:
    archive.spoil([2, 7])
    (archive.root / archive.paths[9]).write_text("no picture")
    with pytest.raises(CxrError) as error:
        archive.pack()
    assert error.value.render().replace(f"{archive.root}/", "") == (
        "error: 00002.png: file is empty (0 bytes)\n"
        "error: 00007.png: file is empty (0 bytes)\n"
        "error: 00009.png: not a PNG, JPEG, TIFF or DICOM image\n"
        "hint: download them again, or data.unreadable=skip; "
        "skipped files are listed in unreadable.csv beside the store"
    )
    assert not archive.folder.exists()
    for row in (2, 7, 9):
        write_image(archive.root / archive.paths[row])
    reads.clear()
    np.testing.assert_array_equal(archive.pack().pixels, archive.expected())
    assert sorted(reads) == ["00002.png", "00007.png", "00009.png"]


def test_after_twenty_unreadable_files_the_rest_is_counted(tmp_path: Path) -> None:
    archive = Archive(tmp_path, num=30)
    archive.spoil(range(23))
    with pytest.raises(CxrError) as error:
        archive.pack()
    *named, rest = error.value.problems
    assert named == [f"{archive.root / path}: file is empty (0 bytes)" for path in archive.paths[:20]]
    assert rest == f"{archive.root}: 3 more unreadable files"


def test_skipped_files_are_black_marked_and_listed(archive: Archive, capsys: pytest.CaptureFixture[str]) -> None:
    archive.spoil([5, 1])
    store = archive.pack(unreadable="skip")
    assert np.flatnonzero(~store.readable).tolist() == [1, 5]
    assert not store.pixels[[1, 5]].any()
    assert (archive.folder / "unreadable.csv").read_text().splitlines() == [
        "image,path,reason",
        "00001.png,00001.png,file is empty (0 bytes)",
        "00005.png,00005.png,file is empty (0 bytes)",
    ]
    assert "warning: 2 of 12 files unreadable and skipped" in capsys.readouterr().err


def test_skipping_after_an_error_reads_only_the_bad_files_again(archive: Archive, reads: list[str]) -> None:
    archive.spoil([4])
    with pytest.raises(CxrError):
        archive.pack()
    reads.clear()
    assert not archive.pack(unreadable="skip").readable[4]
    assert reads == ["00004.png"]


def test_a_fault_of_the_program_is_no_unreadable_file(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: Path, *_: object) -> Grey:
        raise RuntimeError("a bug")

    monkeypatch.setattr(packing, "read_file", fail)
    with pytest.raises(RuntimeError, match="a bug"):
        archive.pack()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("pack-")]


def test_a_second_packer_is_refused(archive: Archive) -> None:
    archive.partial.mkdir()
    with only_one(archive.partial / "lock", "taken"), pytest.raises(CxrError) as error:
        archive.pack()
    assert error.value.render() == (
        f"error: {archive.partial}: another process is packing this store\nhint: wait until it has finished"
    )
    assert archive.pack().readable.all()


def test_a_new_store_takes_the_place_of_the_whole_old_one(archive: Archive) -> None:
    archive.spoil([1])
    archive.pack(unreadable="skip")
    write_image(archive.root / archive.paths[1])
    np.testing.assert_array_equal(archive.pack(Preprocess(16)).pixels, archive.expected(Preprocess(16)))
    assert not (archive.folder / "unreadable.csv").exists()
    assert sorted(path.name for path in archive.folder.parent.iterdir()) == ["files", "store"]


def test_an_old_store_moved_aside_before_a_kill_is_cleared(archive: Archive) -> None:
    (archive.folder.with_name("store.old")).mkdir()
    archive.pack()
    assert sorted(path.name for path in archive.folder.parent.iterdir()) == ["files", "store"]


def test_a_disk_too_small_is_an_error_before_any_file_is_read(
    archive: Archive, small_disk: Path, reads: list[str]
) -> None:
    archive.folder = small_disk / "store"
    with pytest.raises(CxrError) as error:
        archive.pack(Preprocess(1024))
    assert error.value.render() == (
        f"error: {small_disk}/store.partial: the disk is full\n"
        "hint: free some space or choose another folder; files written before are intact"
    )
    assert not list(small_disk.iterdir())
    assert not reads


def test_a_disk_that_is_full_already_is_an_error(archive: Archive, small_disk: Path) -> None:
    archive.folder = small_disk / "store"
    filler = small_disk / "filler"
    with pytest.raises(OSError, match="No space left"):
        filler.write_bytes(bytes(1 << 22))
    with pytest.raises(CxrError, match="the disk is full"):
        archive.pack()
    assert list(small_disk.iterdir()) == [filler]


@pytest.fixture
def nih_1024(sample_data: Path) -> Iterator[tuple[Path, list[str]]]:
    root = sample_data / "nih-1024"
    yield root, sorted(str(path.relative_to(root)) for path in root.glob("images_*/images/*.png"))


@pytest.mark.real
def test_real_radiographs_pack_to_what_prediction_sees(tmp_path: Path, nih_1024: tuple[Path, list[str]]) -> None:
    root, paths = nih_1024
    how = Preprocess(256)
    store = pack(root, paths, paths, describe("nih", paths, how), tmp_path / "store", workers=2)
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
    wanted = describe("made", keys, HOW, fingerprint(where[0], keys))
    store = pack(where[0], keys, keys, wanted, where[1], "skip", 2, read)
    assert [int(square.max()) for square in np.asarray(store.pixels)] == [7, 0, 200]
    assert store.readable.tolist() == [True, False, True]
