"""A packed dataset: every image decoded once into one uint8 file [N, S, S].

A folder with `pixels.u8` (raw bytes, row-major), `images.txt` (a row key a line), `rows.npz` (each row's status,
checksum, and its file's size and time, see rows.py), `manifest.json` (Preprocess and identity), and `unreadable.csv`
and `missing.csv` where there are such.

Stores of format 1, written before there were checksums, hold `status.u8` (a byte a row, as in rows.py) in the place of
`rows.npz` and, in the manifest, a hash of the sizes of 64 files; they open with a note.
"""

import bisect
import contextlib
import hashlib
import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cxr.console import count, say
from cxr.data.changes import Files, copy_rows, find_all_damaged, find_changes
from cxr.data.rows import NAME, PACKED, Rows, load_rows, new_rows
from cxr.data.rows import UNREADABLE as UNREADABLE  # here for everybody who opens stores
from cxr.errors import CxrError, is_system_error
from cxr.files import is_leftover
from cxr.images.prepare import Preprocess
from cxr.paths import explain

Pixels = npt.NDArray[np.uint8]
FORMAT = 2
_LOOKED_AT = 64
_NAMED = 5


@dataclass(frozen=True)
class Manifest:
    """What a store holds; the hash of the row keys keeps rows and labels from shifting against each other."""

    source: str
    num_images: int
    keys: str
    preprocess: Preprocess
    format: int = FORMAT

    def to_json(self) -> str:
        """The text of manifest.json."""
        return json.dumps(asdict(self), indent=2) + "\n"


def describe(source: str, images: Sequence[str], how: Preprocess) -> Manifest:
    """The manifest that a store of these images must have."""
    keys = hashlib.sha256("\n".join(images).encode(errors="surrogatepass")).hexdigest()
    return Manifest(source, len(images), keys, how)


