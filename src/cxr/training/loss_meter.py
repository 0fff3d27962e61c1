"""The losses of an epoch: read late, checked, logged; the pace of the steps."""

import math
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from rich.progress import Progress, TaskID
from torch import Tensor

from cxr.console import say
from cxr.data.loader import Batch
from cxr.errors import CxrError
from cxr.model import checkpoint as checkpoints
from cxr.training.runlog import RunLog, Value
from cxr.training.setup import TrainSetup
from cxr.training.state import TrainState

READ_EVERY = 20
"""Steps between readings of the loss on a GPU, lines of log.jsonl, and questions between processes."""

SECONDS_BETWEEN_NOTES = 60.0
"""Between the lines of train.log inside an epoch."""

_MIN_WAITING_SHARE = 0.05  # of the time; less is not worth a word


@dataclass
class Pace:
    """How fast a run is, from the epochs and steps of this process.

    Attributes:
        seconds: Time of training steps. The first step, which compiles, and saves between steps are left out.
        num_images: Images of these steps.
        seconds_waited: Part of `seconds` in which the next batch was not ready.
        validation_seconds: What the last validation took, with the saves that follow it.
    """

    seconds: float = 0.0
    num_images: int = 0
    seconds_waited: float = 0.0
    validation_seconds: float = 0.0

    @property
    def images_per_second(self) -> float:
        """0 before two steps were taken."""
        return self.num_images / self.seconds if self.seconds else 0.0

    @property
    def waiting_share(self) -> float:
        """The share of the time in which batches were waited for; 0 before two steps were taken."""
        return self.seconds_waited / self.seconds if self.seconds else 0.0

    def since(self, before: "Pace") -> "Pace":
        """The pace of what came after an earlier copy of this one."""
        return Pace(
            self.seconds - before.seconds,
            self.num_images - before.num_images,
            self.seconds_waited - before.seconds_waited,
        )

    def seconds_left(self, num_images: int, num_validations: int) -> float | None:
        """Estimate for so many more images and validations; None before two steps were taken."""
        if not self.num_images:
            return None
        # images at the pace so far, then the validations at the length of the last one
        return num_images / self.images_per_second + num_validations * self.validation_seconds


@dataclass(frozen=True)
class _UnreadLoss:
    """The loss of a step, which may still be computing on the GPU."""

    step: int
    learning_rate: float
    loss: Tensor
    num_images: int


