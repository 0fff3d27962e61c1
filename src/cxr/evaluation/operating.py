"""Tables: operating points, predictive values at other prevalences, net benefit."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from cxr.evaluation.metric_tables import MEAN
from cxr.evaluation.predictions import Predictions
from cxr.evaluation.statistics import decision, metrics
from cxr.evaluation.statistics.bootstrap import Resampling
from cxr.evaluation.statistics.intervals import (
    NONE,
    Interval,
    UnitCounts,
    correlation_interval,
    count_units,
    effective_units,
    interval,
    mean_interval,
    real_interval,
)
from cxr.evaluation.statistics.metrics import Float, at_prevalence
from cxr.evaluation.statistics.operating import FALSE_RATES, Drawn, draw_operating, operating_points
from cxr.evaluation.statistics.rate_intervals import partial_interval, rate_intervals

SPECIFICITIES = {"sensitivity_at_90": 0.90, "sensitivity_at_95": 0.95}
"""Columns of the sensitivity where the ROC curve has this specificity."""
RANKED = (*SPECIFICITIES, "partial_auroc")
"""Metrics that no threshold and no probability is needed for."""
POINT_METRICS = ("balanced_accuracy", "mcc", "lr_positive", "lr_negative", *RANKED)
_AVERAGED = ("balanced_accuracy", "mcc", *RANKED)
POINT_COLUMNS = ("finding", "num", "num_positive", "threshold", "tp", "fp", "fn", "tn",
                 *(f"{name}{end}" for name in POINT_METRICS for end in ("", "_low", "_high")))  # fmt: skip


class Operating(NamedTuple):
    """The tables.

    Attributes:
        points: POINT_COLUMNS, one row per finding, then MEAN of those that are averages of shares.
        predictive_values: `finding`, `prevalence`, `ppv` and `npv`, each with `_low` and `_high`.
        decision: `finding`, `probability`, `net_benefit` with `_low` and `_high`, `treat_all`.
    """

    points: pd.DataFrame
    predictive_values: pd.DataFrame
    decision: pd.DataFrame


class _Finding(NamedTuple):
    """One finding's metrics of all rows, and their intervals."""

    name: str
    values: dict[str, float]
    intervals: dict[str, Interval]


def operating_tables(
    predictions: Predictions,
    thresholds: Float,
    resampling: Resampling | None,
    prevalences: Sequence[float],
) -> Operating:
    """The tables of these rows; without resampling there are no intervals.

    Args:
        predictions: Rows to evaluate.
        thresholds: [C].
        resampling: What is drawn.
        prevalences: At which predictive values are given.
    """
    y, p = predictions.y, predictions.p
    # 1. of all rows [C, 1], and cells [C, 4]; 2. the same of each draw [C, D]
    points, cells = operating_points(y, p, thresholds)
    drawn = draw_operating(y, p, thresholds, resampling) if resampling else None
    units = [count_units(y[:, c], p[:, c] >= thresholds[c], resampling) if resampling else None
             for c in range(y.shape[1])]  # fmt: skip
    # 3. each finding's values with their intervals
    every = [
        _measure(name, c, points, cells[c], drawn, units[c]) for c, name in enumerate(predictions.findings)
    ]
    # 4. the tables
    rows = []
    for c, found in enumerate(every):
        num, num_positive = metrics.count(y[:, c])
        counts = dict(zip(("tp", "fp", "fn", "tn"), map(int, cells[c]), strict=True))
        row = {"finding": found.name, "num": num, "num_positive": num_positive, "threshold": thresholds[c]}
        rows.append(row | counts | _columns(found.values, found.intervals))
    rows.append(
        _mean(every, drawn, len(predictions), effective_units(resampling.of_row) if resampling else 0.0)
    )
    whole = dict.fromkeys(("num", "num_positive", "tp", "fp", "fn", "tn"), "Int64")
    values = [_predictive_values(found, float(share), cells[c], units[c])
              for c, found in enumerate(every) for share in prevalences]  # fmt: skip
    names = ["finding", "prevalence", "ppv", "ppv_low", "ppv_high", "npv", "npv_low", "npv_high"]
    return Operating(
        pd.DataFrame(rows, columns=list(POINT_COLUMNS)).astype(whole),
        pd.DataFrame(values, columns=names),
        _decision_table(predictions, resampling, units),
    )


def _measure(
    name: str, c: int, points: Drawn, cells: Float, drawn: Drawn | None, units: UnitCounts | None
) -> _Finding:
    """Of the finding in column c, whose cells are TP, FP, FN, TN [4]."""
    values = {metric: float(rate[c, 0]) for metric, rate in points.rates.items()}
    values["partial_auroc"] = float(points.partial_auroc[c, 0])
    for metric, specificity in SPECIFICITIES.items():
        values[metric] = float(points.sensitivity[c, _place(specificity), 0])
    intervals: dict[str, Interval] = {}
    if drawn is not None and units is not None:
        num = units.rarer
        draws = {metric: rate[c] for metric, rate in drawn.rates.items()}
        intervals = rate_intervals(cells, draws, units)
        intervals["partial_auroc"] = partial_interval(values["partial_auroc"], drawn.partial_auroc[c], num)
        for metric, specificity in SPECIFICITIES.items():
            intervals[metric] = interval(values[metric], drawn.sensitivity[c, _place(specificity)], num)
    return _Finding(name, values, intervals)


