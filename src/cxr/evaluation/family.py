"""More than two models on the same images: every pair, or each against one, as one family of tests."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd

from cxr.config.schema import Eval
from cxr.evaluation.compare import Compared, Comparison, align_sides, compare_sides
from cxr.evaluation.differences import holm
from cxr.evaluation.predictions import Predictions

MOST_MODELS = 26
"""Each has a letter."""


@dataclass(frozen=True)
class Family:
    """Comparisons of k models.

    Attributes:
        names: Of the models, in their order.
        reference: Place of the model that each other is compared with; None where every pair is compared.
        comparisons: One for each pair.
        pairs: Places of the two models of each.
        table: `a`, `b` (names), the columns of each comparison's table, and `auroc_p_family`: `auroc_p`
            corrected by Holm over all findings of all pairs, in rows `mean` over the means of all pairs.
        evaluated_on: The rows.
        intervals: How intervals were made.
        notes: What a reader must know.
        warnings: In what else than the models they differ.
        curves: The rows of each model, for figures.
    """

    names: tuple[str, ...]
    reference: int | None
    comparisons: tuple[Comparison, ...]
    pairs: tuple[tuple[int, int], ...]
    table: pd.DataFrame
    evaluated_on: str
    intervals: str
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    curves: tuple[Predictions, ...]

    @property
    def tests(self) -> str:
        """Which tests are one family."""
        against = "every pair" if self.reference is None else f"each model against {letter(self.reference)}"
        return f"{against}, {len(self.pairs)} comparisons"


def letter(place: int) -> str:
    """A, B, C, ... of a model."""
    return chr(ord("A") + place)


def compare_family(models: Sequence[Compared], config: Eval, reference: int | None = None) -> Family:
    """The comparisons of these models on the images and findings that all of them predict.

    Args:
        models: Up to MOST_MODELS.
        config: Its interval, draws and seed are used.
        reference: Place of the model that each other is compared with; every pair where not given.

    Raises:
        CxrError: As `compare.compare`.
    """
    assert 2 <= len(models) <= MOST_MODELS
    # one set of rows and one set of draws for all: intervals of different pairs can be compared
    sides, resampling, notes = align_sides(models, config)
    places = range(len(models))
    # k (k - 1) / 2 pairs, or k - 1
    if reference is None:
        pairs = tuple(combinations(places, 2))
    else:
        pairs = tuple((reference, place) for place in places if place != reference)
    comparisons = tuple(compare_sides(sides[a], sides[b], resampling, notes) for a, b in pairs)
    tables = [
        found.table.assign(a=found.names[0], b=found.names[1])[["a", "b", *found.table.columns]]
        for found in comparisons
    ]
    table = pd.concat(tables, ignore_index=True)
    return Family(
        names=tuple(model.name for model in models),
        reference=reference,
        comparisons=comparisons,
        pairs=pairs,
        table=table.assign(auroc_p_family=_correct(table)),
        evaluated_on=sides[0].predictions.describe(),
        intervals=resampling.describe(),
        notes=tuple(dict.fromkeys(note for found in comparisons for note in found.notes)),
        warnings=tuple(
            f"{letter(b)} against {letter(a)}: {warning}"
            for (a, b), found in zip(pairs, comparisons, strict=True)
            for warning in found.warnings
        ),
        curves=tuple(side.predictions for side in sides),
    )


def _correct(table: pd.DataFrame) -> np.ndarray:
    """P-values of AUROC corrected by Holm, those of findings and those of means each as one family."""
    p, is_mean = table["auroc_p"].to_numpy(np.float64), (table["finding"] == "mean").to_numpy()
    corrected = np.full(len(p), np.nan)
    # the means of all pairs, then the findings of all pairs: two questions, two families
    for rows in (is_mean, ~is_mean):
        corrected[rows] = holm(p[rows])
    return corrected
