"""Whether a run may be resumed under another schedule: for more epochs, say.

It may where a run that had begun with the new recipe would have taken the very same steps so far: the resumed
run then equals a straight one. Under schedule=constant and plateau the learning rate does not depend on
train.epochs, so such runs can always be continued. Under cosine it depends on it from the end of the warm-up
on.
"""

import shlex
from collections.abc import Mapping, Sequence
from typing import cast

from pydantic import ValidationError

from cxr.config.schema import Config, Train
from cxr.console import count
from cxr.errors import CxrError
from cxr.model.history import epochs_since_best
from cxr.report.run_files import RECIPE
from cxr.training.optim import learning_rate
from cxr.training.state import selection_metrics

SCHEDULE = ("epochs", "schedule", "warmup_epochs", "patience", "early_stopping")
"""Keys of `train` that say what the learning rate is and when the run ends."""


def schedule_before(config: Config, saved_train: Mapping[str, object]) -> Train:
    """The keys of `train` now, with those of the schedule as the run had them.

    Raises:
        ValueError: Saved values that are no schedule.
    """
    # keys that an older version did not save are as they are now
    before = {key: saved_train[key] for key in SCHEDULE if key in saved_train}
    try:
        return Train.model_validate(config.train.model_dump() | before)
    except ValidationError:
        raise ValueError("config cannot be used") from None


def describe_changes(now: Train, before: Train) -> list[str]:
    """As `train.epochs was 10 and is now 20`, one for each key of the schedule that differs."""
    return [
        f"train.{key} was {getattr(before, key)} and is now {getattr(now, key)}"
        for key in SCHEDULE
        if getattr(before, key) != getattr(now, key)
    ]


def check_schedule(
    config: Config, before: Train, saved: Mapping[str, object], steps_per_epoch: int | None
) -> None:
    """Refuse a schedule under which the run so far would have been another one.

    Args:
        config: The recipe now.
        before: As the run had it, see `schedule_before`.
        saved: What last.pt holds, checked already.
        steps_per_epoch: Optimizer steps of an epoch; None where they are not known yet: learning rates are
            not compared then.

    Raises:
        CxrError: The learning rate of a step differs, or the run would have ended earlier.
    """
    changes = describe_changes(config.train, before)
    if not changes:
        return
    history = cast(list[dict[str, float]], saved["history"])
    metrics = selection_metrics(history, config.train)
    reason = _why_ended_earlier(metrics, config.train)
    if not reason and steps_per_epoch:
        reason = _why_rates_differ(metrics, cast(int, saved["step"]), steps_per_epoch, config.train, before)
    if reason:
        hint = f"for a new schedule from its weights: {command_from_weights(config)}"
        raise CxrError([f"{config.out}: {change}: {reason}" for change in changes], hint)


def command_from_weights(config: Config) -> str:
    """The command that begins a new run, of the same recipe, from the weights of a run."""
    weights = shlex.quote(f"model.weights={config.out}")
    return f"cxr train {shlex.quote(str(config.out / RECIPE))} {weights} out=FOLDER"


def _why_ended_earlier(metrics: Sequence[float], train: Train) -> str:
    """Why a run with these metrics would have ended before its last epoch; empty if it would not."""
    num_epochs = len(metrics)
    if train.epochs < num_epochs:
        return f"the run has trained {count(num_epochs, 'epoch')} already"
    # the question that the training asks after each epoch
    for epoch in range(1, num_epochs):
        if train.early_stopping and epochs_since_best(metrics[:epoch]) >= train.early_stopping:
            return f"the run would have ended after epoch {epoch}"
    return ""


def _why_rates_differ(
    metrics: Sequence[float], num_steps: int, steps_per_epoch: int, now: Train, before: Train
) -> str:
    """Where the learning rate of a step so far differs; empty if none does."""
    max_steps = (len(metrics) + 1) * steps_per_epoch  # a damaged last.pt may name any step
    for step in range(min(num_steps, max_steps)):
        epoch = step // steps_per_epoch
        rates = [learning_rate(step, steps_per_epoch, metrics[:epoch], train) for train in (before, now)]
        if rates[0] != rates[1]:
            return (
                f"under schedule={now.schedule} the learning rate in epoch {epoch + 1} would have been "
                f"{rates[1]:.3g}, not {rates[0]:.3g}, so this is no continuation of the run"
            )
    return ""
