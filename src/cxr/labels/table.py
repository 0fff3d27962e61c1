"""What a source says (LabelTable), and the policies that turn it into targets and a mask."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from cxr.errors import CxrError
from cxr.findings import find_spelling
from cxr.labels.columns import ColumnUse

Float = npt.NDArray[np.float32]
Bool = npt.NDArray[np.bool_]
Uncertain = Literal["ignore", "zeros", "ones"] | tuple[float, float]
Blank = Literal["negative", "masked"]

NO_PATIENTS = (
    "the dataset names no patient: splits, leak checks and intervals are per image, as if none had two"
)
"""The warning of a check, a training and a report for a dataset that does not say whose its images are."""

ROW_COLUMNS = ("image", "path", "patient_id", "study_id", "view", "age", "sex", "split")
"""Columns every source fills: `image` is the source's own name, `path` the file below the root (empty if not found),
`split` what the archive says (train, val, test, train_val or empty)."""


@dataclass(frozen=True)
class LabelTable:
    """Every row a source lists, with its labels as the source says them; nothing is decided here.

    Attributes:
        source: The reader's name, such as `nih`.
        root: Folder that `rows.path` is relative to.
        rows: [N] ROW_COLUMNS as text, age in years as float (nan when unknown), sex `M`, `F` or empty.
        findings: C names, in the order of the columns of `raw`.
        raw: [N, C] float32 of 1 (present), 0 (absent), -1 (uncertain), nan (not said), or between 0 and 1 (soft).
        absent: (image, split) of each name that the archive's own lists hold and its label table does not.
        read_pixels: Grey pixels uint8 [H, W] of a `rows.path`, which is then a key and need not be a file; raises
            UnreadableImageError. None where paths are files.
        columns: What became of each column of the source's table.
        notes: What a reader of a check or a training must know, a line each.
        names_patients: False where the source names no patient, so that each image counts as one of its own.
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


@dataclass(frozen=True)
class Targets:
    """What the loss sees: y in [0, 1] and the mask of cells that count, both [N, C]."""

    findings: tuple[str, ...]
    y: Float
    mask: Bool


def resolve(
    table: LabelTable,
    findings: Sequence[str],
    uncertain: Uncertain | Mapping[str, Uncertain] = "ignore",
    blank: Blank = "negative",
    seed: int = 0,
) -> Targets:
    """Targets of the named findings under a policy for uncertain (-1) and blank (nan) cells.

    `ignore`, `zeros` and `ones` are U-Ignore, U-Zeros and U-Ones of Irvin et al. 2019; a range (low, high) draws each
    uncertain cell's target uniformly from it, once, from the seed (label smoothing, Pham et al. 2021). A mapping gives
    the policy of each finding, under `default` that of all others (`ignore` where it has none).

    Raises:
        CxrError: A finding that the source does not label.
    """
    columns = _columns(table, findings)
    raw = table.raw[:, columns]
    y = np.where(raw > 0, raw, np.float32(0))  # 1, or a soft label as it is
    mask = np.ones(raw.shape, dtype=np.bool_)
    draws = np.random.default_rng(seed).random(table.raw.shape, dtype=np.float32)[:, columns]
    for column, finding in enumerate(findings):
        unsure = raw[:, column] == -1
        policy = _policy(uncertain, finding)
        if policy == "ignore":
            mask[unsure, column] = False
        elif policy == "ones":
            y[unsure, column] = 1
        elif policy != "zeros":
            low, high = policy
            y[unsure, column] = low + (high - low) * draws[unsure, column]
    if blank == "masked":
        mask &= ~np.isnan(raw)
    y[~mask] = 0
    return Targets(tuple(findings), y, mask)


def _policy(uncertain: Uncertain | Mapping[str, Uncertain], finding: str) -> Uncertain:
    if isinstance(uncertain, Mapping):
        return uncertain.get(finding, uncertain.get("default", "ignore"))
    return uncertain


def _columns(table: LabelTable, findings: Sequence[str]) -> list[int]:
    own = [find_spelling(finding, table.findings) for finding in findings]
    unknown = [finding for finding, name in zip(findings, own, strict=True) if name is None]
    if unknown:
        raise CxrError(
            [f"data.findings: {table.root} has no labels for {finding!r}" for finding in unknown],
            f"it labels {', '.join(table.findings)}",
        )
    return [table.findings.index(name) for name in own if name is not None]


def count(targets: Targets) -> pd.DataFrame:
    """Per finding the number of positive, negative, soft (between 0 and 1) and masked cells."""
    y, mask = targets.y, targets.mask
    return pd.DataFrame(
        {
            "finding": targets.findings,
            "positive": ((y == 1) & mask).sum(axis=0),
            "negative": ((y == 0) & mask).sum(axis=0),
            "soft": ((y > 0) & (y < 1) & mask).sum(axis=0),
            "masked": (~mask).sum(axis=0),
        }
    )
