"""The numbers of the tensors that are used: float32, finite, or refused by name."""

import torch
from torch import Tensor

from cxr.weights.errors import WeightsError, shorten_list, visible
from cxr.weights.files import WeightFile
from cxr.weights.match import Head, Match

_COUNTS = (torch.int64, torch.int32, torch.float32)
_FLOATS = (
    torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2,
)  # fmt: skip


def read_values(match: Match, head: Head | None = None) -> dict[str, Tensor]:
    """The tensors of the network by the layout's names, and `head.weight`, `head.bias`; floats as float32.

    Raises:
        WeightsError: Every one that is no tensor of finite numbers.
    """
    # the network, and the head where its outputs mean something
    names = dict(match.fit.names)  # {our name: the file's}
    if head:
        names["head.weight"] = head.weight
        if head.bias:
            names["head.bias"] = head.bias
    values, problems = {}, []
    for name, theirs in names.items():
        flaw, value = read_value(match.file, name, theirs)
        if flaw:
            problems.append(f"{visible(theirs)} {flaw}")
        else:
            values[name] = value
    if problems:
        hint = "its training failed, or the file is damaged: give another one"
        raise WeightsError(shorten_list(problems, "more tensors cannot be used"), hint)
    return values


def read_value(file: WeightFile, name: str, theirs: str) -> tuple[str, Tensor]:
    """(why it cannot be used, the tensor): the reason is empty where it can."""
    stored = file.tensors[theirs]
    if stored.flaw:
        return stored.flaw, torch.empty(0)
    is_counter = name.endswith("num_batches_tracked")
    if stored.dtype not in (_COUNTS if is_counter else _FLOATS):
        return f"holds {str(stored.dtype).removeprefix('torch.')} in place of weights", torch.empty(0)
    if is_counter:
        return "", file.read(theirs).clone()
    value = file.read(theirs).float().contiguous()  # also of halves; a double may overflow here
    if not value.isfinite().all():
        return f"holds {'NaN' if value.isnan().any() else 'infinite numbers'}", value
    if name.endswith("running_var") and (value < 0).any():
        return "holds variances below zero", value
    return "", value
