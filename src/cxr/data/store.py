"""A packed archive: every image decoded once into one uint8 file [N, S, S].

A folder with `pixels.u8` (raw bytes, row-major), `images.txt` (a row key a line), `status.u8` (a byte a row: 1 packed,
2 unreadable), `manifest.json` (Preprocess and identity), and `unreadable.csv` and `missing.csv` where there are such.
"""

import bisect
import hashlib
import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cxr.data.image import Preprocess
from cxr.errors import CxrError

Pixels = npt.NDArray[np.uint8]
FORMAT = 1
PACKED, UNREADABLE = 1, 2
_LOOKED_AT = 64


@dataclass(frozen=True)
class Manifest:
    """What a store holds; the hash of the row keys keeps rows and labels from shifting against each other."""

    source: str
    num_images: int
    keys: str
    files: str
    preprocess: Preprocess
    format: int = FORMAT

    def to_json(self) -> str:
        """The text of manifest.json."""
        return json.dumps(asdict(self), indent=2) + "\n"


def describe(source: str, images: Sequence[str], how: Preprocess, files: str = "") -> Manifest:
    """The manifest that a store of these images must have; `files` is the `fingerprint` of their files."""
    keys = hashlib.sha256("\n".join(images).encode()).hexdigest()
    return Manifest(source, len(images), keys, files, how)


def fingerprint(root: Path, paths: Sequence[str]) -> str:
    """A hash of the sizes of some files, evenly spaced: tells archives of the same names apart wherever they lie."""
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
    """An open store: `pixels` uint8 [N, S, S] mapped from the disk, `readable` [N] False where a file was not."""

    path: Path
    manifest: Manifest
    pixels: Pixels | Stacked
    readable: npt.NDArray[np.bool_]


def join_stores(stores: Sequence[Store]) -> Store:
    """Several stores, packed with the same Preprocess, as one whose rows are theirs one after another."""
    manifests = [store.manifest for store in stores]
    parts = [store.pixels for store in stores if isinstance(store.pixels, np.ndarray)]
    assert len(parts) == len(stores) and len({manifest.preprocess for manifest in manifests}) == 1
    keys = hashlib.sha256(" ".join(manifest.keys for manifest in manifests).encode()).hexdigest()
    source, files = ("+".join(getattr(one, name) for one in manifests) for name in ("source", "files"))
    manifest = Manifest(source, sum(one.num_images for one in manifests), keys, files, manifests[0].preprocess)
    return Store(stores[0].path, manifest, Stacked(parts), np.concatenate([store.readable for store in stores]))


def open_store(path: Path, wanted: Manifest) -> Store:
    """The store at `path`.

    Raises:
        CxrError: It holds other images or other pixels than `wanted`, with every difference.
    """
    try:
        found = json.loads((path / "manifest.json").read_text())
        if not isinstance(found, dict):
            raise ValueError("manifest.json is no JSON object")
        status = np.fromfile(path / "status.u8", np.uint8)
        num_bytes = {"pixels.u8": (path / "pixels.u8").stat().st_size, "status.u8": len(status)}
    except (OSError, ValueError) as error:
        raise CxrError(f"{path}: is no store of packed images: {error}", _overwrite_hint()) from None
    problems = list(_differences(found, json.loads(wanted.to_json())))
    size = wanted.preprocess.size
    if not problems:
        expected = {"pixels.u8": wanted.num_images * size * size, "status.u8": wanted.num_images}
        wrong = [name for name in expected if num_bytes[name] != expected[name]]
        problems = [f"{name} has {num_bytes[name]:,} bytes and should have {expected[name]:,}" for name in wrong]
    if problems:
        raise CxrError([f"{path}: {problem}" for problem in problems], _overwrite_hint())
    shape = (wanted.num_images, size, size)
    pixels = np.memmap(path / "pixels.u8", np.uint8, mode="r", shape=shape)
    return Store(path, wanted, pixels, status == PACKED)


def _overwrite_hint() -> str:
    return "cxr pack CONFIG --overwrite packs it anew, or store.path=FOLDER keeps both"


def _differences(found: dict[str, object], wanted: dict[str, object], at: str = "") -> Iterator[str]:
    for key, value in wanted.items():
        other = found.get(key)
        if isinstance(value, dict) and isinstance(other, dict):
            yield from _differences(other, value, f"{at}{key}.")
        elif other != value and key == "keys":
            yield "packed from other images, or in another order, than the label table now names"
        elif other != value and key == "files":
            if found.get("keys") == wanted["keys"]:
                yield "packed from other files than data.root now holds under these names"
        elif other != value:
            yield f"packed with {at}{key} {other}, but the config asks for {value}"
