"""A trace of some training steps, and where their time went."""

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
_BEFORE = 10  # steps that choose kernels, compile and fill the queue
_LONGEST_TABLE = 40


class StepProfiler:
    """Traces so many steps of this process, after the first ten or half an epoch.

    Writes trace.json, which chrome://tracing and ui.perfetto.dev open, and profile.txt, the operators that took most
    time, and says which share of the time the device computed, waited for images, or waited for the host.

    Args:
        num_steps: How many; 0 traces none.
        steps_per_epoch: Of the run.
        folder: The run folder.
        device: What computes.
        waited: Seconds in which images were waited for so far.
    """

    def __init__(
        self,
        num_steps: int,
        steps_per_epoch: int,
        folder: Path,
        device: torch.device,
        waited: Callable[[], float],
    ) -> None:
        self.begin = min(_BEFORE, steps_per_epoch // 2)
        self.end = self.begin + num_steps
        self.folder, self.device, self.waited = folder, device, waited
        self.num_taken = 0
        self._trace: profile | None = None
        self._before = (0.0, 0.0)

    def __enter__(self) -> "StepProfiler":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.finish()

    @contextmanager
    def step(self) -> Iterator[None]:
        """Around each step."""
        if self.num_taken == self.begin and self.end > self.begin:
            self._start()
        yield
        self.num_taken += 1
        if self._trace and self.num_taken == self.end:
            self.finish()

    def _start(self) -> None:
        os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # it writes to the terminal that a machine has no GPU
        activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if self.device.type == "cuda" else [])]
        self._trace = profile(activities=activities)
        self._trace.start()
        self._synchronise()
        self._before = (time.monotonic(), self.waited())

    def _synchronise(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def finish(self) -> None:
        """Write the trace of what was taken so far, at the latest when the training ends."""
        trace, self._trace = self._trace, None
        if trace is None:
            return
        self._synchronise()
        begun, waited_before = self._before
        seconds, waited = time.monotonic() - begun, self.waited() - waited_before
        trace.stop()
        write_atomically(self.folder / TRACE, lambda path: trace.export_chrome_trace(str(path)))
        by = "self_cuda_time_total" if self.device.type == "cuda" else "self_cpu_time_total"
        table = trace.key_averages().table(sort_by=by, row_limit=_LONGEST_TABLE, max_name_column_width=60)
        write_text(self.folder / PROFILE, table + "\n")
        num = self.num_taken - self.begin
        busy = None
        if self.device.type == "cuda":
            events = trace.events()  # type: ignore[no-untyped-call]
            spans = [one.time_range for one in events if one.device_type.name == "CUDA"]
            busy = measure_union((span.start, span.end) for span in spans) / 1e6
        say(f"profile of {num} steps in {seconds:.2f} s: {describe_shares(seconds, waited, busy)}; "
            f"{self.folder / 'trace.json'}")  # fmt: skip


def describe_shares(seconds: float, waited: float, busy: float | None) -> str:
    """The shares of some time in words.

    Args:
        seconds: The time.
        waited: Seconds in which the host waited for images.
        busy: Seconds in which a GPU computed; None where the host computes.
    """
    if busy is None:
        return f"computing {1 - waited / seconds:.0%}, waiting for images {waited / seconds:.0%}"
    idle = max(0.0, seconds - busy)
    data = min(waited, idle)
    shares = (busy / seconds, data / seconds, (idle - data) / seconds)
    return "GPU computing {:.0%}, waiting for images {:.0%}, for the host {:.0%}".format(*shares)


def measure_union(spans: Iterable[tuple[float, float]]) -> float:
    """The length of what spans cover together; kernels of several streams run at the same time."""
    total, reached = 0.0, float("-inf")
    for start, end in sorted(spans):
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total
