"""Feeding trackers: each has a thread.

One that fails, or that waits for a server, neither stops nor slows a training.
"""

import json
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType

from cxr.config.schema import Config
from cxr.console import warn
from cxr.errors import CxrError
from cxr.files import write_text
from cxr.report.run_files import CURVES, TRACKER_RUNS, read_lines
from cxr.signals import Stopped
from cxr.text import shorten
from cxr.training.trackers import OPEN, Ending, Numbers, Start, choose, describe

SECONDS_TO_CLOSE = 20.0
"""How long the end of a training waits for trackers; SLURM kills a job 30 s after SIGTERM."""


class Trackers:
    """The trackers of a training, curves.png among them; a context that closes them.

    Args:
        config: The recipe.
        step: The step before the first one that is trained now; 0 is a new run.
        enabled: False on all processes but the first.

    Raises:
        CxrError: As `choose`.
    """

    def __init__(self, config: Config, step: int, enabled: bool) -> None:
        self._feeders: list[_Feeder] = []
        self._file, self._lock = config.out / TRACKER_RUNS, threading.Lock()
        # a new run begins new runs of the trackers, whatever an earlier one has left
        self._run_ids = _read_run_ids(self._file) if step else {}
        for name in (CURVES, *choose(config)) if enabled else ():
            start = Start(config.out, step, self._run_ids.get(name), describe(config))
            self._feeders.append(_Feeder(name, start, self._remember))

    def write(self, step: int, numbers: Numbers) -> None:
        """Hand over the numbers of a step; returns at once."""
        for feeder in self._feeders:
            feeder.write(step, numbers)

    def close(self, ending: Ending) -> None:
        """Tell the trackers how the training has ended, and wait for them, but not for long."""
        # one deadline for all: each thread ends while others are waited for
        deadline = time.monotonic() + SECONDS_TO_CLOSE
        for feeder in self._feeders:
            feeder.end(ending)
        for feeder in self._feeders:
            feeder.wait(deadline)

    def _remember(self, name: str, run_id: str) -> None:
        """Note a tracker's run, which a resumed training continues."""
        with self._lock:
            self._run_ids[name] = run_id
            write_text(self._file, json.dumps(self._run_ids) + "\n")

    def __enter__(self) -> "Trackers":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        if kind is None:
            self.close("finished")
        else:
            with suppress(CxrError):  # of a train.log on a full disk: what ended the training says more
                self.close("stopped" if issubclass(kind, Stopped | KeyboardInterrupt) else "failed")


def _read_run_ids(path: Path) -> dict[str, str]:
    """The trackers' runs; none where the file is missing or damaged."""
    try:
        ids = json.loads("\n".join(read_lines(path)) or "{}")
        return {str(name): str(run_id) for name, run_id in ids.items()}
    except (ValueError, AttributeError, RecursionError):
        warn(f"{path}: cut or garbled; the trackers begin new runs")
        return {}


class _Feeder:
    """Feeds one tracker in a thread. Its first failure is one warning, and it gets nothing more."""

    def __init__(self, name: str, start: Start, remember: Callable[[str, str], None]) -> None:
        self.name, self._start, self._remember = name, start, remember
        self._queue: SimpleQueue[tuple[int, Numbers] | Ending] = SimpleQueue()
        self._failure, self._has_warned = "", False
        # not waited for when Python ends: a library may hang
        self._thread = threading.Thread(target=self._run, name=f"log to {name}", daemon=True)
        self._thread.start()

    def write(self, step: int, numbers: Numbers) -> None:
        self._warn_once()
        if not self._failure:
            self._queue.put((step, numbers))

    def end(self, ending: Ending) -> None:
        self._queue.put(ending)

    def wait(self, deadline: float) -> None:
        self._thread.join(max(0.0, deadline - time.monotonic()))
        if self._thread.is_alive():
            self._failure = f"it has not finished within {SECONDS_TO_CLOSE:.0f} s"
        self._warn_once()

    def _warn_once(self) -> None:
        """Warn of a failure, from the thread of the training, whose log must not be written by two."""
        if self._failure and not self._has_warned:
            self._has_warned = True
            warn(f"{self.name} failed, and the training continues without it: {self._failure}")

    def _run(self) -> None:
        try:
            tracker = OPEN[self.name](self._start)
            if tracker.run_id:
                self._remember(self.name, tracker.run_id)
            # numbers until the ending, which is a text
            while not isinstance(item := self._queue.get(), str):
                tracker.write(*item)
            tracker.close(item)
        except BaseException as error:  # a library may even call sys.exit
            # told later, by the thread of the training: see `_warn_once`
            self._failure = shorten(" ".join(f"{type(error).__name__}: {error}".split()), 200)
