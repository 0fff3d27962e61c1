"""last.pt: whether it holds a state of this very run, and how the state is filled from it."""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, cast

import torch
from pydantic import ValidationError
from torch import Tensor

from cxr.config.key_tree import flatten
from cxr.config.schema import Config, Train
from cxr.errors import CxrError
from cxr.model.checkpoint import LAST, check_kinds
from cxr.model.classifier import Classifier
from cxr.patient_hash import hasher_from_environment
from cxr.training.continued import SCHEDULE, check_schedule, schedule_before
from cxr.training.state import TrainState

_TRAIN_AGAIN = "train again with --overwrite, or into another out=FOLDER; is the disk well?"

# Keys that may differ when a run is resumed: they change where and how fast it computes, but no number.
_MAY_DIFFER = {
    "out",
    "recipe",
    "device",
    "data.root",
    "store.path",
    "store.where",
    "store.workers",
    "train.save_every",
    "train.compile",
    "train.cuda_graphs",
    "train.profile",
    "log.to",
}

# Keys that may differ where the run so far is what a straight run would have been, see `continued`.
_OF_SCHEDULE = {f"train.{key}" for key in SCHEDULE}


def is_number_free(key: str) -> bool:
    """Whether a key of a flat config changes where and how fast it computes, but no number."""
    return re.sub(r"\balso\.\d+\.", "", key) in _MAY_DIFFER  # data.also.0.root -> data.root


def check_resumable(
    config: Config,
    images: Mapping[str, str],
    saved: Mapping[str, object],
    steps_per_epoch: int | None = None,
) -> Train:
    """The run's schedule before; refuses a last.pt that is damaged or of another run.

    Args:
        config: The recipe now.
        images: Hashes of rows, labels and pixels now, as `run.identify` makes them; empty if not known yet.
        saved: What last.pt holds.
        steps_per_epoch: Optimizer steps of an epoch; None if not known yet.

    Raises:
        CxrError: Values are missing or of another type; another recipe, with every key that differs; a
            schedule that is no continuation; other images, labels or pixels; another key of patient hashes.
    """
    # 1. Types first: all that follows relies on them.
    unusable = [key for key, is_usable in _IS_USABLE.items() if not is_usable(saved.get(key))]
    if unusable:
        raise _damaged(config, f"{', '.join(unusable)} cannot be used")
    # the recipe before the data: where both differ, its keys tell more
    before = _check_recipe(config, str(saved["config"]))
    check_schedule(config, before, saved, steps_per_epoch)

    # 2. Patients would not be recognised if half of a run were hashed with another key. Earlier versions
    #    saved no key: None.
    key_before, key_now = saved.get("patient_key"), ""
    if config.train.remember_patients:
        key_now = hasher_from_environment().key_id
    if key_before is not None and key_before != key_now:
        then, now = (f"the key {key}" if key else "no key" for key in (key_before, key_now))
        problem = f"{config.out}: the run's patients are hashed with {then}, and now with {now}"
        raise CxrError(problem, "set CXR_PATIENT_KEY as it was, or train again into another out=FOLDER")

    # 3. The data. Earlier versions noted no hash of the pixels.
    images_before = cast(dict[str, str], saved["images"])
    changed = [
        key
        for key, digest in images.items()
        if images_before.get(key) != digest and (key != "pixels" or key in images_before)
    ]
    if changed:
        kind = changed[0] if changed in (["labels"], ["pixels"]) else "images"
        problem = f"{config.out}: the {kind} in {config.data.root} are not those that the run began with"
        raise CxrError(problem, "give it the same files, or train again into another out=FOLDER")
    return before


def _check_recipe(config: Config, saved_json: str) -> Train:
    """The schedule of the saved recipe; refuses one that differs in another key that changes numbers."""
    try:
        saved_config = _add_defaults(json.loads(saved_json))
        before = flatten(saved_config)
        schedule = schedule_before(config, cast(dict[str, object], saved_config.get("train", {})))
    except (ValueError, TypeError, AttributeError, RecursionError):
        raise _damaged(config, "config cannot be used") from None
    now = flatten(json.loads(config.model_dump_json()))
    problems = []
    for key in sorted(before.keys() | now.keys()):
        may_differ = is_number_free(key) or key in _OF_SCHEDULE
        if before.get(key) != now.get(key) and not may_differ:
            problems.append(f"{config.out}: {key} was {before.get(key)} and is now {now.get(key)}")
    if problems:
        hint = "resume with the run's own config.yaml, or train again into another out=FOLDER"
        raise CxrError(problems, hint)
    return schedule


