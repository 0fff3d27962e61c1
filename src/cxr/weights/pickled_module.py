"""A pickled nn.Module among the inert parts of a file: its class, its attributes, its tensors and layers."""

from collections.abc import Mapping
from typing import Any, NamedTuple, TypeGuard

from cxr.weights.safe_unpickle import Name, Part

MODULE_DICTS = ("_parameters", "_buffers", "_modules")
"""Where an nn.Module keeps its tensors and its layers."""
_HOOKS = ("_forward_hooks", "_forward_pre_hooks")


class Module(NamedTuple):
    """A pickled nn.Module: its class, plain attributes, whether it has layers, hooks or another forward."""

    kind: str
    values: Mapping[str, object]
    has_layers: bool
    is_changed: bool


def as_module(part: Part) -> Module | None:
    """The module that a part stands for; None for another object."""
    state = part.state
    if not is_module_state(state):
        return None
    # newer pickles say Part(class), older ones Part(copyreg._reconstructor, (class, ...))
    kind = part.kind
    if not isinstance(kind, Name) and part.arguments:
        kind = part.arguments[0]
    values = {key: value for key, value in state.items() if isinstance(key, str) and _is_plain(value)}
    return Module(
        kind=str(kind) if isinstance(kind, Name) else "",
        values=values,
        has_layers=bool(state["_modules"]),
        is_changed="forward" in state or any(state.get(key) for key in _HOOKS),
    )


def _is_plain(value: object) -> bool:
    return isinstance(value, int | float | str | tuple | list | None)


def is_module_state(state: object) -> TypeGuard[dict[Any, Any]]:
    """Whether the state of a part is that of an nn.Module."""
    return isinstance(state, dict) and state.keys() >= set(MODULE_DICTS)
