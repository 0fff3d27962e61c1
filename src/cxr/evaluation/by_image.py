"""The metrics of findings in one order of rows, and those of single images beside studies or patients."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from cxr.config.schema import Eval
from cxr.evaluation.metric_tables import finding_table, summary_table
from cxr.evaluation.predictions import Predictions
from cxr.evaluation.raw_scores import keep_ranking, rank_scores
from cxr.evaluation.statistics.bootstrap import Resampling, resampling_of
from cxr.evaluation.statistics.intervals import effective_units
from cxr.evaluation.statistics.metrics import Float
from cxr.evaluation.thresholds import Thresholds, count_shared


@dataclass(frozen=True)
class ByImage:
    """Metrics of single images beside those of studies or patients.

    Attributes:
        table: As that of `report.Report`.
        summary: Likewise.
        evaluated_on: The images.
        thresholds: Of images.
        optimistic: Whether they were chosen on these images.
    """

    table: pd.DataFrame
    summary: pd.DataFrame
    evaluated_on: str
    thresholds: Thresholds
    optimistic: bool


def score_images(images: Predictions, thresholds: Thresholds, config: Eval) -> ByImage:
    """The metrics of single images, at thresholds of images; their intervals are by patient too."""
    images = sort_and_rank(images)
    resampling, _ = resampling_of(images.rows, config)
    table, summary, _ = score_findings(images, thresholds, resampling, config.interval == "delong")
    is_optimistic = bool(count_shared(thresholds, images.rows))
    return ByImage(table, summary, images.describe(), thresholds, is_optimistic)


def sort_and_rank(predictions: Predictions) -> Predictions:
    """The rows by name, raw scores as ranks: sums of floats depend on their order in the last digits."""
    by_name = np.argsort(predictions.rows["image"].to_numpy(dtype=str), kind="stable")
    ordered = predictions.select(by_name)
    return rank_scores(ordered) if predictions.is_raw else ordered


def score_findings(
    predictions: Predictions, thresholds: Thresholds, resampling: Resampling | None, by_delong: bool
) -> tuple[pd.DataFrame, pd.DataFrame, Mapping[str, Float]]:
    """(a row per finding, the summary rows, the draws of each metric; none without resampling)."""
    table, draws = finding_table(predictions, thresholds, resampling, by_delong)
    num_units = effective_units(resampling.of_row) if resampling else 0.0
    summary = summary_table(predictions, thresholds, table, draws, num_units)
    if predictions.is_raw:
        table, summary = keep_ranking(table), keep_ranking(summary)
    return table, summary, draws
