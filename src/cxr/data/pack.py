"""Image files -> Store: every file decoded once, on all cores, in bounded memory, surviving a kill at any moment."""

import os
import shutil
import time
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import numpy as np

from cxr.console import count, say, warn
from cxr.data.changes import Files, find_changes
from cxr.data.changes import Read as Read
from cxr.data.rows import LEFT, PACKED, UNREADABLE, Rows, load_rows, new_rows, same_times, stat_files
from cxr.data.store import Manifest, Store, find_damaged_rows, open_store, read_store, refuse_other_files
from cxr.errors import CxrError, Interrupted, UnavailableFileError, UnreadableImageError
from cxr.files import clear_leftovers, explain_os_errors, only_one, sync, write_text
from cxr.images.grey import Grey, Intensity
from cxr.images.large_images import keep_freed_memory
from cxr.images.notes import Notes, note_constant
from cxr.images.read import read_file
from cxr.parallel import work_through
from cxr.signals import StopRequest, catch_signals
from cxr.text import csv_line

Begin = Literal["overwrite", "update"]
"""Which rows are packed again: all of them, or those that have changed, are damaged or could not be decoded."""

_SAVE_SECONDS = 2.0
_NAMED = 20


def reader(
    root: Path, intensity: Intensity, read_pixels: Read | None = None, notes: Notes | None = None
) -> Read:
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
        CxrError: Unreadable files, files that cannot be read now, a disk too small, or another process packing the same
            store. All but the unreadable files can be gone on from.
        Interrupted: A signal, with what was packed saved.
    """
    files = list_files(root, paths, images, wanted.preprocess.intensity, read_pixels)
    with _alone(folder) as partial:
        clear_leftovers(partial)
        if not is_begun(folder, wanted):
            _start_afresh(partial, wanted, images)
        packing = _Packing(files, wanted, partial)
        try:
            with catch_signals(second_ends=True) as request:
                packing.run(workers, request)
        finally:
            packing.close()
        for line in files.notes.summarise(paths):
            warn(line)
        _report_denied(partial, files, packing.denied)
        _report_unreadable(partial, files, packing.reasons, unreadable)
        _replace(partial, folder)
    return open_store(folder, wanted, files)


def begin(how: Begin, files: Files, wanted: Manifest, folder: Path, workers: int = 0) -> None:
    """Begin to pack a store again, which `pack` then goes on with; the old one serves until the new one is whole.

    Args:
        how: overwrite drops all that was packed, an interrupted pack too; update keeps what has neither changed nor is
            damaged, or goes on with an interrupted pack.
        files: The files of its rows.
        wanted: What it is to hold.
        folder: The store's folder.
        workers: Threads; 0 takes one a core.

    Raises:
        CxrError: Under update, no store of these images, or one that knows nothing of its files.
    """
    with _alone(folder) as partial:
        if how == "overwrite":
            _start_afresh(partial, wanted, files.names)
        elif folder.exists() and not is_begun(folder, wanted):
            _copy_what_is_good(folder, partial, wanted, files, workers)


@contextmanager
def _alone(folder: Path) -> Iterator[Path]:
    """The folder in which a store is packed, which no other process uses meanwhile."""
    partial = folder.with_name(folder.name + ".partial")
    for one in (folder, partial, folder.with_name(folder.name + ".old")):
        refuse_other_files(one)
    with explain_os_errors(partial):
        partial.parent.mkdir(parents=True, exist_ok=True)
        with only_one(
            folder.with_name(folder.name + ".lock"), f"{partial}: another process is packing this store"
        ):
            yield partial


def list_files(
    root: Path, paths: Sequence[str], images: Sequence[str], intensity: Intensity, read_pixels: Read | None
) -> Files:
    """The files of a store's rows, read as packing reads them."""
    notes = Notes()
    return Files(root, paths, images, reader(root, intensity, read_pixels, notes), read_pixels is None, notes)


