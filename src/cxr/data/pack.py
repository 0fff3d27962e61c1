"""Image files -> Store: each file decoded once, in a folder that replaces the store when it is whole."""

import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from cxr.console import count, say, warn
from cxr.data.changes import find_changes
from cxr.data.checksums import find_damaged_rows
from cxr.data.file_records import NOT_PACKED
from cxr.data.manifest import IMAGES, MANIFEST, Manifest
from cxr.data.row_packer import RowPacker
from cxr.data.store import PIXELS, Store, open_store, read_store, refuse_other_files
from cxr.data.store_files import Read, StoreFiles, list_files
from cxr.errors import CxrError, UnavailableFileError
from cxr.files import clear_leftovers, explain_os_errors, only_one, sync, write_text
from cxr.signals import catch_signals
from cxr.text import csv_line

Begin = Literal["overwrite", "update"]
"""Which rows are packed again: all, or those that have changed, are damaged or could not be decoded."""

_UNREADABLE = "unreadable.csv"
_NUM_LISTED = 20  # files in an error


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
    """Decode every file once into the store at `folder`; resumes an interrupted pack of the same images.

    The work is done in `<folder>.partial`, which replaces `folder` once it is whole.

    Args:
        root: Folder that `paths` are relative to.
        paths: N files.
        images: N row keys.
        wanted: `make_manifest(source, images, preprocess)`.
        folder: The store's folder.
        unreadable: Whether files that could not be decoded are an error, after the last file, or are listed
            in unreadable.csv.
        workers: Decoding threads; 0 takes one a core.
        read_pixels: Grey pixels of one of `paths`, called from several threads; None reads files below root.

    Raises:
        CxrError: Unreadable files, files that cannot be read now, a disk too small, or another process
            packing the same store. What was packed is saved, and the same command resumes it.
        Interrupted: A signal, with what was packed saved.
    """
    files = list_files(root, paths, images, wanted.preprocess.intensity, read_pixels)
    with _lock(folder) as partial:
        clear_leftovers(partial)
        # 1. an interrupted pack of the same images is continued, any other is dropped
        if not is_begun(folder, wanted):
            _start_empty(partial, wanted, images)
        # 2. the rows that no run before has packed; a signal ends the work with everything saved
        packer = RowPacker(files, wanted, partial)
        try:
            with catch_signals(second_ends=True) as request:
                packer.run(workers, request)
        finally:
            packer.close()
        for line in files.notes.summarise(paths):
            warn(line)
        if packer.denied:
            hint = UnavailableFileError("", PermissionError(13, "")).hint
            raise CxrError(_list_files(files, packer.denied, "more such file"), hint)
        # 3. whole, but for files that cannot be decoded; then the folder takes its place
        _report_unreadable(partial, files, packer.unreadable, unreadable)
        _replace(partial, folder)
    return open_store(folder, wanted, files)


def begin(extent: Begin, files: StoreFiles, wanted: Manifest, folder: Path, workers: int = 0) -> None:
    """Begin to pack a store again, which `pack` finishes; the store can be read until the new one is whole.

    Args:
        extent: overwrite drops all that was packed, also an interrupted pack; update keeps rows that have
            neither changed nor are damaged, or resumes an interrupted pack.
        files: The files of its rows.
        wanted: What it must hold.
        folder: The store's folder.
        workers: Threads; 0 takes one a core.

    Raises:
        CxrError: Under update, no store of these images, or one of format 1, which has no checksums.
    """
    with _lock(folder) as partial:
        if extent == "overwrite":
            _start_empty(partial, wanted, files.names)
        elif folder.exists() and not is_begun(folder, wanted):
            _start_from_store(folder, partial, wanted, files, workers)


def is_begun(folder: Path, wanted: Manifest) -> bool:
    """Whether there is an interrupted pack of the same images into a store at `folder`."""
    try:
        return (_partial(folder) / MANIFEST).read_text() == wanted.to_json()
    except (OSError, UnicodeDecodeError):
        return False


def _partial(folder: Path) -> Path:
    return folder.with_name(folder.name + ".partial")


