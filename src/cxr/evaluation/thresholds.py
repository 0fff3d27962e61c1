"""Operating points: from which probability on a finding is called present, chosen on validation rows."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, model_validator

from cxr.errors import CxrError
from cxr.evaluation.predictions import Predictions
from cxr.patient_hash import NO_KEY, Hasher, find_hasher, hasher_from_environment

Float = npt.NDArray[np.float64]
Rule = str | float
"""`f1`, `youden`, `sensitivity=X`, `specificity=X`, or one probability for every finding."""

FALLBACK = 0.5
"""Threshold of a finding whose validation rows hold one class only, or no threshold that the rule accepts."""

GIVEN = "as given"
"""Rule of thresholds that a file states, by whatever rule they came into it."""

_SLACK = 1e-9  # rows; 0.9 x 10 is 9 rows, whatever its last digit as a float


@dataclass(frozen=True)
class Thresholds:
    """One threshold a finding (positive when p >= threshold), and where it comes from.

    Attributes:
        findings: C names.
        values: C thresholds in [0, 1].
        rule: `f1`, `youden`, `sensitivity=X`, `specificity=X`, `fixed 0.5` or GIVEN.
        chosen_on: The rows it was chosen on, as `validation rows (112 images)`, or `not chosen: fixed`.
        fallback: Findings that got FALLBACK, since the rows hold no positive, no negative, or no fitting threshold.
        images: Hashed names (`hashed`) of the rows it was chosen on, so that a report knows when it judges the same.
        patient_key: Id of the key that hashed them; empty without one.
        sources: Names of the datasets that were joined in these rows, whose images are then also hashed as
            `source/image`; empty for one.
    """

    findings: tuple[str, ...]
    values: tuple[float, ...]
    rule: str
    chosen_on: str
    fallback: tuple[str, ...] = ()
    images: frozenset[str] = frozenset()
    patient_key: str = ""
    sources: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        assert len(self.findings) == len(self.values)


def choose(predictions: Predictions, rule: Rule, chosen_on: str | None = None) -> Thresholds:
    """One threshold a finding, by a rule on these rows.

    Rules: the best F1, the best Youden's J (Youden 1950), the highest specificity with a sensitivity of at least X,
    the highest sensitivity with a specificity of at least X, or one fixed number.

    Every distinct probability is tried. Of equally good ones the largest is taken, which calls the fewest rows
    positive. The threshold is the midpoint between it and the next lower probability (0 below the lowest): the same
    decisions on these rows, and none of them turns on the last digits of a float.

    Args:
        predictions: Validation rows, never those that are to be judged.
        rule: See `Rule`; for a fixed probability the rows do not matter.
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
        hashed({*own_names(predictions.rows), *predictions.rows["image"]}, hasher_from_environment()),
        hasher_from_environment().key_id,
        _sources(predictions.rows),
    )


def fixed(findings: Sequence[str], value: float = FALLBACK) -> Thresholds:
    """The same threshold for every finding, chosen on no rows.

    Raises:
        CxrError: A number outside [0, 1].
    """
    if not 0 <= value <= 1:
        raise CxrError(
            f"eval.threshold: {value:g} is no probability", "give f1, youden or a number from 0 to 1"
        )
    return Thresholds(
        tuple(findings), (float(value),) * len(findings), f"fixed {value:g}", "not chosen: fixed"
    )


def origin(thresholds: Thresholds) -> str:
    """How they were chosen and on what, as `best F1 on validation rows (560 images, 97 patients)`."""
    rule = thresholds.rule
    if rule == GIVEN:
        return f"{rule} {thresholds.chosen_on}"
    if rule.startswith("fixed"):
        return f"{rule} for every finding"
    words = {"f1": "best F1", "youden": "best Youden's J"}
    how = words[rule] if rule in words else "{} of at least {:g}".format(*parse_rule(rule))
    return f"{how} on {thresholds.chosen_on}"


