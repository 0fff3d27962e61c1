"""Calibrated probabilities: an intercept and a slope for each finding, fitted on validation rows."""

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from cxr.evaluation.prediction_sets import PredictionSets, WrittenSets, fit_sets
from cxr.evaluation.statistics import metrics
from cxr.evaluation.statistics.logistic import NO_LINE, Line, fit_line, logits, separate, sigmoid
from cxr.evaluation.statistics.metrics import Float
from cxr.evaluation.thresholds import MIN_POSITIVE, Thresholds

if TYPE_CHECKING:  # prediction without torch needs no tables and no keys of a config
    from cxr.config.schema import Eval
    from cxr.evaluation.predictions import Predictions

MIN_SLOPE, MAX_SLOPE = 0.02, 50.0
"""A slope outside is not used: the probabilities rank hardly or wrongly, or nearly separate the classes."""


@dataclass(frozen=True)
class Recalibration:
    """logit p' = intercept + slope logit p of each finding (Platt 1999, without his prior).

    Attributes:
        findings: C names.
        intercepts: C numbers, nan where there is no fit that can be used.
        slopes: C numbers above 0, nan likewise; below 1 the probabilities were too extreme.
        reasons: C times why there is none, as `3 positive images, fewer than 10`; empty where there is one.
        fitted_on: The rows, as `validation rows (112 images)`; empty where there were none.
        is_temperature: Read from an old checkpoint, which has a temperature 1 / slope alone: it cannot
            change how many positive images are expected without changing how sure the model is.
        sets: Prediction sets with a stated coverage, fitted on the same rows; None of an old checkpoint.
        num_images: C times how many images the line was fitted on, which bound p', see `margins`; empty of an
            old checkpoint, whose p' has no bounds.
    """

    findings: tuple[str, ...]
    intercepts: tuple[float, ...]
    slopes: tuple[float, ...]
    reasons: tuple[str, ...]
    fitted_on: str
    is_temperature: bool = False
    sets: PredictionSets | None = None
    num_images: tuple[int, ...] = ()

    @property
    def margins(self) -> Float:
        """[C] twice 1 / (n + 2), the least share that n images without a positive one speak for (Laplace)."""
        if not self.num_images:
            return np.zeros(len(self.findings))
        return 2 / (np.array(self.num_images, np.float64) + 2)

    @property
    def is_fitted(self) -> tuple[bool, ...]:
        """C times whether there is a fit."""
        return tuple(not reason for reason in self.reasons)

    @property
    def unfitted(self) -> tuple[str, ...]:
        """As `Hernia (3 positive images, fewer than 10)`: findings without a fit, with the reason.

        Findings of the same reason share it: `Edema, Mass (all probabilities are equal)`.
        """
        groups: dict[str, list[str]] = {}
        for finding, reason in zip(self.findings, self.reasons, strict=True):
            if reason:
                groups.setdefault(reason, []).append(finding)
        return tuple(f"{', '.join(findings)} ({reason})" for reason, findings in groups.items())

    def apply(self, p: Float) -> Float:
        """Calibrated probabilities [..., C]; those of a finding without a fit stay as they are."""
        fitted = np.array(self.is_fitted)
        # [..., C]; nan in columns without a fit, where np.where takes p itself
        calibrated = keep_inside(
            sigmoid(np.array(self.intercepts) + np.array(self.slopes) * logits(p)), self.margins
        )
        return np.where(fitted, calibrated, p)

    def apply_to_thresholds(self, thresholds: Thresholds) -> Thresholds:
        """Thresholds on calibrated probabilities that call the same images: a slope above 0 keeps order."""
        values = self.apply(np.array(thresholds.values))
        return replace(thresholds, values=tuple(float(value) for value in values))


def keep_inside(p: Float, margins: Float) -> Float:
    """Probabilities [..., C] of which those within a margin [C] of 0 or 1 move halfway to its end.

    So they end at half a margin, keep their order, and others stay as they are.
    """
    inside: Float = np.minimum(np.maximum(p, (p + margins) / 2), (p + 1 - margins) / 2)
    return inside


