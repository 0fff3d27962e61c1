"""Many rows, several threads, one progress bar; or many items, results in their order."""

import itertools
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from cxr.console import progress
from cxr.errors import CxrError
from cxr.signals import catch_signals

Item = TypeVar("Item")
Result = TypeVar("Result")

_MAX_THREADS = 8  # each may hold an image of 100 megapixels


def map_ahead(work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """work(item) of each item, in order; several threads, one a core, are a few items ahead.

    Raises:
        Exception: What `work` raised, in the item's turn.
    """
    num_threads = min(_MAX_THREADS, os.cpu_count() or 1)
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(num_threads, "ahead") as pool:
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) > 2 * num_threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def work_through(
    what: str,
    rows: Sequence[int],
    work: Callable[[int], None],
    workers: int = 0,
    before: int = 0,
    meanwhile: Callable[[], None] | None = None,
) -> None:
    """Call work(row) for every row, on several threads; whatever it raises stops the others and is raised here.

    Args:
        what: A word for the progress bar and the threads' names.
        rows: Rows, in the order in which they are begun.
        work: Called from several threads.
        workers: Threads; 0 takes one a core.
        before: Rows that were done before, which the bar counts too.
        meanwhile: Called twenty times a second by the thread that waits; what it raises stops the others too. By
            default it looks for a signal, which ends the work there alone: raised anywhere else it would leave threads
            at work in C libraries while Python ends.

    Raises:
        Interrupted: A signal, by default.
    """
    if meanwhile is None:
        with catch_signals(second_ends=True) as request:
            work_through(what, rows, work, workers, before, request.end)
        return
    todo, taking, stop = iter(enumerate(rows)), threading.Lock(), threading.Event()
    done, failures = bytearray(len(rows)), list[BaseException]()

    def take() -> tuple[int, int] | None:
        with taking:
            return None if stop.is_set() else next(todo, None)

    def run() -> None:
        try:
            while (taken := take()) is not None:
                work(taken[1])
                done[taken[0]] = 1
        except BaseException as error:  # handed to the thread that waits
            failures.append(error)
            stop.set()

    threads = [
        threading.Thread(target=run, name=f"{what}-{number}")
        for number in range(workers or os.cpu_count() or 1)
    ]
    try:
        with progress() as bar:
            task = bar.add_task(what, total=before + len(rows), completed=before)
            _wait(threads, lambda: bar.update(task, completed=before + done.count(1)), meanwhile)
    finally:
        stop.set()
        for thread in threads:
            if thread.ident:
                thread.join()
    if failures:
        raise failures[0]


def _wait(threads: Sequence[threading.Thread], *meanwhile: Callable[[], None]) -> None:
    for number, thread in enumerate(threads):
        try:
            thread.start()
        except RuntimeError:  # no memory, or as many threads as a user may have
            if not number:
                what = f"{thread.name}: no thread can be started"
                raise CxrError(what, "end other programs, then give the same command again") from None
            threads = threads[:number]
            break
    for thread in itertools.cycle(threads):
        thread.join(0.05)
        for call in meanwhile:
            call()
        if not any(one.is_alive() for one in threads):
            return
