"""Which findings stand on the same images, by the labels and by what is called."""

import numpy as np
import pandas as pd

from cxr.evaluation.predictions import Predictions
from cxr.evaluation.statistics.metrics import Float

COLUMNS = ("finding", "other", "num", "num_both", "num_called")


def cooccurrence_table(predictions: Predictions, thresholds: Float) -> pd.DataFrame:
    """A row for each ordered pair of findings, each with itself among them.

    Columns: `finding`, `other`; `num` images on which `finding` is positive and the label of `other` known;
    `num_both` on which both are positive; `num_called` on which `finding` is positive and `other` called.

    Args:
        predictions: Rows to evaluate.
        thresholds: [C] probabilities from which a finding is called.
    """
    y = predictions.y
    positive = (y == 1).astype(np.int64)  # [N, C]
    known = (~np.isnan(y)).astype(np.int64)
    called = (predictions.p >= thresholds).astype(np.int64)
    # [C, C] row: the finding that is positive; column: the other one
    num, num_both, num_called = positive.T @ known, positive.T @ positive, positive.T @ (called * known)
    rows = [
        (finding, other, num[i, j], num_both[i, j], num_called[i, j])
        for i, finding in enumerate(predictions.findings)
        for j, other in enumerate(predictions.findings)
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))
