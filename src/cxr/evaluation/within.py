"""AUROC within the groups of an attribute, such as the view, beside the AUROC over all images."""

from typing import NamedTuple

import numpy as np

from cxr.arrays import Bool
from cxr.evaluation.changes import MEAN, Auroc
from cxr.evaluation.group_metrics import MIN_OF_EACH_CLASS
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

COLUMNS = ("attribute", "finding", "num", "num_groups", "auroc", "auroc_low", "auroc_high", "within",
           "within_low", "within_high", "drop", "drop_low", "drop_high")  # fmt: skip


class _Within(NamedTuple):
    """A finding's groups, the mean of their AUROCs, its draws [D] and its interval."""

    finding: str
    num: int
    num_groups: int | None
    point: float
    draws: Float
    bounds: Interval


def compare_within(
    predictions: Predictions, attribute: str, resampling: Resampling | None
) -> list[dict[str, object]]:
    """COLUMNS: a row per finding, then the mean: the AUROC over all images beside that within groups.

    Within groups an image is compared with images of the same group alone: the mean of the groups' AUROCs,
    weighted by their numbers of pairs of a positive and a negative image. Groups with fewer than
    MIN_OF_EACH_CLASS patients of either class are left out of both AUROCs; a finding with fewer than two
    groups is left out. Nothing is returned where no finding is left.

    Args:
        predictions: Rows with the attribute as a column of text; empty is no group.
        attribute: The column.
        resampling: What is drawn; without it there are no intervals.
    """
    # finding by finding: a group may have enough patients for one and too few for another
    masks = {c: _groups(predictions, attribute, c, resampling) for c in range(len(predictions.findings))}
    used = [c for c, of_finding in masks.items() if len(of_finding) > 1]
    if not used:
        return []
    # 1. labels [N, K] of the images that are in a group; both AUROCs are of these
    y = np.stack([np.where(np.any(masks[c], axis=0), predictions.y[:, c], np.nan) for c in used], axis=1)
    p = predictions.p[:, used]
    overall = Auroc(y, p, resampling)
    # 2. within groups, then the mean of the findings
    found = [
        _within(predictions.findings[c], y[:, place], p[:, place], masks[c], resampling)
        for place, c in enumerate(used)
    ]
    found.append(_mean(found, len(predictions), resampling))
    # 3. the difference, in the same draws of patients
    rows: list[dict[str, object]] = []
    for place, within in enumerate(found):
        drop, of_drop = float(overall.points[place]) - within.point, NONE
        if resampling:
            points = within.point, float(overall.points[place])
            draws = within.draws, overall.draws[place]
            of_drop = difference_interval(points, draws, overall.num_units[place])
        values = (attribute, within.finding, within.num, within.num_groups, float(overall.points[place]),
                  *overall.intervals[place], within.point, *within.bounds, drop, *of_drop)  # fmt: skip
        rows.append(dict(zip(COLUMNS, values, strict=True)))
    return rows


def _groups(
    predictions: Predictions, attribute: str, column: int, resampling: Resampling | None
) -> list[Bool]:
    """Masks [N] of the groups with enough patients of both classes of a finding."""
    names = predictions.rows[attribute].to_numpy(dtype=str)
    units = resampling.of_row if resampling else np.arange(len(predictions))
    kept = []
    for name in np.unique(names[names != ""]):
        mask = names == name
        y = predictions.y[:, column]
        num_units = [len(np.unique(units[mask & (y == label)])) for label in (0, 1)]
        if min(num_units) >= MIN_OF_EACH_CLASS:
            kept.append(mask)
    return kept


def _within(finding: str, y: Float, p: Float, masks: list[Bool], resampling: Resampling | None) -> _Within:
    by_group = np.stack([np.where(mask, y, np.nan) for mask in masks], axis=1)  # [N, G]
    # [G] pairs of a positive and a negative image, which are what an AUROC is the share of
    pairs = np.array([(labels == 1).sum() * (labels == 0).sum() for labels in by_group.T], np.float64)
    weights = pairs / pairs.sum()
    # the share of pairs within groups that are ranked rightly
    point = float(weights @ np.array([metrics.auroc(labels, p) for labels in by_group.T]))
    draws, bounds = np.empty(0), NONE
    if resampling:
        # a finding's scores once for each group, so that each group is a column
        draws = weights @ draw_auroc(by_group, np.repeat(p[:, None], len(masks), axis=1), resampling)
        bounds = interval(point, draws, rarer_units(y, resampling))
    return _Within(finding, int((~np.isnan(y)).sum()), len(masks), point, draws, bounds)


def _mean(found: list[_Within], num: int, resampling: Resampling | None) -> _Within:
    # unweighted, as all means over findings
    point = float(np.mean([within.point for within in found]))
    draws = np.mean([within.draws for within in found], axis=0)
    bounds = NONE
    if resampling:
        parts = [within.bounds for within in found]
        bounds = mean_interval(point, draws, effective_units(resampling.of_row), parts)
    return _Within(MEAN, num, None, point, draws, bounds)