def own_names(rows: pd.DataFrame) -> "pd.Series[str]":
    """Image names as their archive has them, without the `source/` that tells those of several archives apart."""
    if "source" not in rows.columns:
        return rows["image"]
    both = zip(rows["image"], rows["source"], strict=True)
    return pd.Series(
        [image.removeprefix(f"{source}/") if source else image for image, source in both], dtype=str
    )


def hashed(images: Iterable[str], hasher: Hasher = NO_KEY) -> frozenset[str]:
    """The first 12 hex digits of each name's hash; without a key they name every image whose name can be guessed."""
    return frozenset(hasher.digest(name).hex()[:12] for name in images)


def count_shared(thresholds: Thresholds, rows: pd.DataFrame) -> int | None:
    """How many of these images the thresholds were chosen on; None where another key hashed their names."""
    hasher = find_hasher(thresholds.patient_key)
    if hasher is None:
        return None
    if not thresholds.images:
        return 0
    names = list(own_names(rows))
    if thresholds.sources and "source" in rows.columns:  # joined datasets may have images of one name
        every = zip(names, rows["image"], rows["source"].isin(thresholds.sources), strict=True)
        names = [full if is_joined else own for own, full, is_joined in every]
    return sum(one in thresholds.images for name in names for one in hashed([name], hasher))


def _sources(rows: pd.DataFrame) -> tuple[str, ...]:
    return tuple(source for source in rows["source"].unique() if source) if "source" in rows.columns else ()


def to_json(thresholds: Thresholds) -> str:
    """One line of JSON for a checkpoint; `from_json` gives the same thresholds back."""
    return json.dumps(asdict(thresholds) | {"images": sorted(thresholds.images)}, allow_nan=False)


class _Written(BaseModel):
    """What `to_json` writes; files of earlier versions have no patient_key."""

    model_config = ConfigDict(strict=True)
    findings: tuple[str, ...]
    values: tuple[Annotated[float, Field(ge=0, le=1)], ...]
    rule: Annotated[
        str, Field(pattern=r"^(f1|youden|as given|fixed .*|(sensitivity|specificity)=(0?\.\d+|0|1))$")
    ]
    chosen_on: str
    fallback: tuple[str, ...]
    images: tuple[str, ...]
    patient_key: str = ""
    sources: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _one_a_finding(self) -> "_Written":
        if len(self.values) != len(self.findings):
            raise ValueError(f"{len(self.values)} thresholds for {len(self.findings)} findings")
        return self


def from_json(text: str) -> Thresholds:
    """The thresholds that `to_json` wrote.

    Raises:
        ValueError: Not such a text, or thresholds that are none.
    """
    written = _Written.model_validate_json(text)
    return Thresholds(**dict(written) | {"images": frozenset(written.images)})


def _best(y: Float, p: Float, rule: str) -> float | None:
    """The threshold of one finding, None with one class only or where no threshold will do."""
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
    place = _place(rule, true, false, num_positive, num_negative)
    return None if place is None else _midpoint(np.append(scores[last], 0.0), place)


def _place(rule: str, true: Float, false: Float, num_positive: int, num_negative: int) -> int | None:
    """Which of the falling probabilities, given the true and false positives from each one up; None if none will do."""
    if rule == "f1":
        return int(np.argmax(2 * true / (true + false + num_positive)))
    if rule == "youden":  # J times a constant, in whole numbers so that ties are ties
        return int(np.argmax(true * num_negative - false * num_positive))
    name, least = parse_rule(rule)
    if name == "sensitivity":
        return int(np.argmax(true >= least * num_positive - _SLACK))
    allowed = np.flatnonzero(false <= (1 - least) * num_negative + _SLACK)
    return int(allowed[np.argmax(true[allowed])]) if len(allowed) else None


def parse_rule(rule: str) -> tuple[str, float]:
    """`sensitivity=0.9` as ("sensitivity", 0.9)."""
    name, _, least = rule.partition("=")
    assert name in ("sensitivity", "specificity"), rule
    return name, float(least)


def _midpoint(falling: Float, place: int) -> float:
    chosen, below = float(falling[place]), float(falling[place + 1])
    middle = (chosen + below) / 2
    return middle if middle > below else chosen
