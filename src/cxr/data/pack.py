"""Image files -> Store: every file decoded once, on all cores, in bounded memory, surviving a kill at any moment."""

import os
import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Literal

from cxr.console import count, say, warn
from cxr.data.image import Grey, Intensity, UnreadableImageError, prepare, read_file
from cxr.data.large_images import keep_small_blocks, one_image
from cxr.data.notes import Notes, note_constant
from cxr.data.store import PACKED, UNREADABLE, Manifest, Store, open_store
from cxr.data.threads import work_through
from cxr.errors import CxrError
from cxr.files import explain_os_errors, only_one, write_text
from cxr.text import csv_line

Read = Callable[[str], Grey]

_SAVE_SECONDS = 2.0
_NAMED = 20


def reader(root: Path, intensity: Intensity, read_pixels: Read | None = None, notes: Notes | None = None) -> Read:
    """Grey pixels of a path, as packing reads them: by the source's own reader, else as a file below root.

    What is remarkable about them goes into the notes.
    """
    kept = Notes() if notes is None else notes

    def read(path: str) -> Grey:
        if read_pixels is None:
            return read_file(root / path, intensity, lambda sentence: kept.add(path, sentence))
        grey = read_pixels(path)
        note_constant(grey, lambda sentence: kept.add(path, sentence))
        return grey

    return read


def pack(
    root: Path,
    paths: Sequence[str],
    images: Sequence[str],
    wanted: Manifest,
    folder: Path,
    unreadable: Literal["error", "skip"] = "error",
    workers: int = 0,
    read_pixels: Read | None = None,
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
    partial = folder.with_name(folder.name + ".partial")
    with explain_os_errors(partial):
        partial.mkdir(parents=True, exist_ok=True)
        with only_one(partial / "lock", f"{partial}: another process is packing this store"):
            _start(partial, wanted, images)
            notes = Notes()
            packing = _Packing(paths, wanted, partial, reader(root, wanted.preprocess.intensity, read_pixels, notes))
            try:
                packing.run(workers)
            finally:
                packing.close()
            for line in notes.summarise(paths):
                warn(line)
            _report_unreadable(partial, images, paths, packing.reasons, root, unreadable)
            _replace(partial, folder)
    return open_store(folder, wanted)


class _Packing:
    """Rows decoded on several threads and written, each in its own place of the pixel file.

    Order that matters: 1. a row is written, 2. the pixel file is flushed to the disk, 3. the row's status is saved. A
    kill at any moment thus loses at most the last seconds of work. Memory is one image a thread, whatever N is.
    """

    def __init__(self, paths: Sequence[str], wanted: Manifest, partial: Path, read: Read) -> None:
        self.paths, self.how, self.partial, self.read = paths, wanted.preprocess, partial, read
        self.reasons: dict[int, str] = {}
        self.status = _read_status(partial, wanted.num_images)
        try:
            self.descriptor = _allocate(partial / "pixels.u8", wanted.num_images * self.how.size**2)
        except OSError:
            if not self.status.count(PACKED):
                shutil.rmtree(partial)
            raise
        self._saved = time.monotonic()

    def run(self, workers: int) -> None:
        """Pack every row that is left, saving now and then."""
        rows = [row for row in range(len(self.paths)) if self.status[row] != PACKED]
        before = len(self.paths) - len(rows)
        keep_small_blocks()
        try:
            work_through("pack", rows, self._pack_row, workers, before, self._save_now_and_then)
        finally:
            self._save()

    def close(self) -> None:
        os.close(self.descriptor)

    def _pack_row(self, row: int) -> None:
        try:
            with one_image():
                square = prepare(self.read(self.paths[row]), self.how)
        except UnreadableImageError as error:
            self.reasons[row], self.status[row] = error.reason, UNREADABLE
            square = None
        data = bytes(self.how.size**2) if square is None else square.tobytes()
        if os.pwrite(self.descriptor, data, row * len(data)) != len(data):
            raise OSError(28, os.strerror(28))
        if square is not None:
            self.status[row] = PACKED

    def _save_now_and_then(self) -> None:
        if time.monotonic() - self._saved > _SAVE_SECONDS:
            self._save()
            self._saved = time.monotonic()

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
    say(f"{partial}: going on after {status.count(PACKED):,} of {count(num_images, 'image')}")
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
            problems.append(f"{root}: {count(len(rows) - _NAMED, 'more unreadable file')}")
        hint = (
            "download them again, or data.unreadable=skip; skipped files are listed in unreadable.csv beside the store"
        )
        raise CxrError(problems, hint)
    table = [(images[row], paths[row], reasons[row]) for row in rows]
    write_csv(partial / "unreadable.csv", ("image", "path", "reason"), table)
    warn(f"{len(rows):,} of {count(len(paths), 'file')} unreadable and skipped: see unreadable.csv beside the store")


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Write a small CSV atomically."""
    write_text(path, "".join(map(csv_line, [header, *rows])))


def _replace(partial: Path, folder: Path) -> None:
    """Put the whole store in place; an older one is moved aside first, as a folder cannot be renamed onto another."""
    (partial / "lock").unlink()
    old = folder.with_name(folder.name + ".old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        os.rename(folder, old)
    os.rename(partial, folder)
    shutil.rmtree(old, ignore_errors=True)
