"""Two models on the same images: differences, paired intervals, p-values, Holm's correction over findings."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from cxr.config.schema import Eval
from cxr.errors import CxrError
from cxr.evaluation.align import align
from cxr.evaluation.differences import (
    AT_90,
    METRICS,
    ByMetric,
    Measured,
    compare_metric,
    findings_of_mean,
    holm,
    measure,
)
from cxr.evaluation.few_patients import note_few
from cxr.evaluation.predictions import Predictions
from cxr.evaluation.statistics import delong, metrics
from cxr.evaluation.statistics.bootstrap import Resampling, resampling_of
from cxr.evaluation.statistics.difference import Difference
from cxr.evaluation.statistics.metrics import Float
from cxr.evaluation.statistics.power import detectable_difference
from cxr.evaluation.thresholds import Thresholds, origin

MADE = ("pixels", "views", "test-time augmentation")
"""Keys of a report's `about` in which two models may differ although their images have the same names."""
_LATER = ("average_precision", "brier", AT_90)
"""Metrics whose columns follow those of AUROC and F1."""


@dataclass(frozen=True)
class Compared:
    """One of the two models: its name, predictions, operating points, and what a reader must know.

    Attributes:
        made: (key, value) pairs of MADE, as far as they are known.
    """

    name: str
    predictions: Predictions
    thresholds: Thresholds
    notes: tuple[str, ...] = ()
    made: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Comparison:
    """B against A, on the same images or, unpaired, on others.

    Attributes:
        names: Of A and B.
        table: One row per finding and a last one `mean`; of each metric X in METRICS `X_a`, `X_b`,
            `X_difference` (B less A), `X_low`, `X_high` (its 95 % interval), `X_p` (two-sided), `X_p_holm`
            (corrected over the findings). `auroc_p` is that of DeLong's test by patient (Obuchowski 1997), as
            are `delong_p` and `delong_p_holm`; the others and `auroc_p_bootstrap` are by Student's test with
            the standard deviation of the draws, as the intervals are. Row `mean` is over `findings_of_mean`.
            `auroc_error` is the standard error of its difference, `auroc_detectable` the difference that is
            found in 80 % of such test sets.
        evaluated_on: The rows.
        intervals: How intervals were made.
        notes: What a reader must know.
        unlike_thresholds: The thresholds of one model were chosen on rows and those of the other were not, so
            that their F1 differs for that alone.
        warnings: In what else than the models both sides differ, to be read before any p-value.
        curves: The rows of A and of B, for figures.
        is_paired: Whether they are the same images.
    """

    names: tuple[str, str]
    table: pd.DataFrame
    evaluated_on: str
    intervals: str
    notes: tuple[str, ...]
    unlike_thresholds: bool = False
    warnings: tuple[str, ...] = ()
    curves: tuple[Predictions, ...] = ()
    is_paired: bool = True


class Side(NamedTuple):
    """One model on the rows that are compared."""

    model: Compared
    predictions: Predictions
    measured: Measured


def compare(a: Compared, b: Compared, config: Eval) -> Comparison:
    """The comparison of two models on the images and findings that both predict; undefined metrics are nan.

    Raises:
        CxrError: No image or finding in common, labels or patients of an image that differ, or no paired
            intervals.
    """
    (first, second), resampling, notes = align_sides((a, b), config)
    return compare_sides(first, second, resampling, notes)


def align_sides(models: Sequence[Compared], config: Eval) -> tuple[list[Side], Resampling, list[str]]:
    """(the models on their common images and findings, with the draws of all; what was drawn; notes).

    Raises:
        CxrError: As `compare`.
    """
    refuse_intervals(config)
    aligned, notes = align([(model.name, model.predictions) for model in models])
    resampling, resampling_notes = resampling_of(aligned[0].rows, config)
    if resampling is None:
        names = " and ".join(model.name for model in models)
        raise CxrError(f"{names}: {'; '.join(resampling_notes)}", "compare on more patients")
    # One resampling for all: draw d holds the same patients, so that differences are paired.
    sides = [
        Side(model, rows, measure(rows, thresholds_of(model, rows.findings), resampling))
        for model, rows in zip(models, aligned, strict=True)
    ]
    return sides, resampling, [*notes, *resampling_notes]


def refuse_intervals(config: Eval) -> None:
    """Refuse intervals without draws.

    Raises:
        CxrError: They are DeLong's, or none.
    """
    if config.interval not in ("patients", "images"):
        raise CxrError(
            f"eval.interval: {config.interval} gives no paired intervals", "use patients or images"
        )


