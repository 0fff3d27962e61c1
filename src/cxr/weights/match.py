"""Which tensors of a file become which of ours: one network, one head, and a reason for every tensor that is left out.

The rules, in this order:
    1. A network is taken whole or not at all (`layout.find_fits`).
    2. Of several, FILE#NAME chooses. Equal ones count once. Of a network and its momentum twin, the one that learns by
       gradient is taken: encoder_q before encoder_k, online before target, a name before `momentum` with that name.
       Anything else, such as a model beside its average or a student beside a teacher, is refused with the names.
    3. A head is one linear layer on the network's features. Its outputs mean something where the file or
       `model.head_findings` names them, and never by their number.
    4. Every other tensor is counted under the reason for which it is left out. One that stands beside the network's own
       parts for no known reason may change what it computes, and is refused.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch

from cxr.console import count
from cxr.findings import GROUPS
from cxr.weights.files import WeightFile
from cxr.weights.kinds import WeightsError, visible
from cxr.weights.layout import Fit, Layout

_OURS = re.compile(r"^(mean|std|logit_shift|patients\..*|images\..*|familiarity\..*)$")
_TRAINING = re.compile(r"optim|sched|(^|[._])(opt|rng|callbacks|loops)([._]|$)", re.I)
_MOMENTS = re.compile(r"(^|\.)(exp_avg|exp_avg_sq|momentum_buffer|square_avg|param_groups)(\.|$)")
_LOSS = re.compile(r"loss|criterion|pos_?weight|class_?weight|metric|auroc|accuracy", re.I)
_COUNTED = re.compile(
    r"(^|[._])(best|acc|auc|score|epoch|step|lr|version|num|count|n|averaged)([._]|$)", re.I
)
_POINTS = re.compile(r"(^|\.)op_threshs$")
_PROJECTION = re.compile(r"project|predictor|proto|(^|[._])(proj|queue|queue_ptr|center|mlp)([._]|$)", re.I)
_NAMED = 3
_TWIN_WORDS = ({"k", "key"}, {"target"}, {"momentum"})
_OWN_WORDS = ({"q", "query"}, {"online"}, {"online", "base"})
HARMLESS = ("training state", "loss", "counters", "copy of it", "momentum twin", "another network", "attributes",
            "records of the run", "operating points")  # fmt: skip
"""Reasons that leave out nothing that the network computes with."""


@dataclass(frozen=True)
class Head:
    """A linear layer on the network's features: its names in the file, and how many outputs it has."""

    name: str
    weight: str
    bias: str | None
    num_outputs: int

    def __str__(self) -> str:
        return f"{visible(self.name)}: {self.num_outputs} output{'' if self.num_outputs == 1 else 's'}"


@dataclass(frozen=True)
class Match:
    """What becomes of a file.

    Attributes:
        file: The file.
        layout: The backbone that it was matched with.
        fit: The network in it.
        heads: Linear layers on the network's features.
        left_out: Names of the other tensors by the reason for which they are left out.
        twin: What the network's momentum twin is called in a choice; empty where there is none.
    """

    file: WeightFile
    layout: Layout
    fit: Fit
    heads: tuple[Head, ...]
    left_out: Mapping[str, tuple[str, ...]]
    twin: str = ""

    @property
    def is_grey(self) -> bool:
        """Whether its first convolution sees one channel."""
        return self.file.tensors[self.fit.names[self.layout.stem]].shape[1] == 1


