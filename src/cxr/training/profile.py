"""A trace of some training steps, and the share of their time that the device computed."""

import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

from cxr.console import say
from cxr.files import write_atomically, write_text

TRACE, PROFILE = "trace.json", "profile.txt"
_NUM_WARMUP_STEPS = 10  # they choose kernels, compile, and fill the loader's queue
_MAX_OPERATORS = 40  # lines of profile.txt


class StepProfiler:
    """Traces `num_steps` steps of this process, after the first ten or half an epoch.

    Writes trace.json, which chrome://tracing and ui.perfetto.dev open, and profile.txt, the operators that
    took most time; prints the shares of the time in which the device computed, waited for images, and waited
    for the host.

    Args:
        num_steps: Steps to trace; 0 traces none.
        steps_per_epoch: Steps of an epoch.
        folder: The run folder.
        device: The device that computes.
        seconds_waited: Returns the seconds in which images were waited for since the run started.
    """

    def __init__(
        self,
        num_steps: int,
        steps_per_epoch: int,
        folder: Path,
        device: torch.device,
        seconds_waited: Callable[[], float],
    ) -> None:
        # a short epoch still has steps left to trace
        self.first_step = min(_NUM_WARMUP_STEPS, steps_per_epoch // 2)
        self.end_step = self.first_step + num_steps
        self.folder, self.device, self.seconds_waited = folder, device, seconds_waited
        self.num_taken = 0
        self.seconds_taken = 0.0  # by starting and writing the trace, between the steps
        self._trace: profile | None = None
        self._started = 0.0
        self._waited_at_start = 0.0

    def __enter__(self) -> "StepProfiler":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.finish()

    @contextmanager
    def step(self) -> Iterator[None]:
        """Around each step: start or end the trace where it is this step's turn."""
        if self.num_taken == self.first_step and self.end_step > self.first_step:
            with self._taking_time():
                self._start()
        yield
        self.num_taken += 1
        if self._trace and self.num_taken == self.end_step:
            with self._taking_time():
                self.finish()

    @contextmanager
    def _taking_time(self) -> Iterator[None]:
        begun = time.monotonic()
        yield
        self.seconds_taken += time.monotonic() - begun

    def _start(self) -> None:
        os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # no line about a machine without a GPU
        activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if self.device.type == "cuda" else [])]
        # without acc_events torch warns that it keeps one cycle, and there is one
        self._trace = profile(activities=activities, acc_events=True)
        self._trace.start()
        self._synchronize()
        self._started, self._waited_at_start = time.monotonic(), self.seconds_waited()

    def _synchronize(self) -> None:
        """Wait until the GPU has done what was launched: its time belongs to the steps that launched it."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def finish(self) -> None:
        """Write the trace of the steps so far; a training may end before the last step to trace."""
        trace, self._trace = self._trace, None
        if trace is None:
            return
        self._synchronize()
        seconds = time.monotonic() - self._started
        waited = self.seconds_waited() - self._waited_at_start
        trace.stop()
        write_atomically(self.folder / TRACE, lambda path: trace.export_chrome_trace(str(path)))
        is_cuda = self.device.type == "cuda"
        table = trace.key_averages().table(
            sort_by="self_cuda_time_total" if is_cuda else "self_cpu_time_total",
            row_limit=_MAX_OPERATORS,
            max_name_column_width=60,
        )
        write_text(self.folder / PROFILE, table + "\n")

        seconds_computing = None
        if is_cuda:
            events = trace.events()  # type: ignore[no-untyped-call]
            spans = [event.time_range for event in events if event.device_type.name == "CUDA"]
            microseconds = measure_union((span.start, span.end) for span in spans)
            seconds_computing = microseconds / 1e6
        shares = describe_shares(seconds, waited, seconds_computing)
        num_steps = self.num_taken - self.first_step
        say(f"profile of {num_steps} steps in {seconds:.2f} s: {shares}; {self.folder / TRACE}")


def describe_shares(seconds: float, waited: float, computing: float | None) -> str:
    """The shares of a time as text.

    Args:
        seconds: The time.
        waited: Seconds in which the host waited for images.
        computing: Seconds in which a GPU computed; None where the host computes.
    """
    if computing is None:
        return f"computing {1 - waited / seconds:.0%}, waiting for images {waited / seconds:.0%}"
    idle = max(0.0, seconds - computing)
    idle_for_images = min(waited, idle)  # the host may wait while the GPU still computes
    idle_for_host = idle - idle_for_images
    shares = f"GPU computing {computing / seconds:.0%}, waiting for images {idle_for_images / seconds:.0%}"
    return f"{shares}, for the host {idle_for_host / seconds:.0%}"


def measure_union(spans: Iterable[tuple[float, float]]) -> float:
    """The length that spans (start, end) cover together: kernels of several streams run at the same time."""
    total, covered_to = 0.0, float("-inf")
    # from left to right: what a span adds is what lies behind all earlier ends
    for start, end in sorted(spans):
        total += max(0.0, end - max(start, covered_to))
        covered_to = max(covered_to, end)
    return total
