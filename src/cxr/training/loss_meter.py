"""Losses read late and logged, how fast the steps are, and the stop at the first number that is not finite."""

import math
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from rich.progress import Progress, TaskID
from torch import Tensor

from cxr.console import say
from cxr.data.loader import Batch
from cxr.errors import CxrError
from cxr.model import checkpoint as checkpoints
from cxr.training.run import Run
from cxr.training.runlog import RunLog, Value
from cxr.training.state import TrainState

READ_EVERY = 20
"""Steps between readings of the loss on a GPU, lines in the log, and questions between processes."""

NOTE_EVERY = 60.0
"""Seconds between the lines of train.log inside an epoch."""


@dataclass
class Pace:
    """How fast a run is, from the epochs and steps of this process.

    Attributes:
        seconds: Of training steps alone: the first one, which compiles, and what is saved in between do not count.
        num_images: Images of these steps.
        waited: Seconds of these in which the next batch was not there yet.
        validation_seconds: What the last validation took, with all that follows an epoch.
    """

    seconds: float = 0.0
    num_images: int = 0
    waited: float = 0.0
    validation_seconds: float = 0.0

    @property
    def images_per_second(self) -> float:
        """0 before two steps were taken."""
        return self.num_images / self.seconds if self.seconds else 0.0

    def seconds_left(self, num_images: int, num_validations: int) -> float | None:
        """Estimate for so many more images and validations; None before two steps were taken."""
        if not self.num_images:
            return None
        return num_images / self.images_per_second + num_validations * self.validation_seconds