def fingerprint(root: Path, paths: Sequence[str]) -> str:
    """A hash of the sizes of some files, evenly spaced, by which stores of format 1 know their dataset."""
    some = paths[:: max(1, len(paths) // _LOOKED_AT)]
    sizes = [(root / path).stat().st_size if (root / path).exists() else -1 for path in some]
    return hashlib.sha256(" ".join(map(str, sizes)).encode()).hexdigest()[:16]


class Stacked:
    """Pixels of several stores read as one array uint8 [N, S, S], without copying; `parts` are theirs in order."""

    def __init__(self, parts: Sequence[npt.NDArray[np.uint8]]) -> None:
        self.parts = tuple(parts)
        self._ends = list(itertools.accumulate(len(part) for part in parts))
        self.shape = (len(self), *parts[0].shape[1:])
        self.nbytes = sum(part.nbytes for part in parts)

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, rows: "int | np.integer[Any] | Sequence[int] | npt.NDArray[np.int64]") -> Pixels:
        """One image [S, S], or copies [B, S, S] of several."""
        if not isinstance(rows, int | np.integer):
            return np.stack([self[int(row)] for row in rows])
        number = bisect.bisect_right(self._ends, rows)
        if not 0 <= number < len(self.parts) or rows < 0:
            raise IndexError(f"row {rows} of {len(self)}")
        image: Pixels = self.parts[number][rows - self._ends[number]]  # counted from the part's end
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
        parts: The stores that were joined, in order; empty for one.
    """

    path: Path
    manifest: Manifest
    pixels: Pixels | Stacked
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
    parts = [store.pixels for store in stores if isinstance(store.pixels, np.ndarray)]
    assert len(parts) == len(stores) and len({manifest.preprocess for manifest in manifests}) == 1
    keys = hashlib.sha256(" ".join(manifest.keys for manifest in manifests).encode()).hexdigest()
    source = "+".join(manifest.source for manifest in manifests)
    manifest = Manifest(source, sum(one.num_images for one in manifests), keys, manifests[0].preprocess)
    readable = np.concatenate([store.readable for store in stores])
    return Store(stores[0].path, manifest, Stacked(parts), readable, parts=tuple(stores))


def copy_pixels(store: Store, rows: npt.NDArray[np.intp], target: Pixels) -> None:
    """Fill `target` [n, S, S] with some rows [n] of an unjoined store, each compared with its checksum.

    Raises:
        CxrError: Rows that are damaged on the disk, by name.
    """
    assert not len(rows) or 0 <= rows.min() <= rows.max() < len(store.readable)
    damaged = copy_rows(np.asarray(store.pixels), rows, target, store.crc32)
    if damaged:
        raise damage_error(store, damaged)


def check_pixels(store: Store) -> None:
    """Compare every row of a store with its checksum.

    Raises:
        CxrError: Rows that are damaged on the disk, by name.
    """
    damaged = find_damaged_rows(store)
    if damaged:
        raise damage_error(store, damaged)


def find_damaged_rows(store: Store) -> list[int]:
    """Rows of an unjoined store that do not give their checksums; none where it has none."""
    return [] if store.crc32 is None else find_all_damaged(np.asarray(store.pixels), store.crc32)


def damage_error(store: Store, damaged: Sequence[int]) -> CxrError:
    """The error that names damaged rows."""
    names = _read_images(store.path)
    first = _name_first([names[row] if row < len(names) else f"row {row}" for row in damaged])
    what = f"{count(len(damaged), 'image')} of {store.manifest.num_images:,} damaged on this disk: {first}"
    hint = "cxr pack CONFIG --update packs these images again and keeps the rest; is the disk well?"
    return CxrError(f"{store.path}: {what}", hint)


def open_store(
    path: Path, wanted: Manifest, files: Files | None = None, may_write: bool = True, reread: bool = True
) -> Store:
    """The store at `path`.

    Args:
        path: Its folder.
        wanted: What it must hold.
        files: The files of its rows, which must be those that were packed; None does not look.
        may_write: Whether to note new times of files that are the same.
        reread: Whether to read files again whose time alone differs.

    Raises:
        CxrError: It holds other images or other pixels than `wanted`, with every difference; files have changed.
    """
    store, rows = read_store(path, wanted, files)
    if files is None:
        return store
    if store.crc32 is None:
        _check_sample(path, files)
        return store
    if len(rows) and (rows.num_bytes < 0).all():
        say(f"{path}: its images are no files by their names, so changes of theirs are not noticed")
    changes = find_changes(rows, files, wanted.preprocess, reread)
    if changes.confirmed and may_write:
        with contextlib.suppress(CxrError):  # a store that others may only read: they compare each time
            rows.save(path)
    if changes.changed:
        first = _name_first([files.paths[row] for row in changes.changed])
        what = f"{count(len(changes.changed), 'file')} of {len(rows):,} changed since packing: {first}"
        raise CxrError(
            f"{path}: {what}", "cxr pack CONFIG --update reads these files again and keeps the rest"
        )
    if changes.unknown:
        say(f"{path}: {count(len(changes.unknown), 'file')} of the same size and another time, not compared")
    return store


def read_store(path: Path, wanted: Manifest, files: Files | None = None) -> tuple[Store, Rows]:
    """(the store at `path`, what is known of its rows and their files), whatever is in its files now.

    Raises:
        CxrError: It holds other images or other pixels than `wanted`, with every difference.
    """
    try:
        found = json.loads((path / "manifest.json").read_text())
        if not isinstance(found, dict):
            raise ValueError("manifest.json is no JSON object")
        rows = _read_rows(path, found.get("format"))
        num_bytes = (path / "pixels.u8").stat().st_size
    except (OSError, ValueError, RecursionError) as error:
        if isinstance(error, OSError) and is_system_error(error):
            raise explain(error, path) from None
        refuse_other_files(path)
        raise CxrError(f"{path}: is no store of packed images: {error}", _OVERWRITE) from None
    problems = list(_differences(found, json.loads(wanted.to_json())))
    problems += [] if found.get("keys") == wanted.keys else [_other_images(path, files)]
    if not problems:
        size = wanted.preprocess.size
        known = NAME if found["format"] == FORMAT else "status.u8"
        expected = {
            "pixels.u8": (num_bytes, wanted.num_images * size * size),
            known: (len(rows), wanted.num_images),
        }
        problems = [f"{name} has {count(num, unit)} and should have {right:,}"
                    for (name, (num, right)), unit in zip(expected.items(), ("byte", "row"), strict=True)
                    if num != right]  # fmt: skip
    if not problems and not (rows.status != 0).all():
        problems = [f"{int((rows.status == 0).sum()):,} of its images are not packed yet"]
    if problems:
        raise CxrError([f"{path}: {problem}" for problem in problems], _OVERWRITE)
    shape = (wanted.num_images, wanted.preprocess.size, wanted.preprocess.size)
    pixels = np.memmap(path / "pixels.u8", np.uint8, mode="r", shape=shape)
    crc32 = rows.crc32 if found["format"] == FORMAT else None
    return Store(path, wanted, pixels, rows.status == PACKED, crc32), rows


_OVERWRITE = "cxr pack CONFIG --overwrite packs it again, or store.path=FOLDER keeps both"
_FILES = {
    "pixels.u8",
    "images.txt",
    "manifest.json",
    "unreadable.csv",
    "missing.csv",
    NAME,
    "status.u8",
    "lock",
}


def refuse_other_files(folder: Path) -> None:
    """Refuse a folder that holds anything but the files of a store, which packing would remove with it.

    Raises:
        CxrError: Naming the first such files; what is there is no folder.
    """
    try:
        others = sorted(
            path.name for path in folder.iterdir() if path.name not in _FILES and not is_leftover(path)
        )
    except FileNotFoundError:
        return
    except OSError as error:
        raise explain(error, folder) from None
    if others:
        what = f"{folder}: holds what is no part of a store: {_name_first(others)}"
        raise CxrError(what, "set store.path=FOLDER to a folder that is empty or not there yet")


def _read_rows(path: Path, number: object) -> Rows:
    if number != 1:
        return load_rows(path)
    status = np.fromfile(path / "status.u8", np.uint8)
    rows = new_rows(len(status))
    rows.status[:] = status
    return rows


def _check_sample(path: Path, files: Files) -> None:
    """Compare the sizes of some files with those of a store of format 1, which knows no more of them."""
    found = json.loads((path / "manifest.json").read_text())
    if found.get("files") not in ("", None, fingerprint(files.root, files.paths)):
        what = "packed from other files than data.root now holds under these names"
        raise CxrError(f"{path}: {what}", _OVERWRITE)
    say(f"{path}: an earlier version packed it, which noted neither sizes nor checksums: files that have changed "
        "since are not noticed, and DICOM files without a window may be darker than they are read now; "
        "cxr pack CONFIG --overwrite packs it again")  # fmt: skip


def _other_images(path: Path, files: Files | None) -> str:
    """What the names of the images differ in, as far as is known."""
    packed, now = dict.fromkeys(_read_images(path)), dict.fromkeys(files.names if files else ())
    if not packed or not now:
        return "packed from other images, or in another order, than the label table now names"
    new, gone = [name for name in now if name not in packed], [name for name in packed if name not in now]
    if not new and not gone:
        return "packed in another order than the label table now has"
    lists = [
        f"{len(names):,} {what} ({_name_first(names)})"
        for what, names in (("new", new), ("gone", gone))
        if names
    ]
    return f"packed from other images than the label table now names: {', '.join(lists)}"


def _read_images(path: Path) -> list[str]:
    """The row keys of a store; none where their file is damaged."""
    try:
        return (path / "images.txt").read_text(encoding="utf-8").split("\n")[:-1]
    except (OSError, UnicodeDecodeError):
        return []


def _name_first(names: Sequence[str]) -> str:
    return ", ".join([*names[:_NAMED], *(["..."] if len(names) > _NAMED else [])])


def _differences(found: dict[str, object], wanted: dict[str, object], at: str = "") -> Iterator[str]:
    for key, value in wanted.items():
        other = found.get(key)
        if isinstance(value, dict) and isinstance(other, dict):
            yield from _differences(other, value, f"{at}{key}.")
        elif key == "format" and other == 1:
            pass
        elif other != value and key != "keys":
            yield f"packed with {at}{key} {other}, but the config asks for {value}"
