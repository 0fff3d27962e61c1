"""Which files of a store are other than those that were packed, and which of its rows are damaged.

The rule, file by file: another size is a change. The same size and time is the same file. The same size and another
time (a copy without times, `touch`, an archive unpacked again) is settled by reading the file again: where it gives the
row's checksum it is the same, and its new time is noted.
"""

import errno
import os
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cxr.console import count, say
from cxr.data.rows import UNREADABLE, Rows, same_times, stat_files
from cxr.errors import UnavailableFileError, UnreadableImageError
from cxr.images.grey import Grey
from cxr.images.large_images import image_memory
from cxr.images.notes import Notes
from cxr.images.prepare import Preprocess, prepare
from cxr.parallel import work_through

Read = Callable[[str], Grey]
Indices = npt.NDArray[np.intp]

_BLOCK = 256  # rows a thread copies and sums at once: 17 MB at 256 pixels
_SUMMING_THREADS = min(8, os.cpu_count() or 1)
_PROBE = 64 << 20  # bytes, reserved and not touched; a decoder of a radiograph takes about as many


@dataclass(frozen=True)
class Files:
    """The files of a store's rows.

    Attributes:
        root: Folder that `paths` are relative to.
        paths: N files.
        names: N row keys.
        read: Grey pixels of one of the paths.
        are_files: Whether each path is a file below root, and not a key that only `read` knows.
        notes: What was remarkable about the files that were read.
    """

    root: Path
    paths: Sequence[str]
    names: Sequence[str]
    read: Read
    are_files: bool = True
    notes: Notes = field(default_factory=Notes, repr=False)

    def path(self, row: int) -> str:
        """Where the file of a row lies."""
        return os.path.join(str(self.root), self.paths[row])

    def square(self, row: int, how: Preprocess) -> Grey:
        """What the store holds of a row's file.

        Raises:
            UnreadableImageError: The content of the file is no image that can be decoded.
            UnavailableFileError: The file cannot be read now, which says nothing of its content.
        """
        try:
            with image_memory():
                return prepare(self.read(self.paths[row]), how)
        except UnreadableImageError:
            self._check_that_it_is_the_file(row)
            raise
        except (MemoryError, OSError) as error:
            raise UnavailableFileError(self.path(row), error) from None

    def _check_that_it_is_the_file(self, row: int) -> None:
        """A folder that was unmounted, and a decoder that gets no memory, look like damaged files."""
        if self.are_files and not os.path.exists(self.path(row)):
            raise UnavailableFileError(self.path(row), FileNotFoundError(errno.ENOENT, "")) from None
        try:
            bytearray(_PROBE)
        except MemoryError as error:
            raise UnavailableFileError(self.path(row), error) from None


@dataclass(frozen=True)
class Changes:
    """Rows whose files are not those that were packed.

    Attributes:
        changed: Rows whose files are other ones, or gone.
        unknown: Rows whose files have their old size and another time, and were not read again.
        confirmed: Whether a file that was read again is the same, so that its new time is noted in the rows.
    """

    changed: Sequence[int]
    unknown: Sequence[int]
    confirmed: bool


def find_changes(rows: Rows, files: Files, how: Preprocess, reread: bool = True, workers: int = 0) -> Changes:
    """Compare the files with what was packed; new times of files that are the same are noted in `rows`.

    Args:
        rows: What is known of the files.
        files: The files now.
        how: What packing makes of their pixels.
        reread: Whether to read files whose time alone differs.
        workers: Threads; 0 takes one a core.

    Raises:
        CxrError: A file that has to be read again cannot be read now.
    """
    num_bytes, mtime_ns = stat_files(files.root, files.paths)
    changed = num_bytes != rows.num_bytes
    touched = np.flatnonzero(~changed & (num_bytes >= 0) & ~same_times(rows.mtime_ns, mtime_ns))
    if not reread or not len(touched):
        return Changes(np.flatnonzero(changed).tolist(), touched.tolist(), False)
    say(f"{count(len(touched), 'file')} of the same size and another time: reading to compare")
    same = _give_the_same(rows, files, how, touched, workers)
    # what the file was before it was read again, so that a change in the meantime shows later
    rows.mtime_ns[touched[same]] = mtime_ns[touched[same]]
    changed[touched[~same]] = True
    return Changes(np.flatnonzero(changed).tolist(), [], bool(same.any()))


def _give_the_same(
    rows: Rows, files: Files, how: Preprocess, which: Indices, workers: int
) -> npt.NDArray[np.bool_]:
    """Whether the files of some rows give the pixels that were packed, or still cannot be decoded."""
    same = np.zeros(len(which), bool)

    def compare(place: int) -> None:
        row = which[place]
        try:
            square = files.square(row, how)
        except UnreadableImageError:
            same[place] = rows.status[row] == UNREADABLE
        else:
            same[place] = rows.status[row] != UNREADABLE and zlib.crc32(square.data) == rows.crc32[row]

    work_through("compare", range(len(which)), compare, workers)
    return same


def copy_rows(source: Grey, rows: Indices, target: Grey, crc32: npt.NDArray[np.uint32] | None) -> list[int]:
    """Copy rows [n] of a store [N, S, S] on several threads; returns those that do not give their checksums [N]."""

    def copy(first: int) -> list[int]:
        block, some = target[first : first + _BLOCK], rows[first : first + _BLOCK]
        np.take(
            source, some, axis=0, out=block, mode="clip"
        )  # with "clip" NumPy copies without Python's lock
        return [] if crc32 is None else some[find_damaged(block, crc32[some])].tolist()

    with ThreadPoolExecutor(_SUMMING_THREADS) as pool:
        return [row for found in pool.map(copy, range(0, len(rows), _BLOCK)) for row in found]


def find_damaged(pixels: Grey, crc32: npt.NDArray[np.uint32], first: int = 0) -> list[int]:
    """Rows of pixels [n, S, S], counted from `first`, that do not give their checksums [n]."""
    sums = np.array([zlib.crc32(row.data) for row in pixels], np.uint32)
    return (first + np.flatnonzero(sums != crc32)).tolist()


def find_all_damaged(pixels: Grey, crc32: npt.NDArray[np.uint32]) -> list[int]:
    """Rows of a store's pixels [N, S, S] that do not give their checksums, read in blocks on several threads."""

    def look(first: int) -> list[int]:
        return find_damaged(pixels[first : first + _BLOCK], crc32[first : first + _BLOCK], first)

    with ThreadPoolExecutor(_SUMMING_THREADS) as pool:
        return [row for rows in pool.map(look, range(0, len(pixels), _BLOCK)) for row in rows]
