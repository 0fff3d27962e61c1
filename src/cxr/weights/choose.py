"""Which of several networks in a file is taken: rule 2 of `weights.match`."""

import re
from collections.abc import Iterable, Mapping, Sequence

import torch

from cxr.weights.errors import WeightsError, visible
from cxr.weights.files import WeightFile
from cxr.weights.layout import Fit, Layout
from cxr.weights.names import home_of, may_be_part, shared_start

_MAX_LISTED = 6
_TWIN_WORDS = (
    # (words of the momentum twin, words of the network that learns by gradient instead)
    ({"k", "key"}, {"q", "query"}),
    ({"target"}, {"online"}),
    ({"momentum"}, {"online", "base"}),
)


def choose(file: WeightFile, layout: Layout, fits: Sequence[Fit]) -> tuple[Fit, dict[str, list[Fit]]]:
    """(the network that is taken, the others by the reason for which they are not).

    Raises:
        WeightsError: No network has the name that FILE#NAME gives, or several that differ are left.
    """
    # 1. FILE#NAME chooses
    asked = fits_of_choice(fits, file.choice)
    others = {"another network": [fit for fit in fits if fit not in asked]}
    if not asked:
        raise WeightsError(f"has no network called {visible(file.choice)}", f"there is {list_fits(fits)}")
    # 2. equal networks count once; the one with most tensors beside it is taken: the other lacks its head
    beside = _tensors_beside(file, layout, asked) if len(asked) > 1 else {}
    different: list[Fit] = []
    for fit in sorted(asked, key=lambda fit: -len(beside.get(fit.prefix, ()))):
        if any(_are_equal(file, fit, other, beside) for other in different):
            others.setdefault("copy of it", []).append(fit)
        else:
            different.append(fit)
    different.sort(key=asked.index)
    # 3. a momentum twin gives way to the network that learns by gradient
    twins = [fit for fit in different if any(_is_twin(fit.prefix, other.prefix) for other in asked)]
    left = [fit for fit in different if fit not in twins]
    # 4. anything else, such as a model beside its average, is for the user to choose
    if len(left) != 1:
        problem = f"holds {len(left)} networks that differ: {list_fits(left)}"
        raise WeightsError(problem, f"say which, such as {file.path}#{visible(name_of(left[0]))}")
    return left[0], others | {"momentum twin": twins}


def fits_of_choice(fits: Sequence[Fit], choice: str) -> list[Fit]:
    """The networks that a choice means: all without a choice, the network of that name, or those below it."""
    exact = [fit for fit in fits if name_of(fit) == choice]
    return exact or [fit for fit in fits if not choice or fit.prefix.startswith(f"{choice}.")]


def name_of(fit: Fit) -> str:
    """The name of a network in FILE#NAME; a dot for the network whose names have no prefix."""
    return fit.prefix.rstrip(".") or "."


def list_fits(fits: Iterable[Fit]) -> str:
    """The names of networks, for a message."""
    names = [visible(name_of(fit)) for fit in fits]
    more = ["..."] if len(names) > _MAX_LISTED else []
    return ", ".join([*names[:_MAX_LISTED], *more])


def _tensors_beside(file: WeightFile, layout: Layout, fits: Sequence[Fit]) -> dict[str, dict[str, str]]:
    """By prefix, the tensors beside each network, such as its head: {name from the network on: whole name}.

    With `a.net.conv1.weight` and `b.net.conv1.weight`, `a.fc.weight` stands beside the first as `fc.weight`.
    """
    homes = {fit.prefix: home_of(fit, layout) for fit in fits}
    taken = {name for fit in fits for name in fit.names.values()}
    beside: dict[str, dict[str, str]] = {prefix: {} for prefix in homes}
    for name, stored in file.tensors.items():
        if name in taken or name in file.attributes or not stored.dtype.is_floating_point:
            continue
        # letters that the name shares with each network; the network that shares most is nearest
        lengths = {prefix: len(shared_start(name, home)) for prefix, home in homes.items()}
        most = max(lengths.values())
        nearest = [prefix for prefix, length in lengths.items() if length == most]
        # beside several at once it belongs to none of them, unless it is inside one
        if len(nearest) > 1 or not most:
            nearest = [prefix for prefix in nearest if len(homes[prefix]) == most]
        relative = name[most:]
        if len(nearest) == 1 and may_be_part(relative):
            beside[nearest[0]][relative] = name
    return beside


def _are_equal(file: WeightFile, first: Fit, second: Fit, beside: Mapping[str, Mapping[str, str]]) -> bool:
    """Whether two networks, and the tensors beside them unless one has none, hold the same numbers."""
    if not _hold_same(file, first.names, second.names):
        return False
    near_first, near_second = beside[first.prefix], beside[second.prefix]
    return not near_first or not near_second or _hold_same(file, near_first, near_second)


def _hold_same(file: WeightFile, first: Mapping[str, str], second: Mapping[str, str]) -> bool:
    """Whether the tensors of two {name: name in the file} hold the same numbers."""
    if first.keys() != second.keys():
        return False
    return all(_is_same_tensor(file, first[name], second[name]) for name in first)


def _is_same_tensor(file: WeightFile, first: str, second: str) -> bool:
    here, there = file.tensors[first], file.tensors[second]
    if here.is_same(there):  # views of the same bytes, which need not be read
        return True
    if here.flaw or there.flaw or (here.dtype, here.shape) != (there.dtype, there.shape):
        return False
    return torch.equal(file.read(first), file.read(second))


def _is_twin(prefix: str, other: str) -> bool:
    """Whether a prefix is that of the momentum twin of another: the same words but for those that say so."""
    words, other_words = (re.findall(r"[a-z]+|\d+", text.lower()) for text in (prefix, other))
    for twin, learner in _TWIN_WORDS:
        # `encoder_k` beside `encoder_q`: only the first has a word of a twin
        if twin & set(words) and not twin & set(other_words):
            rest = [word for word in words if word not in twin]
            return rest == [word for word in other_words if word not in learner]
    return False
