"""A file of weights -> its tensors by name, each of them, with nothing run and nothing read before it is needed."""

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from cxr.errors import CxrError
from cxr.weights.checksums import check_safetensors
from cxr.weights.kinds import WeightsError, locate, split_choice, tell, visible
from cxr.weights.places import Place
from cxr.weights.safe_unpickle import Module, Name, Part, as_module
from cxr.weights.torch_file import open_legacy, open_zip

_MAX_TENSORS, _MAX_NODES, _MAX_DEPTH = 100_000, 500_000, 200
_MAX_NAME, _MAX_SEGMENTS, _MAX_LETTERS = (
    1_000,
    100,
    10_000_000,
)  # of one tensor; of all: a DenseNet-201 has 60,000
_TOO_MUCH = WeightsError("holds more than any model does", "give a file of weights alone")
_OF_A_RUN = {"model", "ema", "optimizer", "step", "history", "config", "images"}  # keys of last.pt
_SAFE_DTYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "I64": torch.int64,
    "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8, "BOOL": torch.bool,
    "F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2,
}  # fmt: skip


@dataclass(frozen=True)
class WeightFile:
    """The tensors of a file, or of torchvision.

    Attributes:
        origin: What it is called in messages.
        tensors: Places by name; the name holds every key and attribute on the way to the tensor, joined by dots.
        findings: Of the outputs of its head, where that is known: a checkpoint of ours, or torchxrayvision's.
        is_ours: Whether it is a checkpoint of ours.
        attributes: Names of tensors that are neither parameters nor buffers of a pickled module.
        classes: Classes of the objects in it.
        modules: What its pickled modules say of themselves, by name.
        choice: Which of several networks in it was asked for, as FILE#CHOICE.
    """

    origin: str
    tensors: Mapping[str, Place]
    read_place: Callable[[str, Place], Tensor] = field(repr=False)
    findings: tuple[str, ...] | None = None
    is_ours: bool = False
    attributes: frozenset[str] = frozenset()
    classes: frozenset[str] = frozenset()
    choice: str = ""
    modules: Mapping[str, Module] = field(default_factory=dict, repr=False)

    @property
    def path(self) -> str:
        """What it is called without the choice."""
        return str(split_choice(self.origin)[0])

    def read(self, name: str) -> Tensor:
        """A tensor of the file, as it is there.

        Raises:
            WeightsError: Its bytes are missing or damaged.
        """
        return self.read_place(name, self.tensors[name])


def open_weights(text: str) -> WeightFile:
    """The file of weights that FILE, FILE#CHOICE or a run folder means.

    Raises:
        WeightsError: It gives no tensors; the reason says what it is instead.
    """
    path, choice = split_choice(text)
    try:
        file = locate(path)
        kind = tell(file)
        if kind == "safetensors":
            return _open_safetensors(file, text, choice)
        opened = open_zip(file) if kind == "zip" else open_legacy(file)
    except OSError as error:
        raise WeightsError(f"cannot be read: {error.strerror}", "give a file that you may read") from None
    if not choice and isinstance(opened.root, dict) and opened.root.keys() >= _OF_A_RUN:
        hint = f"last.pt only resumes; give best.safetensors, or the run folder: {file.parent}"
        raise WeightsError("is last.pt of a run", hint)
    tensors, attributes, classes, modules = _collect(opened.root)
    read = opened.read
    return WeightFile(
        text, tensors, lambda _, place: read(place), None, False, attributes, classes, choice, modules
    )


def _open_safetensors(path: Path, origin: str, choice: str) -> WeightFile:
    try:
        file: Any = safe_open(path, "pt")
        metadata = file.metadata() or {}
        names = file.keys()
        for number, name in enumerate(names):
            _check_name(name, num_letters=0 if number < _MAX_TENSORS else _MAX_LETTERS + 1)
        places = {key: _place_of(file.get_slice(key)) for key in names}
    except (SafetensorError, OSError):
        raise WeightsError("is no whole safetensors file: it is cut off or damaged") from None
    try:
        check_safetensors(path)
    except CxrError as error:
        raise WeightsError("is damaged: its checksum is not that of its bytes", error.hint) from None
    findings, is_ours = _findings(metadata), "cxr" in metadata
    return WeightFile(origin, places, lambda name, _: file.get_tensor(name), findings, is_ours, choice=choice)


def _place_of(one: Any) -> Place:  # noqa: ANN401  a slice of safetensors, which has no types
    dtype = _SAFE_DTYPES.get(one.get_dtype())
    flaw = "" if dtype else f"holds numbers of a kind that cxr does not know ({one.get_dtype()})"
    return Place(tuple(one.get_shape()), dtype or torch.float32, flaw=flaw)


def _findings(metadata: Mapping[str, str]) -> tuple[str, ...] | None:
    """What a checkpoint of ours says its outputs are."""
    if "cxr" not in metadata:
        return None
    with contextlib.suppress(ValueError, KeyError, TypeError, RecursionError):
        names = json.loads(metadata["cxr"])["findings"]
        if isinstance(names, list) and names and all(isinstance(name, str) for name in names):
            return tuple(names)
    raise WeightsError("does not say its findings, as a checkpoint of cxr does: its header is damaged")


