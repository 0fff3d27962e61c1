"""All that a training step changes, how it starts, how it is saved and how it is restored."""

import copy
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from pydantic import ValidationError
from torch import Tensor

from cxr.config.schema import Config
from cxr.device import name_device
from cxr.distributed import World
from cxr.errors import CxrError
from cxr.model.batch_norm import share_statistics, shares_statistics
from cxr.model.checkpoint import LAST, check_kinds
from cxr.model.classifier import Classifier
from cxr.model.load_weights import LoadReport, load_weights
from cxr.model.recompute import recompute_blocks
from cxr.patient_hash import hasher_from_environment
from cxr.training.loss import ClassWeights, logit_shift
from cxr.training.optim import build_optimizer

_MAY_DIFFER = ("out", "device", "data.root", "store.path", "store.where", "store.workers", "train.save_every",
               "train.compile", "train.profile")  # fmt: skip


@dataclass
class TrainState:
    """All that a step changes.

    Attributes:
        model: What learns.
        ema: Its running average, which is validated and kept; the model itself where averaging is off.
        optimizer: With its moments.
        step: Steps taken.
        history: Each epoch's validation figures; its length is the epoch.
        loss_sum: Sum of the losses of the images seen in this epoch, for the log.
        scaler: Scales the loss in float16, whose gradients would else be zero; None in other arithmetic.
        averaged: Tensors of `ema` and `model` side by side, found at the first step.
    """

    model: Classifier
    ema: Classifier
    optimizer: torch.optim.Optimizer
    step: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    loss_sum: float = 0.0
    scaler: torch.amp.GradScaler | None = None
    averaged: "tuple[Pairs, Pairs] | None" = field(default=None, repr=False)


def new_state(
    config: Config, findings: tuple[str, ...], weights: ClassWeights, world: World
) -> tuple[TrainState, LoadReport]:
    """The state before the first step, and what became of the first weights."""
    model = Classifier(config.model.backbone, len(findings))
    with world.first_alone():  # so that a download is made once
        report = load_weights(model, config.model.weights, findings, config.model.head_findings)
    if config.model.stem == "grey" and model.stem == "rgb":
        model.fold_stem()
    if config.model.stem != model.stem:
        raise CxrError(f"model.weights: {config.model.weights} has a grey stem", "set model.stem=grey")
    model.set_trainable(config.model.train_layers)
    model.logit_shift.copy_(logit_shift(weights))
    if shares_statistics(config, world):
        share_statistics(model)
    model.to(world.device).to(memory_format=torch.channels_last)
    ema = copy.deepcopy(model).requires_grad_(False).eval() if config.train.ema else model
    if config.model.checkpointing:
        recompute_blocks(model)
    state = TrainState(model, ema, build_optimizer(model, config.train, world.device))
    if config.train.precision == "fp16":
        state.scaler = torch.amp.GradScaler(world.device.type)
    return state, report


@torch.no_grad()
def average_weights(state: TrainState, decay: float) -> None:
    """Move the averaged weights and batch statistics towards the current ones; the decay grows over the first steps."""
    if state.ema is state.model:
        return
    if not state.averaged:
        state.averaged = _pair(state.ema, state.model)
    (ours, theirs), (our_counts, their_counts) = state.averaged
    weight = 1 - min(decay, (1 + state.step) / (10 + state.step))
    torch._foreach_lerp_(ours, theirs, weight)
    torch._foreach_copy_(our_counts, their_counts)


Pairs = tuple[list[Tensor], list[Tensor]]


def _pair(ema: Classifier, model: Classifier) -> tuple[Pairs, Pairs]:
    """The tensors of both models, floats and counts apart; gathering them anew would cost milliseconds a step."""
    both = list(zip(ema.state_dict().values(), model.state_dict().values(), strict=True))
    floats = [pair for pair in both if pair[0].is_floating_point()]
    counts = [pair for pair in both if not pair[0].is_floating_point()]
    return ([a for a, _ in floats], [b for _, b in floats]), ([a for a, _ in counts], [b for _, b in counts])


