"""A file of weights -> all its tensors by name; nothing in it is run, and a tensor is read when needed."""

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from cxr.errors import CxrError
from cxr.weights.checksums import check_safetensors
from cxr.weights.errors import WeightsError, visible
from cxr.weights.kinds import tell
from cxr.weights.locate import locate, split_choice
from cxr.weights.pickled_module import MODULE_DICTS, Module, as_module, is_module_state
from cxr.weights.safe_unpickle import Name, Part
from cxr.weights.stored_tensor import StoredTensor
from cxr.weights.torch_file import open_legacy, open_zip

_MAX_TENSORS, _MAX_NODES, _MAX_DEPTH = 100_000, 500_000, 200
_MAX_NAME, _MAX_SEGMENTS = 1_000, 100  # letters and segments of a tensor's name
_MAX_LETTERS = 10_000_000  # of all names; a DenseNet-201 has 60,000
_TOO_MUCH = WeightsError("holds more than any model does", "give a file of weights alone")
_KEYS_OF_LAST = {"model", "ema", "optimizer", "step", "history", "config", "images"}  # keys of last.pt
_SAFE_DTYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8,
    "BOOL": torch.bool, "F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2,
}  # fmt: skip


@dataclass(frozen=True)
class WeightFile:
    """The tensors of a file, or of torchvision.

    Attributes:
        origin: What it is called in messages.
        tensors: By name; the name holds every key and attribute on the way to the tensor, joined by
            dots.
        findings: Of the outputs of its head, where that is known: a checkpoint of ours, or torchxrayvision's.
        is_ours: Whether it is a checkpoint of ours.
        attributes: Names of tensors that are neither parameters nor buffers of a pickled module.
        classes: Classes of the objects in it.
        modules: Its pickled modules, by name.
        choice: Which of several networks in it the user asked for, as FILE#CHOICE.
    """

    origin: str
    tensors: Mapping[str, StoredTensor]
    read_tensor: Callable[[str, StoredTensor], Tensor] = field(repr=False)
    findings: tuple[str, ...] | None = None
    is_ours: bool = False
    attributes: frozenset[str] = frozenset()
    classes: frozenset[str] = frozenset()
    choice: str = ""
    modules: Mapping[str, Module] = field(default_factory=dict, repr=False)

    @property
    def path(self) -> str:
        """The origin without the choice."""
        return str(split_choice(self.origin)[0])

    def read(self, name: str) -> Tensor:
        """A tensor of the file, as it is there.

        Raises:
            WeightsError: Its bytes are missing or damaged.
        """
        return self.read_tensor(name, self.tensors[name])


def open_weights(text: str) -> WeightFile:
    """The file of weights that FILE, FILE#CHOICE or a run folder means.

    Raises:
        WeightsError: It gives no tensors; the reason says what it is instead.
    """
    path, choice = split_choice(text)
    try:
        file = locate(path)
        # by its content: what the name ends in says little
        kind = tell(file)
        if kind == "safetensors":
            return _open_safetensors(file, text, choice)
        opened = open_zip(file) if kind == "zip" else open_legacy(file)
    except OSError as error:
        raise WeightsError(f"cannot be read: {error.strerror}", "give a file that you may read") from None
    # last.pt holds two networks, and the optimizer's state beside them
    if not choice and isinstance(opened.root, dict) and opened.root.keys() >= _KEYS_OF_LAST:
        hint = f"last.pt only resumes; give best.safetensors, or the run folder: {file.parent}"
        raise WeightsError("is last.pt of a run", hint)
    return replace(
        _collect(opened.root), origin=text, read_tensor=lambda _, stored: opened.read(stored), choice=choice
    )


def _open_safetensors(path: Path, origin: str, choice: str) -> WeightFile:
    try:
        file: Any = safe_open(path, "pt")
        metadata = file.metadata() or {}
        names = file.keys()
        for number, name in enumerate(names):
            _check_name(name, num_letters=0 if number < _MAX_TENSORS else _MAX_LETTERS + 1)
        tensors = {key: _describe_tensor(file.get_slice(key)) for key in names}
    except (SafetensorError, OSError):
        raise WeightsError("is no whole safetensors file: it is cut off or damaged") from None
    try:
        check_safetensors(path)
    except CxrError as error:
        raise WeightsError("is damaged: its checksum is not the checksum of its bytes", error.hint) from None
    return WeightFile(
        origin,
        tensors,
        read_tensor=lambda name, _: file.get_tensor(name),
        findings=_read_findings(metadata),
        is_ours="cxr" in metadata,
        choice=choice,
    )


