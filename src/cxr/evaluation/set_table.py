"""What prediction sets hold on the rows that are evaluated, with intervals."""

import numpy as np
import pandas as pd

from cxr.evaluation.prediction_sets import PredictionSets
from cxr.evaluation.predictions import Predictions
from cxr.evaluation.statistics.bootstrap import Resampling, draw_columns
from cxr.evaluation.statistics.conformal import Limits, SetShares, set_shares, sum_sets
from cxr.evaluation.statistics.intervals import NONE, UnitCounts, count_units, interval, real_interval
from cxr.evaluation.statistics.metrics import Float

SET_COLUMNS = ("finding", "level", "num_positive_fitted", "num_negative_fitted", "lowest", "highest",
               *(f"{name}{end}" for name in SetShares._fields for end in ("", "_low", "_high")))  # fmt: skip


def set_table(predictions: Predictions, sets: PredictionSets, resampling: Resampling | None) -> pd.DataFrame:
    """SET_COLUMNS, a row per finding: the limits, then what the sets of these rows hold, with intervals."""
    limits = [Limits(*pair) for pair in zip(sets.lowest, sets.highest, strict=True)]
    y, p = predictions.y, predictions.p
    sums = [sum_sets(y[:, c], p[:, c], each) for c, each in enumerate(limits)]  # [6, N] each
    draws = _draw(sums, resampling) if resampling else None
    rows = []
    for c, finding in enumerate(predictions.findings):
        # [6] sums over all rows
        points = set_shares(sums[c].sum(axis=1))
        row: dict[str, object] = {
            "finding": finding,
            "level": sets.level,
            "num_positive_fitted": sets.num_positive[c],
            "num_negative_fitted": sets.num_negative[c],
            "lowest": limits[c].lowest,
            "highest": limits[c].highest,
        }
        for number, (name, value) in enumerate(points._asdict().items()):
            low, high = NONE
            if draws is not None and resampling is not None:
                units = count_units(y[:, c], y[:, c] == 1, resampling)
                low, high = _interval(name, float(value), draws[c, number], units)
            row |= {name: float(value), f"{name}_low": low, f"{name}_high": high}
        rows.append(row)
    return pd.DataFrame(rows, columns=list(SET_COLUMNS))


def _draw(sums: list[Float], resampling: Resampling) -> Float:
    """Each of `SetShares` in every draw [C, 6, D]."""
    # [6, U] sums of each finding: all shares are quotients of them
    by_unit = [
        np.stack([np.bincount(resampling.of_row, row, resampling.num_units) for row in rows]) for rows in sums
    ]
    return draw_columns(resampling, len(sums), lambda weights, c: set_shares(by_unit[c] @ weights))


def _interval(name: str, point: float, draws: Float, units: UnitCounts) -> tuple[float, float]:
    if name == "mean_size":
        # no share, so that it has no logit; its bounds are cut to what a size can be
        low, high = real_interval(point, draws, units.either)
        return max(low, 0.0), min(high, 2.0)
    kinds = {"coverage_positive": units.positive, "coverage_negative": units.negative}
    return interval(point, draws, kinds.get(name, units.either))