class LossMeter:
    """Losses of an epoch, read late so that the GPU is not waited for; a loss that is not finite ends the run.

    Args:
        run: The run.
        state: Its state, whose step each loss is of.
        log: Where lines go.
        bar: Where progress is shown.
        task: Its task of this epoch.
        pace: How fast the run is, which is kept up here.
    """

    def __init__(
        self, run: Run, state: TrainState, log: RunLog, bar: Progress, task: TaskID, pace: Pace
    ) -> None:
        self.run, self.state, self.log, self.bar, self.task, self.pace = run, state, log, bar, task, pace
        self.every = READ_EVERY if run.world.device.type == "cuda" else 1
        self.waiting: list[tuple[int, float, Tensor, int]] = []
        self.begun = self.mark = self.noted = time.monotonic()
        self.before = Pace(pace.seconds, pace.num_images, pace.waited)
        self.is_first_step = not pace.seconds  # of this process: it chooses kernels, and may compile

    def waiting_for(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """The batches; how long each was waited for is noted."""
        each = iter(batches)
        while True:
            asked = time.monotonic()
            batch = next(each, None)
            self.pace.waited += 0 if self.is_first_step else time.monotonic() - asked
            if batch is None:
                return
            yield batch

    def add(self, loss: Tensor, num_images: int) -> None:
        """Note the loss of the step just taken."""
        if self.is_first_step:
            self._tell_first()
        self._count(0 if self.is_first_step else num_images)
        self.is_first_step = False
        rate = self.state.optimizer.param_groups[0]["lr"]
        self.waiting.append((self.state.step, rate, loss, num_images))
        if len(self.waiting) >= self.every:
            self.read()

    def skip_time(self) -> None:
        """Leave out of the pace what has passed since the last step: a save."""
        self.mark = time.monotonic()

    def _count(self, num_images: int) -> None:
        now = time.monotonic()
        if not self.is_first_step:
            self.pace.seconds += now - self.mark
            self.pace.num_images += num_images
        self.mark = now

    def _tell_first(self) -> None:
        """Say what the first step cost: compiling and choosing kernels are in it."""
        if self.run.world.device.type == "cuda":
            torch.cuda.synchronize(self.run.world.device)
        seconds = time.monotonic() - self.begun
        if not self.state.history and self.run.world.is_first:
            say(f"first step after {seconds:.1f} s{' (compiled)' if self.run.config.train.compile else ''}")
        self.log.write("first", self.state.step, {"seconds": seconds})

    def read(self) -> None:
        """Read what waits, log every 20th step, and stop at the first loss that is not finite."""
        if not self.waiting:
            return
        values = self.run.world.sum(torch.stack([loss for _, _, loss, _ in self.waiting])).tolist()
        for (step, rate, _, num_images), value in zip(self.waiting, values, strict=True):
            if not math.isfinite(value):
                raise _not_finite(self.run, self.state, f"the loss is {value}", step, rate)
            self.state.loss_sum += value * num_images
            self.bar.update(self.task, advance=num_images, status=f"loss {value:.4f} {self._left()}")
            if step % READ_EVERY == 0:
                self.log.write("step", step, {"loss": value, "lr": rate})
            self._note_now_and_then(step, value)
        self.waiting.clear()

    def _left(self) -> str:
        """The time that is left of the whole run, as `1 h 12 min left`."""
        task = next(task for task in self.bar.tasks if task.id == self.task)
        per_epoch = sum(self.run.dataset.visits())
        others = self.run.config.train.epochs - len(self.state.history) - 1
        left = self.pace.seconds_left(int(task.remaining or 0) + others * per_epoch, others + 1)
        return "" if left is None else f"{say_time(left)} left"

    def _note_now_and_then(self, step: int, loss: float) -> None:
        if time.monotonic() - self.noted < NOTE_EVERY:
            return
        self.noted = time.monotonic()
        steps = self.run.steps_per_epoch
        where = f"epoch {len(self.state.history) + 1}/{self.run.config.train.epochs}"
        at = f"step {step - len(self.state.history) * steps:,} of {steps:,}"
        self.log.text.note(f"{where}, {at}: loss {loss:.4f}, {describe_pace(self.pace)}, {self._left()}")

    def stop(self) -> None:
        """Read what waits after the epoch's last step."""
        self.read()
        self._count(0)

    def finish(self) -> str:
        """Log the epoch's mean loss and pace; returns both in words."""
        loss = self.state.loss_sum / sum(self.run.dataset.visits())
        rate = self.state.optimizer.param_groups[0]["lr"]
        mine = Pace(*(getattr(self.pace, name) - getattr(self.before, name) for name in _SUMS))
        values: dict[str, Value] = {
            "epoch": len(self.state.history) + 1,
            "loss": loss,
            "images_per_second": mine.images_per_second,
            "waiting_share": mine.waited / mine.seconds if mine.seconds else 0.0,
            "seconds": time.monotonic() - self.begun,
        }
        memory = gpu_memory(self.run.world.device)
        self.log.write("train", self.state.step, values | ({"gpu_gb": memory} if memory else {}))
        self.state.loss_sum = 0.0
        held = f", GPU memory {memory:.1f} GB" if memory else ""
        return f"training loss {loss:.4f}, lr {rate:.2g}, {describe_pace(mine)}{held}"


_SUMS = ("seconds", "num_images", "waited")


def describe_pace(pace: Pace) -> str:
    """As `812 images/s`, with the share of time in which images were waited for where it is worth a word."""
    share = pace.waited / pace.seconds if pace.seconds else 0.0
    waited = f" ({share:.0%} of it waiting for images)" if share >= 0.05 else ""
    return f"{pace.images_per_second:,.0f} images/s{waited}"


def gpu_memory(device: torch.device) -> float:
    """The most GB that tensors took on a GPU so far; 0 on other devices."""
    return torch.cuda.max_memory_allocated(device) / 1e9 if device.type == "cuda" else 0.0


def say_time(seconds: float) -> str:
    """As `1 h 12 min`, `12 min` or `40 s`."""
    minutes = round(seconds / 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes} min" if seconds >= 60 else f"{seconds:.0f} s"


def check_weights(run: Run, state: TrainState) -> None:
    """Gradients can break the weights of a step whose loss was finite; such weights are neither judged nor saved."""
    tensors = [part for model in (state.model, state.ema) for part in model.state_dict().values()]
    sizes = torch._foreach_norm([part for part in tensors if part.is_floating_point()], math.inf)
    if not torch.stack(sizes).isfinite().all():
        rate = state.optimizer.param_groups[0]["lr"]
        raise _not_finite(run, state, "a weight is not finite", state.step, rate)


def _not_finite(run: Run, state: TrainState, what: str, step: int, rate: float) -> CxrError:
    last = run.config.out / checkpoints.LAST
    good = f"the last good checkpoint is {last}" if last.exists() else "no checkpoint was saved before"
    what = f"{what} at step {step:,} (epoch {len(state.history) + 1}), learning rate {rate:.3g}; {good}"
    return CxrError(
        f"{run.config.out}: {what}", "lower train.lr, set train.grad_clip=1 or train.precision=fp32"
    )