@dataclass(frozen=True)
class _Node:
    """An object of the file on the way to its tensors."""

    name: str
    value: object
    depth: int
    above: frozenset[int]
    is_attribute: bool = False


def _collect(root: object) -> tuple[dict[str, Place], frozenset[str], frozenset[str], dict[str, Module]]:
    """(tensors by name in the file's order, names of those that are attributes, classes of objects, modules by name).

    Raises:
        WeightsError: More, or nested deeper, than in any model.
    """
    tensors: dict[str, Place] = {}
    numbers: dict[str, int] = {}
    modules: dict[str, Module] = {}
    attributes, classes, num_nodes, num_letters = set(), set(), 0, 0
    waiting = [_Node("", root, 0, frozenset())]
    while waiting:
        node = waiting.pop()
        num_nodes += 1
        # a list that holds itself twice, and so on, has few parts and endlessly many names
        if num_nodes + len(waiting) > _MAX_NODES or node.depth > _MAX_DEPTH or len(tensors) > _MAX_TENSORS:
            raise _TOO_MUCH
        if isinstance(node.value, Place):
            num_letters += len(node.name)
            _check_name(node.name, num_letters)
            name = _unused(node.name or "tensor", tensors, numbers)
            tensors[name] = node.value
            if node.is_attribute:
                attributes.add(name)
        elif id(node.value) not in node.above:  # a module that refers to the one above it ends there
            if isinstance(node.value, Part):
                classes.add(str(node.value.kind) if isinstance(node.value.kind, Name) else "")
                module = None if node.is_attribute else as_module(node.value)
                modules |= {node.name: module} if module else {}
            below = (one for one in _below(node) if isinstance(one.value, dict | list | tuple | Part | Place))
            waiting += [*islice(below, _MAX_NODES)][
                ::-1
            ]  # one more than there may be is noticed at the next node
    return tensors, frozenset(attributes), frozenset(classes), modules


def _check_name(name: str, num_letters: int = 0) -> None:
    """Refuse names that no program gives, and more letters than in all names of a model: each is looked at often.

    Raises:
        WeightsError: A name that is too long, or of too many parts.
    """
    if len(name) > _MAX_NAME or name.count(".") > _MAX_SEGMENTS:
        raise WeightsError(f"holds a tensor under a name that no model has: {visible(name)}", _TOO_MUCH.hint)
    if num_letters > _MAX_LETTERS:
        raise _TOO_MUCH


def _unused(name: str, taken: Mapping[str, object], numbers: dict[str, int]) -> str:
    """`{"a.b": x, "a": {"b": y}}` has two tensors of one name; both count. `numbers` keeps the last one of each."""
    unused = name
    while unused in taken:
        numbers[name] = numbers.get(name, 1) + 1
        unused = f"{name} ({numbers[name]})"
    return unused


def _below(node: _Node) -> Iterator[_Node]:
    """What an object holds, under names as torch's state_dict() would give them."""
    value, above = node.value, node.above | {id(node.value)}

    def under(key: object, inside: object, is_attribute: bool) -> _Node:
        # a name that is too long is cut here, before it is copied for each tensor of a list, and refused later
        whole = f"{node.name}.{str(key)[: _MAX_NAME + 1]}" if node.name else str(key)
        return _Node(whole[: _MAX_NAME + 1], inside, node.depth + 1, above, is_attribute)

    if isinstance(value, dict):
        for number, (key, inside) in enumerate(value.items()):
            plain = isinstance(key, str | int | float | bool | None)
            yield under(key if plain else f"<{number}>", inside, node.is_attribute)
    elif isinstance(value, list | tuple):
        for number, inside in enumerate(value):
            yield under(number, inside, node.is_attribute)
    elif isinstance(value, Part):
        yield from _below_part(value, under, node.is_attribute)


def _below_part(
    part: Part, under: Callable[[object, object, bool], _Node], is_attribute: bool
) -> Iterator[_Node]:
    state = part.state
    if isinstance(state, dict) and {"_parameters", "_buffers", "_modules"} <= state.keys():
        for kind in ("_parameters", "_buffers", "_modules"):
            inside = state[kind]
            for key, value in inside.items() if isinstance(inside, dict) else ():
                yield under(key, value, is_attribute)
        state = {
            key: value for key, value in state.items() if key not in ("_parameters", "_buffers", "_modules")
        }
        is_attribute = True
    if isinstance(state, dict):
        for key, value in state.items():
            yield under(key, value, is_attribute)
    elif state is not None:
        yield under("state", state, is_attribute)
    for key, value in part.items.items():
        yield under(key, value, is_attribute)
    for number, value in enumerate((*part.arguments, *part.entries)):
        yield under(number, value, is_attribute)
