"""Where a backbone is in a file: found by the ends of its tensors' names and their shapes, under any prefix.

Torchvision's `layer1.0.conv1.weight` [64, 64, 3, 3] may be called
`state_dict.module.encoder.layer1.0.conv1.weight` in a file, or `net.4.0.conv1.weight` where the network was
put into nn.Sequential(*net.children()). A prefix and the file's name of each part (`layer1`: `net.4`) say it
for all tensors; these are the `Roots` of a network.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache

import torch

from cxr.config.schema import Model
from cxr.vision import get_model, without_first_weights
from cxr.weights.errors import WeightsError
from cxr.weights.files import WeightFile

SUPPORTED: tuple[str, ...] = Model.model_fields["backbone"].annotation.__args__  # type: ignore[union-attr]
OTHERS = (
    "resnet152", "wide_resnet50_2", "wide_resnet101_2", "resnext50_32x4d", "resnext101_32x8d", "densenet161",
)  # fmt: skip
"""Relatives of the supported ones, which have their names and other shapes."""

_MAX_PREFIXES, _MAX_LENGTHS, _MAX_COMPARED = 5_000, 100, 100
_NUMBER = re.compile(r"(\d{1,3})\.")
# of batch norms: not in files before PyTorch 0.4, and nothing computes with it
_COUNTER = "num_batches_tracked"
_SPELLINGS = (
    # parts that torch.compile, FSDP and checkpointing of activations put between
    (re.compile(r"\b(_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\."), ""),
    # a DenseNet layer is `norm1` today, was `norm.1` before PyTorch 0.4, and is `layers.norm1` in MONAI
    (re.compile(r"\b(denselayer\d+)\.(?:layers\.)?(norm|conv)\.?([12])\."), r"\1.\2\3."),
)


@lru_cache(maxsize=100_000)  # a file is compared with a dozen layouts
def spell(name: str) -> str:
    """A tensor's name in today's spelling."""
    for pattern, today in _SPELLINGS:
        name = pattern.sub(today, name)
    return name


@dataclass(frozen=True)
class Layout:
    """A backbone without its head: torchvision's names, a DenseNet's without `features.`, and shapes.

    Attributes:
        name: As torchvision calls it.
        shapes: In the order of the network.
        parts: Its children that have tensors: the first segments of the names.
        width: Features that its head sees.
    """

    name: str
    shapes: Mapping[str, tuple[int, ...]]
    parts: tuple[str, ...]
    width: int

    @property
    def stem(self) -> str:
        """The weight of the first convolution, [64, 3, 7, 7]."""
        return next(iter(self.shapes))

    @property
    def last(self) -> str:
        """The last tensor that is no counter."""
        return [name for name in self.shapes if not name.endswith(_COUNTER)][-1]

    @property
    def ours(self) -> str:
        """What stands before these names in a Classifier."""
        return "backbone.features." if self.name.startswith("densenet") else "backbone."


@cache
def layout_of(backbone: str) -> Layout:
    """The layout of one of torchvision's ResNets or DenseNets."""
    with torch.device("meta"), without_first_weights():  # shapes alone
        net = get_model(backbone, weights=None)
    head = "classifier." if backbone.startswith("densenet") else "fc."
    state = net.state_dict()
    shapes = {key.removeprefix("features."): tuple(value.shape) for key, value in state.items()
              if not key.startswith(head)}  # fmt: skip
    parts = tuple(dict.fromkeys(key.partition(".")[0] for key in shapes))
    return Layout(backbone, shapes, parts, state[f"{head}weight"].shape[1])


@dataclass(frozen=True)
class Fit:
    """How a layout fits the tensors under one prefix of a file.

    Attributes:
        prefix: What stands before the backbone's names in the file.
        names: The file's name of each of the layout's that is there, in any shape.
        missing: Names of the layout that are not there, counters of batch norms apart.
        misshapen: Those that are there in another shape.
        extra: The file's names inside the backbone's parts that the layout does not have.
        has_bias: Whether the first convolution has a bias, as in a grey stem of ours.
    """

    prefix: str
    names: Mapping[str, str]
    missing: tuple[str, ...]
    misshapen: tuple[str, ...]
    extra: tuple[str, ...]
    has_bias: bool = False

    @property
    def is_whole(self) -> bool:
        """Whether this is the backbone, nothing lacking and nothing besides."""
        return not (self.missing or self.misshapen or self.extra)

    @property
    def num_fitting(self) -> int:
        """Tensors of the right name and shape."""
        return len(self.names) - len(self.misshapen)


