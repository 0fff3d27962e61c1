"""AUROC by sex, age band, view or any other column: every group with its counts, its interval and the gap."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from cxr.errors import CxrError
from cxr.evaluation.predictions import Predictions
from cxr.evaluation.statistics import metrics
from cxr.evaluation.statistics.bootstrap import Resampling, draw_auroc
from cxr.evaluation.statistics.intervals import (
    NONE,
    Interval,
    behind,
    difference_interval,
    interval,
    mean_interval,
)

FEWEST = 10
"""Positive and negative rows below which a group has no figure: its AUROC would be noise."""
UNKNOWN = "unknown"
_BANDS = ((0, 19), (20, 39), (40, 59), (60, 79), (80, 150))
GROUP_COLUMNS = ("attribute", "group", "finding", "num", "num_positive", "auroc", "auroc_low", "auroc_high")
GAP_COLUMNS = ("attribute", "finding", "best", "worst", "gap", "gap_low", "gap_high")


class Subgroups(NamedTuple):
    """Both tables of a report.

    Attributes:
        groups: GROUP_COLUMNS, a row an attribute, group and finding, then `mean` over the findings that have a figure
            in every group of the attribute; nan where a group has fewer than FEWEST positive or negative rows.
        gaps: GAP_COLUMNS, a row an attribute and finding with at least two groups that have a figure: the highest
            less the lowest AUROC, with the interval of the difference between these two groups; the rows of which
            nothing is known are no group.
    """

    groups: pd.DataFrame
    gaps: pd.DataFrame


def subgroups(
    predictions: Predictions, attributes: Sequence[str], resampling: Resampling | None
) -> Subgroups:
    """AUROC in each group of each attribute, a column of `predictions.rows`; without resampling no intervals.

    Raises:
        CxrError: An attribute that is no column.
    """
    missing = [name for name in attributes if name not in predictions.rows.columns]
    if missing:
        columns = ", ".join(
            str(name) for name in predictions.rows.columns if name not in ("image", "patient_id")
        )
        problems = [f"eval.subgroups: no column {name!r}" for name in missing]
        raise CxrError(problems, f"the predictions have the columns {columns}")
    groups: list[dict[str, object]] = []
    gaps: list[dict[str, object]] = []
    for attribute in attributes:
        cells = [
            _Cell(predictions, name, own, resampling) for name, own in _groups(predictions.rows, attribute)
        ]
        if len(cells) < 2:
            continue
        everywhere = np.all([~np.isnan(cell.auroc) for cell in cells if cell.name != UNKNOWN], axis=0)
        for cell in cells:
            groups += [{"attribute": attribute, **row} for row in cell.rows(everywhere)]
        for column, finding in enumerate(predictions.findings):
            gaps += [{"attribute": attribute, "finding": finding, **row} for row in _gap(cells, column)]
    return Subgroups(
        pd.DataFrame(groups, columns=list(GROUP_COLUMNS)), pd.DataFrame(gaps, columns=list(GAP_COLUMNS))
    )


def age_band(age: float) -> str:
    """As `40-59`; the last band is `80+`."""
    if np.isnan(age):
        return UNKNOWN
    low, high = next((band for band in _BANDS if age < band[1] + 1), _BANDS[-1])
    return f"{low}-{high}" if (low, high) != _BANDS[-1] else f"{low}+"


class _Cell:
    """One group's figures: AUROC [C] and its draws [C, D], nan where there are too few rows."""

    def __init__(
        self, predictions: Predictions, name: str, own: npt.NDArray[np.bool_], resampling: Resampling | None
    ) -> None:
        y, p = np.where(own[:, None], predictions.y, np.nan), predictions.p
        columns = range(y.shape[1])
        self.name, self.findings, self.num_rows = name, predictions.findings, int(own.sum())
        self.counts = [metrics.count(y[:, c]) for c in columns]
        enough = [positive >= FEWEST and num - positive >= FEWEST for num, positive in self.counts]
        self.auroc = np.array([metrics.auroc(y[:, c], p[:, c]) if enough[c] else np.nan for c in columns])
        self.draws = np.full((len(columns), resampling.num_draws if resampling else 0), np.nan)
        self.bounds, self._num_patients = [NONE] * len(columns), 0
        if resampling and any(enough):
            self.draws[enough] = draw_auroc(y[:, enough], p[:, enough], resampling)
            patients = [behind(y[:, c], resampling).of("auroc") for c in columns]
            self.bounds = [
                interval(*each) for each in zip(self.auroc.tolist(), self.draws, patients, strict=True)
            ]
            self._num_patients = len(np.unique(resampling.of_row[own]))

    def rows(self, everywhere: npt.NDArray[np.bool_]) -> Iterator[dict[str, object]]:
        for c, finding in enumerate(self.findings):
            num, positive = self.counts[c]
            yield self._row(finding, num, positive, self.auroc[c], self.bounds[c])
        if everywhere.any() and not np.isnan(self.auroc[everywhere]).any():
            mean = float(self.auroc[everywhere].mean())
            own = [self.bounds[c] for c in np.flatnonzero(everywhere)]
            bounds = mean_interval(mean, self.draws[everywhere].mean(axis=0), self._num_patients, own)
            yield self._row("mean", self.num_rows, None, mean, bounds)

    def _row(
        self, finding: str, num: int, positive: int | None, auroc: float, bounds: Interval
    ) -> dict[str, object]:
        values = (self.name, finding, num, positive, auroc, *bounds)
        return dict(zip(GROUP_COLUMNS[1:], values, strict=True))


def _groups(rows: pd.DataFrame, attribute: str) -> list[tuple[str, npt.NDArray[np.bool_]]]:
    """(name, rows) of each group in order, the unknown last."""
    if attribute == "age":
        names = np.array([age_band(float(age)) for age in rows["age"]])
    else:
        names = rows[attribute].replace("", UNKNOWN).to_numpy(dtype=str)
    present = sorted(set(names), key=lambda name: (name == UNKNOWN, _number(name), name))
    return [(name, names == name) for name in present]


def _number(name: str) -> float:
    """Groups that begin with a number stand in its order."""
    digits = name.partition("-")[0].rstrip("+")
    return float(digits) if digits.isdigit() else np.inf


def _gap(cells: Sequence[_Cell], column: int) -> Iterator[dict[str, object]]:
    known = [cell for cell in cells if cell.name != UNKNOWN and not np.isnan(cell.auroc[column])]
    if len(known) < 2:
        return
    worst, *_, best = sorted(known, key=lambda cell: float(cell.auroc[column]))
    gap = float(best.auroc[column] - worst.auroc[column])
    low, high = difference_interval(gap, best.draws[column] - worst.draws[column])
    yield {"best": best.name, "worst": worst.name, "gap": gap, "gap_low": low, "gap_high": high}
