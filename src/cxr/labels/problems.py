"""Errors that name the first few of many rows, and count the others."""

from collections.abc import Sequence

MAX_NAMED = 5


def shorten_problems(problems: Sequence[str], where: str, more: str) -> list[str]:
    """The first MAX_NAMED problems, then a line that counts the others.

    Args:
        problems: `WHERE: WHAT` of each.
        where: What the last line begins with, such as `data.split`.
        more: What it counts, such as `patients are in two splits`.
    """
    num_more = len(problems) - MAX_NAMED
    if num_more <= 0:
        return list(problems)
    return [*problems[:MAX_NAMED], f"{where}: {num_more:,} more {more}"]


def count_more(num_all: int, noun: str = " rows") -> str:
    """` (and 4 more rows)` after the first of five; empty where there is only one."""
    return f" (and {num_all - 1:,} more{noun})" if num_all > 1 else ""
