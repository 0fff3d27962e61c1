"""Which files of a store have changed since they were packed.

The rule, file by file:
1. Another size is a change.
2. The same size and time is the same file.
3. The same size and another time (a copy without times, `touch`, an archive that was unpacked again) is
   decided by reading the file again: where it gives the row's checksum it is the same, and its new time is
   noted.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cxr.console import count, say
from cxr.data.file_records import UNREADABLE, FileRecords, same_times, stat_files
from cxr.data.store_files import StoreFiles
from cxr.errors import UnreadableImageError
from cxr.images.prepare import Preprocess
from cxr.parallel import work_through


@dataclass(frozen=True)
class Changes:
    """Rows whose files are not, or may not be, those that were packed.

    Attributes:
        changed: Rows whose files are other ones, or gone.
        unknown: Rows whose files have their old size and another time, and were not read again.
        confirmed: Whether a file that was read again is the same; its new time is noted in the records.
    """

    changed: Sequence[int]
    unknown: Sequence[int]
    confirmed: bool


def find_changes(
    records: FileRecords, files: StoreFiles, preprocess: Preprocess, reread: bool = True, workers: int = 0
) -> Changes:
    """Compare the files with what was packed; new times of files that are the same are noted in the records.

    Args:
        records: Sizes, times and checksums when the files were packed.
        files: The files now.
        preprocess: How packing makes a square of their pixels.
        reread: Whether to read files again whose time alone differs.
        workers: Threads; 0 takes one a core.

    Raises:
        CxrError: A file that has to be read again cannot be read now.
    """
    # [N] of the files now; -1 where a file is gone, which is another size
    num_bytes, mtime_ns = stat_files(files.root, files.paths)
    is_changed = num_bytes != records.num_bytes
    # of equal size; negative sizes are of keys, which are no files and have no time
    is_touched = ~is_changed & (num_bytes >= 0) & ~same_times(records.mtime_ns, mtime_ns)
    touched = np.flatnonzero(is_touched)
    if not reread or not len(touched):
        return Changes(np.flatnonzero(is_changed).tolist(), touched.tolist(), False)

    say(f"{count(len(touched), 'file')} of the same size and another time: reading to compare")
    # [n] of the touched files
    is_same = _read_again(records, files, preprocess, touched, workers)
    # The times from before the files were read again, so that a change meanwhile shows later.
    same = touched[is_same]
    records.mtime_ns[same] = mtime_ns[same]
    is_changed[touched[~is_same]] = True
    return Changes(np.flatnonzero(is_changed).tolist(), [], bool(is_same.any()))


def _read_again(
    records: FileRecords,
    files: StoreFiles,
    preprocess: Preprocess,
    rows: npt.NDArray[np.intp],
    workers: int,
) -> npt.NDArray[np.bool_]:
    """[n] whether the files of some rows [n] give the pixels that were packed, or still cannot be decoded."""
    is_same = np.zeros(len(rows), bool)

    def compare(position: int) -> None:
        row = rows[position]
        # a file that could not be decoded is the same if it still cannot be
        was_unreadable = records.status[row] == UNREADABLE
        try:
            square = files.square(row, preprocess)
        except UnreadableImageError:
            is_same[position] = was_unreadable
        else:
            is_same[position] = not was_unreadable and zlib.crc32(square.data) == records.crc32[row]

    work_through("compare", range(len(rows)), compare, workers)
    return is_same
