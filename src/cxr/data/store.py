"""A packed dataset: every image decoded once into one uint8 file [N, S, S].

A folder with `pixels.u8` (raw bytes, row-major), `images.txt` (a row key a line), `rows.npz` (each row's
status, checksum, and its file's size and time, see file_records.py), `manifest.json` (preprocessing and
identity), and `unreadable.csv` and `missing.csv` where there are such files.

Stores of format 1, written before there were checksums, hold `status.u8` (a byte a row, as in
file_records.py) in place of `rows.npz` and, in the manifest, a hash of the sizes of 64 files; they open with
a note.
"""

import bisect
import contextlib
import hashlib
import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cxr.console import count, say
from cxr.data.changes import find_changes
from cxr.data.file_records import PACKED, RECORDS, FileRecords, load_records, new_records
from cxr.data.manifest import (
    IMAGES,
    MANIFEST,
    Manifest,
    describe_other_images,
    find_differences,
    fingerprint,
    list_first,
)
from cxr.data.store_files import StoreFiles
from cxr.errors import CxrError, is_system_error
from cxr.files import is_leftover
from cxr.paths import explain

Pixels = npt.NDArray[np.uint8]

PIXELS = "pixels.u8"
_STATUS_OF_FORMAT_1 = "status.u8"
_FILES = {PIXELS, IMAGES, MANIFEST, "unreadable.csv", "missing.csv", RECORDS, _STATUS_OF_FORMAT_1, "lock"}
_PACK_AGAIN = "cxr pack CONFIG --overwrite packs it again, or store.path=FOLDER keeps both"


class JoinedPixels:
    """Pixels of several stores read as one array uint8 [N, S, S], without copying; `parts` are theirs."""

    def __init__(self, parts: Sequence[Pixels]) -> None:
        self.parts = tuple(parts)
        self._ends = list(itertools.accumulate(len(part) for part in parts))  # row after each part's last
        self.shape = (len(self), *parts[0].shape[1:])
        self.nbytes = sum(part.nbytes for part in parts)

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, rows: "int | np.integer[Any] | Sequence[int] | npt.NDArray[np.int64]") -> Pixels:
        """One image [S, S], or copies [B, S, S] of several."""
        if not isinstance(rows, int | np.integer):
            return np.stack([self[int(row)] for row in rows])
        # the first part that ends after this row
        number = bisect.bisect_right(self._ends, rows)
        if not 0 <= number < len(self.parts) or rows < 0:
            raise IndexError(f"row {rows} of {len(self)}")
        # A negative index, which counts from the part's end.
        image: Pixels = self.parts[number][rows - self._ends[number]]
        return image

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> Pixels:
        """All of them in memory."""
        assert copy is not False
        return np.concatenate(self.parts).astype(dtype or np.uint8, copy=False)


@dataclass(frozen=True)
class Store:
    """An open store.

    Attributes:
        path: Its folder.
        manifest: What it holds.
        pixels: uint8 [N, S, S], mapped from the disk.
        readable: [N] False where a file could not be decoded.
        crc32: [N] checksums of the rows; None in stores of format 1.
        parts: The stores that were joined, in order; empty for a single store.
    """

    path: Path
    manifest: Manifest
    pixels: Pixels | JoinedPixels
    readable: npt.NDArray[np.bool_]
    crc32: npt.NDArray[np.uint32] | None = None
    parts: tuple["Store", ...] = ()

    @property
    def stores(self) -> tuple["Store", ...]:
        """The stores that were joined, or this one."""
        return self.parts or (self,)


def join_stores(stores: Sequence[Store]) -> Store:
    """Several stores, packed with the same Preprocess, as one whose rows are theirs one after another."""
    manifests = [store.manifest for store in stores]
    pixels = [store.pixels for store in stores if isinstance(store.pixels, np.ndarray)]
    assert len(pixels) == len(stores) and len({manifest.preprocess for manifest in manifests}) == 1
    manifest = Manifest(
        source="+".join(manifest.source for manifest in manifests),
        num_images=sum(manifest.num_images for manifest in manifests),
        # the joined order is part of it: the same stores in another order are other rows
        keys=hashlib.sha256(" ".join(manifest.keys for manifest in manifests).encode()).hexdigest(),
        preprocess=manifests[0].preprocess,
    )
    readable = np.concatenate([store.readable for store in stores])
    return Store(stores[0].path, manifest, JoinedPixels(pixels), readable, parts=tuple(stores))


