"""Rates of several contenders taken in turn, so that a drift of the machine falls on all of them alike."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

Contender = Callable[[], int]
"""Does some work and returns how many images it was."""


@dataclass(frozen=True)
class Row:
    """One line of the table: images per second (or another unit), and the ratio to the group's first row."""

    group: str
    name: str
    median: float
    low: float
    high: float
    unit: str = "images/s"
    ratio: float | None = None
    note: str = ""


def race(group: str, contenders: Mapping[str, Contender], rounds: int, note: str = "") -> list[Row]:
    """Rates of the contenders over some rounds after one that is not counted; ratios are taken round by round."""
    rates: dict[str, list[float]] = {name: [] for name in contenders}
    for count in range(rounds + 1):
        for name, work in contenders.items():
            begun = time.perf_counter()
            num_images = work()
            if count:
                rates[name].append(num_images / (time.perf_counter() - begun))
    first = next(iter(rates.values()))
    return [
        Row(
            group,
            name,
            statistics.median(own),
            min(own),
            max(own),
            ratio=statistics.median(a / b for a, b in zip(own, first, strict=True)),
            note=note,
        )
        for name, own in rates.items()
    ]
