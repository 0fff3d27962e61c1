"""Broader findings of a table of labels, such as Lung Opacity, from a model's narrower ones (TOGETHER)."""

from collections.abc import Collection, Sequence

import numpy as np
import numpy.typing as npt

from cxr.findings import TOGETHER, find, name_key
from cxr.labels import relabelled
from cxr.labels.sheet import Sheet

Float = npt.NDArray[np.float64]


def parts_of(name: str, findings: Sequence[str]) -> tuple[str, ...]:
    """The finding among `findings`, else the narrower ones that it may go by; nothing without any."""
    same = find(name, findings)
    if same:
        return (same,)
    narrower = next((parts for broader, parts in TOGETHER.items() if name_key(broader) == name_key(name)), ())
    known = (find(part, findings) for part in narrower)
    return tuple(part for part in known if part)


def any_label(labels: Float) -> Float:
    """[N] positive where any of [N, P] labels is, negative where all are, else unknown."""
    positive, negative = (labels == 1).any(axis=1), (labels == 0).all(axis=1)
    joined: Float = np.where(positive, 1.0, np.where(negative, 0.0, np.nan))
    return joined


def broader_names(sheet: Sheet) -> tuple[str, ...]:
    """The broader findings that a table of radiologists labels; none of any other table."""
    if relabelled.is_google(sheet):
        return tuple(name for name in relabelled.GOOGLE if name in TOGETHER)
    if relabelled.is_rsna(sheet):
        return (relabelled.OPACITY,)
    return ()


def add_broader(
    findings: tuple[str, ...], p: Float, names: Collection[str]
) -> tuple[tuple[str, ...], Float, list[str]]:
    """(findings, probabilities [N, C], notes) with a column for each name that the model knows in parts."""
    notes = []
    for name in names:
        parts = parts_of(name, findings)
        if not parts or find(name, findings):
            continue
        largest = p[:, [findings.index(part) for part in parts]].max(axis=1)
        findings, p = (*findings, name), np.column_stack([p, largest])
        notes.append(f"{name} has the largest of the probabilities of {', '.join(parts)}")
    return findings, p, notes