def no_recalibration(findings: tuple[str, ...]) -> Recalibration:
    """That of a model for which there are no validation rows."""
    missing, num = (np.nan,), len(findings)
    return Recalibration(findings, missing * num, missing * num, ("no validation images",) * num, "")


def fit(
    predictions: "Predictions", config: "Eval | None" = None, fitted_on: str | None = None
) -> Recalibration:
    """Lines of the highest likelihood on these rows, for each finding alone.

    None for a finding with fewer than 10 positive or 10 negative rows, without convergence, or whose slope is
    not between 0.02 and 50. Prediction sets have the coverage of the config.
    """
    from cxr.config.schema import Eval

    # each finding is fitted alone: one that fails does not stop the others
    pairs = [_fit(predictions.y[:, c], predictions.p[:, c]) for c in range(len(predictions.findings))]
    return Recalibration(
        predictions.findings,
        tuple(line.intercept for line, _ in pairs),
        tuple(line.slope for line, _ in pairs),
        tuple(reason for _, reason in pairs),
        fitted_on or predictions.describe(),
        sets=fit_sets(predictions, (config or Eval()).coverage),
        num_images=tuple(int(num) for num in np.sum(~np.isnan(predictions.y), axis=0)),
    )


def _fit(y: Float, p: Float) -> tuple[Line, str]:
    """(the line of one finding, why there is none)."""
    num, num_positive = metrics.count(y)
    for kind, found in (("positive", num_positive), ("negative", num - num_positive)):
        if found < MIN_POSITIVE:
            images = "image" if found == 1 else "images"
            return NO_LINE, f"{found} {kind} {images}, fewer than {MIN_POSITIVE}"
    known = ~np.isnan(y)
    # a logistic regression of the label on logit p
    line = fit_line(y[known], logits(p[known]))
    if line is None:
        return NO_LINE, _explain(y[known], p[known])
    if not MIN_SLOPE < line.slope < MAX_SLOPE:
        return NO_LINE, f"its slope of {line.slope:.3g} is not between {MIN_SLOPE:g} and {MAX_SLOPE:g}"
    return line, ""


def _explain(y: Float, p: Float) -> str:
    """Why no line is the best."""
    if p.min() == p.max():
        return "all probabilities are equal"
    if separate(y, p):
        return "probabilities separate the classes perfectly, so that ever steeper slopes fit ever better"
    return "the fit does not converge"


def note_unfitted(recalibration: Recalibration | None) -> list[str]:
    """A note on findings whose probabilities could not be calibrated; none without validation rows at all."""
    if recalibration is None or not recalibration.fitted_on or not recalibration.unfitted:
        return []
    on = f"on {recalibration.fitted_on}"
    groups = group_reasons(recalibration.findings, recalibration.reasons)
    reasons = "; ".join(f"{', '.join(findings)}: {reason}" for reason, findings in groups.items())
    return [f"no calibration could be fitted {on} for {reasons}"]


def group_reasons(findings: Sequence[str], reasons: Sequence[str]) -> dict[str, list[str]]:
    """The findings of each reason, as `Hernia (3)` of `fewer than 10 positive images`."""
    groups: dict[str, list[str]] = {}
    for finding, reason in zip(findings, reasons, strict=True):
        # the number goes to the finding, the words that several findings share stay in front
        few = re.fullmatch(r"(\d+) (\w+) images?, (fewer than \d+)", reason)
        steep = re.fullmatch(r"its slope of (\S+) is (not between .*)", reason)
        if few:
            groups.setdefault(f"{few[3]} {few[2]} images", []).append(f"{finding} ({few[1]})")
        elif steep:
            groups.setdefault(f"the slope is {steep[2]}", []).append(f"{finding} ({steep[1]})")
        elif reason:
            groups.setdefault(reason, []).append(finding)
    return groups


