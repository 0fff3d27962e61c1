"""A model against a panel of readers, over patients and readers (Obuchowski and Rockette 1995)."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from cxr.evaluation.differences import holm
from cxr.evaluation.predictions import Predictions
from cxr.evaluation.reader_files import Reading
from cxr.evaluation.statistics.bootstrap import Resampling
from cxr.evaluation.statistics.delong import Clustered, clustered
from cxr.evaluation.statistics.metrics import Float
from cxr.evaluation.statistics.mrmc import (
    CALL_METRICS,
    Difference,
    call_results,
    differences_of,
    fixed_readers,
    random_readers,
)

FIXED, RANDOM = "fixed readers", "random readers"
COLUMNS = ("finding", "metric", "analysis", "num", "num_positive", "num_readers", "model", "readers",
           "difference", "low", "high", "error", "freedom", "p", "p_holm", "margin", "p_noninferior",
           "is_noninferior")  # fmt: skip
_AIDED = {"model": "aided", "readers": "unaided"}
AIDED_COLUMNS = tuple(_AIDED.get(name, name) for name in COLUMNS)

Row = dict[str, object]


def compare_with_panel(
    predictions: Predictions,
    calls: Float,
    readings: Sequence[Reading],
    truth: Float,
    resampling: Resampling,
    margin: float | None,
) -> pd.DataFrame:
    """COLUMNS, a row per finding, metric and analysis; on images that all readers have read.

    Metrics of calls are those of CALL_METRICS; `auroc` is there where every reader gives scores. `readers` is
    the mean over readers, `difference` the model less that. `p_holm` is corrected over the findings. The
    model is non-inferior where the lower end of the 95 % interval is above the negative margin.

    Args:
        predictions: N rows.
        calls: [N, C] of the model.
        readings: J readers.
        truth: [N, C] ground truth, nan = unknown.
        resampling: Whose units are the patients.
        margin: Of non-inferiority; None for no such test.
    """
    model = Reading("model", calls, predictions.p)
    table = _compare(predictions.findings, [model], readings, truth, resampling, margin)
    return table.rename(columns={"first": "model", "second": "readers"})[list(COLUMNS)]


def compare_conditions(
    findings: Sequence[str],
    unaided: Sequence[Reading],
    aided: Sequence[Reading],
    truth: Float,
    resampling: Resampling,
    margin: float | None,
) -> pd.DataFrame:
    """AIDED_COLUMNS: the same readers with the model's help less without it; otherwise as above.

    Used are images that every reader has read twice.
    """
    table = _compare(findings, aided, unaided, truth, resampling, margin)
    return table.rename(columns={"first": "aided", "second": "unaided"})[list(AIDED_COLUMNS)]


def _compare(
    findings: Sequence[str],
    first: Sequence[Reading],
    second: Sequence[Reading],
    truth: Float,
    resampling: Resampling,
    margin: float | None,
) -> pd.DataFrame:
    """The rows of both tables: the first side, one rater or as many as the second has, less the second."""
    rows: list[Row] = []
    for c, finding in enumerate(findings):
        raters = [*first, *second]
        said = np.stack([rater.calls[:, c] for rater in raters], axis=1)  # [N, K]
        # [N] read by all: a covariance between raters needs the same images for each
        used = ~np.isnan(truth[:, c]) & ~np.isnan(said).any(axis=1)
        y, of_row, num_units = truth[used, c], resampling.of_row[used], resampling.num_units
        found = {name: call_results(name, y, said[used], of_row, num_units) for name in CALL_METRICS}
        scores = [rater.scores[used, c] for rater in raters if rater.scores is not None]
        if len(scores) == len(raters):
            found["auroc"] = clustered(y, np.stack(scores, axis=1), of_row, num_units)
        counts = {"finding": finding, "num": int(used.sum()), "num_positive": int((y == 1).sum())}
        for metric, results in found.items():
            head = counts | {"metric": metric, "num_readers": len(second)}
            rows += _analyses(head, results, len(first), margin)
    table = pd.DataFrame(rows)
    table["p_holm"] = np.nan
    # Holm's family is the findings, for each metric and analysis alone.
    for _, group in table.groupby(["metric", "analysis"]):
        table.loc[group.index, "p_holm"] = holm(group["p"].to_numpy())
    return table.astype({"is_noninferior": "boolean"})


def _analyses(head: Row, results: Clustered, num_first: int, margin: float | None) -> list[Row]:
    """A row for these readers and one for readers like these."""
    differences, covariance = differences_of(results, is_paired=num_first > 1)
    found = {
        FIXED: fixed_readers(differences, covariance, results.freedom, margin),
        RANDOM: random_readers(differences, covariance, margin),
    }
    sides = results.auroc[:num_first], results.auroc[num_first:]
    means = {name: float(side.mean()) for name, side in zip(("first", "second"), sides, strict=True)}
    return [head | means | {"analysis": name} | _columns(each, margin) for name, each in found.items()]


def _columns(found: Difference, margin: float | None) -> Row:
    columns: Row = found._asdict()
    columns["difference"] = columns.pop("value")
    is_tested = margin is not None and not np.isnan(found.low)
    is_noninferior = found.low > -margin if margin is not None and is_tested else None
    return columns | {"margin": margin if margin is not None else np.nan, "is_noninferior": is_noninferior}