def open_store(
    path: Path, wanted: Manifest, files: StoreFiles | None = None, may_write: bool = True, reread: bool = True
) -> Store:
    """The store at `path`.

    Args:
        path: Its folder.
        wanted: What it must hold.
        files: The files of its rows, which must be those that were packed; None compares no files.
        may_write: Whether to note new times of files that are the same.
        reread: Whether to read files again whose time alone differs.

    Raises:
        CxrError: It holds other images or pixels than `wanted`, with every difference; files have changed.
    """
    store, records = read_store(path, wanted, files)
    if files is None:
        return store
    if store.crc32 is None:
        _check_format_1(path, files)
        return store
    # -1: the pixels of a row come from no file of its name, as of a package
    if len(records) and (records.num_bytes < 0).all():
        say(f"{path}: its images are no files by their names, so changes of theirs are not noticed")
    changes = find_changes(records, files, wanted.preprocess, reread)
    if changes.confirmed and may_write:
        # a store that this user may only read: files are read again each time
        with contextlib.suppress(CxrError):
            records.save(path)
    if changes.changed:
        first = list_first([files.paths[row] for row in changes.changed])
        problem = f"{count(len(changes.changed), 'file')} of {len(records):,} changed since packing: {first}"
        raise CxrError(
            f"{path}: {problem}", "cxr pack CONFIG --update reads these files again and keeps the rest"
        )
    if changes.unknown:
        say(f"{path}: {count(len(changes.unknown), 'file')} of the same size and another time, not compared")
    return store


def read_store(path: Path, wanted: Manifest, files: StoreFiles | None = None) -> tuple[Store, FileRecords]:
    """(the store at `path`, the records of its files), whether or not the files have changed since.

    Raises:
        CxrError: It holds other images or other pixels than `wanted`, with every difference.
    """
    # 1. A folder whose manifest and records can be read is a store; anything else is refused.
    try:
        found = json.loads((path / MANIFEST).read_text())
        if not isinstance(found, dict):
            raise ValueError(f"{MANIFEST} is no JSON object")
        is_format_1 = found.get("format") == 1
        records = _read_format_1(path) if is_format_1 else load_records(path)
        num_bytes = (path / PIXELS).stat().st_size
    except (OSError, ValueError, RecursionError) as error:
        if isinstance(error, OSError) and is_system_error(error):
            raise explain(error, path) from None
        refuse_other_files(path)  # --overwrite is no advice for a folder of something else
        raise CxrError(f"{path}: is no store of packed images: {error}", _PACK_AGAIN) from None

    # 2. What it holds; then, of what is wanted, whether all of it is there.
    # through JSON, as the one that was found: a tuple and a list are the same there
    problems = list(find_differences(found, json.loads(wanted.to_json())))
    if found.get("keys") != wanted.keys:
        problems.append(describe_other_images(path, files.names if files else ()))
    size = wanted.preprocess.size
    if not problems:
        num_wanted = wanted.num_images * size * size
        if num_bytes != num_wanted:
            problems.append(f"{PIXELS} has {count(num_bytes, 'byte')} and should have {num_wanted:,}")
        if len(records) != wanted.num_images:
            name = _STATUS_OF_FORMAT_1 if is_format_1 else RECORDS
            problems.append(f"{name} has {count(len(records), 'row')} and should have {wanted.num_images:,}")
    if not problems and not (records.status != 0).all():
        problems.append(f"{int((records.status == 0).sum()):,} of its images are not packed yet")
    if problems:
        raise CxrError([f"{path}: {problem}" for problem in problems], _PACK_AGAIN)

    pixels = np.memmap(path / PIXELS, np.uint8, mode="r", shape=(wanted.num_images, size, size))
    crc32 = None if is_format_1 else records.crc32
    return Store(path, wanted, pixels, records.status == PACKED, crc32), records


def _read_format_1(path: Path) -> FileRecords:
    status = np.fromfile(path / _STATUS_OF_FORMAT_1, np.uint8)
    records = new_records(len(status))
    # sizes and times stay as of files that nobody has looked at
    records.status[:] = status
    return records


def _check_format_1(path: Path, files: StoreFiles) -> None:
    """Compare the sizes of 64 files with those of a store of format 1, which knows no more of its files.

    Raises:
        CxrError: They are others.
    """
    found = json.loads((path / MANIFEST).read_text())
    if found.get("files") not in ("", None, fingerprint(files.root, files.paths)):
        problem = "packed from other files than data.root now holds under these names"
        raise CxrError(f"{path}: {problem}", _PACK_AGAIN)
    say(
        f"{path}: an earlier version packed it, which noted neither sizes nor checksums: "
        "files that have changed since are not noticed, and DICOM files without a window may be darker "
        "than they are read now; "
        "cxr pack CONFIG --overwrite packs it again"
    )


def refuse_other_files(folder: Path) -> None:
    """Refuse a folder that holds anything but the files of a store, which packing would remove with it.

    Raises:
        CxrError: Naming the first such files; `folder` is no folder.
    """
    try:
        names = [path.name for path in folder.iterdir() if not is_leftover(path)]
    except FileNotFoundError:
        return
    except OSError as error:
        raise explain(error, folder) from None
    others = sorted(name for name in names if name not in _FILES)
    if others:
        problem = f"{folder}: holds what is no part of a store: {list_first(others)}"
        raise CxrError(problem, "set store.path=FOLDER to a folder that is empty or not there yet")
