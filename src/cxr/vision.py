"""What cxr takes from torchvision, imported without PyTorch's compiler.

torchvision asks torch._dynamo for one function that only its detection models call, and importing that takes
a second, which every `cxr predict` would pay. So two modules stand in for it while torchvision is imported:
the one function that they hold imports the compiler when it is called, and reading anything else of them
imports it at once.
"""

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from torch.overrides import TorchFunctionMode

_COMPILER, _UTILS = "torch._dynamo", "torch._dynamo.utils"


class _StandIn(ModuleType):
    """Stands for a module, and imports it when an attribute of it is read."""

    def __getattr__(self, name: str) -> object:
        # the import system reads names with underscores, of which only __path__ means that the package is
        # used
        if name.startswith("__") and (name, self.__name__) != ("__path__", _COMPILER):
            raise AttributeError(name)
        _remove()
        return getattr(importlib.import_module(self.__name__), name)


def _remove() -> None:
    """Take the stand-ins out of the imported modules, so that the next import finds the real ones."""
    for name in (_COMPILER, _UTILS):
        if isinstance(sys.modules.get(name), _StandIn):
            del sys.modules[name]


def _is_compile_supported(device_type: str) -> bool:
    """The answer of the function of this name in torch._dynamo.utils."""
    return bool(importlib.import_module(_UTILS).is_compile_supported(device_type))


@contextmanager
def without_compiler() -> Iterator[None]:
    """Let the body import torchvision without torch._dynamo; a compiler that is imported already stays."""
    if _COMPILER not in sys.modules:
        sys.modules[_COMPILER], sys.modules[_UTILS] = _StandIn(_COMPILER), _StandIn(_UTILS)
        sys.modules[_UTILS].is_compile_supported = _is_compile_supported  # type: ignore[attr-defined]
    try:
        yield
    finally:
        _remove()


_RANDOM_FILLS = frozenset(("normal_", "uniform_", "trunc_normal_", "kaiming_normal_", "kaiming_uniform_"))
"""Functions of torch.nn.init that draw first weights."""


class without_first_weights(TorchFunctionMode):  # type: ignore[no-untyped-call, unused-ignore]
    """Let networks that are built in the body hold whatever is in memory: their tensors are filled later.

    Drawing the first weights of DenseNet-121 takes 0.1 s, and half a second where shapes alone are asked for.
    """

    def __torch_function__(
        self,
        func: Any,  # noqa: ANN401
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> object:
        """The tensor as it is where numbers would be drawn."""
        kwargs = kwargs or {}
        if func.__name__ in _RANDOM_FILLS:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


with without_compiler():
    from torchvision.models import get_model, get_model_weights
    from torchvision.transforms.functional import five_crop

__all__ = ["five_crop", "get_model", "get_model_weights", "without_compiler", "without_first_weights"]
