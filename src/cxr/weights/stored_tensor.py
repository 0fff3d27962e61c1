"""Where a tensor lies in a file, as torch's pickles describe it: checked before a byte of it is read."""

from dataclasses import dataclass
from math import prod
from typing import Any

import torch

from cxr.weights.errors import WeightsError, visible
from cxr.weights.safe_unpickle import Name

_DTYPES = {
    "Float": torch.float32, "Double": torch.float64, "Half": torch.float16, "BFloat16": torch.bfloat16,
    "Long": torch.int64, "Int": torch.int32, "Short": torch.int16, "Char": torch.int8, "Byte": torch.uint8,
    "Bool": torch.bool, "ComplexFloat": torch.complex64, "ComplexDouble": torch.complex128,
    "QInt8": torch.qint8, "QUInt8": torch.quint8, "QInt32": torch.qint32, "QUInt4x2": torch.quint4x2,
    "QUInt2x4": torch.quint2x4, "Untyped": torch.uint8,
}  # fmt: skip
"""By the name of the storage's class."""

_MAX_SIZE = 1 << 60


@dataclass(frozen=True, eq=False)
class Storage:
    """Numbers in the file that tensors are views of: `num` of a `dtype` under `key`, from `first` on."""

    key: str
    dtype: torch.dtype
    num: int
    first: int = 0

    @property
    def num_bytes(self) -> int:
        """Bytes of the numbers that tensors may see."""
        return self.num * self.dtype.itemsize


@dataclass(frozen=True, eq=False)
class StoredTensor:
    """A tensor of a file before it is read.

    Attributes:
        shape: Its sizes.
        dtype: The kind of its numbers.
        storage: Where its numbers are; None if there are none, or if its name says it, as in safetensors.
        stride: Steps in the storage from one entry to the next along each axis.
        offset: The first entry's position in the storage.
        flaw: Why it cannot be read as numbers, such as `is sparse`; empty where it can.
    """

    shape: tuple[int, ...]
    dtype: torch.dtype
    storage: Storage | None = None
    stride: tuple[int, ...] = ()
    offset: int = 0
    flaw: str = ""

    def is_same(self, other: "StoredTensor") -> bool:
        """Whether both are views of the same numbers."""
        if self is other:
            return True
        ours = self.storage, self.offset, self.shape, self.stride
        theirs = other.storage, other.offset, other.shape, other.stride
        return self.storage is not None and ours == theirs


def refer(reference: object) -> object:
    """The storage that a persistent id of torch.save names, or the class of a module in old files."""
    if not isinstance(reference, tuple) or not reference:
        raise WeightsError("is damaged: it refers to something outside itself")
    # ("module", class, its file, its source) before PyTorch 1.6
    if reference[0] == "module" and len(reference) > 1:
        return reference[1]
    # ("storage", class, key, device, number of values), and a view before PyTorch 0.4
    if reference[0] != "storage" or len(reference) < 5 or not isinstance(reference[1], Name):
        raise WeightsError("is damaged: it refers to something outside itself")
    _, kind, key, _, num, *view = reference
    type_name = kind.name.removesuffix("Storage")  # FloatStorage
    if type_name not in _DTYPES or not _is_size(num):
        raise WeightsError(f"holds numbers of a kind that cxr does not know ({kind})")
    first, num_in_view = 0, num
    if view and view[0] is not None:  # (key of the view, first, number), of storages that share memory
        _, first, num_in_view = view[0]
        if not (_is_size(first) and _is_size(num_in_view) and first + num_in_view <= num):
            raise WeightsError("is damaged: a storage reaches beyond another")
    return Storage(str(key), _DTYPES[type_name], num_in_view, first)


def build(name: Name, given: tuple[Any, ...]) -> object:
    """The tensor that a call of torch would build; NotImplemented for any other call."""
    if name.name in ("Parameter", "Variable", "Buffer") and given and isinstance(given[0], StoredTensor):
        return given[0]  # around its tensor, before PyTorch 0.4
    if name == ("torch", "Size"):
        return _numbers(given[0])
    if name.module not in ("torch._utils", "torch._tensor"):
        return NotImplemented
    match name.name:
        case "_rebuild_tensor" | "_rebuild_tensor_v2" | "_rebuild_tensor_v3":
            return _view(name.name, given)
        case (
            "_rebuild_parameter" | "_rebuild_parameter_with_state" | "_rebuild_device_tensor_from_cpu_tensor"
        ):
            return given[0]
        case "_rebuild_from_type_v2":
            # (function, class, its arguments, state) of a subclass, or of a tensor with attributes
            return build(given[0], given[2]) if isinstance(given[0], Name) else NotImplemented
        case "_rebuild_qtensor":
            return _flawed(given[2], "is quantised")
        case "_rebuild_meta_tensor_no_storage":
            return _flawed(given[1], "has no values (it was saved from the meta device)")
        case "_rebuild_sparse_tensor":
            return _flawed(given[1][2], "is sparse")
        case "_rebuild_sparse_csr_tensor":
            return _flawed(given[1][3], "is sparse")
        case "_rebuild_nested_tensor":
            return _flawed((), "is a nested tensor")
        case "_rebuild_wrapper_subclass":
            return _flawed(given[2], f"is of an unknown subclass of Tensor ({visible(str(given[0]))})")
    return NotImplemented


def _flawed(sizes: Any, flaw: str) -> StoredTensor:  # noqa: ANN401  what the file says
    return StoredTensor(_numbers(sizes), torch.float32, flaw=flaw)


def _view(function: str, given: tuple[Any, ...]) -> StoredTensor:
    """(storage, offset, sizes, strides, ...), then for v3 the dtype on an untyped storage."""
    storage, offset, sizes, strides = given[:4]
    if not isinstance(storage, Storage) or not _is_size(offset):
        raise WeightsError("is damaged: a tensor has no storage")
    dtype = storage.dtype
    if function == "_rebuild_tensor_v3":
        named = getattr(torch, given[6].name, None) if isinstance(given[6], Name) else None
        if not isinstance(named, torch.dtype):
            raise WeightsError("holds numbers of a kind that cxr does not know")
        dtype = named
    shape, stride = _numbers(sizes), _numbers(strides)
    num = storage.num_bytes // dtype.itemsize
    # position of the tensor's last value in the storage
    reach = offset + sum((size - 1) * step for size, step in zip(shape, stride, strict=True))
    if prod(shape) and reach >= num:
        raise WeightsError("is damaged: a tensor reaches beyond its storage")
    metadata = given[-1] if isinstance(given[-1], dict) and len(given) > 6 else {}
    flaw = "is stored negated or conjugated" if metadata.get("neg") or metadata.get("conj") else ""
    return StoredTensor(shape, dtype, storage, stride, offset, flaw)


def _numbers(values: Any) -> tuple[int, ...]:  # noqa: ANN401
    if not isinstance(values, tuple | list) or len(values) > 16 or not all(map(_is_size, values)):
        raise WeightsError("is damaged: a tensor has impossible sizes")
    return tuple(values)


def _is_size(number: object) -> bool:
    """Whether it can be a size or a position in a file; a number of 5,000 digits cannot even be printed."""
    return type(number) is int and 0 <= number < _MAX_SIZE