def compare_sides(a: Side, b: Side, resampling: Resampling, notes: Sequence[str]) -> Comparison:
    """The comparison of two of `align_sides`."""
    rows = a.predictions  # rows, findings and labels are the same in both
    origins, is_unlike = describe_thresholds(a.model, b.model)
    table = comparison_table(a, b, _delong(a, b, resampling))
    few = note_few(rows.findings, (a.measured, b.measured), table)
    return Comparison(
        names=(a.model.name, b.model.name),
        table=table,
        evaluated_on=rows.describe(),
        intervals=resampling.describe(),
        notes=(*a.model.notes, *b.model.notes, *notes, *few, *origins),
        unlike_thresholds=is_unlike,
        warnings=tuple(_find_differences(a.model, b.model)),
        curves=(a.predictions, b.predictions),
    )


def comparison_table(a: Side, b: Side, tests: Sequence[Difference], is_paired: bool = True) -> pd.DataFrame:
    """The table of a Comparison.

    Args:
        a: The first model.
        b: The second.
        tests: C + 1 tests of the AUROC, the last that of the mean.
        is_paired: Whether both are of the same patients.
    """
    rows = a.predictions
    counts = [metrics.count(rows.y[:, c]) for c in range(len(rows.findings))]
    columns: dict[str, object] = {
        "finding": [*rows.findings, "mean"],
        "num": pd.array([num for num, _ in counts] + [len(rows)], dtype="Int64"),
        "num_positive": pd.array([positive for _, positive in counts] + [None], dtype="Int64"),
    }
    of_mean = findings_of_mean(a.measured, b.measured)
    compared = {name: compare_metric(name, a.measured, b.measured, of_mean, is_paired) for name in METRICS}
    # AUROC has the p-values of DeLong's test by patient; those of its draws get a column of their own below
    p_values = {name: compared[name].p for name in METRICS} | {"auroc": np.array([test.p for test in tests])}
    for name in ("auroc", "f1"):
        columns |= _columns(name, compared[name], p_values[name])
    columns |= {"delong_p": columns["auroc_p"], "delong_p_holm": columns["auroc_p_holm"]}
    columns["auroc_p_bootstrap"] = compared["auroc"].p
    for name in _LATER:
        columns |= _columns(name, compared[name], p_values[name])
    columns["auroc_error"] = [test.error for test in tests]
    columns["auroc_detectable"] = [detectable_difference(test.error, test.freedom) for test in tests]
    return pd.DataFrame(columns)


def _columns(name: str, compared: ByMetric, p: Float) -> dict[str, object]:
    columns: dict[str, object] = {f"{name}_{part}": values for part, values in compared.columns.items()}
    # the last is the mean: one comparison, which Holm's correction leaves as it is
    return columns | {f"{name}_p": p, f"{name}_p_holm": np.append(holm(p[:-1]), np.nan)}


def describe_thresholds(a: Compared, b: Compared) -> tuple[list[str], bool]:
    """(notes on where the thresholds of both come from, whether those of one alone were chosen on rows)."""
    # Two operating points may come from two rules or two sets of rows, which a reader of the F1 must know.
    origins = [f"thresholds of {model.name}: {origin(model.thresholds)}" for model in (a, b)]
    is_unlike = a.thresholds.is_chosen != b.thresholds.is_chosen
    if is_unlike:
        origins.append(
            "F1 marked * stands beside F1 at thresholds of another kind: one model's were chosen on rows, "
            "the other's were not, so that the difference is not one of the models alone"
        )
    return origins, is_unlike


def _find_differences(a: Compared, b: Compared) -> list[str]:
    """A line for each thing that is known of both sides and differs; labels that differ were refused."""
    of_b = dict(b.made)
    return [
        f"{key} differ, so the difference is not one of the models alone: A {value}, B {of_b[key]}"
        for key, value in a.made
        if of_b.get(key, value) != value
    ]


def thresholds_of(model: Compared, findings: Sequence[str]) -> Float:
    """Those of the findings [C], in their order."""
    thresholds = model.thresholds
    return np.array([thresholds.values[thresholds.findings.index(finding)] for finding in findings])


def _delong(a: Side, b: Side, resampling: Resampling) -> list[Difference]:
    """C + 1 tests by patient of equal AUROC, the last of the mean."""
    first, second = a.predictions, b.predictions
    parts = []
    for c in range(len(first.findings)):
        known = ~np.isnan(first.y[:, c])
        # [n, 2] of the known rows, whose labels are the same in both
        scores = np.stack([first.p[known, c], second.p[known, c]], axis=1)
        units = resampling.of_row[known]
        parts.append(delong.clustered(first.y[known, c], scores, units, resampling.num_units))
    return delong.compare_clustered(parts, findings_of_mean(a.measured, b.measured))
