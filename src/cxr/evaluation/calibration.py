"""Whether probabilities are right, before and after recalibration, and reliability tables."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd

from cxr.evaluation.predictions import Predictions
from cxr.evaluation.recalibration import Recalibration
from cxr.evaluation.statistics import calibration, metrics
from cxr.evaluation.statistics.bootstrap import Resampling, draw_columns
from cxr.evaluation.statistics.calibration import Calibration
from cxr.evaluation.statistics.intervals import (
    NONE,
    Interval,
    calibration_interval,
    count_units,
    effective_units,
    interval,
)
from cxr.evaluation.statistics.metrics import Float

_RELIABILITY_BINS = 10
AFTER = ("brier", "ece", "observed_expected", "log_loss")
"""Metrics that are given after recalibration too, as `brier_after`."""


def calibration_table(
    predictions: Predictions, recalibration: Recalibration | None, resampling: Resampling | None = None
) -> pd.DataFrame:
    """One row per finding; nan = undefined, and after recalibration where none was fitted.

    Columns: `finding`, `brier`, `ece`, `temperature` (of an old checkpoint), `brier_after`, `ece_after`; each
    of `Calibration`, with `_low` and `_high`; `ece_perfect` (of a perfect model with these probabilities),
    `ece_debiased`, `ece_debiased_perfect`; `fitted_intercept`, `fitted_slope`, `not_fitted` (the reason, or
    empty), `observed_expected_after`, `log_loss_after`.

    Args:
        predictions: The rows to evaluate.
        recalibration: Fitted on other rows.
        resampling: What is drawn for intervals.
    """
    y, p = predictions.y, predictions.p
    points, draws = calibration.measure(y, p, resampling)
    after = _measure_after(predictions, recalibration)
    rows = []
    for c, finding in enumerate(predictions.findings):
        errors = calibration.measure_errors(y[:, c], p[:, c])
        perfect = calibration.simulate_errors(y[:, c], p[:, c])
        row: dict[str, object] = {
            "finding": finding,
            "brier": metrics.brier(y[:, c], p[:, c]),
            "ece": errors.ece,
            "temperature": np.nan,
            "brier_after": after[c].get("brier", np.nan),
            "ece_after": after[c].get("ece", np.nan),
        }
        drawn = {name: values[c] for name, values in draws.items()}
        row |= _with_intervals(points[c], drawn, y[:, c], resampling)
        row |= {
            "ece_perfect": perfect.ece,
            "ece_debiased": errors.debiased,
            "ece_debiased_perfect": perfect.debiased,
        }
        row |= {"fitted_intercept": np.nan, "fitted_slope": np.nan, "not_fitted": ""}
        if recalibration is not None:
            intercept, slope = recalibration.intercepts[c], recalibration.slopes[c]
            if recalibration.is_temperature:
                row["temperature"] = 1 / slope
            row |= {"fitted_intercept": intercept, "fitted_slope": slope}
            row["not_fitted"] = recalibration.reasons[c]
        row |= {f"{name}_after": after[c].get(name, np.nan) for name in AFTER[2:]}
        rows.append(row)
    return pd.DataFrame(rows)


def _with_intervals(
    point: Calibration, draws: Mapping[str, Float], y: Float, resampling: Resampling | None
) -> dict[str, float]:
    """Each metric of one finding, followed by the ends of its interval."""
    row: dict[str, float] = {}
    units = count_units(y, y == 1, resampling) if resampling else None
    for name, value in point._asdict().items():
        low = high = np.nan
        if units is not None:
            low, high = calibration_interval(name, value, draws[name], units)
        row |= {name: value, f"{name}_low": low, f"{name}_high": high}
    return row


def _measure_after(predictions: Predictions, recalibration: Recalibration | None) -> list[dict[str, float]]:
    """C times AFTER of the calibrated probabilities; nothing of a finding without a fit."""
    if recalibration is None or not any(recalibration.is_fitted):
        return [{} for _ in predictions.findings]
    y, p = predictions.y, recalibration.apply(predictions.p)
    points, _ = calibration.measure(y, p, None)
    after = []
    for c, is_fitted in enumerate(recalibration.is_fitted):
        values = {
            "brier": metrics.brier(y[:, c], p[:, c]),
            "ece": metrics.calibration_error(y[:, c], p[:, c]),
            "observed_expected": points[c].observed_expected,
            "log_loss": points[c].log_loss,
        }
        after.append(values if is_fitted else {})
    return after


def reliability_table(predictions: Predictions, resampling: Resampling | None = None) -> pd.DataFrame:
    """At most ten groups of equally many rows per finding, by probability.

    Columns: finding, lowest, highest, num, mean_probability, positive (the share), num_positive, and the
    share's interval positive_low, positive_high, nan without resampling.
    """
    rows: list[dict[str, object]] = []
    for c, finding in enumerate(predictions.findings):
        known = ~np.isnan(predictions.y[:, c])
        y, p = predictions.y[known, c], predictions.p[known, c]
        if not len(p):
            continue
        # Deciles; equal ones fall together, so that equal probabilities are always in one group.
        # The highest probability may be an edge, too: where many rows have it they are a group.
        edges = np.unique(np.quantile(p, np.linspace(0, 1, _RELIABILITY_BINS + 1)[1:-1]))
        group = np.searchsorted(edges, p, "right")
        numbers = np.unique(group)
        intervals = share_intervals(y, group, known, numbers, resampling)
        for number, bounds in zip(numbers, intervals, strict=True):
            members = group == number
            rows.append(
                {
                    "finding": finding,
                    "lowest": p[members].min(),
                    "highest": p[members].max(),
                    "num": int(members.sum()),
                    "mean_probability": p[members].mean(),
                    "positive": y[members].mean(),
                    "num_positive": int(y[members].sum()),
                    "positive_low": bounds.low,
                    "positive_high": bounds.high,
                }
            )
    columns = ["finding", "lowest", "highest", "num", "mean_probability", "positive"]
    return pd.DataFrame(rows, columns=[*columns, "num_positive", "positive_low", "positive_high"])


def share_intervals(
    y: Float,
    group: npt.NDArray[np.intp],
    known: npt.NDArray[np.bool_],
    numbers: npt.NDArray[np.intp],
    resampling: Resampling | None,
) -> list[Interval]:
    """Intervals of the share of positive rows in each of the groups `numbers`, by the patients in them.

    Args:
        y: [K] labels of the known rows.
        group: [K] number of each one's group.
        known: [N] which rows these are.
        numbers: Of the groups.
        resampling: Of all N rows.
    """
    if resampling is None:
        return [NONE] * len(numbers)
    of_row = resampling.of_row[known]
    # [2 G, U] positive rows of each group and unit, then all of them
    sums = [np.bincount(of_row[group == g], y[group == g], resampling.num_units) for g in numbers]
    sums += [np.bincount(of_row[group == g], minlength=resampling.num_units) for g in numbers]
    of_unit = np.array(sums)
    drawn = draw_columns(resampling, 1, lambda weights, _: list(of_unit @ weights))[0]  # [2 G, D]
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = drawn[: len(numbers)] / drawn[len(numbers) :]
    return [
        interval(float(y[group == g].mean()), shares[place], effective_units(of_row[group == g]))
        for place, g in enumerate(numbers)
    ]
