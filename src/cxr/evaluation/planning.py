"""How wide intervals would be among another number of patients, from the draws of a report."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from cxr.evaluation.metric_tables import MEAN
from cxr.evaluation.predictions import Predictions
from cxr.evaluation.statistics.bootstrap import Resampling
from cxr.evaluation.statistics.intervals import (
    NONE,
    Interval,
    UnitCounts,
    count_units,
    effective_units,
    interval,
    metric_interval,
)
from cxr.evaluation.statistics.metrics import Float

PLANNED = ("auroc", "average_precision", "sensitivity", "specificity")
PLANNED_COLUMNS = ("finding", "planned_patients", "evaluated_patients",
                   *(f"{name}_{end}" for name in PLANNED for end in ("low", "high", "width")))  # fmt: skip


def planned_table(
    predictions: Predictions,
    table: pd.DataFrame,
    draws: Mapping[str, Float],
    resampling: Resampling,
    num_planned: int,
) -> pd.DataFrame:
    """PLANNED_COLUMNS: the interval about today's metric that so many patients would be expected to give.

    The standard deviation of the draws shrinks with the root of the number of patients, and their effective
    number grows with it. Patients are taken to be like these: as many images, as often positive.

    Args:
        predictions: The evaluated rows.
        table: Of `finding_table`, with its summary rows below.
        draws: Of `finding_table`.
        resampling: What was drawn.
        num_planned: Patients (images, where these were drawn).
    """
    # how many times as many patients
    ratio = num_planned / resampling.num_units
    rows = []
    for c, finding in enumerate(predictions.findings):
        y, called = predictions.y[:, c], predictions.p[:, c] >= table["threshold"].iloc[c]
        units = count_units(y, called, resampling)
        # as many positive and negative images per patient as today
        more = UnitCounts(*(num * ratio for num in units))
        found = {}
        for name in PLANNED:
            point = float(table[name].iloc[c])
            found[name] = metric_interval(name, point, _shrink(point, draws[name][c], ratio), more)
        rows.append({"finding": finding} | _columns(found))
    mean = table[table["finding"] == MEAN].iloc[0]
    found = {}
    for name in PLANNED:
        # the mean is over these findings, in the point and in every draw
        defined = ~np.isnan(table[name].to_numpy()[: len(predictions.findings)])
        found[name] = NONE
        if defined.any():
            shrunk = _shrink(float(mean[name]), draws[name][defined].mean(axis=0), ratio)
            found[name] = interval(float(mean[name]), shrunk, effective_units(resampling.of_row) * ratio)
    rows.append({"finding": MEAN} | _columns(found))
    counts = {"planned_patients": num_planned, "evaluated_patients": resampling.num_units}
    return pd.DataFrame(rows).assign(**counts)[list(PLANNED_COLUMNS)]


def _shrink(point: float, draws: Float, ratio: float) -> Float:
    # standard errors fall with the root of the number of patients
    shrunk: Float = point + (draws - point) / np.sqrt(ratio)
    return shrunk


def _columns(intervals: Mapping[str, Interval]) -> dict[str, object]:
    columns: dict[str, object] = {}
    for name, (low, high) in intervals.items():
        columns |= {f"{name}_low": low, f"{name}_high": high, f"{name}_width": high - low}
    return columns