@contextmanager
def _lock(folder: Path) -> Iterator[Path]:
    """The folder in which a store is packed, locked against other processes."""
    partial = _partial(folder)
    # all three may be removed below
    for path in (folder, partial, folder.with_name(folder.name + ".old")):
        refuse_other_files(path)
    with explain_os_errors(partial):
        partial.parent.mkdir(parents=True, exist_ok=True)
        lock = folder.with_name(folder.name + ".lock")
        with only_one(lock, f"{partial}: another process is packing this store"):
            yield partial


def _start_empty(partial: Path, wanted: Manifest, images: Sequence[str]) -> None:
    """Begin with no row; an interrupted pack is of other images, other pixels or an earlier version."""
    if partial.exists():
        say(f"{partial}: what was packed there is dropped")
        shutil.rmtree(partial, ignore_errors=True)
    try:
        _write_identity(partial, wanted, images)
    except CxrError:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _start_from_store(folder: Path, partial: Path, wanted: Manifest, files: StoreFiles, workers: int) -> None:
    """Begin with a copy of a store, in which changed, damaged and unreadable rows count as not packed.

    The store stays as it is, for processes that read it meanwhile, until the copy replaces it.

    Raises:
        CxrError: It is no store of these images, or one of format 1, which knows nothing of its files.
    """
    store, records = read_store(folder, wanted, files)
    if store.crc32 is None:
        problem = f"{folder}: an earlier version packed it, which noted neither sizes nor checksums"
        raise CxrError(problem, "cxr pack CONFIG --overwrite packs it again")
    # files that are others now, then rows whose pixels no longer have their checksum
    changed = find_changes(records, files, wanted.preprocess, workers=workers).changed
    damaged = find_damaged_rows(store)
    say(f"{folder}: {len(changed):,} changed and {len(damaged):,} damaged of {count(len(records), 'image')}")
    records.status[sorted({*changed, *damaged})] = NOT_PACKED
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    # 1. pixels, 2. records, 3. identity: a kill between them leaves no folder that counts as begun
    shutil.copyfile(folder / PIXELS, partial / PIXELS)
    records.save(partial)
    _write_identity(partial, wanted, files.names)


def _write_identity(partial: Path, wanted: Manifest, images: Sequence[str]) -> None:
    """Write images.txt, then manifest.json: from then on the folder counts as an interrupted pack."""
    write_text(partial / IMAGES, "".join(f"{image}\n" for image in images))
    write_text(partial / MANIFEST, wanted.to_json())


def _report_unreadable(
    partial: Path, files: StoreFiles, reasons: dict[int, str], policy: Literal["error", "skip"]
) -> None:
    """List the files that could not be decoded in unreadable.csv.

    Raises:
        CxrError: There are some and the policy is error; unreadable.csv is not written.
    """
    (partial / _UNREADABLE).unlink(missing_ok=True)
    if not reasons:
        return
    if policy == "error":
        skip = "data.unreadable=skip; skipped files are listed in unreadable.csv beside the store"
        hint = f"download them again, or {skip}"
        raise CxrError(_list_files(files, reasons, "more unreadable file"), hint)
    # in the order of the rows, whichever thread was first
    table = [(files.names[row], files.paths[row], reasons[row]) for row in sorted(reasons)]
    write_csv(partial / _UNREADABLE, ("image", "path", "reason"), table)
    total = count(len(files.paths), "file")
    warn(f"{len(table):,} of {total} unreadable and skipped: see unreadable.csv beside the store")


def _list_files(files: StoreFiles, reasons: dict[int, str], others: str) -> list[str]:
    """A line for each of the first 20 files, and the number of the others."""
    rows = sorted(reasons)
    lines = [f"{files.root / files.paths[row]}: {reasons[row]}" for row in rows[:_NUM_LISTED]]
    if len(rows) > _NUM_LISTED:
        lines.append(f"{files.root}: {count(len(rows) - _NUM_LISTED, others)}")
    return lines


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Write a small CSV file atomically."""
    write_text(path, "".join(map(csv_line, [header, *rows])))


def _replace(partial: Path, folder: Path) -> None:
    """Put the whole store in place of an older one, moved first: no folder can be renamed onto another."""
    old = folder.with_name(folder.name + ".old")
    # Left by a kill during an earlier replacement.
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        os.rename(folder, old)
    os.rename(partial, folder)
    sync(folder.parent)  # the renames, before the old store is removed
    shutil.rmtree(old, ignore_errors=True)
