"""Operating points: from which probability on a finding is called present, chosen on validation rows."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from cxr.errors import CxrError
from cxr.evaluation.predictions import Predictions

Float = npt.NDArray[np.float64]
Rule = Literal["f1", "youden"] | float

FALLBACK = 0.5
"""Threshold of a finding whose validation rows hold one class only."""


@dataclass(frozen=True)
class Thresholds:
    """One threshold a finding (positive when p >= threshold), and where it comes from.

    Attributes:
        findings: C names.
        values: C thresholds in [0, 1].
        rule: `f1`, `youden` or `fixed 0.5`.
        chosen_on: The rows it was chosen on, as `validation rows (112 images)`, or `not chosen: fixed`.
        fallback: Findings that got FALLBACK, since the rows hold no positive or no negative.
        images: Hashed names (`hashed`) of the rows it was chosen on, so that a report knows when it judges the same.
    """

    findings: tuple[str, ...]
    values: tuple[float, ...]
    rule: str
    chosen_on: str
    fallback: tuple[str, ...] = ()
    images: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        assert len(self.findings) == len(self.values)


def choose(predictions: Predictions, rule: Rule, chosen_on: str | None = None) -> Thresholds:
    """Thresholds by the best F1 or the best Youden's J (Youden 1950) on these rows, or a number for every finding.

    Every distinct probability is tried. Of equally good ones the largest is taken, which calls the fewest rows
    positive. The threshold is the midpoint between it and the next lower probability (0 below the lowest): the same
    decisions on these rows, and none of them turns on the last digits of a float.

    Args:
        predictions: Validation rows, never those that are to be judged.
        rule: `f1`, `youden`, or a fixed probability, for which the rows do not matter.
        chosen_on: Name of the rows for the report; `predictions.describe()` if not given.

    Raises:
        CxrError: A fixed number outside [0, 1].
    """
    if not isinstance(rule, str):
        return fixed(predictions.findings, rule)
    best = [_best(predictions.y[:, c], predictions.p[:, c], rule) for c in range(len(predictions.findings))]
    return Thresholds(
        predictions.findings,
        tuple(FALLBACK if value is None else value for value in best),
        rule,
        chosen_on or predictions.describe(),
        tuple(name for name, value in zip(predictions.findings, best, strict=True) if value is None),
        hashed(predictions.rows["image"]),
    )


def fixed(findings: Sequence[str], value: float = FALLBACK) -> Thresholds:
    """The same threshold for every finding, chosen on no rows.

    Raises:
        CxrError: A number outside [0, 1].
    """
    if not 0 <= value <= 1:
        raise CxrError(f"eval.threshold: {value:g} is no probability", "give f1, youden or a number from 0 to 1")
    return Thresholds(tuple(findings), (float(value),) * len(findings), f"fixed {value:g}", "not chosen: fixed")


def hashed(images: Iterable[str]) -> frozenset[str]:
    """The first 12 hex digits of each name's SHA-256: enough to recognise an image, too little to name it."""
    return frozenset(hashlib.sha256(name.encode()).hexdigest()[:12] for name in images)


def to_json(thresholds: Thresholds) -> str:
    """One line of JSON for a checkpoint; `from_json` gives the same thresholds back."""
    return json.dumps(asdict(thresholds) | {"images": sorted(thresholds.images)}, allow_nan=False)


def from_json(text: str) -> Thresholds:
    """The thresholds that `to_json` wrote."""
    fields = json.loads(text)
    return Thresholds(
        findings=tuple(fields["findings"]),
        values=tuple(fields["values"]),
        rule=fields["rule"],
        chosen_on=fields["chosen_on"],
        fallback=tuple(fields["fallback"]),
        images=frozenset(fields["images"]),
    )


def _best(y: Float, p: Float, rule: str) -> float | None:
    """The threshold of one finding, None with one class only."""
    known = ~np.isnan(y)
    order = np.argsort(-p[known])
    scores, positive = p[known][order], y[known][order] == 1
    num_positive = int(positive.sum())
    num_negative = len(positive) - num_positive
    if not num_positive or not num_negative:
        return None
    last = np.flatnonzero(np.append(scores[1:] != scores[:-1], True))  # last row of each distinct probability
    true = np.cumsum(positive)[last]
    false = last + 1 - true
    if rule == "f1":
        figure = 2 * true / (last + 1 + num_positive)
    else:
        figure = (
            true * num_negative - false * num_positive
        )  # J times a constant, in whole numbers so that ties are ties
    return _midpoint(np.append(scores[last], 0.0), int(np.argmax(figure)))


def _midpoint(falling: Float, place: int) -> float:
    chosen, below = float(falling[place]), float(falling[place + 1])
    middle = (chosen + below) / 2
    return middle if middle > below else chosen
