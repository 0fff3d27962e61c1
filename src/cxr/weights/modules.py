"""A whole pickled network, layer by layer beside torchvision's: what would compute something else.

A state_dict says nothing of strides, pooling or activations; a pickled nn.Module does. Where its layers
differ from torchvision's, cxr would compute something else from the same tensors.
"""

import re
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import pairwise

import torch
from torch import nn

from cxr.vision import get_model, without_first_weights
from cxr.weights.errors import WeightsError, shorten_list, visible
from cxr.weights.files import WeightFile
from cxr.weights.layout import Fit, Layout, spell
from cxr.weights.match import Head, Match
from cxr.weights.names import may_compute
from cxr.weights.pickled_module import Module

_COMPUTES = ("stride", "padding", "dilation", "groups", "kernel_size", "padding_mode", "eps", "ceil_mode",
             "output_size", "count_include_pad", "divisor_override")  # fmt: skip
"""Attributes of torch.nn's layers that change what they compute; shapes say the rest."""
_NO_EFFECT = {"Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "AlphaDropout", "FeatureAlphaDropout",
              "Identity", "Flatten"}  # fmt: skip
"""Layers that compute nothing in evaluation."""
_KNOWN_PACKAGES = ("torch.nn.", "torchvision.models.", "torchxrayvision.models.")
_RELU = re.compile(r"\b(denselayer\d+)\.(?:layers\.)?relu\.?([12])$")
_WHOLE_MAP = (7, 7)  # nn.AvgPool2d(7), torchvision's before 0.4, on an image of 224 pixels


def check_alone(match: Match, head: Head | None) -> None:
    """Refuse further layers on the features: the head may see one of them, or features that one weighs.

    Raises:
        WeightsError: With their names.
    """
    others = [str(other) for other in match.heads if other != head]
    if head and others:
        problem = f"has further layers on its features beside {visible(head.name)} ({'; '.join(others[:3])})"
        hint = f"the file does not say what they do; train from it with model.weights={match.file.origin}"
        raise WeightsError(f"{problem}: the head may depend on them", hint)


def check_modules(match: Match, head: Head | None) -> tuple[str, ...]:
    """Classes of a pickled network that are of no library; other layers than torchvision's are refused.

    Raises:
        WeightsError: What differs.
    """
    differ, unknown_classes = compare(match.file, match.layout, match.fit, head.name if head else None)
    tensors = [
        name for name in match.left_out.get("attributes", ()) if match.file.modules and may_compute(name)
    ]
    differ += [f"{visible(name)} is a tensor that torchvision's network does not have" for name in tensors]
    if differ:
        hint = f"it cannot be run here as it is; train from it with model.weights={match.file.origin}"
        raise WeightsError(shorten_list(differ, "more differences"), hint)
    return tuple(unknown_classes)


def compare(file: WeightFile, layout: Layout, fit: Fit, head: str | None) -> tuple[list[str], list[str]]:
    """(what differs from torchvision's network, classes that are assumed to compute what torchvision's do).

    Args:
        file: Whose `modules` are compared; there are none in a state_dict.
        layout: The network that its tensors are of.
        fit: Where it stands in the file.
        head: The name of the head's linear layer.
    """
    ours, roots = _network_of(layout.name), _roots(fit, layout)
    # 1. both networks' layers under one spelling
    theirs = {_spell(path): module for path, module in file.modules.items()}
    differ: list[str] = []
    seen: set[str] = set()
    for path, module in ours.items():
        part, dot, rest = path.partition(".")
        there = f"{roots.get(part, fit.prefix + part)}{dot}{rest}"
        # in a Sequential without pooling another layer may have its number, which is an extra layer then
        is_other_layer = part == "avgpool" and there in theirs and "Pool" not in theirs[there].kind
        if there in theirs and not is_other_layer:
            seen.add(there)
            differ += _compare_layer(there, theirs[there], module)
    # 2. what is left over in the file's network: a layer more may change what it computes
    top = _top(theirs, fit.prefix)
    others = {path: module for path, module in theirs.items() if path not in seen and _is_below(path, top)}
    differ += _extra(others, file, fit, head)
    unknown = {module.kind for path, module in theirs.items() if _is_below(path, top) and module.has_layers
               and not module.kind.startswith(_KNOWN_PACKAGES)}  # fmt: skip
    return differ, sorted(unknown)


@cache
def _network_of(backbone: str) -> Mapping[str, nn.Module]:
    """Torchvision's layers by the names of the layout, without the head."""
    with torch.device("meta"), without_first_weights():
        net = get_model(backbone, weights=None)
    named = {path.removeprefix("features."): module for path, module in net.named_modules()}
    return {
        path: module for path, module in named.items() if path not in ("", "features", "fc", "classifier")
    }


