"""Which names in two tables are one image's: equal but for the ending or for folders that one of them leaves out."""

import re
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from cxr.labels.lookup import stem

Places = npt.NDArray[np.intp]
_NONE, _SEVERAL = -1, -2
_ABOVE_CHEXPERT = re.compile(r"^(.*/)?chexpert[^/]*/", re.IGNORECASE)


def match_names(images: "pd.Series[str]", others: "pd.Series[str]") -> Places:
    """[N] the place in `others` of each image, -1 where there is none, or where the name may be one of several.

    `a0` is `a0.png` and `site/a0.png`, but `siteA/a0.png` is not `siteB/a0.png`. CheXpert's own folder and those above
    it do not count, as its copies are called differently. What is written alike in both tables goes before the rest.

    Args:
        images: [N] names; rows of one name get one place.
        others: [M] names.
    """
    codes, distinct = pd.factorize(images)
    names, theirs = [slashed(str(name)) for name in distinct], [slashed(str(name)) for name in others]
    places = _equal(names, theirs)
    for look in (_equal, _longer_or_shorter):
        lost = np.flatnonzero(places < 0)
        free = np.setdiff1d(np.arange(len(theirs)), places)
        if len(lost) and len(free):
            found = look([_core(names[one]) for one in lost], [_core(theirs[one]) for one in free])
            places[lost] = np.where(found >= 0, free[found], _NONE)
    return places[codes] if len(codes) else np.empty(0, np.intp)


def slashed(name: str) -> str:
    """The name with forward slashes."""
    return name.strip().replace("\\", "/")


def below_chexpert(name: str) -> str:
    """CheXpert's path below the folder of the dataset; any other name as it is."""
    return _ABOVE_CHEXPERT.sub("", slashed(name))


def _core(name: str) -> str:
    return stem(below_chexpert(name)).lstrip("/")


def _equal(names: Sequence[str], others: Sequence[str]) -> Places:
    """[N] the place of each equal name, -1 where there is none or where either side has it twice."""
    index = _index(others)
    return _one_to_one([index.get(name, _NONE) for name in names])


def _longer_or_shorter(names: Sequence[str], others: Sequence[str]) -> Places:
    """[N] the place of the only other name that has more folders in front, or fewer; else -1."""
    whole, wanted = _index(others), set(names)
    longer: dict[
        str, int
    ] = {}  # ends of the others' names, of which there are many: only those that are asked for
    for place, other in enumerate(others):
        for end in _ends(other):
            if end in wanted:
                longer[end] = _SEVERAL if end in longer else place
    found = [[whole[end] for end in _ends(name) if end in whole] for name in names]
    found = [[*own, longer[name]] if name in longer else own for own, name in zip(found, names, strict=True)]
    return _one_to_one([own[0] if len(own) == 1 else _NONE for own in found])


def _ends(name: str) -> Iterator[str]:
    """The name without its first folder, without its first two, and so on."""
    while "/" in name:
        name = name.split("/", 1)[1]
        yield name


def _index(names: Sequence[str]) -> dict[str, int]:
    index: dict[str, int] = {}
    for place, name in enumerate(names):
        index[name] = _SEVERAL if name in index else place
    return index


def _one_to_one(places: Sequence[int]) -> Places:
    """The places, -1 in place of those that several names have."""
    found = np.maximum(np.array(places, np.intp), _NONE)
    values, counts = np.unique(found, return_counts=True)
    return np.where(np.isin(found, values[counts > 1]), _NONE, found)
