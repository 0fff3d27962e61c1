"""The patients and images that a model has seen, as hashes by which they are recognised (see patient_key.py)."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cxr.data import combine as joint
from cxr.data.dataset import Dataset
from cxr.patient_hash import NO_KEY, Hasher

_PIXELS = "pixels"


def hash_patients(source: str, patients: Iterable[str], hasher: Hasher = NO_KEY) -> Tensor:
    """Sorted int64 hashes of patient ids; without a key they name every patient whose id can be guessed."""
    return _sorted(_hash(f"{source}\n{patient}", hasher) for patient in patients)


def hash_images(
    source: str, images: Sequence[str], hasher: Hasher = NO_KEY, sums: Sequence[int] | None = None
) -> Tensor:
    """Sorted int64 hashes of image keys; those of the sources whose ids are their own are told apart from the rest.

    Where the checksums of their pixels are given, such images are known by these too.
    """
    texts = [f"{_kind(source)}\n{image}" for image in images]
    if sums is not None and _kind(source) == "own":
        texts += [
            _PIXELS,
            *(f"{_PIXELS}\n{number}\n{image}" for image, number in zip(images, sums, strict=True)),
        ]
    return _sorted(_hash(text, hasher) for text in texts)


def patients_of(dataset: Dataset, fold: str, hasher: Hasher = NO_KEY) -> Tensor:
    """Hashes of the patients of a fold; those of joined archives are what each has when it is read alone."""
    return _joined(
        hash_patients(part.id_space, part.table.rows["patient_id"].iloc[part.rows(fold)].unique(), hasher)
        for part in dataset.archives
    )


def images_of(dataset: Dataset, fold: str, hasher: Hasher = NO_KEY) -> Tensor:
    """Hashes of the images of a fold, by which they are recognised in another table whose patients have other ids."""
    keys = [
        np.array(image_keys(list(part.table.rows["image"])))[part.rows(fold)] for part in dataset.archives
    ]
    return _joined(
        hash_images(part.table.source, own.tolist(), hasher, pixel_sums(part, part.rows(fold)))
        for part, own in zip(dataset.archives, keys, strict=True)
    )


def pixel_sums(archive: Dataset, rows: npt.NDArray[np.int64]) -> list[int] | None:
    """Checksums of the pixels of some rows; None where an earlier version packed them."""
    sums = archive.store.crc32
    return None if sums is None else [int(number) for number in sums[archive.index[rows]]]


def image_keys(names: Sequence[str]) -> list[str]:
    """File names without folder and ending, or with the folders where an archive has several files of one name."""
    paths = [_without_ending(name) for name in names]
    files = [path.rpartition("/")[2] for path in paths]
    return files if len(set(files)) == len(set(paths)) else paths


def count_patients(seen: Tensor, source: str, patients: Iterable[str], hasher: Hasher = NO_KEY) -> int:
    """How many of these patients are among the hashed ones."""
    return len(np.intersect1d(seen.numpy(), hash_patients(source, patients, hasher).numpy()))


def knows_pixels(seen: Tensor, hasher: Hasher = NO_KEY) -> bool:
    """Whether images are among the hashed ones by the checksums of their pixels too."""
    return _hash(_PIXELS, hasher) in seen.tolist()


def count_images(
    seen: Tensor,
    source: str,
    names: Sequence[str],
    hasher: Hasher = NO_KEY,
    sums: Sequence[int] | None = None,
) -> int:
    """How many of these images are among the hashed ones, whichever folders stand before their names.

    File names of two tables may be equal by chance, so one table's images are those of another only where the checksums
    of their pixels say so too.
    """
    kinds = [("world",) if _kind(source) == "own" else ("world", "own")] * len(names)
    if sums is not None and _kind(source) == "own":
        kinds = [("world", f"{_PIXELS}\n{number}") for number in sums]
    hashes = [[_hash(f"{kind}\n{key}", hasher) for key in _endings(name) for kind in own]
              for name, own in zip(names, kinds, strict=True)]  # fmt: skip
    known = np.isin(np.array([one for each in hashes for one in each], np.int64), seen.numpy())
    starts = np.cumsum([0, *(len(each) for each in hashes[:-1])]) if hashes else np.empty(0, np.intp)
    return int(np.logical_or.reduceat(known, starts).sum()) if hashes else 0


def _kind(source: str) -> str:
    return "own" if source in joint.OWN_IDS else "world"


def _endings(name: str) -> Iterator[str]:
    """a/b/c, b/c and c of a/b/c.png."""
    parts = _without_ending(name).split("/")
    return ("/".join(parts[start:]) for start in range(len(parts)))


def _without_ending(name: str) -> str:
    folder, slash, file = name.replace("\\", "/").rpartition("/")
    return folder + slash + (file.rpartition(".")[0] or file)


def _hash(text: str, hasher: Hasher) -> int:
    return int.from_bytes(hasher.digest(text)[:8], "big", signed=True)


def _sorted(hashes: Iterable[int]) -> Tensor:
    return torch.tensor(sorted(set(hashes)), dtype=torch.int64)


def _joined(parts: Iterable[Tensor]) -> Tensor:
    found: npt.NDArray[np.int64] = np.unique(torch.cat(list(parts)).numpy())
    return torch.from_numpy(found)
