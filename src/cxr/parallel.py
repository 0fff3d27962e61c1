"""Work on many rows or items in several threads."""

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TypeVar

from cxr.console import progress
from cxr.errors import CxrError
from cxr.signals import catch_signals

Item = TypeVar("Item")
Result = TypeVar("Result")

_MAX_THREADS = 8  # each may hold an image of 100 megapixels
_SECONDS_BETWEEN_CHECKS = 0.05


def map_ahead(work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """work(item) of each item, in their order; threads, at most one a core, work a few items ahead.

    Raises:
        Exception: What `work` raised, when it is that item's turn.
    """
    num_threads = min(_MAX_THREADS, os.cpu_count() or 1)
    ahead: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(num_threads, "ahead") as pool:
        try:
            for item in items:
                ahead.append(pool.submit(work, item))
                if len(ahead) > 2 * num_threads:  # more would hold more images in memory, and be no faster
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def work_through(
    name: str,
    rows: Sequence[int],
    work: Callable[[int], None],
    workers: int = 0,
    num_done_before: int = 0,
    check: Callable[[], None] | None = None,
) -> None:
    """Call work(row) for every row in several threads; the first error stops the others and is raised here.

    A signal ends the work in the thread that waits, between two rows of the others. Raised anywhere else it
    would leave threads at work in C libraries while Python ends.

    Args:
        name: A word for the progress bar and the threads' names.
        rows: Rows, in the order in which they are started.
        work: Called from several threads.
        workers: Threads; 0 takes one a core.
        num_done_before: Rows that an earlier call has done, which the bar counts too.
        check: Called twenty times a second by the thread that waits; what it raises stops the others too. By
            default it raises `Interrupted` after a signal.

    Raises:
        CxrError: No thread can be started.
        Interrupted: A signal, by default.
    """
    if check is None:
        with catch_signals(second_ends=True) as request:
            work_through(name, rows, work, workers, num_done_before, request.end)
        return
    remaining = iter(rows)
    lock, stop = threading.Lock(), threading.Event()
    finished: list[int] = []
    errors: list[BaseException] = []

    def work_until_stopped() -> None:
        try:
            while not stop.is_set():
                with lock:
                    # one thread at a time asks for the next row; the work itself is done outside of the lock
                    row = next(remaining, None)
                if row is None:
                    return
                work(row)
                finished.append(row)
        except BaseException as error:  # raised again by the thread that waits
            errors.append(error)
            stop.set()

    # The order of the end matters: 1. `stop` is set, 2. the bar is removed, 3. the threads are waited for.
    num_threads = workers or os.cpu_count() or 1
    with ThreadPoolExecutor(num_threads, name) as pool, progress() as bar:
        task = bar.add_task(name, total=num_done_before + len(rows), completed=num_done_before)
        try:
            # A future for each thread, not for each row: a dataset has hundreds of thousands.
            running = _start_threads(pool, num_threads, work_until_stopped, name)
            while running:
                _, running = wait(running, _SECONDS_BETWEEN_CHECKS)
                bar.update(task, completed=num_done_before + len(finished))
                check()
        finally:
            stop.set()
    if errors:
        raise errors[0]


def _start_threads(
    pool: ThreadPoolExecutor, num_threads: int, work: Callable[[], None], name: str
) -> set[Future[None]]:
    """Start the pool's threads, or as many as the system allows.

    Raises:
        CxrError: Not even one can be started.
    """
    running: set[Future[None]] = set()
    for _ in range(num_threads):
        try:
            running.add(pool.submit(work))
        except RuntimeError:  # no memory, or as many threads as a user may have
            if not running:
                hint = "end other programs, then give the same command again"
                raise CxrError(f"{name}: no thread can be started", hint) from None
            break
    return running
