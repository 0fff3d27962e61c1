"""Image files -> Store: every file decoded once, on all cores, in bounded memory, surviving a kill at any moment."""

import csv
import io
import itertools
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Literal

from cxr.console import progress, say, warn
from cxr.data.image import Grey, UnreadableImageError, prepare, read_file
from cxr.data.store import PACKED, UNREADABLE, Manifest, Store, open_store
from cxr.errors import CxrError
from cxr.files import explain_os_errors, only_one, write_text

_SAVE_SECONDS = 2.0
_NAMED = 20


def pack(
    root: Path,
    paths: Sequence[str],
    images: Sequence[str],
    wanted: Manifest,
    folder: Path,
    unreadable: Literal["error", "skip"] = "error",
    workers: int = 0,
    read_pixels: Callable[[str], Grey] | None = None,
) -> Store:
    """Decode every file once into the store at `folder`; goes on from an interrupted pack of the same images.

    The work is done in `<folder>.partial`, which takes the place of `folder` only once it is whole.

    Args:
        root: Folder that `paths` are relative to.
        paths: N files.
        images: N row keys.
        wanted: `describe(source, images, preprocess)`.
        folder: The store's folder.
        unreadable: Stop after the last file when some could not be decoded, or list them in unreadable.csv.
        workers: Decoding threads; 0 takes one a core.
        read_pixels: Grey pixels of one of `paths`, called from several threads; None reads it as a file below root.

    Raises:
        CxrError: Unreadable files, a disk too small, or another process packing the same store.
    """

    def read(path: str) -> Grey:
        return read_file(root / path, wanted.preprocess.intensity)

    partial = folder.with_name(folder.name + ".partial")
    with explain_os_errors(partial):
        partial.mkdir(parents=True, exist_ok=True)
        with only_one(partial / "lock", f"{partial}: another process is packing this store"):
            _start(partial, wanted, images)
            packing = _Packing(paths, wanted, partial, read_pixels or read)
            try:
                packing.run(workers or os.cpu_count() or 1)
            finally:
                packing.close()
            _report_unreadable(partial, images, paths, packing.reasons, root, unreadable)
            _replace(partial, folder)
    return open_store(folder, wanted)


class _Packing:
    """Threads that take rows, decode them and write them, each in its own place of the pixel file.

    Order that matters: 1. a row is written, 2. the pixel file is flushed to the disk, 3. the row's status is saved. A
    kill at any moment thus loses at most the last seconds of work. Memory is one image a thread, whatever N is.
    """

    def __init__(self, paths: Sequence[str], wanted: Manifest, partial: Path, read: Callable[[str], Grey]) -> None:
        self.paths, self.how, self.partial, self.read = paths, wanted.preprocess, partial, read
        self.reasons: dict[int, str] = {}
        self.status = _read_status(partial, wanted.num_images)
        try:
            self.descriptor = _allocate(partial / "pixels.u8", wanted.num_images * self.how.size**2)
        except OSError:
            if not self.status.count(PACKED):
                shutil.rmtree(partial)
            raise
        self._todo = iter([row for row in range(len(paths)) if self.status[row] != PACKED])
        self._taking, self._stop = threading.Lock(), threading.Event()
        self._failures: list[BaseException] = []

    def run(self, workers: int) -> None:
        """Pack every row that is left, saving now and then."""
        threads = [threading.Thread(target=self._work, name=f"pack-{number}") for number in range(workers)]
        try:
            self._watch(threads)
        finally:
            self._stop.set()
            for thread in threads:
                thread.join()
            self._save()
        if self._failures:
            raise self._failures[0]

    def close(self) -> None:
        os.close(self.descriptor)

    def _work(self) -> None:
        try:
            while (row := self._take()) is not None:
                self._pack_row(row)
        except BaseException as error:  # handed to the thread that waits
            self._failures.append(error)
            self._stop.set()

    def _take(self) -> int | None:
        with self._taking:
            return None if self._stop.is_set() else next(self._todo, None)

    def _pack_row(self, row: int) -> None:
        try:
            square = prepare(self.read(self.paths[row]), self.how)
        except UnreadableImageError as error:
            self.reasons[row], self.status[row] = error.reason, UNREADABLE
            square = None
        data = bytes(self.how.size**2) if square is None else square.tobytes()
        if os.pwrite(self.descriptor, data, row * len(data)) != len(data):
            raise OSError(28, os.strerror(28))
        if square is not None:
            self.status[row] = PACKED

    def _watch(self, threads: Sequence[threading.Thread]) -> None:
        with progress() as bar:
            task = bar.add_task("pack", total=len(self.status), completed=self._count())
            for thread in threads:
                thread.start()
            saved = time.monotonic()
            for thread in itertools.cycle(threads):
                thread.join(0.05)
                bar.update(task, completed=self._count())
                if not any(one.is_alive() for one in threads):
                    return
                if time.monotonic() - saved > _SAVE_SECONDS:
                    self._save()
                    saved = time.monotonic()

    def _count(self) -> int:
        return len(self.status) - self.status.count(0)

    def _save(self) -> None:
        snapshot = bytes(self.status)
        os.fsync(self.descriptor)
        temporary = self.partial / "status.tmp"
        temporary.write_bytes(snapshot)
        os.replace(temporary, self.partial / "status.u8")