def to_json(recalibration: Recalibration) -> str:
    """One line of JSON for a checkpoint; `from_json` gives the same back."""
    # JSON has no nan; allow_nan=False would raise
    numbers = {name: [None if np.isnan(value) else value for value in getattr(recalibration, name)]
               for name in ("intercepts", "slopes")}  # fmt: skip
    return json.dumps(asdict(recalibration) | numbers, allow_nan=False)


class _Written(BaseModel):
    """What `to_json` writes."""

    model_config = ConfigDict(strict=True)
    findings: tuple[str, ...]
    intercepts: tuple[Annotated[float, Field(allow_inf_nan=False)] | None, ...]
    slopes: tuple[Annotated[float, Field(gt=0, allow_inf_nan=False)] | None, ...]
    reasons: tuple[str, ...]
    fitted_on: str
    is_temperature: bool
    sets: WrittenSets | None = None
    num_images: tuple[Annotated[int, Field(ge=0)], ...] = ()

    @model_validator(mode="after")
    def _one_per_finding(self) -> "_Written":
        if self.sets is not None and len(self.sets.lowest) != len(self.findings):
            raise ValueError(f"prediction sets of {len(self.sets.lowest)} of {len(self.findings)} findings")
        per_finding = ("intercepts", "slopes", "reasons", *(("num_images",) if self.num_images else ()))
        for name in per_finding:
            if len(getattr(self, name)) != len(self.findings):
                raise ValueError(f"{len(getattr(self, name))} {name} for {len(self.findings)} findings")
        for finding, *numbers, reason in zip(
            self.findings, self.intercepts, self.slopes, self.reasons, strict=True
        ):
            # without a fit there are no numbers and a reason, with one both numbers and no reason
            if any((number is None) != bool(reason) for number in numbers):
                raise ValueError(f"{finding} has a calibration and a reason to have none, or neither")
        return self


class _Temperatures(BaseModel):
    """What earlier versions wrote: a temperature of each finding, null with one class only."""

    model_config = ConfigDict(strict=True)
    findings: tuple[str, ...]
    values: tuple[Annotated[float, Field(gt=0, allow_inf_nan=False)] | None, ...]
    fitted_on: str

    def as_recalibration(self) -> Recalibration:
        """Slopes of 1 / temperature; those at the ends of the search, 0.02 and 50, are not used."""
        if len(self.values) != len(self.findings):
            raise ValueError(f"{len(self.values)} temperatures for {len(self.findings)} findings")
        reasons = tuple(map(_refuse_temperature, self.values))
        slopes = [np.nan if reason else 1 / (value or 1)
                  for value, reason in zip(self.values, reasons, strict=True)]  # fmt: skip
        intercepts = [np.nan if reason else 0.0 for reason in reasons]
        return Recalibration(
            self.findings, tuple(intercepts), tuple(slopes), reasons, self.fitted_on, is_temperature=True
        )


def _refuse_temperature(value: float | None) -> str:
    """Why a temperature is not used; empty where it is."""
    if value is None:
        return "one class only"
    if not MIN_SLOPE < value < MAX_SLOPE:  # the same bounds for the slope, which is 1 / temperature
        return f"its temperature ended at the bound of {value:g}"
    return ""


def from_json(text: str) -> Recalibration:
    """What `to_json` wrote, or the temperatures of an earlier version.

    Raises:
        ValueError: Another text, or numbers that are none.
    """
    try:
        content = json.loads(text)
    except ValueError as error:
        raise ValueError(f"invalid JSON: {error}") from None
    # `values` are the temperatures of earlier versions
    if isinstance(content, dict) and "values" in content:
        return _Temperatures.model_validate_json(text).as_recalibration()
    written = _Written.model_validate_json(text)
    numbers = {name: tuple(np.nan if value is None else value for value in getattr(written, name))
               for name in ("intercepts", "slopes")}  # fmt: skip
    sets = PredictionSets(**dict(written.sets)) if written.sets is not None else None
    return Recalibration(**dict(written) | numbers | {"sets": sets})
