"""Do probabilities mean what they say: temperature scaling fitted on validation rows, and reliability tables."""

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
_COLDEST, _HOTTEST = 0.02, 50.0
_TINY = 1e-12


@dataclass(frozen=True)
class Temperatures:
    """One temperature a finding: above 1 the probabilities were too sure, below 1 not sure enough.

    Attributes:
        findings: C names.
        values: C temperatures, nan where the rows hold one class only.
        fitted_on: The rows, as `validation rows (112 images)`.
    """

    findings: tuple[str, ...]
    values: tuple[float, ...]
    fitted_on: str

    def apply(self, p: Float) -> Float:
        """Probabilities [N, C] with their logits divided by the temperature; a nan temperature changes nothing."""
        scale = np.array([1.0 if np.isnan(value) else value for value in self.values])
        return _sigmoid(_logit(p) / scale)


def fit(predictions: Predictions, fitted_on: str | None = None) -> Temperatures:
    """Temperatures that minimise the log loss on these rows, each finding by itself (Guo et al. 2017).

    The search ends at 0.02 and 50: rows that a finding separates without error would cool it for ever.
    """
    values = [_fit(predictions.y[:, c], predictions.p[:, c]) for c in range(len(predictions.findings))]
    return Temperatures(predictions.findings, tuple(values), fitted_on or predictions.describe())


def calibration_table(predictions: Predictions, temperatures: Temperatures | None) -> pd.DataFrame:
    """A row a finding: Brier score and expected calibration error before and, with temperatures, after scaling."""
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
    """At most ten groups of equally many rows a finding, by probability: how many were positive, how many expected.

    Columns: finding, lowest, highest, num, mean_probability, positive (the share).
    """
    rows = []
    for c, finding in enumerate(predictions.findings):
        known = ~np.isnan(predictions.y[:, c])
        y, p = predictions.y[known, c], predictions.p[known, c]
        edges = np.unique(np.quantile(p, np.linspace(0, 1, _RELIABILITY_BINS + 1))) if len(p) else np.zeros(0)
        group = np.searchsorted(edges[1:-1], p, "right")
        for number in np.unique(group):
            own = group == number
            rows.append(
                {
                    "finding": finding,
                    "lowest": p[own].min(),
                    "highest": p[own].max(),
                    "num": int(own.sum()),
                    "mean_probability": p[own].mean(),
                    "positive": y[own].mean(),
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
        ValueError: Not such a text, or temperatures that are none.
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

    low, high = np.log(_COLDEST), np.log(_HOTTEST)
    if slope(low) <= 0:
        return _COLDEST
    return _HOTTEST if slope(high) >= 0 else float(np.exp(brentq(slope, low, high, xtol=1e-6)))


def _logit(p: Float) -> Float:
    inside = np.clip(p, _TINY, 1 - _TINY)
    logits: Float = np.log(inside / (1 - inside))
    return logits


def _sigmoid(logits: Float) -> Float:
    from scipy.special import expit

    p: Float = expit(logits)
    return p