def snapshot(state: TrainState, config: Config, images: dict[str, str]) -> dict[str, object]:
    """What last.pt holds; `images` are hashes of each fold's image names and of the labels."""
    return {
        "model": state.model.state_dict(),
        "ema": None if state.ema is state.model else state.ema.state_dict(),
        "optimizer": state.optimizer.state_dict(),
        "step": state.step,
        "history": state.history,
        "loss_sum": state.loss_sum,
        "scaler": state.scaler.state_dict() if state.scaler else None,
        "config": config.model_dump_json(),
        "images": images,
        "patient_key": hasher_from_environment().key_id if config.train.remember_patients else "",
        "device": name_device(state.model.head.weight.device),
    }


def check_resumable(config: Config, images: Mapping[str, str], saved: Mapping[str, object]) -> None:
    """Refuse what last.pt held if it is no state of this very run; nothing of it is used before.

    Args:
        config: The recipe now.
        images: Hashes of the rows and the labels now, as `snapshot` takes them; empty where they are not known yet.
        saved: What last.pt held.

    Raises:
        CxrError: Values are missing or of another kind; another recipe, with every key that differs; other images.
    """
    wrong = [key for key, is_right in _KINDS.items() if not is_right(saved.get(key))]
    if wrong:
        what = f"{config.out / LAST}: is damaged: {', '.join(wrong)} cannot be used"
        raise CxrError(what, _AGAIN)
    try:
        before = _flatten(_with_defaults(json.loads(str(saved["config"]))))
    except (ValueError, TypeError, AttributeError, RecursionError):
        raise CxrError(f"{config.out / LAST}: is damaged: config cannot be used", _AGAIN) from None
    now = _flatten(json.loads(config.model_dump_json()))
    changed = [key for key in sorted(before.keys() | now.keys()) if before.get(key) != now.get(key)]
    changed = [key for key in changed if re.sub(r"\balso\.\d+\.", "", key) not in _MAY_DIFFER]
    if changed:
        problems = [f"{config.out}: {key} was {before.get(key)} and is now {now.get(key)}" for key in changed]
        raise CxrError(
            problems, "resume with the run's own config.yaml, or train again into another out=FOLDER"
        )
    key, own = (
        saved.get("patient_key"),
        hasher_from_environment().key_id if config.train.remember_patients else "",
    )
    if key is not None and key != own:
        before_it, now_it = (f"the key {one}" if one else "no key" for one in (key, own))
        what = f"{config.out}: the run's patients are hashed with {before_it}, and now with {now_it}"
        raise CxrError(what, "set CXR_PATIENT_KEY as it was, or train again into another out=FOLDER")
    begun_with = cast(dict[str, str], saved["images"])
    others = [key for key, digest in images.items() if begun_with.get(key) != digest]
    others = [
        key for key in others if key != "pixels" or key in begun_with
    ]  # which earlier versions did not note
    if others:
        what = others[0] if others in (["labels"], ["pixels"]) else "images"
        problem = f"{config.out}: the {what} in {config.data.root} are not those that the run began with"
        raise CxrError(problem, "give it the same files, or train again into another out=FOLDER")


