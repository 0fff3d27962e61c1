"""Losses read late and logged, and the stop at the first number that is not finite."""

import math
import time

import torch
from rich.progress import Progress, TaskID
from torch import Tensor

from cxr.console import say
from cxr.errors import CxrError
from cxr.model import checkpoint as checkpoints
from cxr.model.run import Run
from cxr.model.runlog import RunLog
from cxr.model.state import TrainState

READ_EVERY = 20
"""Steps between readings of the loss on a GPU, lines in the log, and questions between processes."""


class LossMeter:
    """Losses of an epoch, read late so that the GPU is not waited for; a loss that is not finite ends the run."""

    def __init__(self, run: Run, state: TrainState, log: RunLog, bar: Progress, task: TaskID) -> None:
        self.run, self.state, self.log, self.bar, self.task = run, state, log, bar, task
        self.every = READ_EVERY if run.world.device.type == "cuda" else 1
        self.waiting: list[tuple[int, float, Tensor, int]] = []
        self.num_images, self.begun = 0, time.monotonic()

    def add(self, loss: Tensor, num_images: int) -> None:
        """Note the loss of the step just taken."""
        if not self.waiting and not self.num_images and not self.state.history:
            self._tell_first()
        rate = self.state.optimizer.param_groups[0]["lr"]
        self.waiting.append((self.state.step, rate, loss, num_images))
        if len(self.waiting) >= self.every:
            self.read()

    def _tell_first(self) -> None:
        """Say what the first step cost: compiling and choosing kernels are in it."""
        if self.run.world.device.type == "cuda":
            torch.cuda.synchronize(self.run.world.device)
        seconds = time.monotonic() - self.begun
        if self.run.world.is_first:
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
            self.num_images += num_images
            self.bar.update(self.task, advance=num_images, status=f"loss {value:.4f} {describe(self.state.history)}")
            if step % READ_EVERY == 0:
                self.log.write("step", step, {"loss": value, "lr": rate})
        self.waiting.clear()

    def finish(self) -> None:
        """Log the epoch's mean loss and rate."""
        self.read()
        seconds = time.monotonic() - self.begun
        self.log.write(
            "train",
            self.state.step,
            {
                "epoch": len(self.state.history) + 1,
                "loss": self.state.loss_sum / sum(self.run.dataset.visits()),
                "images_per_second": self.num_images / seconds,
                "seconds": seconds,
            },
        )
        self.state.loss_sum = 0.0


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
    return CxrError(f"{run.config.out}: {what}", "lower train.lr, set train.grad_clip=1 or train.precision=fp32")


def describe(history: list[dict[str, float]]) -> str:
    """The last validation figure, for the progress bar."""
    return f"validation AUROC {history[-1]['auroc']:.4f}" if history else ""