def choose(file: WeightFile, layout: Layout, fits: Sequence[Fit]) -> tuple[Fit, dict[str, list[Fit]]]:
    """(the network that is taken, the others by the reason for which they are not).

    Raises:
        WeightsError: It cannot be told which is meant.
    """
    asked = asked_for(fits, file.choice)
    others: dict[str, list[Fit]] = {"another network": [fit for fit in fits if fit not in asked]}
    if not asked:
        raise WeightsError(f"has no network called {visible(file.choice)}", f"there is {list_fits(fits)}")
    different: list[Fit] = []
    rests = _rests(file, layout, asked) if len(asked) > 1 else {}
    # of equal bodies the one with most beside it is taken: the other lacks its head
    for fit in sorted(asked, key=lambda fit: -len(rests.get(fit.prefix, ()))):
        if any(
            _are_equal(file, fit, one) and _agree(file, rests[fit.prefix], rests[one.prefix])
            for one in different
        ):
            others.setdefault("copy of it", []).append(fit)
        else:
            different.append(fit)
    different.sort(key=asked.index)
    twins = [fit for fit in different if any(_is_twin(fit.prefix, one.prefix) for one in asked)]
    left = [fit for fit in different if fit not in twins]
    if len(left) != 1:
        what = f"holds {len(left)} networks that differ: {list_fits(left)}"
        raise WeightsError(what, f"say which, such as {file.path}#{visible(_called(left[0]))}")
    return left[0], others | {"momentum twin": twins}


def asked_for(fits: Sequence[Fit], choice: str) -> list[Fit]:
    """The networks that a choice means: all without one, the one of that name, or those below it."""
    exact = [fit for fit in fits if _called(fit) == choice]
    return exact or [fit for fit in fits if not choice or fit.prefix.startswith(f"{choice}.")]


def _called(fit: Fit) -> str:
    """What a network is called in a choice; one whose names have no prefix is called by a dot."""
    return fit.prefix.rstrip(".") or "."


def list_fits(fits: Iterable[Fit]) -> str:
    """What networks are called, for a message."""
    every = [visible(_called(fit)) for fit in fits]
    return ", ".join([*every[:6], *(["..."] if len(every) > 6 else [])])


def _are_equal(file: WeightFile, one: Fit, other: Fit) -> bool:
    """Whether two networks of a file hold the same numbers."""
    if one.names.keys() != other.names.keys():
        return False
    return all(_hold_same(file, one.names[name], other.names[name]) for name in one.names)


def _hold_same(file: WeightFile, one: str, other: str) -> bool:
    """Whether two tensors of a file hold the same numbers."""
    here, there = file.tensors[one], file.tensors[other]
    if here.is_same(there):
        return True
    comparable = not (here.flaw or there.flaw) and (here.dtype, here.shape) == (there.dtype, there.shape)
    return comparable and torch.equal(file.read(one), file.read(other))


def _rests(file: WeightFile, layout: Layout, fits: Sequence[Fit]) -> dict[str, dict[str, str]]:
    """By prefix what stands beside each network, such as its head: {name from where it parts from it: name}."""
    homes = {fit.prefix: _home(fit, layout) for fit in fits}
    taken = {name for fit in fits for name in fit.names.values()}
    rests: dict[str, dict[str, str]] = {prefix: {} for prefix in homes}
    for name, place in file.tensors.items():
        if name in taken or name in file.attributes or not place.dtype.is_floating_point:
            continue
        shared = {prefix: len(_shared(name, home)) for prefix, home in homes.items()}
        most = max(shared.values())
        near = [prefix for prefix, length in shared.items() if length == most]
        # beside several at once it is nobody's, unless it is inside one of them
        owner = near if len(near) == 1 and most else [prefix for prefix in near if len(homes[prefix]) == most]
        apart = name[most:]
        if len(owner) == 1 and not any(
            pattern.search(apart) for pattern in (_MOMENTS, _TRAINING, _LOSS, _PROJECTION, _COUNTED, _POINTS)
        ):
            rests[owner[0]][apart] = name
    return rests


def _agree(file: WeightFile, one: Mapping[str, str], other: Mapping[str, str]) -> bool:
    """Whether what stands beside two equal bodies is equal too, or there is nothing beside one of them."""
    if not one or not other:
        return True
    return one.keys() == other.keys() and all(_hold_same(file, one[name], other[name]) for name in one)


