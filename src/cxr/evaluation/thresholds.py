"""Operating points: the probability from which a finding is called present, chosen on validation rows."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, model_validator

from cxr.errors import CxrError
from cxr.patient_hash import NO_KEY, Hasher, find_hasher, hasher_from_environment

if TYPE_CHECKING:  # prediction without torch needs no tables either
    import pandas as pd

    from cxr.evaluation.predictions import Predictions

Float = npt.NDArray[np.float64]
Rule = str | float
"""`f1`, `youden`, `sensitivity=X`, `specificity=X`, or one probability for every finding."""

FALLBACK = 0.5
"""Threshold of a finding whose validation rows hold one class only, or no threshold that the rule accepts."""

GIVEN = "as given"
"""Rule of thresholds that a file states, by whatever rule they came into it."""

NO_THRESHOLD = "none"
"""Rule of raw scores, which have none."""

MIN_POSITIVE = 10
"""Positive images below which a chosen threshold is marked: it is little more than the score of one image."""

_SLACK = 1e-9  # rows; 0.9 x 10 counts as 9 rows, whatever its last digit as a float


@dataclass(frozen=True)
class Thresholds:
    """One threshold per finding (positive when p >= threshold), and where it comes from.

    Attributes:
        findings: C names.
        values: C thresholds in [0, 1].
        rule: `f1`, `youden`, `sensitivity=X`, `specificity=X`, `fixed 0.5`, GIVEN or
            NO_THRESHOLD.
        chosen_on: The rows it was chosen on, as `validation rows (112 images)`, or `not chosen: fixed`.
        fallback: Findings that got FALLBACK, since the rows hold no positive, no negative, or no fitting
            threshold.
        images: Hashed names (`hashed`) of the rows it was chosen on, so that a report knows
            when it evaluates the same.
        patient_key: Id of the key that hashed them; empty without one.
        sources: Names of the datasets that were joined in these rows, whose images are then also hashed as
            `source/image`; empty for one.
        num_positive: C times, positive images that it was chosen on; empty where that is not known.
    """

    findings: tuple[str, ...]
    values: tuple[float, ...]
    rule: str
    chosen_on: str
    fallback: tuple[str, ...] = ()
    images: frozenset[str] = frozenset()
    patient_key: str = ""
    sources: tuple[str, ...] = ()
    num_positive: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        assert len(self.findings) == len(self.values)

    @property
    def few(self) -> tuple[str, ...]:
        """As `Hernia (3)`: findings whose threshold was chosen on fewer than MIN_POSITIVE positive images."""
        return tuple(f"{name} ({num})" for name, num in self.few_positives.items())

    @property
    def few_positives(self) -> dict[str, int]:
        """As `few`, by finding; none where the numbers are not known, or no threshold was chosen."""
        if not self.is_chosen or not self.num_positive:
            return {}
        few = find_few(self.findings, self.num_positive)
        return {name: num for name, num in few.items() if name not in self.fallback}

    @property
    def is_chosen(self) -> bool:
        """Whether they were chosen on rows, rather than one number for every finding."""
        return not self.rule.startswith(("fixed", NO_THRESHOLD))


def find_few(findings: Sequence[str], num_positive: Sequence[int]) -> dict[str, int]:
    """The findings with fewer than MIN_POSITIVE positive images, and how many they have."""
    counts = zip(findings, num_positive, strict=True)
    return {name: num for name, num in counts if num < MIN_POSITIVE}


def choose(predictions: "Predictions", rule: Rule, chosen_on: str | None = None) -> Thresholds:
    """One threshold per finding, by a rule on these rows.

    Rules: the best F1; the best Youden's J (Youden 1950); the highest specificity with a sensitivity of at
    least X; the highest sensitivity with a specificity of at least X; one fixed number.

    Every distinct probability is tried. Of equally good ones the largest is taken, which calls the fewest
    rows positive. The threshold is the midpoint between it and the next lower probability (0 below the
    lowest): it decides these rows in the same way, and no decision depends on the last digits of a float.

    Args:
        predictions: Validation rows, never those that are to be evaluated.
        rule: See `Rule`; for a fixed probability the rows do not matter.
        chosen_on: Name of the rows for the report; `predictions.describe()` if not given.

    Raises:
        CxrError: A fixed number outside [0, 1].
    """
    if not isinstance(rule, str):
        return fixed(predictions.findings, rule)
    findings = predictions.findings
    best = [_best(predictions.y[:, c], predictions.p[:, c], rule) for c in range(len(findings))]
    rows, hasher = predictions.rows, hasher_from_environment()
    return Thresholds(
        findings=findings,
        values=tuple(FALLBACK if value is None else value for value in best),
        rule=rule,
        chosen_on=chosen_on or predictions.describe(),
        fallback=tuple(name for name, value in zip(findings, best, strict=True) if value is None),
        images=hashed({*own_names(rows), *rows["image"]}, hasher),
        patient_key=hasher.key_id,
        sources=_sources(rows),
        num_positive=tuple(int(num) for num in (predictions.y == 1).sum(axis=0)),
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
    values = (float(value),) * len(findings)
    return Thresholds(tuple(findings), values, rule=f"fixed {value:g}", chosen_on="not chosen: fixed")


def origin(thresholds: Thresholds) -> str:
    """How they were chosen and on what, as `best F1 on validation rows (560 images, 97 patients)`."""
    rule = thresholds.rule
    if rule == GIVEN:
        return f"{rule} {thresholds.chosen_on}"
    if rule == NO_THRESHOLD:
        return f"{rule}, as scores are raw"
    if rule.startswith("fixed"):
        return f"{rule} for every finding"
    words = {"f1": "best F1", "youden": "best Youden's J"}
    if rule not in words:
        name, least = parse_rule(rule)
        return f"{name} of at least {least:g} on {thresholds.chosen_on}"
    return f"{words[rule]} on {thresholds.chosen_on}"


def own_names(rows: "pd.DataFrame") -> "pd.Series[str]":
    """[N] image names as their dataset has them, without `source/` in front where datasets are joined."""
    if "source" not in rows.columns:
        return rows["image"]
    pairs = zip(rows["image"], rows["source"], strict=True)
    names = [image.removeprefix(f"{source}/") if source else image for image, source in pairs]
    import pandas as pd

    return pd.Series(names, dtype=str)


def hashed(images: Iterable[str], hasher: Hasher = NO_KEY) -> frozenset[str]:
    """The first 12 hex digits of each name's hash; without a key, a guessed name can be checked."""
    return frozenset(hasher.digest(name).hex()[:12] for name in images)


