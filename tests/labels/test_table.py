from pathlib import Path

import numpy as np

from cxr.labels.reading import make_rows
from cxr.labels.table import LabelTable


def test_selecting_rows_keeps_their_cells() -> None:
    rows = make_rows({"image": ["0.png", "1.png", "2.png"]})
    raw = np.array([[1, 0], [-1, 0], [np.nan, -1]], dtype=np.float32)
    table = LabelTable("table", Path("root"), rows, ("Mass", "Edema"), raw)
    chosen = table.select(np.array([2, 0]))
    assert chosen.rows["image"].tolist() == ["2.png", "0.png"]
    np.testing.assert_array_equal(chosen.raw, raw[[2, 0]])
