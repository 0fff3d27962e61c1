"""Scores that only rank images: what a report has of them, and what it leaves out."""

from dataclasses import replace

import numpy as np
import pandas as pd

from cxr.evaluation.metric_tables import METRICS, MICRO
from cxr.evaluation.operating import RANKED, Operating
from cxr.evaluation.predictions import Predictions
from cxr.evaluation.statistics.metrics import GROUP_METRICS
from cxr.evaluation.subgroups import Subgroups
from cxr.evaluation.thresholds import NO_THRESHOLD, Thresholds

_RANKING = ("auroc", "average_precision")
NOTE = "scores are raw (eval.scores=raw): they only rank, and what needs a probability or a threshold is n/a"


def rank_scores(predictions: Predictions) -> Predictions:
    """Each score as its rank among the scores of its finding, from 0 to 1; equal scores have equal ranks."""
    p = np.empty_like(predictions.p)
    for c in range(p.shape[1]):
        _, ranks = np.unique(predictions.p[:, c], return_inverse=True)
        # one distinct score has rank 0 alone, and 0 / 0 is no rank
        p[:, c] = ranks.ravel() / max(1, ranks.max(initial=0))
    return replace(predictions, p=p)


def no_thresholds(findings: tuple[str, ...]) -> Thresholds:
    """Those of raw scores: nothing is called."""
    return Thresholds(findings, (np.nan,) * len(findings), NO_THRESHOLD, "not chosen: scores are raw")


def keep_ranking(table: pd.DataFrame) -> pd.DataFrame:
    """A table of metrics without those that need a probability or a threshold, and without any of MICRO."""
    lost = [f"{name}{end}" for name in METRICS if name not in _RANKING for end in ("", "_low", "_high")]
    table = _blank(table, [*lost, "threshold"])
    is_micro = table["finding"] == MICRO  # scores of two findings have no common scale
    table.loc[is_micro, [name for name in METRICS if name in table]] = np.nan
    return table


def keep_ranking_points(found: Operating) -> Operating:
    """The operating points without thresholds; the other tables are empty."""
    keep = (
        "finding",
        "num",
        "num_positive",
        *(f"{name}{end}" for name in RANKED for end in ("", "_low", "_high")),
    )
    points = _blank(found.points, [str(name) for name in found.points if name not in keep])
    return Operating(points, found.predictive_values.iloc[:0], found.decision.iloc[:0])


def keep_ranking_groups(found: Subgroups) -> Subgroups:
    """Subgroups with AUROCs alone."""
    lost = [f"{name}{end}" for name in GROUP_METRICS for end in ("", "_low", "_high")]
    return found._replace(groups=_blank(found.groups, lost))


def _blank(table: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    """A copy in which these columns, where it has them, are undefined."""
    blanked = table.copy()
    for name in names:
        if name in blanked:
            is_whole = blanked[name].dtype == "Int64"
            blanked[name] = pd.array([None] * len(table), dtype="Int64") if is_whole else np.nan
    return blanked
