"""Which tensors of a file become which of ours: one network, one head, and a reason for every other tensor.

The rules, in this order:
    1. A network is taken whole or not at all (`layout.find_fits`).
    2. Of several, FILE#NAME chooses. Equal ones count once. Of a network and its momentum twin, the one that
       learns by gradient is taken: encoder_q before encoder_k, online before target, a name before `momentum`
       with that name. Anything else, such as a model beside its average or a student beside a teacher, is
       refused with the names (`choose.choose`).
    3. A head is one linear layer on the network's features. Its outputs mean something where the file or
       `model.head_findings` names them, and never by their number.
    4. Every other tensor is counted under the reason for which it is left out. One that stands beside the
       network's own parts for no known reason may change what it computes, and is refused.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from cxr.console import count
from cxr.findings import GROUPS
from cxr.weights import names as words
from cxr.weights.choose import name_of
from cxr.weights.errors import WeightsError, visible
from cxr.weights.files import WeightFile
from cxr.weights.layout import Fit, Layout
from cxr.weights.names import home_of, shared_start

MAX_LISTED = 3
"""Heads, layers and tensors that a message names."""

HARMLESS = (
    "training state", "loss", "counters", "copy of it", "momentum twin", "another network", "attributes",
    "records of the run", "operating points",
)  # fmt: skip
"""Reasons that leave out nothing that the network computes with."""


@dataclass(frozen=True)
class Head:
    """A linear layer on the network's features: its names in the file, and how many outputs it has."""

    name: str
    weight: str
    bias: str | None
    num_outputs: int

    def __str__(self) -> str:
        return f"{visible(self.name)}: {count(self.num_outputs, 'output')}"


@dataclass(frozen=True)
class Match:
    """What becomes of a file.

    Attributes:
        file: The file.
        layout: The backbone that it was matched with.
        fit: The network in it.
        heads: Linear layers on the network's features.
        left_out: Names of the other tensors by the reason for which they are left out.
        twin: The name of the network's momentum twin in FILE#NAME; empty where there is none.
    """

    file: WeightFile
    layout: Layout
    fit: Fit
    heads: tuple[Head, ...]
    left_out: Mapping[str, tuple[str, ...]]
    twin: str = ""

    @property
    def is_grey(self) -> bool:
        """Whether its first convolution, [64, 1 or 3, 7, 7], sees one channel."""
        return self.file.tensors[self.fit.names[self.layout.stem]].shape[1] == 1


def account(file: WeightFile, layout: Layout, fit: Fit, others: Mapping[str, Sequence[Fit]]) -> Match:
    """What becomes of every tensor of the file beside those of the network.

    Raises:
        WeightsError: A tensor stands among the network's parts without being one.
    """
    # 1. the network's own tensors, by their names in the file
    taken = set(fit.names.values())
    # 2. those that their names alone explain
    left_out: dict[str, list[str]] = {}
    unexplained: list[str] = []
    for name in file.tensors:
        if name in taken:
            continue
        reason = _reason_of_name(name, file, layout, fit, others)
        if reason:
            left_out.setdefault(reason, []).append(name)
        else:
            unexplained.append(name)
    # 3. those that are explained together with others of their module: a head is a weight and a bias
    heads = []
    for module, members in _group(unexplained, fit.prefix).items():
        head = _as_head(module, members, file, layout)
        if head:
            heads.append(head)
            continue
        reason = _reason_of_shapes(members, file, layout, fit)
        if not reason:
            tensors = f"{count(len(members), 'tensor')} among its parts that a {layout.name} does not have"
            hint = f"a {layout.name} with more than torchvision's parts computes something else"
            raise WeightsError(f"holds {tensors}: {visible(members[0])}", f"{hint}; give another file")
        left_out.setdefault(reason, []).extend(members)
    # told to the user, who may have meant the other one
    twin = next((name_of(fit) for fit in others.get("momentum twin", ())), "")
    reasons = {reason: tuple(names) for reason, names in left_out.items()}
    return Match(file, layout, fit, tuple(heads), reasons, twin)


def _reason_of_name(
    name: str, file: WeightFile, layout: Layout, fit: Fit, others: Mapping[str, Sequence[Fit]]
) -> str:
    """Why a tensor is left out whatever its shape; empty where that depends on its neighbours."""
    if file.is_ours and words.RECORDS.match(name):
        return "records of the run"
    if name in file.attributes:
        return "attributes"
    for reason, fits in others.items():
        if any(_belongs(name, other, fit) for other in fits):
            return reason
    relative = name[len(shared_start(name, fit.prefix)) :]
    if words.OPERATING_POINTS.search(name):
        return "operating points"
    if words.MOMENTS.search(relative):
        return "training state"
    # beside the network's own parts a word alone proves nothing: they may have any name
    if words.TRAINING.search(relative) and not name.startswith(home_of(fit, layout)):
        return "training state"
    return "loss" if words.LOSS.search(relative) else ""


