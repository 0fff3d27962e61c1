"""Decodes the rows of a store in several threads; a kill at any moment loses seconds of the work."""

import errno
import os
import shutil
import time
import zlib
from pathlib import Path

import numpy as np

from cxr.console import count, say
from cxr.data.file_records import (
    NOT_PACKED,
    PACKED,
    UNREADABLE,
    FileRecords,
    load_records,
    new_records,
    same_times,
    stat_files,
)
from cxr.data.manifest import Manifest
from cxr.data.store import PIXELS
from cxr.data.store_files import StoreFiles
from cxr.errors import Interrupted, UnavailableFileError, UnreadableImageError
from cxr.images.large_images import keep_freed_memory
from cxr.parallel import work_through
from cxr.signals import StopRequest

_SECONDS_BETWEEN_SAVES = 2.0


class RowPacker:
    """Packs the rows of a store that are not packed yet, each at its own offset of the pixel file.

    The order matters: 1. a file's size and time are noted, 2. it is read and its row written, 3. the pixel
    file is flushed to the disk, 4. the row's status is saved. A kill at any moment thus loses at most the
    last seconds of work, and a file that changes while it is packed shows as changed. Memory is one image a
    thread, whatever N is.

    Attributes:
        unreadable: Why each row that could not be decoded could not.
        denied: Why each row whose file may not be read may not.
    """

    def __init__(self, files: StoreFiles, wanted: Manifest, partial: Path) -> None:
        self.files, self.preprocess, self.partial = files, wanted.preprocess, partial
        self.unreadable: dict[int, str] = {}
        self.denied: dict[int, str] = {}
        self.records = _load_interrupted(partial, files, wanted)
        try:
            self._descriptor = _allocate(partial / PIXELS, wanted.num_images * self.preprocess.size**2)
        except OSError:  # the disk is too small
            if not (self.records.status == PACKED).any():
                shutil.rmtree(partial)
            raise
        self._last_save = time.monotonic()

    def run(self, workers: int, request: StopRequest) -> None:
        """Pack every row that is left.

        Raises:
            CxrError: A file cannot be read now, or the disk fails; what was packed is saved.
            Interrupted: After a signal, once the files that are being decoded are packed and all is saved.
        """
        rows = np.flatnonzero(self.records.status != PACKED).tolist()
        num_done_before = len(self.records) - len(rows)
        keep_freed_memory()

        def check() -> None:
            if request.signal is not None:
                raise Interrupted(request.signal, saved=True)
            self._save_now_and_then()

        try:
            work_through("pack", rows, self._pack_row, workers, num_done_before, check)
        finally:
            self._save()

    def close(self) -> None:
        """Close the pixel file."""
        os.close(self._descriptor)

    def _pack_row(self, row: int) -> None:
        """Decode a file and write its row; called from several threads, each with other rows."""
        self.records.note_file(row, self.files.path(row))
        status, size = PACKED, self.preprocess.size
        try:
            # [S, S] row after row in memory, as it is written and summed
            square = np.ascontiguousarray(self.files.square(row, self.preprocess))
        except UnreadableImageError as error:
            self.unreadable[row] = error.reason
            status, square = UNREADABLE, np.zeros((size, size), np.uint8)
        except UnavailableFileError as error:
            if not error.is_denied:
                raise
            self.denied[row] = error.reason  # the others are packed, and all such files are named at the end
            return
        # pwrite moves no shared file position, so threads need no lock.
        if os.pwrite(self._descriptor, square.data, row * square.nbytes) != square.nbytes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.records.crc32[row] = zlib.crc32(square.data)
        self.records.status[row] = status  # last, see FileRecords.copy

    def _save_now_and_then(self) -> None:
        if time.monotonic() - self._last_save > _SECONDS_BETWEEN_SAVES:
            self._save()
            self._last_save = time.monotonic()

    def _save(self) -> None:
        """Save the records of the rows that are on the disk."""
        # Copied before the flush: rows that threads write after it must not count as flushed.
        records = self.records.copy()
        os.fsync(self._descriptor)
        records.save(self.partial)


def _load_interrupted(partial: Path, files: StoreFiles, wanted: Manifest) -> FileRecords:
    """The records of an interrupted pack; rows whose files have changed since are packed again."""
    num_images, num_bytes = wanted.num_images, wanted.num_images * wanted.preprocess.size**2
    try:
        records = load_records(partial)
        is_usable = len(records) == num_images and (partial / PIXELS).stat().st_size == num_bytes
    except (OSError, ValueError):
        is_usable = False
    if not is_usable:
        return new_records(num_images)
    sizes, times = stat_files(files.root, files.paths)
    is_packed = records.status == PACKED
    is_same_size = sizes == records.num_bytes
    is_same_time = (sizes < 0) | same_times(records.mtime_ns, times)  # sizes < 0: keys, which are no files
    # what was packed from another file than is there now is packed again
    is_kept = is_packed & is_same_size & is_same_time
    say(f"{partial}: resuming after {int(is_kept.sum()):,} of {count(num_images, 'image')}")
    num_changed = int((is_packed & ~is_kept).sum())
    if num_changed:
        say(f"{partial}: {count(num_changed, 'file')} changed since then: read again")
    records.status[~is_kept] = NOT_PACKED
    return records


def _allocate(path: Path, num_bytes: int) -> int:
    """A descriptor of the pixel file with all bytes reserved: a full disk shows before hours of work."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        if num_bytes:
            os.posix_fallocate(descriptor, 0, num_bytes)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
