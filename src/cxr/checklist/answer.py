"""What a run says to an item of a checklist."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from cxr.checklist.facts import Facts

Status = Literal["provided", "partly", "author"]


@dataclass(frozen=True)
class Answer:
    """An answer.

    Attributes:
        status: Whether the run provides the item, a part of it, or nothing.
        said: What the run provides, and where it stands.
        missing: What the author must write; empty where all is provided.
    """

    status: Status
    said: str
    missing: str


Fill = Callable[[Facts], Answer]
"""Answers an item from what a run knows."""


@dataclass(frozen=True)
class Item:
    """An item of a checklist: its number there, its section, and what it asks for, in our words."""

    number: str
    section: str
    asked: str
    answer: Answer


def provided(said: str) -> Answer:
    """The run provides it."""
    return Answer("provided", said, "")


def partly(said: str, missing: str) -> Answer:
    """The run provides a part of it."""
    return Answer("partly", said, missing)


def author(missing: str) -> Answer:
    """Only the author can write it."""
    return Answer("author", "", missing)


def by_author(missing: str) -> Fill:
    """An item that no run can know."""
    return lambda facts: author(missing)
