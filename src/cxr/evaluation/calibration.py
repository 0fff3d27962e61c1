"""Whether probabilities are right, before and after recalibration, and reliability tables."""

from collections.abc import Mapping, Sequence

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
        # the error, and that of a perfect model with these probabilities, which chance keeps above 0
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
            # logit p / T is a line of slope 1 / T through 0
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
    # Metrics after recalibration have no intervals, so nothing is drawn.
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
    members: list[npt.NDArray[np.intp]] = []  # rows of each group
    for c, finding in enumerate(predictions.findings):
        known = np.flatnonzero(~np.isnan(predictions.y[:, c]))
        y, p = predictions.y[known, c], predictions.p[known, c]
        if not len(p):
            continue
        # Deciles; equal ones fall together, so that equal probabilities are always in one group.
        # The highest probability may be an edge, too: where many rows have it they are a group.
        edges = np.unique(np.quantile(p, np.linspace(0, 1, _RELIABILITY_BINS + 1)[1:-1]))
        group = np.searchsorted(edges, p, "right")
        for number in np.unique(group):
            inside = group == number
            # rows of the whole table: intervals are drawn by their patients
            members.append(known[inside])
            rows.append(
                {
                    "finding": finding,
                    "lowest": p[inside].min(),
                    "highest": p[inside].max(),
                    "num": int(inside.sum()),
                    "mean_probability": p[inside].mean(),
                    "positive": y[inside].mean(),
                    "num_positive": int(y[inside].sum()),
                }
            )
    columns = ["finding", "lowest", "highest", "num", "mean_probability", "positive", "num_positive"]
    # the labels of each group, then one draw of patients for all groups
    labels = [predictions.y[each, predictions.findings.index(str(row["finding"]))]
              for row, each in zip(rows, members, strict=True)]  # fmt: skip
    bounds = share_intervals(labels, members, resampling) if resampling and rows else [NONE] * len(rows)
    table = pd.DataFrame(rows, columns=columns)
    return table.assign(
        positive_low=[each.low for each in bounds], positive_high=[each.high for each in bounds]
    )


def share_intervals(
    labels: Sequence[Float], members: Sequence[npt.NDArray[np.intp]], resampling: Resampling
) -> list[Interval]:
    """Intervals of the share of positive rows in K groups of rows, by the patients in them.

    Args:
        labels: K times the labels, 1 or 0, of the rows of a group.
        members: K times these rows.
        resampling: Of all rows.
    """
    units = [resampling.of_row[rows] for rows in members]
    # [2 K, U] positive rows of each group and unit, then all of them; one product for all groups
    sums = [np.bincount(of, y, resampling.num_units) for of, y in zip(units, labels, strict=True)]
    sums += [np.bincount(of, minlength=resampling.num_units) for of in units]
    of_unit = np.array(sums)
    drawn = draw_columns(resampling, 1, lambda weights, _: list(of_unit @ weights))[0]  # [2 K, D]
    with np.errstate(invalid="ignore", divide="ignore"):
        # [K, D]; nan in a draw that has none of the group's patients
        shares = drawn[: len(labels)] / drawn[len(labels) :]
    return [
        interval(float(y.mean()), shares[place], effective_units(units[place]))
        for place, y in enumerate(labels)
    ]