def _is_twin(prefix: str, other: str) -> bool:
    """Whether a prefix is that of the momentum twin of another: the same words but for those that say so."""
    mine, theirs = (re.findall(r"[a-z]+|\d+", text.lower()) for text in (prefix, other))
    for twin, own in zip(_TWIN_WORDS, _OWN_WORDS, strict=True):
        if twin & set(mine) and not twin & set(theirs):
            return [word for word in mine if word not in twin] == [word for word in theirs if word not in own]
    return False


def account(file: WeightFile, layout: Layout, fit: Fit, others: Mapping[str, Sequence[Fit]]) -> Match:
    """What becomes of every tensor of the file beside those of the network.

    Raises:
        WeightsError: A tensor stands among the network's parts without being one.
    """
    taken = set(fit.names.values())
    left_out: dict[str, list[str]] = {}
    rest: list[str] = []
    for name in (name for name in file.tensors if name not in taken):
        reason = _known_reason(name, file, layout, fit, others)
        if reason:
            left_out.setdefault(reason, []).append(name)
        else:
            rest.append(name)
    heads = []
    for root, members in _group(rest, fit.prefix).items():
        head = _as_head(root, members, file, layout)
        reason = "" if head else _reason(members, file, layout, fit)
        if head:
            heads.append(head)
        elif reason:
            left_out.setdefault(reason, []).extend(members)
        else:
            what = f"{count(len(members), 'tensor')} among its parts that a {layout.name} does not have"
            hint = f"a {layout.name} with more than torchvision's parts computes something else; give another file"
            raise WeightsError(f"holds {what}: {visible(members[0])}", hint)
    twin = next((_called(one) for one in others.get("momentum twin", ())), "")
    return Match(
        file, layout, fit, tuple(heads), {reason: tuple(names) for reason, names in left_out.items()}, twin
    )


def _known_reason(
    name: str, file: WeightFile, layout: Layout, fit: Fit, others: Mapping[str, Sequence[Fit]]
) -> str:
    """Why a tensor is left out whatever its shape; empty where that depends on its neighbours."""
    if file.is_ours and _OURS.match(name):
        return "records of the run"
    if name in file.attributes:
        return "attributes"
    for reason, fits in others.items():
        if any(_belongs(name, one, fit) for one in fits):
            return reason
    apart = name[len(_shared(name, fit.prefix)) :]
    if _POINTS.search(name):
        return "operating points"
    # beside the network's own parts a word alone is no proof: they may have any name
    if _MOMENTS.search(apart) or (_TRAINING.search(apart) and not name.startswith(_home(fit, layout))):
        return "training state"
    return "loss" if _LOSS.search(apart) else ""


def may_compute(name: str) -> bool:
    """Whether a tensor that is an attribute of a module may change what it computes: none of a loss or a count."""
    return not any(pattern.search(name) for pattern in (_LOSS, _COUNTED, _POINTS, _TRAINING))


def _shared(name: str, prefix: str) -> str:
    """The segments with which a name and the network's prefix begin."""
    shared = ""
    for segment in prefix.split(".")[:-1]:
        if not name.startswith(f"{shared}{segment}."):
            break
        shared += segment + "."
    return shared


def _belongs(name: str, other: Fit, chosen: Fit) -> bool:
    """Whether a tensor is of a network that was not taken: below the segment at which its prefix leaves the other's."""
    shared = _shared(other.prefix, chosen.prefix)
    segment = other.prefix[len(shared) :].partition(".")[0]
    root = f"{shared}{segment}." if segment else other.prefix
    inside_chosen = len(chosen.prefix) > len(root) and name.startswith(chosen.prefix)
    return name in other.names.values() or (name.startswith(root) and not inside_chosen)


