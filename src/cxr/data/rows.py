"""rows.npz of a store: what became of each row's file, and what that file was when it was read.

A NumPy archive, which is a zip file whose members carry their own CRC-32, of four arrays with an entry a row:

    status     uint8   0 not packed yet, 1 packed, 2 unreadable
    num_bytes  int64   size of the file; -1 where the pixels come from no file of this name
    mtime_ns   int64   when the file was changed last, in nanoseconds since 1970; -2^63 where that says nothing
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
NAME = "rows.npz"
LEFT, PACKED, UNREADABLE = 0, 1, 2
UNKNOWN = -(2**63)

_SECOND = 10**9
_COARSE = 2 * _SECOND  # FAT keeps even seconds, other disks and archives whole ones
_ASKED_FIRST = 256
_SLOW = 100e-6  # seconds a file: a local disk takes 2e-6, a network some 1e-3
_AT_ONCE, _CHUNK = 16, 1024


@dataclass(frozen=True)
class Rows:
    """The four arrays of a store of N rows; packing writes into them."""

    status: npt.NDArray[np.uint8]
    num_bytes: Integers
    mtime_ns: Integers
    crc32: npt.NDArray[np.uint32]

    def __len__(self) -> int:
        return len(self.status)

    def copy(self) -> "Rows":
        """What they hold now. The status is taken first: of a row that it calls packed, the rest is there already."""
        return Rows(self.status.copy(), self.num_bytes.copy(), self.mtime_ns.copy(), self.crc32.copy())

    def note_file(self, row: int, path: str) -> None:
        """Note a file's size and time; called before it is read, so that a change in the meantime shows later."""
        self.num_bytes[row], self.mtime_ns[row] = _ask(path)

    def save(self, folder: Path) -> None:
        """Write rows.npz atomically.

        Raises:
            CxrError: The disk is full or the folder cannot be written.
        """

        def write(temporary: Path) -> None:
            with temporary.open("wb") as file:  # given a path, NumPy would add a suffix
                np.savez(file, allow_pickle=False, **vars(self))

        write_atomically(folder / NAME, write)


def new_rows(num_rows: int) -> Rows:
    """Rows of which none is packed."""
    numbers = np.full(num_rows, -1, np.int64), np.full(num_rows, UNKNOWN, np.int64)
    return Rows(np.zeros(num_rows, np.uint8), *numbers, np.zeros(num_rows, np.uint32))


def load_rows(folder: Path) -> Rows:
    """What `save` wrote.

    Raises:
        ValueError: Damaged, or arrays of other kinds or lengths.
        OSError: No such file.
    """
    kinds = {"status": np.uint8, "num_bytes": np.int64, "mtime_ns": np.int64, "crc32": np.uint32}
    data = (folder / NAME).read_bytes()
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            arrays = {name: file[name] for name in kinds}
    except Exception as error:  # zipfile and NumPy raise many kinds for a damaged file
        raise ValueError(f"{NAME} is damaged: {error}") from None
    wrong = [name for name, kind in kinds.items() if arrays[name].dtype != kind or arrays[name].ndim != 1]
    if wrong or len({len(array) for array in arrays.values()}) != 1:
        raise ValueError(f"{NAME} is damaged: its arrays are not those of a store")
    return Rows(**arrays)


def stat_files(root: Path, paths: Sequence[str]) -> tuple[Integers, Integers]:
    """(sizes [N], times [N]) of files below root; -1 and UNKNOWN where there is none.

    112,120 files on a local disk take 0.25 s. On a slow one, as the first files show, several are asked for at once.
    """
    start = time.perf_counter()
    found = _ask_all(root, paths[:_ASKED_FIRST])
    rest = paths[_ASKED_FIRST:]
    if time.perf_counter() - start < _SLOW * _ASKED_FIRST:  # threads would only contend for Python's lock
        found += _ask_all(root, rest)
    else:
        chunks = [rest[first : first + _CHUNK] for first in range(0, len(rest), _CHUNK)]
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for some in pool.map(lambda chunk: _ask_all(root, chunk), chunks):
                found += some
    both = np.array(found, np.int64).reshape(len(paths), 2)
    return both[:, 0], both[:, 1]


def _ask_all(root: Path, paths: Sequence[str]) -> list[tuple[int, int]]:
    above = str(root)  # os.path.join is three times as fast with texts
    return [_ask(os.path.join(above, path)) for path in paths]


def _ask(path: str) -> tuple[int, int]:
    try:
        facts = os.stat(path)
    except (OSError, ValueError):  # ValueError: a name with a zero byte
        return -1, UNKNOWN
    # On a disk of whole seconds another change within the same second would not show: the time says nothing yet.
    is_fresh = facts.st_mtime_ns % _SECOND == 0 and abs(time.time_ns() - facts.st_mtime_ns) < _COARSE
    return facts.st_size, UNKNOWN if is_fresh else facts.st_mtime_ns


def same_times(before: Integers, now: Integers) -> npt.NDArray[np.bool_]:
    """[N] whether two times are the same, also where one of them was kept in whole seconds only."""
    is_coarse = (before % _SECOND == 0) | (now % _SECOND == 0)
    near = (np.abs(before - now) < _COARSE) & is_coarse
    return np.asarray((before != UNKNOWN) & (now != UNKNOWN) & ((before == now) | near))
