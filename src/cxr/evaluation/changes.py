"""AUROC of changed images beside the unchanged ones: paired differences, by finding and in the mean."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from cxr.evaluation.predictions import Predictions
from cxr.evaluation.statistics import metrics
from cxr.evaluation.statistics.bootstrap import Resampling, draw_auroc
from cxr.evaluation.statistics.difference import difference_interval
from cxr.evaluation.statistics.intervals import (
    NONE,
    Interval,
    effective_units,
    interval,
    mean_interval,
    rarer_units,
)
from cxr.evaluation.statistics.metrics import Float

UNCHANGED, MEAN = "unchanged", "mean"
COLUMNS = ("change", "finding", "num", "num_positive", "auroc", "auroc_low", "auroc_high", "drop", "drop_low",
           "drop_high", "kept")  # fmt: skip


def compare_changes(
    predictions: Predictions, changed: Mapping[str, Float], resampling: Resampling | None
) -> pd.DataFrame:
    """COLUMNS: for the unchanged images and for each change a row per finding, then the mean.

    `drop` is the AUROC of the unchanged images less that of the changed ones, in the same draws of patients;
    `kept` is the share of the AUROC above 0.5 that is left, and undefined where there was none. The mean is
    over the findings that have an AUROC.

    Args:
        predictions: Of the unchanged images.
        changed: By the name of the change, probabilities [N, C] of the same images.
        resampling: What is drawn; without it there are no intervals.
    """
    y = predictions.y
    before = Auroc(y, predictions.p, resampling)
    rows = _rows(UNCHANGED, predictions, before, before)
    for name, p in changed.items():
        rows += _rows(name, predictions, before, Auroc(y, p, resampling))
    whole = {"num": "Int64", "num_positive": "Int64"}
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(whole)


class Auroc:
    """The AUROCs of findings and of their mean, last: points [C + 1], intervals and draws [C + 1, D].

    `num_units` [C + 1] are the effective numbers of patients behind them.
    """

    def __init__(self, y: Float, p: Float, resampling: Resampling | None) -> None:
        by_finding = np.array([metrics.auroc(y[:, c], p[:, c]) for c in range(y.shape[1])])
        # [C] findings that the mean is over, in the point and in every draw
        defined = ~np.isnan(by_finding)
        self.points = np.append(by_finding, metrics.macro_mean(list(by_finding)))
        self.intervals: list[Interval] = [NONE] * len(self.points)
        self.draws = np.full((len(self.points), 0), np.nan)
        self.num_units = [np.nan] * len(self.points)
        if resampling is None or not defined.any():
            return
        drawn = draw_auroc(y, p, resampling)
        self.draws = np.vstack([drawn, drawn[defined].mean(axis=0)])
        by_class = [rarer_units(y[:, c], resampling) for c in range(y.shape[1])]
        self.num_units = [*by_class, effective_units(resampling.of_row)]
        parts = [interval(float(point), drawn[c], self.num_units[c]) for c, point in enumerate(by_finding)]
        mean = mean_interval(float(self.points[-1]), self.draws[-1], self.num_units[-1], parts)
        self.intervals = [*parts, mean]


def _rows(name: str, predictions: Predictions, before: Auroc, after: Auroc) -> list[dict[str, object]]:
    rows = []
    for place, finding in enumerate((*predictions.findings, MEAN)):
        # both in the same draws of patients, so that the difference of two draws is paired
        drop, bounds = before.points[place] - after.points[place], NONE
        if after.draws.shape[1] and before is not after:
            points = float(after.points[place]), float(before.points[place])
            draws = after.draws[place], before.draws[place]
            bounds = difference_interval(points, draws, before.num_units[place])
        is_mean = place == len(predictions.findings)
        num, num_positive = (len(predictions), None) if is_mean else metrics.count(predictions.y[:, place])
        gain = before.points[place] - 0.5
        # below 0.5 there is nothing that could be kept
        row = {"change": name, "finding": finding, "num": num, "num_positive": num_positive}
        row |= {"auroc": after.points[place], "auroc_low": after.intervals[place].low}
        row |= {"auroc_high": after.intervals[place].high, "drop": drop}
        row |= {"drop_low": bounds.low, "drop_high": bounds.high}
        rows.append(row | {"kept": (after.points[place] - 0.5) / gain if gain > 0 else np.nan})
    return rows
