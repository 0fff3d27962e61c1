"""LabelTable: every row of a dataset, with its labels as the source says them."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from cxr.labels.columns import ColumnUse

Float = npt.NDArray[np.float32]

NO_PATIENTS = (
    "the dataset names no patient: splits, leak checks and intervals are per image, as if none had two"
)
"""The warning of a check, a training and a report for a dataset that does not say whose its images are."""

ROW_COLUMNS = ("image", "path", "patient_id", "study_id", "view", "age", "sex", "split")
"""Columns that every source fills: `image` is the source's name, `path` the file below the root (empty if not
found), `split` what the dataset says (train, val, test, train_val or empty)."""


@dataclass(frozen=True)
class LabelTable:
    """Every row that a source lists, with its labels as the source says them; nothing is decided here.

    Attributes:
        source: The reader's name, such as `nih`.
        root: Folder that `rows.path` is relative to.
        rows: [N] ROW_COLUMNS as text, age in years as float (nan when unknown), sex `M`, `F` or empty.
        findings: C names, in the order of the columns of `raw`.
        raw: [N, C] float32 of 1 (present), 0 (absent), -1 (uncertain), nan (blank), or between 0 and 1
        (soft).
        absent: (image, split) of each name that the dataset's lists hold and its label table does not.
        read_pixels: Grey pixels uint8 [H, W] of a `rows.path`, which is then a key and need not be a file;
            raises UnreadableImageError. None where paths are files.
        columns: What became of each column of the source's table.
        notes: What a reader of a check or a training must know, a line each.
        names_patients: False where the source names no patient, so that each image counts as a patient.
        where: FILE:LINE of a row, for errors while the table is read; None once rows are joined or selected.
    """

    source: str
    root: Path
    rows: pd.DataFrame
    findings: tuple[str, ...]
    raw: Float
    absent: tuple[tuple[str, str], ...] = ()
    read_pixels: Callable[[str], npt.NDArray[np.uint8]] | None = None
    columns: tuple[ColumnUse, ...] = ()
    notes: tuple[str, ...] = ()
    names_patients: bool = True
    where: Callable[[int], str] | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        assert self.raw.shape == (len(self.rows), len(self.findings))
        assert set(ROW_COLUMNS) <= set(self.rows.columns)

    def __len__(self) -> int:
        return len(self.rows)

    def select(self, keep: npt.NDArray[np.bool_] | npt.NDArray[np.intp]) -> "LabelTable":
        """The table of the rows that `keep` (a mask or indices) names, cells untouched."""
        rows = self.rows.iloc[keep].reset_index(drop=True)
        return replace(self, rows=rows, raw=self.raw[keep], where=None)