def _describe_tensor(tensor: Any) -> StoredTensor:  # noqa: ANN401  a slice of safetensors, which has no types
    dtype = _SAFE_DTYPES.get(tensor.get_dtype())
    flaw = "" if dtype else f"holds numbers of a kind that cxr does not know ({tensor.get_dtype()})"
    return StoredTensor(tuple(tensor.get_shape()), dtype or torch.float32, flaw=flaw)


def _read_findings(metadata: Mapping[str, str]) -> tuple[str, ...] | None:
    """The findings of a checkpoint of ours; None for another file."""
    if "cxr" not in metadata:
        return None
    with contextlib.suppress(ValueError, KeyError, TypeError, RecursionError):
        # anybody may write `cxr` into the metadata
        names = json.loads(metadata["cxr"])["findings"]
        if isinstance(names, list) and names and all(isinstance(name, str) for name in names):
            return tuple(names)
    raise WeightsError("does not say its findings, as a checkpoint of cxr does: its header is damaged")


_HOLDS_TENSORS = (dict, list, tuple, Part, StoredTensor)


@dataclass(frozen=True)
class _Node:
    """An object of the file on the way to its tensors; `above` are the ids of the objects that hold it."""

    name: str
    value: object
    depth: int
    above: frozenset[int]
    is_attribute: bool = False


def _collect(root: object) -> WeightFile:
    """The tensors of an object in the file's order; which are attributes; its classes and modules.

    Raises:
        WeightsError: More, or nested deeper, than in any model.
    """
    tensors: dict[str, StoredTensor] = {}
    modules: dict[str, Module] = {}
    attributes, classes = set(), set()
    last_numbers: dict[str, int] = {}
    num_nodes, num_letters = 0, 0
    waiting = [_Node("", root, 0, frozenset())]  # a stack: the depth of a file may be more than Python's
    while waiting:
        node = waiting.pop()
        num_nodes += 1
        # hostile: a list that holds itself twice, and so on, has few parts and endlessly many names
        if num_nodes + len(waiting) > _MAX_NODES or node.depth > _MAX_DEPTH or len(tensors) > _MAX_TENSORS:
            raise _TOO_MUCH
        if isinstance(node.value, StoredTensor):
            num_letters += len(node.name)
            _check_name(node.name, num_letters)
            name = _unused(node.name or "tensor", tensors, last_numbers)
            tensors[name] = node.value
            if node.is_attribute:
                attributes.add(name)
            continue
        if id(node.value) in node.above:  # a module that refers to the module above it ends there
            continue
        if isinstance(node.value, Part):
            classes.add(str(node.value.kind) if isinstance(node.value.kind, Name) else "")
            module = None if node.is_attribute else as_module(node.value)
            if module:
                modules[node.name] = module
        below = (child for child in _below(node) if isinstance(child.value, _HOLDS_TENSORS))
        # at most a child too many, which the check above sees; reversed, so that the first is popped first
        waiting += reversed(list(islice(below, _MAX_NODES)))
    return WeightFile(
        origin="",
        tensors=tensors,
        read_tensor=lambda name, stored: torch.empty(0),  # `open_weights` replaces it
        attributes=frozenset(attributes),
        classes=frozenset(classes),
        modules=modules,
    )


def _check_name(name: str, num_letters: int = 0) -> None:
    """Refuse names that no program gives, and more letters than in all names of a model.

    Raises:
        WeightsError: A name that is too long, or of too many parts.
    """
    if len(name) > _MAX_NAME or name.count(".") > _MAX_SEGMENTS:
        raise WeightsError(f"holds a tensor under a name that no model has: {visible(name)}", _TOO_MUCH.hint)
    if num_letters > _MAX_LETTERS:
        raise _TOO_MUCH


def _unused(name: str, taken: Mapping[str, object], last_numbers: dict[str, int]) -> str:
    """`{"a.b": x, "a": {"b": y}}` has two tensors of one name; both count, the second as `a.b (2)`."""
    unused = name
    # from the number used last, so that many equal names take no quadratic time
    while unused in taken:
        last_numbers[name] = last_numbers.get(name, 1) + 1
        unused = f"{name} ({last_numbers[name]})"
    return unused


def _below(node: _Node) -> Iterator[_Node]:
    """What an object holds, under names as torch's state_dict() would give them."""
    value, above = node.value, node.above | {id(node.value)}

    def under(key: object, inside: object, is_attribute: bool) -> _Node:
        # a name that is too long is cut here, before it is copied for each tensor of a list, and refused
        # later
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
    """What a part holds; of a module its tensors and layers first, and all the rest as attributes."""
    state = part.state
    if is_module_state(state):
        for kind in MODULE_DICTS:
            inside = state[kind]
            for key, value in inside.items() if isinstance(inside, dict) else ():
                yield under(key, value, is_attribute)
        state = {key: value for key, value in state.items() if key not in MODULE_DICTS}
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