def _group(names: Iterable[str], prefix: str) -> dict[str, list[str]]:
    """Names by the module that they are in, counted from where they part from the network."""
    groups: dict[str, list[str]] = {}
    for name in names:
        shared = _shared(name, prefix)
        segment = name[len(shared) :].partition(".")[0]
        groups.setdefault(shared + segment, []).append(name)
    return groups


def _as_head(root: str, members: Sequence[str], file: WeightFile, layout: Layout) -> Head | None:
    """The group as a head, if it is one linear layer on the features and nothing else."""
    weights = [name for name in members if name.endswith(".weight")]
    if len(weights) != 1 or _PROJECTION.search(root.rpartition(".")[2]):
        return None
    weight, bias = weights[0], weights[0].removesuffix("weight") + "bias"
    shape = file.tensors[weight].shape
    if len(shape) != 2 or shape[1] != layout.width or not shape[0] or not set(members) <= {weight, bias}:
        return None
    has_bias = bias in members
    if has_bias and file.tensors[bias].shape != shape[:1]:
        return None
    return Head(weight.removesuffix(".weight"), weight, bias if has_bias else None, shape[0])


def _home(fit: Fit, layout: Layout) -> str:
    """What the names of the network's parts begin with, a DenseNet's head beside its `features` among them."""
    return fit.prefix.removesuffix("features.") if layout.name.startswith("densenet") else fit.prefix


def _reason(members: Sequence[str], file: WeightFile, layout: Layout, fit: Fit) -> str:
    """Why a group is left out; empty where it stands among the network's parts and nothing explains it."""
    apart = [name[len(_shared(name, fit.prefix)) :] for name in members]
    places = [file.tensors[name] for name in members]
    if all(_PROJECTION.search(name) for name in apart):
        return "projection head"
    # one float may be a part that computes, such as the exponent of a pooling
    is_count = [
        not place.dtype.is_floating_point or _COUNTED.search(name)
        for name, place in zip(apart, places, strict=True)
    ]
    if all(place.shape in ((), (1,)) for place in places) and all(is_count):
        return "counters"
    sees_features = any(place.shape[1:2] == (layout.width,) for place in places)
    if sees_features and all(set(place.shape[2:]) <= {1} for place in places):
        return "head of another kind"  # several layers, or a convolution over single pixels
    if all(name.startswith(_home(fit, layout)) for name in members):
        return ""
    return "other parts"


def choose_head(match: Match, names: Sequence[str] | None, key: str = "model.head_findings=") -> Head | None:
    """The head whose outputs have the names, which were given under `key`; None where they have none.

    Raises:
        WeightsError: There is no head of so many outputs, or more than one.
    """
    if names is None:
        return None
    fitting = [head for head in match.heads if head.num_outputs == len(names)]
    if len(fitting) == 1:
        return fitting[0]
    there = (
        "; ".join(str(head) for head in match.heads[:_NAMED]) or "no linear head on the network's features"
    )
    if match.file.findings is not None:
        raise WeightsError(f"names {count(len(names), 'finding')}, but has {there}: it is damaged")
    option = key.rstrip("= ")
    if fitting:
        what = f"has {len(fitting)} heads of {len(names)} outputs ({there}), and {option} cannot mean both"
        raise WeightsError(what, f"leave {option} out, or save the model with one head")
    what = f"{option} names {count(len(names), 'finding')}, the file has {there}"
    if any(head.num_outputs == 2 for head in match.heads) and len(names) == 1:
        what += "; two outputs for one finding are a softmax, which cxr does not compute"
    raise WeightsError(what, "name the outputs of the head, all of them and in their order")


def suggest(match: Match, key: str = "model.head_findings=") -> str:
    """How to name the outputs of a file's head: the groups of so many findings, or a list."""
    nums = {head.num_outputs for head in match.heads}
    groups = [f"{key}{name}" for name, group in GROUPS.items() if len(group) in nums]
    return " or ".join([*groups, f"{key}[A,B,...]"])