def count_shared(thresholds: Thresholds, rows: "pd.DataFrame") -> int | None:
    """How many of these images the thresholds were chosen on; None where another key hashed their names."""
    hasher = find_hasher(thresholds.patient_key)
    if hasher is None:
        return None
    if not thresholds.images:
        return 0
    names = list(own_names(rows))
    if thresholds.sources and "source" in rows.columns:
        # Joined datasets may have images of the same name: there an image counts under its full name alone.
        is_joined = rows["source"].isin(thresholds.sources)
        pairs = zip(names, rows["image"], is_joined, strict=True)
        names = [full if joined else name for name, full, joined in pairs]
    return sum(hashed([name], hasher) <= thresholds.images for name in names)


def _sources(rows: "pd.DataFrame") -> tuple[str, ...]:
    if "source" not in rows.columns:
        return ()
    return tuple(source for source in rows["source"].unique() if source)


def to_json(thresholds: Thresholds) -> str:
    """One line of JSON for a checkpoint; `from_json` gives the same thresholds back."""
    return json.dumps(asdict(thresholds) | {"images": sorted(thresholds.images)}, allow_nan=False)


class _Written(BaseModel):
    """What `to_json` writes; files of earlier versions have no patient_key, sources or num_positive."""

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
    num_positive: tuple[Annotated[int, Field(ge=0)], ...] = ()

    @model_validator(mode="after")
    def _one_per_finding(self) -> "_Written":
        if len(self.values) != len(self.findings):
            raise ValueError(f"{len(self.values)} thresholds for {len(self.findings)} findings")
        if len(self.num_positive) not in (0, len(self.findings)):
            raise ValueError(f"{len(self.num_positive)} counts for {len(self.findings)} findings")
        return self


def from_json(text: str) -> Thresholds:
    """The thresholds that `to_json` wrote.

    Raises:
        ValueError: Another text, or thresholds that are no probabilities.
    """
    written = _Written.model_validate_json(text)
    return Thresholds(**dict(written) | {"images": frozenset(written.images)})


def _best(y: Float, p: Float, rule: str) -> float | None:
    """The threshold of one finding for y, p [N]; None with one class only, or where none meets the rule."""
    known = ~np.isnan(y)
    order = np.argsort(-p[known])
    scores, positive = p[known][order], y[known][order] == 1  # both with falling scores
    num_positive = int(positive.sum())
    num_negative = len(positive) - num_positive
    if not num_positive or not num_negative:
        return None
    # [K] the last row of each distinct probability, down to which its threshold calls rows positive
    last = np.flatnonzero(np.append(scores[1:] != scores[:-1], True))
    # [K] true and false positives when all rows down to that one are called
    true = np.cumsum(positive)[last]
    false = last + 1 - true
    chosen = _choose(rule, true, false, num_positive, num_negative)
    if chosen is None:
        return None
    # [K + 1]: 0 follows, so that the lowest probability has a neighbour below it, too
    falling = np.append(scores[last], 0.0)
    return _midpoint(float(falling[chosen]), float(falling[chosen + 1]))


def _choose(rule: str, true: Float, false: Float, num_positive: int, num_negative: int) -> int | None:
    """The index of the best of K falling probabilities, the first of equals; None if none meets the rule.

    Args:
        rule: See `Rule`.
        true: [K] true positives when rows of at least each probability are called positive.
        false: [K] false positives likewise.
        num_positive: Positive rows.
        num_negative: Negative rows.
    """
    if rule == "f1":
        return int(np.argmax(2 * true / (true + false + num_positive)))
    if rule == "youden":  # J times num_positive * num_negative, in whole numbers so that ties are ties
        return int(np.argmax(true * num_negative - false * num_positive))
    name, least = parse_rule(rule)
    # the first that reaches it has the highest specificity; the last always reaches it
    if name == "sensitivity":
        return int(np.argmax(true >= least * num_positive - _SLACK))
    # false positives rise down the list: the allowed ones come first, and the last of them finds most
    allowed = np.flatnonzero(false <= (1 - least) * num_negative + _SLACK)
    return int(allowed[np.argmax(true[allowed])]) if len(allowed) else None


def parse_rule(rule: str) -> tuple[str, float]:
    """`sensitivity=0.9` as ("sensitivity", 0.9)."""
    name, _, least = rule.partition("=")
    assert name in ("sensitivity", "specificity"), rule
    return name, float(least)


def _midpoint(chosen: float, below: float) -> float:
    middle = (chosen + below) / 2
    return middle if middle > below else chosen  # neighbouring floats: rounding gives the lower again
