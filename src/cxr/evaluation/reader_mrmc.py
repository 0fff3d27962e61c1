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
    rows: list[dict[str, object]] = []
    for c, finding in enumerate(predictions.findings):
        read = np.stack([reading.calls[:, c] for reading in readings], axis=1)  # [N, J]
        used = ~np.isnan(truth[:, c]) & ~np.isnan(read).any(axis=1)
        y, of_row = truth[used, c], resampling.of_row[used]
        raters = np.column_stack([calls[used, c], read[used]])  # [N, 1 + J]
        found = {name: call_results(name, y, raters, of_row, resampling.num_units) for name in CALL_METRICS}
        scores = [reading.scores[:, c] for reading in readings if reading.scores is not None]
        if len(scores) == len(readings):
            both = np.column_stack([predictions.p[used, c], *(score[used] for score in scores)])
            found["auroc"] = clustered(y, both, of_row, resampling.num_units)
        counts = {"finding": finding, "num": int(used.sum()), "num_positive": int((y == 1).sum())}
        for metric, results in found.items():
            head = counts | {"metric": metric, "num_readers": len(readings)}
            rows += _analyses(head, results, margin)
    table = pd.DataFrame(rows)
    table["p_holm"] = np.nan
    for _, group in table.groupby(["metric", "analysis"]):
        table.loc[group.index, "p_holm"] = holm(group["p"].to_numpy())
    return table[list(COLUMNS)].astype({"is_noninferior": "boolean"})


def _analyses(head: dict[str, object], results: Clustered, margin: float | None) -> list[dict[str, object]]:
    """A row for these readers and one for readers like these."""
    differences, covariance = differences_of(results)
    found = {
        FIXED: fixed_readers(differences, covariance, results.freedom, margin),
        RANDOM: random_readers(differences, covariance, margin),
    }
    sides = {"model": float(results.auroc[0]), "readers": float(results.auroc[1:].mean())}
    return [head | sides | {"analysis": name} | _columns(each, margin) for name, each in found.items()]


def _columns(found: Difference, margin: float | None) -> dict[str, object]:
    columns: dict[str, object] = found._asdict()
    columns["difference"] = columns.pop("value")
    is_tested = margin is not None and not np.isnan(found.low)
    is_noninferior = found.low > -margin if margin is not None and is_tested else None
    return columns | {"margin": margin if margin is not None else np.nan, "is_noninferior": is_noninferior}
