"""Matching the image names of two tables, which may differ in file endings and in leading folders."""

import re
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from cxr.labels.lookup import stem

Indices = npt.NDArray[np.intp]
_NONE, _SEVERAL = -1, -2
_ABOVE_CHEXPERT = re.compile(r"^(.*/)?chexpert[^/]*/", re.IGNORECASE)


def match_names(images: "pd.Series[str]", others: "pd.Series[str]") -> Indices:
    """[N] the index in `others` of each image, -1 where there is none, or where several names match.

    `a0` matches `a0.png` and `site/a0.png`, but `siteA/a0.png` does not match `siteB/a0.png`. CheXpert's top
    folder and those above it do not count, as copies of CheXpert name it differently. Exact matches come
    first, then names without their ending, then names of which one has more folders in front.

    Args:
        images: [N] names; rows of the same name get the same index.
        others: [M] names.
    """
    codes, distinct = pd.factorize(images)
    names = [slashed(str(name)) for name in distinct]
    candidates = [slashed(str(name)) for name in others]
    matches = _match_equal(names, candidates)
    for match in (_match_equal, _match_folders):
        unmatched = np.flatnonzero(matches < 0)
        free = np.setdiff1d(np.arange(len(candidates)), matches)  # a matched name is no candidate any more
        if len(unmatched) and len(free):
            found = match([_core(names[i]) for i in unmatched], [_core(candidates[i]) for i in free])
            matches[unmatched] = np.where(found >= 0, free[found], _NONE)
    return matches[codes] if len(codes) else np.empty(0, np.intp)


def slashed(name: str) -> str:
    """The name with forward slashes."""
    return name.strip().replace("\\", "/")


def below_chexpert(name: str) -> str:
    """CheXpert's path below the folder of the dataset; any other name as it is."""
    return _ABOVE_CHEXPERT.sub("", slashed(name))


def _core(name: str) -> str:
    """Without the ending and without CheXpert's top folder."""
    return stem(below_chexpert(name)).lstrip("/")


def _match_equal(names: Sequence[str], others: Sequence[str]) -> Indices:
    """[N] the index of each equal name, -1 where there is none or where either side has it twice."""
    index = _index(others)
    return _drop_repeated([index.get(name, _NONE) for name in names])


def _match_folders(names: Sequence[str], others: Sequence[str]) -> Indices:
    """[N] the index of the only other name that has more folders in front, or fewer; else -1."""
    whole, wanted = _index(others), set(names)
    # Ends of the other names, of which there are many: only those that are asked for are kept.
    longer: dict[str, int] = {}
    for number, other in enumerate(others):
        for end in _ends(other):
            if end in wanted:
                longer[end] = _SEVERAL if end in longer else number
    matches = []
    for name in names:
        found = [whole[end] for end in _ends(name) if end in whole]  # others with fewer folders
        if name in longer:
            found.append(longer[name])
        matches.append(found[0] if len(found) == 1 else _NONE)
    return _drop_repeated(matches)


def _ends(name: str) -> Iterator[str]:
    """The name without its first folder, without its first two, and so on."""
    while "/" in name:
        name = name.split("/", 1)[1]
        yield name


def _index(names: Sequence[str]) -> dict[str, int]:
    """The index of each name, _SEVERAL of a repeated one."""
    index: dict[str, int] = {}
    for number, name in enumerate(names):
        index[name] = _SEVERAL if name in index else number
    return index


def _drop_repeated(matches: Sequence[int]) -> Indices:
    """The matches, with -1 for those that several names have: each image has at most one partner."""
    found = np.maximum(np.array(matches, np.intp), _NONE)  # _SEVERAL becomes _NONE
    values, counts = np.unique(found, return_counts=True)
    return np.where(np.isin(found, values[counts > 1]), _NONE, found)