def is_begun(folder: Path, wanted: Manifest) -> bool:
    """Whether there is an interrupted pack of the same images into a store at `folder`."""
    try:
        return (folder.with_name(folder.name + ".partial") / "manifest.json").read_text() == wanted.to_json()
    except (OSError, UnicodeDecodeError):
        return False


class _Packing:
    """Rows decoded on several threads and written, each in its own place of the pixel file.

    Order that matters: 1. a file's size and time are noted, 2. it is read and its row written, 3. the pixel file is
    flushed to the disk, 4. the row's status is saved. A kill at any moment thus loses at most the last seconds of work,
    and a file that changes while it is packed shows as changed. Memory is one image a thread, whatever N is.
    """

    def __init__(self, files: Files, wanted: Manifest, partial: Path) -> None:
        self.files, self.how, self.partial = files, wanted.preprocess, partial
        self.reasons: dict[int, str] = {}
        self.denied: dict[int, str] = {}
        self.rows = _load_begun(partial, files, wanted)
        try:
            self.descriptor = _allocate(partial / "pixels.u8", wanted.num_images * self.how.size**2)
        except OSError:
            if not (self.rows.status == PACKED).any():
                shutil.rmtree(partial)
            raise
        self._saved = time.monotonic()

    def run(self, workers: int, request: StopRequest) -> None:
        """Pack every row that is left, saving now and then.

        Raises:
            Interrupted: As soon as a signal has asked for it and the files that are being decoded are done.
        """
        left = np.flatnonzero(self.rows.status != PACKED).tolist()
        keep_freed_memory()

        def look_up() -> None:
            if request.signal is not None:
                raise Interrupted(request.signal, saved=True)
            self._save_now_and_then()

        try:
            work_through("pack", left, self._pack_row, workers, len(self.rows) - len(left), look_up)
        finally:
            self._save()

    def close(self) -> None:
        os.close(self.descriptor)

    def _pack_row(self, row: int) -> None:
        rows, status = self.rows, PACKED
        rows.note_file(row, self.files.path(row))
        try:
            square = np.ascontiguousarray(self.files.square(row, self.how))
        except UnreadableImageError as error:
            self.reasons[row], status = error.reason, UNREADABLE
            square = np.zeros((self.how.size, self.how.size), np.uint8)
        except UnavailableFileError as error:
            if not error.is_denied:
                raise
            self.denied[row] = error.reason  # the others are packed, and all such files are named at the end
            return
        if os.pwrite(self.descriptor, square.data, row * square.nbytes) != square.nbytes:
            raise OSError(28, os.strerror(28))
        rows.crc32[row] = zlib.crc32(square.data)
        rows.status[row] = status  # last, see Rows.copy

    def _save_now_and_then(self) -> None:
        if time.monotonic() - self._saved > _SAVE_SECONDS:
            self._save()
            self._saved = time.monotonic()

    def _save(self) -> None:
        snapshot = self.rows.copy()
        os.fsync(self.descriptor)
        snapshot.save(self.partial)


def _start_afresh(partial: Path, wanted: Manifest, images: Sequence[str]) -> None:
    """Begin with nothing: what an interrupted pack left is of other images, other pixels or an earlier version."""
    if partial.exists():
        say(f"{partial}: what was packed there is dropped")
        shutil.rmtree(partial, ignore_errors=True)
    try:
        write_text(partial / "images.txt", "".join(f"{image}\n" for image in images))
        write_text(partial / "manifest.json", wanted.to_json())
    except CxrError:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _load_begun(partial: Path, files: Files, wanted: Manifest) -> Rows:
    """The rows of an interrupted pack; those whose files have changed since are packed again."""
    num_images, num_bytes = wanted.num_images, wanted.num_images * wanted.preprocess.size**2
    try:
        rows = load_rows(partial)
        usable = len(rows) == num_images and (partial / "pixels.u8").stat().st_size == num_bytes
    except (OSError, ValueError):
        usable = False
    if not usable:
        return new_rows(num_images)
    sizes, times = stat_files(files.root, files.paths)
    packed = rows.status == PACKED
    unchanged = (sizes == rows.num_bytes) & ((sizes < 0) | same_times(rows.mtime_ns, times))
    say(f"{partial}: going on after {int((packed & unchanged).sum()):,} of {count(num_images, 'image')}")
    num_changed = int((packed & ~unchanged).sum())
    if num_changed:
        say(f"{partial}: {count(num_changed, 'file')} changed since then: read again")
    rows.status[~(packed & unchanged)] = LEFT
    return rows


