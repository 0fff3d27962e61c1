"""Tensors of a file that holds a whole pickled model: the pickle is read, and nothing in it is run.

`torch.load(weights_only=True)` refuses such files: those that PyTorch wrote before 1.6 name each module's class with
its source beside it, which that reader does not take. Ours gives every class the same inert stand-in, so that a model
becomes a tree of names and tensors; a file that asks for anything but a model's parts is refused.
"""

import io
import pickle
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import IO, Any

import torch
from torch import Tensor

_REAL: dict[tuple[str, str], Callable[..., object]] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("builtins", "set"): set,
    ("__builtin__", "set"): set,
    ("torch._utils", "_rebuild_tensor_v2"): torch._utils._rebuild_tensor_v2,
    ("torch._utils", "_rebuild_parameter"): torch._utils._rebuild_parameter,
}
"""All that may be called: containers, and what puts a tensor on its storage."""
_PARTS = ("torch", "torchxrayvision", "torchvision", "numpy", "_codecs")
"""Packages whose names a pickled model holds; each becomes a stand-in."""


class _Part:
    """Stands in for a class, a function or an object of the file; keeps its state and does nothing."""

    dump_patches = False  # torch.load asks for it

    def __init__(self, *_arguments: object, **_options: object) -> None:
        self.state: Any = {}

    def __setstate__(self, state: object) -> None:
        self.state = state


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401  whatever the file asks for
        if (module, name) in _REAL:
            return partial(_REAL[module, name])  # a new object, since a pickle may set what it is given
        if module.partition(".")[0] in _PARTS:
            return _Part
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is no part of a model")


def _load(file: IO[bytes], **options: Any) -> object:  # noqa: ANN401  pickle's own
    return _Unpickler(file, **options).load()


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Tensors by name of a file with a pickled torch.nn.Module or its state_dict, as state_dict() would name them.

    Raises:
        pickle.UnpicklingError: The file is broken or holds something else; the text says what.
        OSError: It cannot be read.
    """
    data = path.read_bytes()
    try:
        loaded = _read(data)
        state = loaded if isinstance(loaded, Mapping) else _walk(loaded)
        return {str(name): value for name, value in state.items() if isinstance(value, Tensor)}
    except Exception as error:  # pickle and torch raise many kinds for a broken file
        raise pickle.UnpicklingError(str(error).strip() or type(error).__name__) from None


def _read(data: bytes) -> object:
    file = io.BytesIO(data)  # without a name or a number, so that torch.load does not try it as a tar archive
    if zipfile.is_zipfile(file) and any(name.endswith("constants.pkl") for name in zipfile.ZipFile(file).namelist()):
        raise pickle.UnpicklingError("it is a TorchScript program")  # which torch.load would hand to torch.jit
    file.seek(0)
    reader = ModuleType("reader")
    reader.__dict__.update(Unpickler=_Unpickler, load=_load)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the classes' source has changed
        loaded: object = torch.load(file, "cpu", pickle_module=reader, weights_only=False, mmap=False)
    return loaded


def _walk(part: object, at: str = "") -> dict[str, Tensor]:
    """Parameters and buffers of a module and of those below it."""
    if not isinstance(part, _Part) or not isinstance(part.state, dict):
        raise pickle.UnpicklingError("it holds no model")
    own = {**part.state["_parameters"], **part.state["_buffers"]}
    tensors = {at + name: value.detach() for name, value in own.items() if value is not None}
    for name, below in part.state["_modules"].items():
        if below is not None:
            tensors |= _walk(below, f"{at}{name}.")
    return tensors
