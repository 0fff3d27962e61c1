"""Rows of a store that are damaged on the disk: their pixels do not give their checksums."""

import os
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from cxr.console import count
from cxr.data.manifest import list_first, read_images
from cxr.data.store import Pixels, Store
from cxr.errors import CxrError

Indices = npt.NDArray[np.intp]

_ROWS_PER_BLOCK = 256  # copied and summed at once by a thread: 17 MB at 256 pixels
_NUM_THREADS = min(8, os.cpu_count() or 1)


def copy_pixels(store: Store, rows: Indices, target: Pixels) -> None:
    """Fill `target` [n, S, S] with some rows [n] of an unjoined store, each compared with its checksum.

    Raises:
        CxrError: Rows that are damaged on the disk, by name.
    """
    # With mode="clip" NumPy copies without Python's lock, but would take the last row for a wrong one.
    assert not len(rows) or 0 <= rows.min() <= rows.max() < len(store.readable)
    source, crc32 = np.asarray(store.pixels), store.crc32

    def copy_block(first: int) -> list[int]:
        block = slice(first, first + _ROWS_PER_BLOCK)
        # Compared in the target: what is trained on is what was
        # summed, and each page of the disk is read once.
        np.take(source, rows[block], axis=0, out=target[block], mode="clip")
        return [] if crc32 is None else _find_damaged(target[block], crc32[rows[block]], rows[block])

    with ThreadPoolExecutor(_NUM_THREADS) as pool:
        blocks = pool.map(copy_block, range(0, len(rows), _ROWS_PER_BLOCK))
        damaged = [row for block in blocks for row in block]
    if damaged:
        raise _damage_error(store, damaged)


def check_pixels(store: Store) -> None:
    """Compare every row of a store with its checksum.

    Raises:
        CxrError: Rows that are damaged on the disk, by name.
    """
    damaged = find_damaged_rows(store)
    if damaged:
        raise _damage_error(store, damaged)


def find_damaged_rows(store: Store) -> list[int]:
    """Rows of an unjoined store that do not give their checksums; none where it has no checksums."""
    if store.crc32 is None:
        return []
    pixels, crc32 = np.asarray(store.pixels), store.crc32

    def check_block(first: int) -> list[int]:
        block = slice(first, first + _ROWS_PER_BLOCK)
        return _find_damaged(pixels[block], crc32[block], np.arange(first, first + len(pixels[block])))

    with ThreadPoolExecutor(_NUM_THREADS) as pool:
        blocks = pool.map(check_block, range(0, len(pixels), _ROWS_PER_BLOCK))
        return [row for block in blocks for row in block]


def _find_damaged(pixels: Pixels, crc32: npt.NDArray[np.uint32], rows: Indices) -> list[int]:
    """Those of the rows [n] whose pixels [n, S, S] do not give their checksums [n]."""
    sums = np.array([zlib.crc32(image.data) for image in pixels], np.uint32)
    found: list[int] = rows[sums != crc32].tolist()
    return found


def _damage_error(store: Store, damaged: Sequence[int]) -> CxrError:
    """The error that names damaged rows."""
    names = read_images(store.path)
    first = list_first([names[row] if row < len(names) else f"row {row}" for row in damaged])
    problem = f"{count(len(damaged), 'image')} of {store.manifest.num_images:,} damaged on this disk: {first}"
    hint = "cxr pack CONFIG --update packs these images again and keeps the rest; is the disk well?"
    return CxrError(f"{store.path}: {problem}", hint)
