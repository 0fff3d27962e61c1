"""rows.npz of a store: whether each row is packed, and size, time and checksum by which a change is noticed.

A NumPy archive, which is a zip file whose members carry their own CRC-32, of four arrays with an entry a row:

    status     uint8   0 not packed yet, 1 packed, 2 unreadable
    num_bytes  int64   size of the row's file; -1 where the pixels come from no file of this name
    mtime_ns   int64   when the file was last changed, in nanoseconds since 1970; -2^63 where not known
    crc32      uint32  zlib.crc32 of the row's bytes in pixels.u8
"""

import io
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cxr.files import write_atomically

Integers = npt.NDArray[np.int64]
RECORDS = "rows.npz"
NOT_PACKED, PACKED, UNREADABLE = 0, 1, 2
UNKNOWN_TIME = -(2**63)

_SECOND = 10**9  # nanoseconds
_COARSE = 2 * _SECOND  # FAT keeps even seconds, other disks and zip archives whole ones

_NUM_TIMED = 256  # files whose sizes are asked for first, to see how fast the disk is
_SLOW_SECONDS = 100e-6  # a file: a local disk takes 2e-6, a network some 1e-3
_NUM_THREADS, _FILES_PER_TASK = 16, 1024


@dataclass(frozen=True)
class FileRecords:
    """The four arrays of rows.npz, of N rows; packing writes into them."""

    status: npt.NDArray[np.uint8]
    num_bytes: Integers
    mtime_ns: Integers
    crc32: npt.NDArray[np.uint32]

    def __len__(self) -> int:
        return len(self.status)

    def copy(self) -> "FileRecords":
        """What they hold now, while other threads write.

        The status is copied first and written last: where it says packed, the other three are already there.
        """
        return FileRecords(self.status.copy(), self.num_bytes.copy(), self.mtime_ns.copy(), self.crc32.copy())

    def note_file(self, row: int, path: str) -> None:
        """Note a file's size and time. Called before it is read, so that a change meanwhile shows later."""
        self.num_bytes[row], self.mtime_ns[row] = _size_and_time(path)

    def save(self, folder: Path) -> None:
        """Write rows.npz atomically.

        Raises:
            CxrError: The disk is full or the folder cannot be written.
        """

        def write(temporary: Path) -> None:
            with temporary.open("wb") as file:  # given a path, NumPy would add a suffix
                np.savez(file, allow_pickle=False, **vars(self))

        write_atomically(folder / RECORDS, write)


def new_records(num_rows: int) -> FileRecords:
    """Records of rows of which none is packed."""
    return FileRecords(
        status=np.full(num_rows, NOT_PACKED, np.uint8),
        num_bytes=np.full(num_rows, -1, np.int64),
        mtime_ns=np.full(num_rows, UNKNOWN_TIME, np.int64),
        crc32=np.zeros(num_rows, np.uint32),
    )


def load_records(folder: Path) -> FileRecords:
    """The records that `save` wrote.

    Raises:
        ValueError: Damaged, or arrays of other types or lengths.
        OSError: No such file.
    """
    types = {"status": np.uint8, "num_bytes": np.int64, "mtime_ns": np.int64, "crc32": np.uint32}
    data = (folder / RECORDS).read_bytes()
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            arrays = {name: file[name] for name in types}
    except Exception as error:  # zipfile and NumPy raise many types for a damaged file
        raise ValueError(f"{RECORDS} is damaged: {error}") from None
    wrong = [name for name, dtype in types.items() if arrays[name].dtype != dtype or arrays[name].ndim != 1]
    if wrong or len({len(array) for array in arrays.values()}) != 1:
        raise ValueError(f"{RECORDS} is damaged: its arrays are not those of a store")
    return FileRecords(**arrays)


def stat_files(root: Path, paths: Sequence[str]) -> tuple[Integers, Integers]:
    """(sizes [N], times [N]) of files below root; -1 and UNKNOWN_TIME where there is no file.

    112,120 files on a local disk take 0.25 s. On a slow disk, as the first files show, several are asked for
    at once.
    """
    started = time.perf_counter()
    found = _sizes_and_times(root, paths[:_NUM_TIMED])
    others = paths[_NUM_TIMED:]
    if time.perf_counter() - started < _SLOW_SECONDS * _NUM_TIMED:
        found += _sizes_and_times(root, others)  # threads would only wait for Python's lock
    else:
        tasks = [others[first : first + _FILES_PER_TASK] for first in range(0, len(others), _FILES_PER_TASK)]
        with ThreadPoolExecutor(_NUM_THREADS) as pool:
            for some in pool.map(lambda task: _sizes_and_times(root, task), tasks):
                found += some
    both = np.array(found, np.int64).reshape(len(paths), 2)
    return both[:, 0], both[:, 1]


def _sizes_and_times(root: Path, paths: Sequence[str]) -> list[tuple[int, int]]:
    folder = str(root)  # os.path.join is three times as fast with a str as with a Path
    return [_size_and_time(os.path.join(folder, path)) for path in paths]


def _size_and_time(path: str) -> tuple[int, int]:
    try:
        facts = os.stat(path)
    except (OSError, ValueError):  # ValueError: a name with a zero byte
        return -1, UNKNOWN_TIME
    # On a disk of whole seconds a second change within the same second would not show: note no time then.
    is_fresh = facts.st_mtime_ns % _SECOND == 0 and abs(time.time_ns() - facts.st_mtime_ns) < _COARSE
    return facts.st_size, UNKNOWN_TIME if is_fresh else facts.st_mtime_ns


def same_times(before: Integers, now: Integers) -> npt.NDArray[np.bool_]:
    """[N] whether two times are the same, also where one of them was kept in whole seconds."""
    # a time without a fraction of a second was most likely kept in whole seconds
    is_coarse = (before % _SECOND == 0) | (now % _SECOND == 0)
    is_near = (np.abs(before - now) < _COARSE) & is_coarse
    is_known = (before != UNKNOWN_TIME) & (now != UNKNOWN_TIME)
    return np.asarray(is_known & ((before == now) | is_near))