def _start(partial: Path, wanted: Manifest, images: Sequence[str]) -> None:
    """Clear what an interrupted pack of other images, or with another Preprocess, left behind."""
    manifest = partial / "manifest.json"
    if manifest.exists() and manifest.read_text() == wanted.to_json():
        return
    for name in ("status.u8", "pixels.u8", "unreadable.csv", "missing.csv"):
        (partial / name).unlink(missing_ok=True)
    try:
        write_text(partial / "images.txt", "".join(f"{image}\n" for image in images))
        write_text(manifest, wanted.to_json())
    except CxrError:
        shutil.rmtree(partial)
        raise


def _read_status(partial: Path, num_images: int) -> bytearray:
    path = partial / "status.u8"
    status = path.read_bytes() if path.exists() and (partial / "pixels.u8").exists() else b""
    if len(status) != num_images:
        return bytearray(num_images)
    say(f"{partial}: going on after {status.count(PACKED):,} of {num_images:,} images")
    return bytearray(PACKED if value == PACKED else 0 for value in status)


def _allocate(path: Path, num_bytes: int) -> int:
    """A descriptor of the pixel file with all its bytes reserved, so that a full disk shows before hours of work."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        if num_bytes:
            os.posix_fallocate(descriptor, 0, num_bytes)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _report_unreadable(
    partial: Path,
    images: Sequence[str],
    paths: Sequence[str],
    reasons: dict[int, str],
    root: Path,
    policy: Literal["error", "skip"],
) -> None:
    if not reasons:
        return
    rows = sorted(reasons)
    if policy == "error":
        problems = [f"{root / paths[row]}: {reasons[row]}" for row in rows[:_NAMED]]
        if len(rows) > _NAMED:
            problems.append(f"{root}: {len(rows) - _NAMED:,} more files are unreadable")
        hint = (
            "download them again, or data.unreadable=skip; skipped files are listed in unreadable.csv beside the store"
        )
        raise CxrError(problems, hint)
    table = [(images[row], paths[row], reasons[row]) for row in rows]
    write_csv(partial / "unreadable.csv", ("image", "path", "reason"), table)
    warn(f"{len(rows):,} of {len(paths):,} files are unreadable and skipped: see unreadable.csv beside the store")


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Write a small CSV atomically."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    write_text(path, text.getvalue())


def _replace(partial: Path, folder: Path) -> None:
    """Put the whole store in place; an older one is moved aside first, as a folder cannot be renamed onto another."""
    (partial / "lock").unlink()
    old = folder.with_name(folder.name + ".old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        os.rename(folder, old)
    os.rename(partial, folder)
    shutil.rmtree(old, ignore_errors=True)
