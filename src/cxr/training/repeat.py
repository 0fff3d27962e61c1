"""A run and its repeat: whether the inputs are the same, and what of the results differs."""

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from cxr.config.key_tree import flatten
from cxr.config.schema import Config
from cxr.model import checkpoint as checkpoints
from cxr.patient_hash import hasher_from_environment
from cxr.report.repeat import METRICS, Repeat, WeightDifference
from cxr.report.run_files import LOG, RECIPE, Line, merge_epochs, read_log
from cxr.report.run_record import RunRecord, describe_file, read_record
from cxr.training.record import find_weights, hide_names
from cxr.training.resume import is_number_free

_MODELS = {"model": "last.pt", "ema": "last.pt, EMA"}


def find_changed_keys(before: Config, now: Config, record: RunRecord | None) -> list[str]:
    """As `train.lr was 0.001 and is now 0.01`, one for each key that changes numbers and differs.

    Keys that name a file may differ where the checksum of the file is known: it is compared.
    """
    files = record.files if record else {}
    may_move = {"model.weights"} if "weights" in files else set()
    if record:
        may_move |= {"data.csv", "data.lists.train", "data.lists.val", "data.lists.test"}
    then, today = (flatten(json.loads(config.model_dump_json())) for config in (before, now))
    return [
        f"{key} was {then.get(key)} and is now {today.get(key)}"
        for key in sorted(then.keys() | today.keys())
        if then.get(key) != today.get(key) and not is_number_free(key) and key not in may_move
    ]


def find_changed_files(run: Path, record: RunRecord, config: Config) -> list[str]:
    """What differs of the files that a run read, before any is read again; the data follow later.

    Files are looked for where they were, below data.root as it is now, and as the config now names them.
    """
    changes = []
    for name, recorded in record.files.items():
        if name.startswith("store"):  # its pixels are compared, and it may be packed again
            continue
        paths = [Path(recorded.path)]
        if name == RECIPE:
            paths = [run / RECIPE]
        elif name == "weights":
            paths = [path for path in [find_weights(config)] if path is not None]
        else:
            roots = [data.root for data in (config.data, *config.data.also)]
            paths = [root / paths[0].name for root in roots] + paths
        found = next((path for path in paths if path.is_file()), None)
        if found is None:
            changes.append(f"{name}: {recorded.path} is not there any more")
        elif describe_file(found).sha256 != recorded.sha256:
            changes.append(f"{name}: {found} is another file than the run read (another SHA-256)")
    return changes


def find_changed_data(
    run: Path, record: RunRecord | None, config: Config, now: Mapping[str, str]
) -> list[str]:
    """What differs of images, labels and pixels.

    Args:
        run: The folder of the run.
        record: Its run.json; without one, last.pt says what the data were.
        config: The recipe.
        now: Hashes of the data as they are now, see `training.setup.identify`; pixels may be lacking.

    Raises:
        CxrError: last.pt is damaged.
    """
    if record is not None:
        if record.patient_key != hasher_from_environment().key_id:
            return ["the data cannot be compared: CXR_PATIENT_KEY is another than that of the run"]
        then, today = record.data, dict(hide_names(now, config.train.remember_patients))
    elif (run / checkpoints.LAST).is_file():
        then = cast(dict[str, str], checkpoints.load_resumable(run / checkpoints.LAST)["images"])
        today = dict(now)
    else:
        return ["the data cannot be compared: the run has neither run.json nor last.pt"]
    names = {"labels": "labels", "pixels": "pixels of train and val images"}
    return [
        f"{names.get(name, f'images of {name}')}: not those of the run (another SHA-256)"
        for name, digest in then.items()
        if name in today and today[name] != digest
    ]


def compare_runs(run: Path, again: Path, changes: tuple[str, ...] = ()) -> Repeat:
    """What differs between a run and its repeat.

    Raises:
        CxrError: A checkpoint that is damaged.
    """
    logs = [read_log(folder / LOG) for folder in (run, again)]
    records = [read_record(folder) for folder in (run, again)]
    notes = [] if records[0] else [f"{run} has no run.json: versions are those of its checkpoint"]
    weights = tuple(_compare_weights(run, again))
    device = records[1].last.environment.device if records[1] else "cpu"
    is_equal = bool(weights) and all(one.is_equal for one in weights)
    if device != "cpu" and not is_equal and not checkpoints.load(again).metadata.config.train.deterministic:
        notes.append("train.deterministic=false: kernels of a GPU may add in another order at each run")
    return Repeat(
        run=str(run),
        again=str(again),
        changes=changes,
        environment=tuple(_compare_environments(run, records[0], records[1])),
        epochs=_join_epochs(*logs),
        steps=_join_steps(*logs),
        weights=weights,
        notes=tuple(notes),
    )