def restore(state: TrainState, config: Config, images: dict[str, str], saved: dict[str, object]) -> None:
    """Fill the state from what last.pt held.

    Raises:
        CxrError: As `check_resumable`; tensors of another model.
    """
    check_resumable(config, images, saved)
    try:
        _load_model(state.model, cast(dict[str, Tensor], saved["model"]))
        if state.ema is not state.model:
            _load_model(state.ema, cast(dict[str, Tensor], saved["ema"]))
        _load_moments(state.optimizer, cast(dict[str, object], saved["optimizer"]))
        if state.scaler:
            state.scaler.load_state_dict(cast(dict[str, Any], saved["scaler"]))
    except (ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        first = " ".join(str(error).split())[:200]
        raise CxrError(f"{config.out / LAST}: is damaged: {first}", _AGAIN) from None
    state.step, state.history = cast(int, saved["step"]), cast(list[dict[str, float]], saved["history"])
    state.loss_sum = cast(float, saved["loss_sum"])


_AGAIN = "train again with --overwrite, or into another out=FOLDER; is the disk well?"


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _are_tensors(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(one, Tensor) for one in value.values())


def _are_figures(value: object) -> bool:
    """Whether it is a history."""
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        return False
    return all(_is_number(one.get(name)) for one in value for name in ("auroc", "loss"))


_KINDS: dict[str, Callable[[object], bool]] = {
    "model": _are_tensors,
    "ema": lambda value: value is None or _are_tensors(value),
    "optimizer": lambda value: isinstance(value, dict) and isinstance(value.get("state"), dict),
    "step": lambda value: isinstance(value, int) and not isinstance(value, bool) and value >= 0,
    "history": _are_figures,
    "loss_sum": _is_number,
    "patient_key": lambda value: value is None or isinstance(value, str),
    "device": lambda value: value is None or isinstance(value, str),
    "scaler": lambda value: (
        value is None or (isinstance(value, dict) and all(map(_is_number, value.values())))
    ),
    "config": lambda value: isinstance(value, str),
    "images": lambda value: isinstance(value, dict) and all(isinstance(one, str) for one in value.values()),
}
"""What last.pt holds, and whether a value can be that."""


def _load_model(model: Classifier, tensors: Mapping[str, Tensor]) -> None:
    check_kinds(model.state_dict(), tensors)
    model.load_state_dict(dict(tensors))


def _load_moments(optimizer: torch.optim.Optimizer, saved: Mapping[str, object]) -> None:
    """Fill an optimizer's moments; its options are the recipe's, which is the same.

    Raises:
        ValueError or KeyError: Moments of another optimizer, or of parameters of other shapes.
    """
    parameters = [one for group in optimizer.param_groups for one in group["params"]]
    is_adam = isinstance(optimizer, torch.optim.Adam | torch.optim.AdamW)
    names = {"step", "exp_avg", "exp_avg_sq"} if is_adam else {"momentum_buffer"}
    moments = cast(dict[int, dict[str, object]], saved["state"])
    for number, own in moments.items():
        if own.keys() != names or number not in range(len(parameters)):
            raise ValueError(f"the optimizer's moments are {', '.join(map(str, own))}")
        for name, value in own.items():
            wanted = torch.Size() if name == "step" else parameters[number].shape
            if not isinstance(value, Tensor) or value.shape != wanted or not value.is_floating_point():
                raise ValueError(f"the optimizer's {name} of parameter {number} has another kind or shape")
    groups = optimizer.state_dict()["param_groups"]
    for group, before in zip(groups, cast(list[dict[str, float]], saved["param_groups"]), strict=True):
        group["lr"] = float(before["lr"])  # for the log alone: every step sets it
    optimizer.load_state_dict({"state": moments, "param_groups": groups})


def _with_defaults(said: dict[str, object]) -> dict[str, object]:
    """A saved config with keys that came later at their defaults, as it was when nobody knew of them."""
    try:
        return Config.model_validate(said).model_dump(mode="json")
    except ValidationError:
        return said


def _flatten(values: dict[str, object], at: str = "") -> dict[str, object]:
    flat: dict[str, object] = {}
    for key, value in values.items():
        if isinstance(value, list) and any(isinstance(entry, dict) for entry in value):
            value = {str(number): entry for number, entry in enumerate(value)}
        flat |= _flatten(value, f"{at}{key}.") if isinstance(value, dict) else {at + key: value}
    return flat


def figures(state: TrainState, config: Config) -> list[float]:
    """The figure that selects, of each epoch, higher is better."""
    values = (epoch["auroc"] if config.train.select == "auroc" else -epoch["loss"] for epoch in state.history)
    return [-math.inf if math.isnan(figure) else figure for figure in values]
