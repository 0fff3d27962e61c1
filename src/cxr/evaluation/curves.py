"""ROC and precision-recall curves of every finding as tables."""

from typing import NamedTuple

import pandas as pd

from cxr.evaluation.predictions import Predictions
from cxr.evaluation.statistics.bands import curve_bands
from cxr.evaluation.statistics.bootstrap import Resampling

_ROC = ("false_positive_rate", "sensitivity", "sensitivity_low", "sensitivity_high")
_PRECISION = ("recall", "precision", "precision_low", "precision_high")


class Curves(NamedTuple):
    """Curves on a grid of 100 steps, with pointwise intervals; findings of one class alone have none.

    Attributes:
        roc: `finding`, then the columns of _ROC.
        precision_recall: `finding`, then the columns of _PRECISION.
    """

    roc: pd.DataFrame
    precision_recall: pd.DataFrame


def curve_tables(predictions: Predictions, resampling: Resampling | None) -> Curves:
    """The curves of all findings; without resampling the intervals are nan."""
    tables: tuple[list[pd.DataFrame], list[pd.DataFrame]] = ([], [])
    for c, finding in enumerate(predictions.findings):
        bands = curve_bands(predictions.y[:, c], predictions.p[:, c], resampling)
        # A finding of one class alone has no bands: this zip then ends at once.
        for table, band, columns in zip(tables, bands or (), (_ROC, _PRECISION), strict=False):
            named = pd.DataFrame(dict(zip(columns, band, strict=True)))
            named.insert(0, "finding", finding)
            table.append(named)
    return Curves(*(_join(table, columns) for table, columns in zip(tables, (_ROC, _PRECISION), strict=True)))


def _join(tables: list[pd.DataFrame], columns: tuple[str, ...]) -> pd.DataFrame:
    if not tables:
        return pd.DataFrame(columns=["finding", *columns])
    return pd.concat(tables, ignore_index=True)