def _compare_environments(
    run: Path, then: RunRecord | None, now: RunRecord | None
) -> Iterator[tuple[str, str, str]]:
    """(what, then, now) of each fact that differs; of a run of an earlier version, its versions alone."""
    if now is None:
        return
    today = now.last.environment.texts()
    if then is not None:
        before = then.last.environment.texts()
    else:
        before = checkpoints.load(run).metadata.versions
        today = {name: text for name, text in today.items() if name in before}
    for name in dict.fromkeys([*before, *today]):
        texts = before.get(name, ""), today.get(name, "")
        if texts[0] != texts[1]:
            yield name, texts[0] or "not known", texts[1] or "not known"


def _join_epochs(
    then: list[Line], now: list[Line]
) -> tuple[tuple[int, Mapping[str, float], Mapping[str, float]], ...]:
    """(epoch, numbers of the one log, of the other), by the keys of METRICS."""
    sides = [_numbers_by_epoch(lines) for lines in (then, now)]
    epochs = sorted(sides[0].keys() | sides[1].keys())
    return tuple((epoch, sides[0].get(epoch, {}), sides[1].get(epoch, {})) for epoch in epochs)


def _numbers_by_epoch(lines: list[Line]) -> dict[int, dict[str, float]]:
    numbers = [line.epoch for line in lines if line.kind in ("train", "epoch")]
    found = {}
    for epoch, values in zip(sorted(set(numbers)), merge_epochs(lines), strict=True):
        found[epoch] = {name: value for name in METRICS if (value := values.get(name)) is not None}
    return found


def _join_steps(then: list[Line], now: list[Line]) -> tuple[tuple[int, float, float], ...]:
    sides = [{line.step: line.loss for line in lines if line.kind == "step"} for lines in (then, now)]
    pairs = []
    for step in sorted(sides[0].keys() | sides[1].keys()):
        losses = [side.get(step) for side in sides]
        pairs.append((step, *(math.nan if loss is None else loss for loss in losses)))
    return tuple(cast(list[tuple[int, float, float]], pairs))


def _compare_weights(run: Path, again: Path) -> Iterator[WeightDifference]:
    """The best checkpoint, then model and EMA of last.pt, as far as both folders hold them."""
    if all((folder / checkpoints.BEST).is_file() for folder in (run, again)):
        best = [checkpoints.load(folder) for folder in (run, again)]
        epochs = [checkpoint.metadata.epoch for checkpoint in best]
        of = f"epoch {epochs[0]}" if epochs[0] == epochs[1] else f"epochs {epochs[0]} and {epochs[1]}"
        states = [checkpoint.classifier.state_dict() for checkpoint in best]
        yield compare_tensors(f"{checkpoints.BEST}, {of}", states[0], states[1])
    if not all((folder / checkpoints.LAST).is_file() for folder in (run, again)):
        return
    last = [checkpoints.load_resumable(folder / checkpoints.LAST) for folder in (run, again)]
    for key, name in _MODELS.items():
        tensors = [state.get(key) for state in last]
        if all(isinstance(part, dict) for part in tensors):
            yield compare_tensors(name, *cast(list[dict[str, Tensor]], tensors))


def compare_tensors(name: str, then: Mapping[str, Tensor], now: Mapping[str, Tensor]) -> WeightDifference:
    """How many tensors are equal bit for bit, and the largest difference of any two numbers."""
    names = then.keys() | now.keys()
    num_equal, largest = 0, 0.0
    for key in sorted(names):
        before, today = then.get(key), now.get(key)
        if before is None or today is None or (before.shape, before.dtype) != (today.shape, today.dtype):
            largest = math.nan
        elif _bits(before) == _bits(today):
            num_equal += 1
        else:
            # max() of nan and a number depends on their order: nan wins here
            difference = float((before.double() - today.double()).abs().max())
            largest = math.nan if math.isnan(difference + largest) else max(largest, difference)
    return WeightDifference(name, len(names), num_equal, largest)


def _bits(tensor: Tensor) -> bytes:
    """The numbers as bytes: 0 and -0 differ, and nan equals itself."""
    return tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()
