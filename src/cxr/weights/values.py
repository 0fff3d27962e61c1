"""The numbers of the tensors that are used: float32, finite, or refused by name."""

import torch
from torch import Tensor

from cxr.weights.files import WeightFile
from cxr.weights.kinds import WeightsError, visible
from cxr.weights.match import Head, Match

_NAMED = 3
_COUNTS = (torch.int64, torch.int32, torch.float32)
_FLOATS = (
    torch.float32,
    torch.float64,
    torch.float16,
    torch.bfloat16,
    torch.float8_e4m3fn,
    torch.float8_e5m2,
)


def read_values(match: Match, head: Head | None = None) -> dict[str, Tensor]:
    """The tensors of the network by the layout's names, and `head.weight`, `head.bias`; floats as float32.

    Raises:
        WeightsError: Every one that is no tensor of finite numbers.
    """
    file, wrong = match.file, []
    names = dict(match.fit.names)
    if head:
        names |= {"head.weight": head.weight} | ({"head.bias": head.bias} if head.bias else {})
    values = {}
    for name, theirs in names.items():
        flaw, value = read_value(file, name, theirs)
        if flaw:
            wrong.append(f"{visible(theirs)} {flaw}")
        else:
            values[name] = value
    if wrong:
        more = [f"and {len(wrong) - _NAMED} more tensors are unfit"] if len(wrong) > _NAMED else []
        raise WeightsError(
            [*wrong[:_NAMED], *more], "its training failed, or the file is damaged: give another one"
        )
    return values


def read_value(file: WeightFile, name: str, theirs: str) -> tuple[str, Tensor]:
    """(why it cannot be used, the tensor)."""
    place = file.tensors[theirs]
    if place.flaw:
        return place.flaw, torch.empty(0)
    is_counter = name.endswith("num_batches_tracked")
    if place.dtype not in (_COUNTS if is_counter else _FLOATS):
        return f"holds {str(place.dtype).removeprefix('torch.')} in place of weights", torch.empty(0)
    if is_counter:
        return "", file.read(theirs).clone()
    value = file.read(theirs).float().contiguous()  # also of halves; a double may overflow here
    if not value.isfinite().all():
        return f"holds {'NaN' if value.isnan().any() else 'infinite numbers'}", value
    if name.endswith("running_var") and (value < 0).any():
        return "holds variances below zero", value
    return "", value
