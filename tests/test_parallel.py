import os
import threading
import time

import pytest

from cxr.parallel import map_ahead


def test_results_come_in_the_order_of_the_items() -> None:
    def work(number: int) -> int:
        time.sleep(0.01 * (number % 3))
        return number * number

    assert list(map_ahead(work, range(30))) == [number * number for number in range(30)]


def test_several_items_are_worked_on_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    both = threading.Barrier(2, timeout=10)
    assert (
        list(map_ahead(lambda _: both.wait() >= 0, range(4))) == [True] * 4
    )  # alone, one would wait in vain


def test_only_a_few_items_are_taken_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    taken: list[int] = []
    items = (taken.append(number) or number for number in range(100))  # type: ignore[func-returns-value]
    results = map_ahead(lambda number: number, items)
    assert next(results) == 0
    assert len(taken) <= 6
    results.close()  # type: ignore[attr-defined]


def test_what_an_item_raises_is_raised_in_its_turn() -> None:
    seen: list[float] = []
    with pytest.raises(ZeroDivisionError):
        seen += map_ahead(lambda number: 1 / (number - 3), range(10))
    seen.clear()
    with pytest.raises(ZeroDivisionError):
        for value in map_ahead(lambda number: 1 / (number - 3), range(10)):
            seen.append(value)
    assert len(seen) == 3
