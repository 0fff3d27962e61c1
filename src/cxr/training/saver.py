"""Checkpoints written beside the training: the state is copied at once, files are written in a thread."""

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

import torch

SAVE_AGAIN_AFTER = 60.0
"""Seconds of training that may be lost in a validation: it is not worth a save when the last one is younger."""


def copy_to_cpu(state: Mapping[str, object]) -> dict[str, object]:
    """The state with copies of its tensors, also inside dicts and lists, that later training steps do not change."""
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
    """Writes files in one thread, in the order in which they were given; leaving the `with` waits for the last.

    What goes wrong there is raised by the next `save`, `check` or `wait` (a full disk, say).
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "save")
        self._pending: Future[None] | None = None
        self._last = -float("inf")

    def save(self, write: Callable[[], None]) -> None:
        """Let `write` write its files; at most one save is under way, so that copies of two states fit into memory.

        Raises:
            CxrError: What a save before it could not write.
        """
        self.wait()
        self._last = time.monotonic()
        self._pending = self._thread.submit(write)

    def is_due(self) -> bool:
        """Whether the last save is so old, or there was none, that one is worth its time."""
        return time.monotonic() - self._last >= SAVE_AGAIN_AFTER

    def check(self) -> None:
        """Raise what a save could not write, if it has ended."""
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
            if kind is None:
                self.wait()
        finally:
            self._thread.shutdown(wait=True)