def _copy_what_is_good(folder: Path, partial: Path, wanted: Manifest, files: Files, workers: int) -> None:
    """Begin a pack with a copy of a store, whose changed, damaged and unreadable rows are left to be packed.

    The store itself stays as it is, for those who read it meanwhile, until the copy takes its place.

    Raises:
        CxrError: It is no store of these images, or one that knows nothing of its files.
    """
    store, rows = read_store(folder, wanted, files)
    if store.crc32 is None:
        what = f"{folder}: an earlier version packed it, which noted neither sizes nor checksums"
        raise CxrError(what, "cxr pack CONFIG --overwrite packs it again")
    changed = find_changes(rows, files, wanted.preprocess, workers=workers).changed
    damaged = find_damaged_rows(store)
    redo = sorted({*changed, *damaged})
    say(f"{folder}: {len(changed):,} changed and {len(damaged):,} damaged of {count(len(rows), 'image')}")
    rows.status[redo] = LEFT
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    shutil.copyfile(folder / "pixels.u8", partial / "pixels.u8")
    rows.save(partial)
    write_text(partial / "images.txt", "".join(f"{name}\n" for name in files.names))
    write_text(partial / "manifest.json", wanted.to_json())  # last: with it the copy counts as begun


def _allocate(path: Path, num_bytes: int) -> int:
    """A descriptor of the pixel file with all its bytes reserved, so that a full disk shows before hours of work."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        if num_bytes:
            os.posix_fallocate(descriptor, 0, num_bytes)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _report_denied(partial: Path, files: Files, reasons: dict[int, str]) -> None:
    """Refuse to end while there are files that may not be read."""
    if reasons:
        hint = UnavailableFileError("", PermissionError(13, "")).hint
        raise CxrError(_name(files, reasons, "more such file"), hint)


def _report_unreadable(
    partial: Path, files: Files, reasons: dict[int, str], policy: Literal["error", "skip"]
) -> None:
    (partial / "unreadable.csv").unlink(missing_ok=True)
    if not reasons:
        return
    if policy == "error":
        hint = (
            "download them again, or data.unreadable=skip; "
            "skipped files are listed in unreadable.csv beside the store"
        )
        raise CxrError(_name(files, reasons, "more unreadable file"), hint)
    table = [(files.names[row], files.paths[row], reasons[row]) for row in sorted(reasons)]
    write_csv(partial / "unreadable.csv", ("image", "path", "reason"), table)
    num, total = len(table), count(len(files.paths), "file")
    warn(f"{num:,} of {total} unreadable and skipped: see unreadable.csv beside the store")


def _name(files: Files, reasons: dict[int, str], rest: str) -> list[str]:
    """A line for each of the first files, and the number of the others."""
    rows = sorted(reasons)
    lines = [f"{files.root / files.paths[row]}: {reasons[row]}" for row in rows[:_NAMED]]
    return lines + ([f"{files.root}: {count(len(rows) - _NAMED, rest)}"] if len(rows) > _NAMED else [])


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Write a small CSV atomically."""
    write_text(path, "".join(map(csv_line, [header, *rows])))


def _replace(partial: Path, folder: Path) -> None:
    """Put the whole store in place; an older one is moved aside first, as a folder cannot be renamed onto another."""
    old = folder.with_name(folder.name + ".old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        os.rename(folder, old)
    os.rename(partial, folder)
    sync(folder.parent)
    shutil.rmtree(old, ignore_errors=True)