def _belongs(name: str, other: Fit, chosen: Fit) -> bool:
    """Whether a tensor is of a network that was not taken: below the segment where prefixes differ.

    Of `encoder_q.` (taken) and `encoder_k.`, that is every tensor below `encoder_k.`.
    """
    # whole segments: `encoder_q.` and `encoder_k.` share nothing, `net.a.` and `net.b.` share `net.`
    shared = shared_start(other.prefix, chosen.prefix)
    segment = other.prefix[len(shared) :].partition(".")[0]
    root = f"{shared}{segment}." if segment else other.prefix
    # the chosen network may be inside the other's folder, as `model.ema.` is inside `model.`
    inside_chosen = len(chosen.prefix) > len(root) and name.startswith(chosen.prefix)
    return name in other.names.values() or (name.startswith(root) and not inside_chosen)


def _group(names: Iterable[str], prefix: str) -> dict[str, list[str]]:
    """Names by the module that they are in, counted from where they part from the network's prefix."""
    groups: dict[str, list[str]] = {}
    for name in names:
        shared = shared_start(name, prefix)
        segment = name[len(shared) :].partition(".")[0]
        groups.setdefault(shared + segment, []).append(name)
    return groups


def _as_head(module: str, members: Sequence[str], file: WeightFile, layout: Layout) -> Head | None:
    """The group as a head, if it is one linear layer on the features and nothing else."""
    weights = [name for name in members if name.endswith(".weight")]
    if len(weights) != 1 or words.PROJECTION.search(module.rpartition(".")[2]):
        return None
    weight = weights[0]
    bias = weight.removesuffix("weight") + "bias"
    if not set(members) <= {weight, bias}:
        return None
    # [C, D] on D features, with a bias [C] or none
    shape = file.tensors[weight].shape
    if len(shape) != 2 or shape[1] != layout.width or not shape[0]:
        return None
    has_bias = bias in members
    if has_bias and file.tensors[bias].shape != shape[:1]:
        return None
    return Head(weight.removesuffix(".weight"), weight, bias if has_bias else None, shape[0])


def _reason_of_shapes(members: Sequence[str], file: WeightFile, layout: Layout, fit: Fit) -> str:
    """Why a group is left out; empty where it stands among the network's parts and nothing explains it."""
    relative = [name[len(shared_start(name, fit.prefix)) :] for name in members]
    stored_tensors = [file.tensors[name] for name in members]
    if all(words.PROJECTION.search(name) for name in relative):
        return "projection head"
    # a single float may be a part that computes, such as the exponent of a pooling: its name must say counter
    is_counter = [
        stored.shape in ((), (1,)) and (not stored.dtype.is_floating_point or words.COUNTER.search(name))
        for name, stored in zip(relative, stored_tensors, strict=True)
    ]
    if all(is_counter):
        return "counters"
    # several layers, or a convolution over single pixels, [C, D, 1, 1]
    sees_features = any(stored.shape[1:2] == (layout.width,) for stored in stored_tensors)
    if sees_features and all(set(stored.shape[2:]) <= {1} for stored in stored_tensors):
        return "head of another kind"
    is_among_parts = all(name.startswith(home_of(fit, layout)) for name in members)
    return "" if is_among_parts else "other parts"


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
    listed = "; ".join(str(head) for head in match.heads[:MAX_LISTED])
    heads = listed or "no linear head on the network's features"
    named = count(len(names), "finding")
    if match.file.findings is not None:
        raise WeightsError(f"names {named}, but has {heads}: it is damaged")
    option = key.rstrip("= ")
    if fitting:
        problem = f"has {len(fitting)} heads of {len(names)} outputs ({heads}), and {option} cannot mean both"
        raise WeightsError(problem, f"leave {option} out, or save the model with one head")
    problem = f"{option} names {named}, the file has {heads}"
    if any(head.num_outputs == 2 for head in match.heads) and len(names) == 1:
        problem += "; two outputs for one finding are a softmax, which cxr does not compute"
    raise WeightsError(problem, "name the outputs of the head, all of them and in their order")


def suggest(match: Match, key: str = "model.head_findings=") -> str:
    """How to name the outputs of a file's head: the groups of so many findings, or a list."""
    nums = {head.num_outputs for head in match.heads}
    groups = [f"{key}{name}" for name, group in GROUPS.items() if len(group) in nums]
    return " or ".join([*groups, f"{key}[A,B,...]"])