def _place(specificity: float) -> int:
    """Where FALSE_RATES has this specificity."""
    return int(np.flatnonzero(np.isclose(FALSE_RATES, 1 - specificity))[0])  # 1 - 0.9 is 0.09999999999999998


def _columns(values: dict[str, float], intervals: dict[str, Interval]) -> dict[str, object]:
    columns: dict[str, object] = {}
    for name, value in values.items():
        low, high = intervals.get(name, NONE)
        columns |= {name: value, f"{name}_low": low, f"{name}_high": high}
    return columns


def _mean(every: Sequence[_Finding], drawn: Drawn | None, num: int, num_units: float) -> dict[str, object]:
    """The macro means over the findings whose metric is defined."""
    values, intervals = {}, {}
    for metric in _AVERAGED:
        # [C]
        each = np.array([found.values[metric] for found in every])
        defined = ~np.isnan(each)
        values[metric] = metrics.macro_mean(list(each))
        if drawn is None or not defined.any():
            continue
        if metric in SPECIFICITIES:
            draws = drawn.sensitivity[:, _place(SPECIFICITIES[metric])]
        else:
            draws = drawn.partial_auroc if metric == "partial_auroc" else drawn.rates[metric]
        # [D]; nan in a draw where one of them is undefined, so that all draws are over the same findings
        mean = draws[defined].mean(axis=0)
        if metric == "mcc":
            intervals[metric] = correlation_interval(values[metric], mean, num_units)
        elif metric == "partial_auroc":
            intervals[metric] = partial_interval(values[metric], mean, num_units)
        else:
            parts = [found.intervals.get(metric, NONE) for found in every]
            intervals[metric] = mean_interval(values[metric], mean, num_units, parts)
    return {"finding": MEAN, "num": num} | _columns(values, intervals)


def _predictive_values(
    found: _Finding, prevalence: float, cells: Float, units: UnitCounts | None
) -> dict[str, object]:
    """PPV and NPV of one finding where a share `prevalence` of the images is positive.

    Their odds are those of the prevalence times a likelihood ratio, and so are the ends of their intervals.
    """
    tp, fp, fn, tn = cells
    row: dict[str, object] = {"finding": found.name, "prevalence": prevalence}
    ppv = at_prevalence(tp, fn, fp, tn, prevalence)
    # NPV is PPV with the classes exchanged
    npv = at_prevalence(tn, fp, fn, tp, 1 - prevalence)
    odds = prevalence / (1 - prevalence)
    ends = {}
    for name, ratio in (("ppv", "lr_positive"), ("npv", "lr_negative")):
        # Bayes' rule: the prior odds times LR+ are the odds of a called image, times LR- of one not called.
        present = [odds * end / (1 + odds * end) for end in found.intervals.get(ratio, NONE)]
        # LR- gives how likely the finding is without a call; the NPV
        # is 1 less that, so its ends change places
        ends[name] = Interval(*present) if name == "ppv" else Interval(1 - present[1], 1 - present[0])
    if units is not None and ppv == 1:  # without a false positive there is no ratio
        ends["ppv"] = _bound_ppv(cells, prevalence, units)
    for name, value in (("ppv", ppv), ("npv", npv)):
        row |= {name: value, f"{name}_low": ends[name].low, f"{name}_high": ends[name].high}
    return row


def _bound_ppv(cells: Float, prevalence: float, units: UnitCounts) -> Interval:
    """Of a PPV of exactly 1: its specificity has an exact bound, its sensitivity is as it is."""
    tp, _, fn, _ = cells
    # At a point of 1 the bound depends on the number of patients alone, so that any draws will do.
    specificity = interval(1.0, np.ones(2), units.negative).low
    true = prevalence * tp / (tp + fn)
    return Interval(float(true / (true + (1 - prevalence) * (1 - specificity))), 1.0)


def _decision_table(
    predictions: Predictions, resampling: Resampling | None, units: Sequence[UnitCounts | None]
) -> pd.DataFrame:
    """Net benefit at each of PROBABILITIES; intervals by the patients of the rarer class."""
    y, p = predictions.y, predictions.p
    draws = decision.draw_net_benefit(y, p, resampling)[:, 0] if resampling else None  # [C, G, D]
    tables = []
    for c, finding in enumerate(predictions.findings):
        model, every = decision.net_benefit(y[:, c], p[:, c])
        found, bounds = units[c], [NONE] * len(model)
        if draws is not None and found is not None:
            pairs = zip(model, draws[c], strict=True)
            bounds = [real_interval(float(value), drawn, found.rarer) for value, drawn in pairs]
        columns = {
            "finding": finding,
            "probability": decision.PROBABILITIES,
            "net_benefit": model,
            "net_benefit_low": [each.low for each in bounds],
            "net_benefit_high": [each.high for each in bounds],
            "treat_all": every,
        }
        tables.append(pd.DataFrame(columns))
    return pd.concat(tables, ignore_index=True)