def _roots(fit: Fit, layout: Layout) -> Mapping[str, str]:
    """The file's name of each part of the network that has tensors."""
    roots: dict[str, str] = {}
    for name in layout.shapes:
        part, _, rest = name.partition(".")
        if name in fit.names and part not in roots:
            roots[part] = spell(fit.names[name]).removesuffix(f".{rest}")
    # where parts have numbers, one without tensors follows the part before it
    parts = list(dict.fromkeys(path.partition(".")[0] for path in _network_of(layout.name)))
    for before, part in pairwise(parts):
        above, dot, number = roots.get(before, "").rpartition(".")
        if part not in roots and number.isdigit():
            roots[part] = f"{above}{dot}{int(number) + 1}"
    return roots


def _spell(path: str) -> str:
    """A module's path in today's spelling, also `relu.1` of a DenseNet layer, which has no tensors."""
    return _RELU.sub(r"\1.relu\2", spell(f"{path}.").rstrip("."))


def _top(modules: Mapping[str, Module], prefix: str) -> str | None:
    """The outermost module that the network is in; None where its tensors are in none."""
    segments = prefix.split(".")[:-1]
    paths = (".".join(segments[:num]) for num in range(len(segments) + 1))
    return next((path for path in paths if path in modules), None)


def _is_below(path: str, top: str | None) -> bool:
    return top is not None and (not top or path == top or path.startswith(f"{top}."))


def _compare_layer(path: str, theirs: Module, ours: nn.Module) -> list[str]:
    """What differs in one layer."""
    kind, wanted = theirs.kind.rpartition(".")[2], type(ours).__name__
    where = visible(path)
    # what a hook or a method of its own computes cannot be seen
    if theirs.is_changed:
        return [f"{where} has hooks or another forward"]
    if next(ours.children(), None) is not None:  # a block, whose layers are compared one by one
        return []
    if (kind, wanted) == ("AvgPool2d", "AdaptiveAvgPool2d") and _pair(
        theirs.values.get("kernel_size")
    ) == _WHOLE_MAP:
        return []
    if kind != wanted or not theirs.kind.startswith(_KNOWN_PACKAGES):
        return [f"{where} is a {visible(theirs.kind)}, torchvision's a {wanted}"]
    # a size of 3 and one of (3, 3) are the same
    return [f"{where} has {name} {_shown(theirs.values[name])}, torchvision's {_shown(getattr(ours, name))}"
            for name in _COMPUTES if name in theirs.values and hasattr(ours, name)
            and _pair(theirs.values[name]) != _pair(getattr(ours, name))]  # fmt: skip


def _pair(value: object) -> object:
    """A size along both axes."""
    if isinstance(value, list | tuple):
        return tuple(value)
    return (value, value) if type(value) is int else value


def _shown(value: object) -> str:
    return visible(str(value), 40)


def _extra(modules: Mapping[str, Module], file: WeightFile, fit: Fit, head: str | None) -> Iterator[str]:
    """Layers without tensors that are no part of torchvision's network, and change what is computed."""
    home = fit.prefix.removesuffix("features.")
    for path, module in modules.items():
        kind = module.kind.rpartition(".")[2]
        if module.is_changed:
            yield f"{visible(path) or 'the network'} has hooks or another forward"
        # layers with tensors were matched or refused by their tensors
        has_tensors = any(name.startswith(f"{path}.") for name in file.tensors) if path else True
        if module.has_layers or has_tensors or kind in _NO_EFFECT or ".loss." in module.kind:
            continue
        is_behind = head is not None and _is_behind(path, head)
        # behind the head it is the sigmoid that we take too
        if kind == "Sigmoid" and (is_behind or not path.startswith(home)):
            continue
        # the mean over the map, which our network takes as well
        if kind == "AdaptiveAvgPool2d" and _pair(module.values.get("output_size")) == (1, 1):
            continue
        # features are a mean of what a ReLU gives, so that one before the head changes nothing
        if kind == "ReLU" and head is not None and _is_before(path, head):
            continue
        yield f"{visible(path)} is a {visible(module.kind)} that torchvision's network does not have"


def _is_behind(path: str, head: str) -> bool:
    """Whether a layer comes behind the head in one Sequential."""
    (above, _, mine), (beside, _, its) = path.rpartition("."), head.rpartition(".")
    return above == beside and mine.isdigit() and its.isdigit() and int(mine) > int(its)


def _is_before(path: str, head: str) -> bool:
    return _is_behind(head, path)