class LossMeter:
    """Losses of an epoch. A loss that is not finite ends the run.

    On a GPU the host launches steps ahead of the device. Reading a loss would make it wait for the device, so
    losses are kept as tensors and read once in READ_EVERY steps, all in one copy.

    Args:
        setup: Of the run.
        state: Its state, whose step each loss is of.
        log: Where lines go.
        bar: Where progress is shown.
        task: The epoch's task of the bar.
        pace: How fast the run is; kept up to date here.
    """

    def __init__(
        self, setup: TrainSetup, state: TrainState, log: RunLog, bar: Progress, task: TaskID, pace: Pace
    ) -> None:
        self.setup, self.state, self.log, self.bar, self.task, self.pace = setup, state, log, bar, task, pace
        self.read_every = READ_EVERY if setup.world.device.type == "cuda" else 1
        self.unread: list[_UnreadLoss] = []
        # monotonic: the clock of the day may be set back
        self.epoch_started = self.last_step_ended = self.last_note = time.monotonic()
        self.pace_before = replace(pace)
        # The first step of the process chooses kernels and may compile: it is no measure of the pace.
        self.is_first_step = not pace.seconds

    def timed(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """The batches; the time that each was waited for is added to the pace."""
        iterator = iter(batches)
        while True:
            asked = time.monotonic()
            batch = next(iterator, None)
            if not self.is_first_step:
                self.pace.seconds_waited += time.monotonic() - asked
            if batch is None:
                return
            yield batch

    def add(self, loss: Tensor, num_images: int, seconds_excluded: float = 0.0) -> None:
        """Take the loss of the step that was just launched; the pace leaves `seconds_excluded` of it out."""
        if self.is_first_step:
            self._report_first_step()
        # as if the step before had ended later
        self.last_step_ended += seconds_excluded
        self._add_time(num_images)
        self.is_first_step = False
        rate = self.state.optimizer.param_groups[0]["lr"]
        # the rate of this step: when it is read, the schedule is further on
        self.unread.append(_UnreadLoss(self.state.step, rate, loss, num_images))
        if len(self.unread) >= self.read_every:
            self.read()

    def skip_time(self) -> None:
        """Leave the time since the last step, in which the state was saved, out of the pace."""
        self.last_step_ended = time.monotonic()

    def _add_time(self, num_images: int) -> None:
        now = time.monotonic()
        if not self.is_first_step:
            self.pace.seconds += now - self.last_step_ended
            self.pace.num_images += num_images
        self.last_step_ended = now

    def _report_first_step(self) -> None:
        """Print and log how long the first step took: choosing kernels and compiling are part of it."""
        if self.setup.world.device.type == "cuda":
            # the step was launched, not computed: wait for it, this once
            torch.cuda.synchronize(self.setup.world.device)
        seconds = time.monotonic() - self.epoch_started
        if not self.state.history and self.setup.world.is_first:
            say(f"first step after {seconds:.1f} s{' (compiled)' if self.setup.config.train.compile else ''}")
        self.log.write("first", self.state.step, {"seconds": seconds})

    def read(self) -> None:
        """Read the losses of the last steps; log those of every 20th step.

        Raises:
            CxrError: A loss that is not finite, with the first such step.
        """
        if not self.unread:
            return
        # One sum over the processes and one copy to the host for all of them.
        values = self.setup.world.sum(torch.stack([unread.loss for unread in self.unread])).tolist()
        for unread, value in zip(self.unread, values, strict=True):
            step, rate = unread.step, unread.learning_rate
            if not math.isfinite(value):
                epoch = len(self.state.history) + 1
                raise _not_finite(f"the loss is {value}", self.setup.config.out, epoch, step, rate)
            # weighted by images, as the last batch of an epoch is smaller
            self.state.loss_sum += value * unread.num_images
            status = f"loss {value:.4f} {self._time_left()}"
            self.bar.update(self.task, advance=unread.num_images, status=status)
            if step % READ_EVERY == 0:
                self.log.write("step", step, {"loss": value, "lr": rate})
            self._log_each_minute(step, value)
        self.unread.clear()

    def _time_left(self) -> str:
        """The time that is left of the whole run, as `1 h 12 min left`; empty where it is not known yet."""
        task = next(task for task in self.bar.tasks if task.id == self.task)
        images_per_epoch = sum(self.setup.dataset.visits())
        num_other_epochs = self.setup.config.train.epochs - len(self.state.history) - 1
        # the rest of this epoch, then whole epochs; one validation follows each
        num_images = int(task.remaining or 0) + num_other_epochs * images_per_epoch
        seconds = self.pace.seconds_left(num_images, num_other_epochs + 1)
        return "" if seconds is None else f"{format_duration(seconds)} left"

    def _log_each_minute(self, step: int, loss: float) -> None:
        """Write a line to train.log where the last is a minute old."""
        if time.monotonic() - self.last_note < SECONDS_BETWEEN_NOTES:
            return
        self.last_note = time.monotonic()
        num_steps, epoch = self.setup.steps_per_epoch, len(self.state.history)
        where = f"epoch {epoch + 1}/{self.setup.config.train.epochs}"
        # `step` counts over the whole run; the line says where in the epoch it is
        where += f", step {step - epoch * num_steps:,} of {num_steps:,}"
        self.log.text.note(f"{where}: loss {loss:.4f}, {describe_pace(self.pace)}, {self._time_left()}")

    def finish_steps(self) -> None:
        """Read the losses that are left after the epoch's last step; the wait for them counts as time."""
        self.read()
        self._add_time(0)

    def finish_epoch(self) -> str:
        """Log the epoch's mean loss and pace, set the sum of losses back to 0; returns both as text."""
        loss = self.state.loss_sum / sum(self.setup.dataset.visits())
        self.state.loss_sum = 0.0
        pace = self.pace.since(self.pace_before)
        values: dict[str, Value] = {
            "epoch": len(self.state.history) + 1,
            "loss": loss,
            "images_per_second": pace.images_per_second,
            "waiting_share": pace.waiting_share,
            "seconds": time.monotonic() - self.epoch_started,
        }
        memory_gb = max_gpu_memory_gb(self.setup.world.device)
        if memory_gb:
            values["gpu_gb"] = memory_gb
        self.log.write("train", self.state.step, values)
        rate = self.state.optimizer.param_groups[0]["lr"]
        memory = f", GPU memory {memory_gb:.1f} GB" if memory_gb else ""
        return f"training loss {loss:.4f}, lr {rate:.2g}, {describe_pace(pace)}{memory}"


def describe_pace(pace: Pace) -> str:
    """As `812 images/s`, with the share of the time in which images were waited for, from 5 % on."""
    share = pace.waiting_share
    waited = f" ({share:.0%} waiting)" if share >= _MIN_WAITING_SHARE else ""
    return f"{pace.images_per_second:,.0f} images/s{waited}"


def max_gpu_memory_gb(device: torch.device) -> float:
    """The most GB that tensors took on a GPU so far; 0 on other devices."""
    return torch.cuda.max_memory_reserved(device) / 1e9 if device.type == "cuda" else 0.0


def format_duration(seconds: float) -> str:
    """As `1 h 12 min`, `12 min` or `40 s`."""
    minutes = round(seconds / 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes} min" if seconds >= 60 else f"{seconds:.0f} s"


def check_weights(state: TrainState, out: Path) -> None:
    """Refuse weights that are not finite: gradients can break them while the loss is finite.

    Raises:
        CxrError: A weight of the model or of the EMA is infinite or nan.
    """
    tensors = [*state.model.state_dict().values(), *state.ema.state_dict().values()]
    floats = [tensor for tensor in tensors if tensor.is_floating_point()]
    # The largest magnitude of each tensor, in one kernel: infinite or nan where any element is.
    largest = torch._foreach_norm(floats, math.inf)
    if not torch.stack(largest).isfinite().all():
        rate = state.optimizer.param_groups[0]["lr"]
        raise _not_finite("a weight is not finite", out, len(state.history) + 1, state.step, rate)


def _not_finite(problem: str, out: Path, epoch: int, step: int, rate: float) -> CxrError:
    last = out / checkpoints.LAST
    saved = f"the last good checkpoint is {last}" if last.exists() else "no checkpoint was saved before"
    return CxrError(
        f"{out}: {problem} at step {step:,} (epoch {epoch}), learning rate {rate:.3g}; {saved}",
        "lower train.lr, set train.grad_clip=1 or train.precision=fp32",
    )