def _add_defaults(saved_config: dict[str, object]) -> dict[str, object]:
    """A saved config with the keys that this version added, at their defaults, which are what the run did."""
    try:
        return Config.model_validate(saved_config).model_dump(mode="json")
    except ValidationError:
        return saved_config


def restore(
    state: TrainState,
    config: Config,
    images: dict[str, str],
    saved: dict[str, object],
    steps_per_epoch: int | None = None,
) -> Train:
    """The run's schedule before; the state is filled from what last.pt holds.

    Raises:
        CxrError: As `check_resumable`; tensors of another model.
    """
    before = check_resumable(config, images, saved, steps_per_epoch)
    try:
        _load_model(state.model, cast(dict[str, Tensor], saved["model"]))
        # without EMA the model is its own average, and one copy is saved
        if state.ema is not state.model:
            _load_model(state.ema, cast(dict[str, Tensor], saved["ema"]))
        _load_moments(state.optimizer, cast(dict[str, object], saved["optimizer"]))
        # float16 alone has a scale, which must go on where it was
        if state.scaler.is_enabled():
            state.scaler.load_state_dict(cast(dict[str, Any], saved["scaler"]))
    except (ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise _damaged(config, reason) from None
    state.step = cast(int, saved["step"])
    state.history = cast(list[dict[str, float]], saved["history"])
    state.loss_sum = cast(float, saved["loss_sum"])
    return before


def _load_model(model: Classifier, tensors: Mapping[str, Tensor]) -> None:
    check_kinds(model.state_dict(), tensors)
    model.load_state_dict(dict(tensors))


def _load_moments(optimizer: torch.optim.Optimizer, saved: Mapping[str, object]) -> None:
    """Fill an optimizer's moments. Its options are those of the recipe, which is the same.

    Raises:
        ValueError or KeyError: Moments of another optimizer, or of parameters of other shapes.
    """
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    is_adam = isinstance(optimizer, torch.optim.Adam | torch.optim.AdamW)
    names = {"step", "exp_avg", "exp_avg_sq"} if is_adam else {"momentum_buffer"}
    moments = cast(dict[int, dict[str, object]], saved["state"])
    # torch's load_state_dict takes tensors of any shape and fails at the next step, far from last.pt.
    for number, tensors in moments.items():
        if tensors.keys() != names or number not in range(len(parameters)):
            raise ValueError(f"the optimizer's moments are {', '.join(map(str, tensors))}")
        for name, tensor in tensors.items():
            shape = torch.Size() if name == "step" else parameters[number].shape
            if not isinstance(tensor, Tensor) or tensor.shape != shape or not tensor.is_floating_point():
                raise ValueError(f"the optimizer's {name} of parameter {number} has another kind or shape")
    groups = optimizer.state_dict()["param_groups"]
    for group, group_before in zip(groups, cast(list[dict[str, float]], saved["param_groups"]), strict=True):
        group["lr"] = float(group_before["lr"])  # for the log alone: every step sets it
    optimizer.load_state_dict({"state": moments, "param_groups": groups})


def _damaged(config: Config, reason: str) -> CxrError:
    return CxrError(f"{config.out / LAST}: is damaged: {reason}", _TRAIN_AGAIN)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_text_or_none(value: object) -> bool:
    return value is None or isinstance(value, str)


def _are_numbers(value: object) -> bool:
    return isinstance(value, dict) and all(map(_is_number, value.values()))


def _are_tensors(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(tensor, Tensor) for tensor in value.values())


def _is_history(value: object) -> bool:
    if not isinstance(value, list) or not all(isinstance(epoch, dict) for epoch in value):
        return False
    return all(_is_number(epoch.get(name)) for epoch in value for name in ("auroc", "loss"))


_IS_USABLE: dict[str, Callable[[object], bool]] = {
    "model": _are_tensors,
    "ema": lambda value: value is None or _are_tensors(value),
    "optimizer": lambda value: isinstance(value, dict) and isinstance(value.get("state"), dict),
    "step": lambda value: isinstance(value, int) and not isinstance(value, bool) and value >= 0,
    "history": _is_history,
    "loss_sum": _is_number,
    "patient_key": _is_text_or_none,
    "device": _is_text_or_none,
    "scaler": lambda value: value is None or _are_numbers(value),
    "config": lambda value: isinstance(value, str),
    "images": lambda value: isinstance(value, dict) and all(isinstance(text, str) for text in value.values()),
}
"""Each field of last.pt, and whether a value can be used as it."""