def find_fits(file: WeightFile, layout: Layout) -> list[Fit]:
    """Every fit of the whole backbone in a file; if there is none, the fit with most of its tensors.

    Raises:
        WeightsError: More prefixes than in any file.
    """
    spelled = {spell(name): name for name in file.tensors}
    roots = [*_named_roots(spelled, layout), *_numbered_roots(spelled, layout)]
    if len(roots) > _MAX_PREFIXES:  # hostile: an ensemble of a hundred networks has less
        raise WeightsError("holds more than any model does", "give a file of weights alone")
    # 1. count names, which is quick
    counts = [_count(spelled, layout, roots_there) for _, roots_there in roots]
    most = max(counts, default=0)
    num_needed = sum(not name.endswith(_COUNTER) for name in layout.shapes)
    # 2. compare shapes under the best prefixes alone, since each comparison goes through every name of the
    #    file
    best = (
        [root for root, num in zip(roots, counts, strict=True) if num >= min(num_needed, most)]
        if most
        else []
    )
    fits = [_fit(file, layout, spelled, prefix, roots_there) for prefix, roots_there in best[:_MAX_COMPARED]]
    whole = [fit for fit in fits if fit.is_whole]
    return whole or sorted(fits, key=lambda fit: -fit.num_fitting)[:1]


def _count(spelled: Mapping[str, str], layout: Layout, roots: "Roots") -> int:
    """How many of the layout's names are there; 1 where none of every sixteenth is, which is quick to see."""
    names = list(layout.shapes)
    if not any(root_of(name, roots) in spelled for name in names[16::16]):
        return 1
    return sum(root_of(name, roots) in spelled for name in names)


Roots = Mapping[str, str]
"""The file's name of each of the backbone's parts."""


def root_of(name: str, roots: Roots) -> str:
    """A layout's name as the file would write it."""
    part, dot, rest = name.partition(".")
    return roots[part] + dot + rest


def _named_roots(spelled: Mapping[str, str], layout: Layout) -> Iterator[tuple[str, Roots]]:
    """Prefixes under which the parts have torchvision's names: what is before the first or last tensor."""
    anchors = (layout.stem, layout.last)
    found = (name.removesuffix(anchor) for anchor in anchors for name in spelled if name.endswith(anchor))
    for prefix in dict.fromkeys(found):
        yield prefix, {part: prefix + part for part in layout.parts}


def _numbered_roots(spelled: Mapping[str, str], layout: Layout) -> Iterator[tuple[str, Roots]]:
    """Prefixes under which the parts have numbers, the stem first, as in nn.Sequential(*net.children())."""
    # 1. prefixes: what stands before `0.weight` of a possible stem, with its dot. Numbers behind every dot of
    #    every name would be too many
    stems = (re.search(r"(?:^|\.)\d{1,3}\.weight$", name) for name in spelled)
    starts = {match.string[: match.start() + (match[0][0] == ".")] for match in stems if match}
    # 2. the numbers that follow each prefix
    lengths = sorted({len(start) for start in starts})
    if len(lengths) > _MAX_LENGTHS:
        raise WeightsError("holds more than any model does", "give a file of weights alone")
    numbers: dict[str, set[int]] = {}
    for name in spelled:
        for length in lengths:
            match = _NUMBER.match(name, length) if name[:length] in starts else None
            if match:
                numbers.setdefault(name[:length], set()).add(int(match[1]))
    # 3. the parts in their order: the lowest number is the stem
    for prefix, known in numbers.items():
        # children without tensors (ReLU, pooling) leave gaps; a head may follow
        first = sorted(known)[: len(layout.parts)]
        if len(first) == len(layout.parts) and f"{prefix}{first[0]}.weight" in spelled:
            parts = zip(layout.parts, first, strict=True)
            yield prefix, {part: f"{prefix}{number}" for part, number in parts}


def _fit(file: WeightFile, layout: Layout, spelled: Mapping[str, str], prefix: str, roots: Roots) -> Fit:
    """Which tensors of the layout are under a prefix, and which are missing, misshapen or unknown."""
    names = {name: spelled[root_of(name, roots)] for name in layout.shapes if root_of(name, roots) in spelled}
    missing = tuple(name for name in layout.shapes if name not in names and not name.endswith(_COUNTER))
    shapes = {name: file.tensors[theirs].shape for name, theirs in names.items()}
    misshapen = tuple(name for name, shape in shapes.items() if shape not in _allowed(name, layout))
    # names inside the network's parts that the layout does not have: the network may compute something else
    taken, parts = set(names.values()), {root + "." for root in roots.values()}
    extra = [theirs for name, theirs in spelled.items() if theirs not in taken
             and name.startswith(prefix) and name[: name.find(".", len(prefix)) + 1] in parts]  # fmt: skip
    # a stem [64, 1, 7, 7] may have a bias [64], as Classifier.fold_stem makes
    our_bias = layout.stem.replace(".weight", ".bias")
    bias = spelled.get(root_of(our_bias, roots))
    is_grey = shapes.get(layout.stem, ())[1:2] == (1,)
    has_bias = bias is not None and bias in extra and is_grey and file.tensors[bias].shape == (64,)
    if has_bias and bias is not None:
        extra.remove(bias)
        names[our_bias] = bias
    return Fit(prefix, names, missing, misshapen, tuple(extra), has_bias)


def _allowed(name: str, layout: Layout) -> tuple[tuple[int, ...], ...]:
    """The shapes that a tensor may have: the first convolution also that over one grey channel."""
    shape = layout.shapes[name]
    return (shape, (shape[0], 1, *shape[2:])) if name == layout.stem else (shape,)
