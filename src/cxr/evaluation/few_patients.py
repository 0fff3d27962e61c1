"""Notes on findings whose comparison rests on few patients of a class."""

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from cxr.evaluation.differences import Measured, findings_of_mean
from cxr.evaluation.statistics.intervals import MIN_UNITS

FEW = 20
"""Patients or images of the rarer class below which p-values are rough; measured in docs/statistics.md."""


def list_few(findings: Iterable[str], rarer: Iterable[float]) -> list[str]:
    """Findings with fewer than FEW of the rarer class, with their number, as `Hernia (3)`."""
    return [
        f"{name} ({num:.0f})" for name, num in zip(findings, np.floor(list(rarer)), strict=True) if num < FEW
    ]


def note_few(findings: Sequence[str], measured: Sequence[Measured], table: pd.DataFrame) -> list[str]:
    """Which findings have no p-value and which a rough one, and what the means are over.

    Args:
        findings: C names.
        measured: Of each model.
        table: Of the comparison; its last row is the mean. None of several runs of one recipe alone.
    """
    rarer = np.min([side.num_patients for side in measured], axis=0)  # [C] effective numbers
    has_enough, of_mean = rarer >= MIN_UNITS, findings_of_mean(*measured)
    notes = []
    if not has_enough.all():
        none = ", ".join(np.array(findings)[~has_enough])
        notes.append(
            f"no interval and no p-value, as fewer than {MIN_UNITS} patients hold one of the classes: {none}"
        )
        left = "have enough" if has_enough.any() else "have both classes"
        notes.append(f"the means are over the {of_mean.sum()} of {len(findings)} findings that {left}")
    few = list_few(np.array(findings)[has_enough], rarer[has_enough])
    if few:
        notes.append(
            f"fewer than {FEW} patients hold one of the classes, so p-values are rough: {', '.join(few)}"
        )
    if has_enough.any() and len(table) and table["auroc_low"].isna().iloc[-1]:
        rarest = findings[int(np.argmin(np.where(has_enough, rarer, np.inf)))]
        notes.append(
            "no interval of the mean AUROC: half of the draws or more leave one of its findings without a "
            f"class, as {rarest}"
        )
    return notes
