"""Whether probabilities are right: temperature scaling fitted on validation rows, and reliability tables."""

import json
from dataclasses import asdict, dataclass
from typing import Annotated

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from cxr.evaluation.predictions import Predictions
from cxr.evaluation.statistics import metrics
from cxr.evaluation.statistics.metrics import Float

_RELIABILITY_BINS = 10
_MIN_TEMPERATURE, _MAX_TEMPERATURE = 0.02, 50.0
_TINY = 1e-12  # keeps logits of 0 and 1 finite


@dataclass(frozen=True)
class Temperatures:
    """One temperature per finding: above 1 the probabilities were overconfident, below 1 underconfident.

    Attributes:
        findings: C names.
        values: C temperatures, nan where the rows hold one class only.
        fitted_on: The rows, as `validation rows (112 images)`.
    """

    findings: tuple[str, ...]
    values: tuple[float, ...]
    fitted_on: str

    def apply(self, p: Float) -> Float:
        """Probabilities [N, C] with logits divided by the temperature; a nan temperature changes nothing."""
        scale = np.array([1.0 if np.isnan(value) else value for value in self.values])
        return _sigmoid(_logit(p) / scale)


def fit(predictions: Predictions, fitted_on: str | None = None) -> Temperatures:
    """Temperatures that minimise the log loss on these rows, for each finding alone (Guo et al. 2017).

    The search ends at 0.02 and 50: where scores separate the classes without error, the best temperature
    would be 0.
    """
    values = [_fit(predictions.y[:, c], predictions.p[:, c]) for c in range(len(predictions.findings))]
    return Temperatures(predictions.findings, tuple(values), fitted_on or predictions.describe())


def calibration_table(predictions: Predictions, temperatures: Temperatures | None) -> pd.DataFrame:
    """One row per finding: Brier score and expected calibration error, before and after scaling.

    Without temperatures, the columns of scaled probabilities are nan.
    """
    after = temperatures.apply(predictions.p) if temperatures else np.full_like(predictions.p, np.nan)
    rows = []
    for c, finding in enumerate(predictions.findings):
        y, p = predictions.y[:, c], predictions.p[:, c]
        scaled = temperatures is not None and not np.isnan(temperatures.values[c])
        rows.append(
            {
                "finding": finding,
                "brier": metrics.brier(y, p),
                "ece": metrics.calibration_error(y, p),
                "temperature": temperatures.values[c] if temperatures else np.nan,
                "brier_after": metrics.brier(y, after[:, c]) if scaled else np.nan,
                "ece_after": metrics.calibration_error(y, after[:, c]) if scaled else np.nan,
            }
        )
    return pd.DataFrame(rows)


def reliability_table(predictions: Predictions) -> pd.DataFrame:
    """At most ten groups of equally many rows per finding, by probability.

    Columns: finding, lowest, highest, num, mean_probability, positive (the share).
    """
    rows = []
    for c, finding in enumerate(predictions.findings):
        known = ~np.isnan(predictions.y[:, c])
        y, p = predictions.y[known, c], predictions.p[known, c]
        if not len(p):
            continue
        # Deciles; equal ones fall together, so that equal probabilities are always in one group.
        edges = np.unique(np.quantile(p, np.linspace(0, 1, _RELIABILITY_BINS + 1)))
        group = np.searchsorted(edges[1:-1], p, "right")
        for number in np.unique(group):
            members = group == number
            rows.append(
                {
                    "finding": finding,
                    "lowest": p[members].min(),
                    "highest": p[members].max(),
                    "num": int(members.sum()),
                    "mean_probability": p[members].mean(),
                    "positive": y[members].mean(),
                }
            )
    columns = ["finding", "lowest", "highest", "num", "mean_probability", "positive"]
    return pd.DataFrame(rows, columns=columns)


def to_json(temperatures: Temperatures) -> str:
    """One line of JSON for a checkpoint; `from_json` gives the same temperatures back."""
    values = [None if np.isnan(value) else value for value in temperatures.values]
    return json.dumps(asdict(temperatures) | {"values": values}, allow_nan=False)


class _Written(BaseModel):
    """What `to_json` writes."""

    model_config = ConfigDict(strict=True)
    findings: tuple[str, ...]
    values: tuple[Annotated[float, Field(gt=0, allow_inf_nan=False)] | None, ...]
    fitted_on: str


def from_json(text: str) -> Temperatures:
    """The temperatures that `to_json` wrote.

    Raises:
        ValueError: Another text, or temperatures that are not above 0.
    """
    written = _Written.model_validate_json(text)
    if len(written.values) != len(written.findings):
        raise ValueError(f"{len(written.values)} temperatures for {len(written.findings)} findings")
    values = tuple(np.nan if value is None else value for value in written.values)
    return Temperatures(written.findings, values, written.fitted_on)


def _fit(y: Float, p: Float) -> float:
    from scipy.optimize import brentq

    known = ~np.isnan(y)
    labels, logits = y[known], _logit(p[known])
    if not 0 < labels.sum() < len(labels):
        return np.nan

    def slope(log_temperature: float) -> float:
        """Falls through zero at the best temperature: the log loss is convex in 1 / temperature."""
        inverse = np.exp(-log_temperature)
        return float(np.dot(logits, _sigmoid(logits * inverse) - labels))

    # brentq needs a change of sign between the ends
    low, high = np.log(_MIN_TEMPERATURE), np.log(_MAX_TEMPERATURE)
    if slope(low) <= 0:
        return _MIN_TEMPERATURE
    if slope(high) >= 0:
        return _MAX_TEMPERATURE
    return float(np.exp(brentq(slope, low, high, xtol=1e-6)))


def _logit(p: Float) -> Float:
    inside = np.clip(p, _TINY, 1 - _TINY)
    logits: Float = np.log(inside / (1 - inside))
    return logits


def _sigmoid(logits: Float) -> Float:
    from scipy.special import expit

    p: Float = expit(logits)
    return p
