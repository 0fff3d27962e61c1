import numpy as np

from cxr.evaluation.cooccurrence import cooccurrence_table
from tests.helpers.predictions import draw_predictions


def test_pairs_are_counted_as_one_counts_them_by_hand() -> None:
    predictions = draw_predictions(150)
    thresholds = np.array([0.3, 0.4, 0.5])
    table = cooccurrence_table(predictions, thresholds).set_index(["finding", "other"])
    y, p = predictions.y, predictions.p
    for i, finding in enumerate(predictions.findings):
        for j, other in enumerate(predictions.findings):
            rows = [row for row in range(150) if y[row, i] == 1 and not np.isnan(y[row, j])]
            assert table.loc[(finding, other), "num"] == len(rows)
            assert table.loc[(finding, other), "num_both"] == sum(y[row, j] == 1 for row in rows)
            assert table.loc[(finding, other), "num_called"] == sum(
                p[row, j] >= thresholds[j] for row in rows
            )
