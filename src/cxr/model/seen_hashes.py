"""Hashes of the patients and images that a model has seen, to recognise them (see patient_hash.py)."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cxr.arrays import Bool
from cxr.data import combine as joint
from cxr.data.dataset import Dataset
from cxr.patient_hash import NO_KEY, Hasher

_PUBLIC, _LOCAL = "world", "own"  # hashed with each id, also in the checkpoints of earlier versions
_PIXELS = "pixels"


def hash_patients(source: str, patients: Iterable[str], hasher: Hasher = NO_KEY) -> Tensor:
    """Sorted int64 hashes of patient ids; without a key they name every patient whose id can be guessed."""
    return _sorted(_hash(f"{source}\n{patient}", hasher) for patient in patients)


def hash_images(
    source: str, images: Sequence[str], hasher: Hasher = NO_KEY, sums: Sequence[int] | None = None
) -> Tensor:
    """Sorted int64 hashes of image keys; the same key in a table of the user has another hash.

    Where the checksums of their pixels are given, such images are known by these too.
    """
    texts = [f"{_kind(source)}\n{image}" for image in images]
    if sums is not None and _kind(source) == _LOCAL:
        texts.append(_PIXELS)  # a marker: `knows_pixels` asks for it
        texts += [f"{_PIXELS}\n{number}\n{image}" for image, number in zip(images, sums, strict=True)]
    return _sorted(_hash(text, hasher) for text in texts)


def patients_of(dataset: Dataset, split: str, hasher: Hasher = NO_KEY) -> Tensor:
    """Hashes of the patients of a split; a dataset has the same ones alone and combined with others."""
    hashes = []
    for part in dataset.datasets:
        ids = part.table.rows["patient_id"].iloc[part.rows(split)].unique()
        hashes.append(hash_patients(part.id_space, ids, hasher))
    return _joined(hashes)


def images_of(dataset: Dataset, split: str, hasher: Hasher = NO_KEY) -> Tensor:
    """Hashes of the images of a split, to recognise them in a table where patients have other ids."""
    hashes = []
    for part in dataset.datasets:
        rows = part.rows(split)
        keys = image_keys(list(part.table.rows["image"]))  # of the whole table: a name may be there twice
        images = [keys[row] for row in rows]
        hashes.append(hash_images(part.table.source, images, hasher, pixel_sums(part, rows)))
    return _joined(hashes)


def pixel_sums(dataset: Dataset, rows: npt.NDArray[np.int64]) -> list[int] | None:
    """Checksums of the pixels of some rows; None where an earlier version packed them."""
    sums = dataset.store.crc32
    return None if sums is None else [int(number) for number in sums[dataset.index[rows]]]


def image_keys(names: Sequence[str]) -> list[str]:
    """File names without folder and ending; with the folders if several files have the same name."""
    paths = [_without_extension(name) for name in names]
    # folders are left out where they tell nothing apart: copies of a dataset lie in other folders
    files = [path.rpartition("/")[2] for path in paths]
    return files if len(set(files)) == len(set(paths)) else paths


def find_patients(seen: Tensor, source: str, patients: Sequence[str], hasher: Hasher = NO_KEY) -> Bool:
    """[n] which of these patients are among the hashed ones."""
    hashes = [_hash(f"{source}\n{patient}", hasher) for patient in patients]
    return np.isin(np.array(hashes, np.int64), seen.numpy())


def knows_pixels(seen: Tensor, hasher: Hasher = NO_KEY) -> bool:
    """Whether images are among the hashed ones by the checksums of their pixels too."""
    return _hash(_PIXELS, hasher) in seen.tolist()


def find_images(
    seen: Tensor,
    source: str,
    names: Sequence[str],
    hasher: Hasher = NO_KEY,
    sums: Sequence[int] | None = None,
) -> Bool:
    """[n] which of these images are among the hashed ones, whichever folders stand before their names.

    File names of two tables may be equal by chance, so one table's images are those of another only where the
    checksums of their pixels say so too.
    """
    if not names:
        return np.zeros(0, np.bool_)
    # 1. the prefixes with which each image's hash may have been written: the training may have read a public
    #    dataset through its own reader (_PUBLIC) or as a user's table (_LOCAL)
    prefixes = [(_PUBLIC,) if _kind(source) == _LOCAL else (_PUBLIC, _LOCAL)] * len(names)
    if sums is not None and _kind(source) == _LOCAL:
        prefixes = [(_PUBLIC, f"{_PIXELS}\n{number}") for number in sums]
    # 2. every hash that each image may have: a few for each, all in an array [m]
    hashes: list[int] = []
    starts = []  # [n] where each image's hashes begin
    for name, written in zip(names, prefixes, strict=True):
        starts.append(len(hashes))
        hashes += [_hash(f"{prefix}\n{path}", hasher) for path in _path_suffixes(name) for prefix in written]
    # 3. an image was seen where any of its hashes is known
    is_known = np.isin(np.array(hashes, np.int64), seen.numpy())
    return np.asarray(np.logical_or.reduceat(is_known, starts), np.bool_)


def _kind(source: str) -> str:
    """Whether a dataset's ids mean the same everywhere, or within one user's table; part of each hash."""
    return _LOCAL if source in joint.OWN_IDS else _PUBLIC


def _path_suffixes(name: str) -> Iterator[str]:
    """a/b/c, b/c and c of a/b/c.png."""
    parts = _without_extension(name).split("/")
    return ("/".join(parts[start:]) for start in range(len(parts)))


def _without_extension(name: str) -> str:
    folder, slash, file = name.replace("\\", "/").rpartition("/")
    return folder + slash + (file.rpartition(".")[0] or file)


def _hash(text: str, hasher: Hasher) -> int:
    # 64 bits: two of a million hashes are equal by chance in one of 37 million sets
    return int.from_bytes(hasher.digest(text)[:8], "big", signed=True)


def _sorted(hashes: Iterable[int]) -> Tensor:
    return torch.tensor(sorted(set(hashes)), dtype=torch.int64)


def _joined(parts: Iterable[Tensor]) -> Tensor:
    found: npt.NDArray[np.int64] = np.unique(torch.cat(list(parts)).numpy())
    return torch.from_numpy(found)
