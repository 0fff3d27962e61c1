"""What readers are scored against when there is no ground truth: the other readers, by one of three rules."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from cxr.evaluation.reader_files import Reading
from cxr.evaluation.statistics.metrics import Float

Rule = Literal["majority", "chexnet", "pairs"]
"""
majority: a reader is scored against the majority of the other readers, the model against the same labels.
chexnet: as CheXNet was (Rajpurkar et al. 2017, version 3): a reader is scored against each of the other
    readers and against the model, the model against each reader; each has the mean of its scores.
pairs: the same without the model: a reader is scored against each of the other readers.
"""

REFERENCE, SINGLE = "reference", "single reader"
"""Rules that need no choice: a table of ground truth, and one reader who is the reference."""

NAMES = {
    "majority": "majority of the other readers",
    "chexnet": "CheXNet's rule: each of the other readers and the model, scores averaged",
    "pairs": "each of the other readers, scores averaged",
    SINGLE: "the reader",
}


@dataclass(frozen=True)
class References:
    """What one reader and the model beside him are scored against.

    Attributes:
        reader: [N, C] labels each, nan = left out; none where the reader is the reference.
        model: The same for the model.
        num_ties: [C] rows that are left out since as many of the other readers say yes as no.
    """

    reader: tuple[Float, ...]
    model: tuple[Float, ...]
    num_ties: tuple[int, ...]

    @property
    def is_shared(self) -> bool:
        """Whether reader and model are scored against one and the same table of labels."""
        return len(self.model) == 1 and len(self.reader) == 1


def refer(rule: str, readings: Sequence[Reading], model: Float, truth: Float | None) -> list[References]:
    """The references of each reader.

    Args:
        rule: A Rule, REFERENCE or SINGLE.
        readings: Calls [N, C] of each reader.
        model: [N, C] calls of the model.
        truth: [N, C] ground truth of rule REFERENCE, nan = unknown.
    """
    num_findings = model.shape[1]
    none = (0,) * num_findings
    if rule == SINGLE:
        return [References((), (readings[0].calls,), none)]
    if rule == REFERENCE:
        assert truth is not None
        tables = [_where_read(truth, reading) for reading in readings]
        return [References((table,), (table,), none) for table in tables]
    if rule == "majority":
        return [_by_majority(readings, number) for number in range(len(readings))]
    calls = [reading.calls for reading in readings]
    references = []
    for number, reading in enumerate(readings):
        others = [other for place, other in enumerate(calls) if place != number]
        if rule == "chexnet":
            others.append(model)
        # what this reader has not read is no mistake of his
        own = tuple(_where_read(other, reading) for other in others)
        references.append(References(own, tuple(calls), none))
    return references


def majority(calls: Float) -> Float:
    """The majority [N, C] of the readers [R, N, C] who say something; nan for a tie, or where nobody does."""
    yes, no = (calls == 1).sum(axis=0), (calls == 0).sum(axis=0)
    return np.where(yes == no, np.nan, (yes > no).astype(np.float64))


def _by_majority(readings: Sequence[Reading], number: int) -> References:
    """The majority of the others, on the images that the reader has read."""
    others = np.stack([other.calls for place, other in enumerate(readings) if place != number])
    reference = majority(others)
    is_read = ~np.isnan(readings[number].calls)
    # [N, C]; where no other says anything there is no majority either, but no tie
    is_tie = np.isnan(reference) & ~np.isnan(others).all(axis=0)
    num_ties = tuple(int(num) for num in (is_tie & is_read).sum(axis=0))
    # reader and model are compared on the images that this reader has read
    reference = np.where(is_read, reference, np.nan)
    return References((reference,), (reference,), num_ties)


def _where_read(table: Float, reading: Reading) -> Float:
    """Labels where the reader says something, nan elsewhere."""
    return np.where(np.isnan(reading.calls), np.nan, table)
