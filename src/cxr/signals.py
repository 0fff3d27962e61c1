"""An orderly stop on a signal."""

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from cxr.errors import Interrupted

_HUP_AND_TERM = tuple(getattr(signal, name) for name in ("SIGHUP", "SIGTERM") if hasattr(signal, name))
_Handler = Callable[[int, FrameType | None], None]


class Stopped(Exception):
    """A signal asked a training to stop, and last.pt is saved; `signal` is the signal's number."""

    def __init__(self, number: int) -> None:
        self.signal = number
        super().__init__(number)


class StopRequest:
    """Whether a signal has asked to stop, and which."""

    signal: int | None = None

    def __init__(self, second_ends: bool) -> None:
        self._second_ends = second_ends

    def end(self) -> None:
        """End the work where a signal has asked for it.

        Raises:
            Interrupted: With the signal's number.
        """
        if self.signal is not None:
            raise Interrupted(self.signal)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        is_second = self.signal is not None
        if is_second and self._second_ends:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        if is_second and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal = number


@contextmanager
def catch_signals(second_ends: bool = False) -> Iterator[StopRequest]:
    """Note SIGTERM, SIGHUP and SIGINT in place of ending; a SIGHUP that nohup ignores stays ignored.

    Args:
        second_ends: Whether a second signal of any kind ends the process at once; else a second Ctrl-C does.
            (torchrun and SLURM may send SIGTERM twice without anybody being impatient.)
    """
    request = StopRequest(second_ends)
    with _handling((signal.SIGINT, *_HUP_AND_TERM), request._note):
        yield request


@contextmanager
def end_by_exception() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end the body by an exception, as Ctrl-C does, so that it can clean up.

    Not in the second and further processes of torchrun: they may be waiting where Python receives no signal.
    """
    if os.environ.get("RANK", "0") != "0":
        yield
        return

    def end(number: int, _frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)  # a second one ends the process at once
        raise Interrupted(number)

    with _handling(_HUP_AND_TERM, end):
        yield


@contextmanager
def _handling(numbers: Sequence[int], handler: _Handler) -> Iterator[None]:
    """Handle signals, except those that are ignored; only the main thread of a process may.

    Ctrl-C is always handled: a shell ignores it for what it starts in the background, where it must be sent
    on purpose.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {}
    # what was ignored before, as under nohup, stays so
    for number in numbers:
        if number == signal.SIGINT or signal.getsignal(number) != signal.SIG_IGN:
            before[number] = signal.signal(number, handler)
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)
