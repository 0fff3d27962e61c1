"""Checkpoints written during training: the state is copied at once, its files are written in a thread."""

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

import torch

MIN_SECONDS_BETWEEN_SAVES = 60.0
"""Before a validation, which may fail: a younger save is not worth repeating."""


def copy_to_cpu(state: Mapping[str, object]) -> dict[str, object]:
    """The state with copies of its tensors, also in dicts and lists, which later steps do not change."""
    return {key: _copy(value) for key, value in state.items()}


def _copy(value: object) -> object:
    if isinstance(value, torch.Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, dict):
        return {key: _copy(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_copy(part) for part in value]
    return value


class Saver:
    """Writes files in one thread, in the order of the calls; the end of the `with` waits for the last.

    An error of the thread, such as a full disk, is raised by the next `save`, `check` or `wait`.
    """

    def __init__(self) -> None:
        # one thread: a save never overtakes the one before
        self._thread = ThreadPoolExecutor(1, "save")
        self._pending: Future[None] | None = None
        self._last_save = -float("inf")

    def save(self, write: Callable[[], None]) -> None:
        """Call `write` in the thread.

        Raises:
            CxrError: The save before could not write its files.
        """
        self.wait()  # for the save before: memory holds one copied state that is being written, and no more
        self._last_save = time.monotonic()
        self._pending = self._thread.submit(write)

    def is_due(self) -> bool:
        """Whether the last save is a minute old, or there was none."""
        return time.monotonic() - self._last_save >= MIN_SECONDS_BETWEEN_SAVES

    def check(self) -> None:
        """Raise the error of a save that has ended with one; does not wait."""
        if self._pending and self._pending.done():
            self.wait()

    def wait(self) -> None:
        """Wait until everything is written."""
        pending, self._pending = self._pending, None
        if pending:
            pending.result()

    def __enter__(self) -> "Saver":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        try:
            if kind is None:  # an error of the training is not hidden by one of a save
                self.wait()
        finally:
            self._thread.shutdown(wait=True)
