"""Two models on the same images: differences with paired intervals, p-values, and Holm's correction over findings."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from cxr.config.schema import Eval
from cxr.errors import CxrError
from cxr.evaluation.align import align
from cxr.evaluation.predictions import Predictions
from cxr.evaluation.statistics import delong, metrics
from cxr.evaluation.statistics.bootstrap import draw_figures, resampling_of
from cxr.evaluation.statistics.intervals import difference_interval
from cxr.evaluation.statistics.metrics import Float
from cxr.evaluation.thresholds import Thresholds, origin

FIGURES = ("auroc", "f1")


@dataclass(frozen=True)
class Judged:
    """One of the two models: its name, its predictions, its operating points, and what a reader must know of it."""

    name: str
    predictions: Predictions
    thresholds: Thresholds
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Comparison:
    """B against A on the same images.

    Attributes:
        names: Of A and B.
        table: A row a finding and a last one `mean`; of each figure X in FIGURES `X_a`, `X_b`, `X_difference` (B less
            A), `X_low`, `X_high` (95 % of it), `X_p` (two-sided, bootstrap), `X_p_holm` (corrected over the findings);
            `delong_p` and `delong_p_holm` by DeLong's paired test, which takes images for independent.
        judged_on: The rows.
        how: How intervals were made.
        notes: What a reader must know.
    """

    names: tuple[str, str]
    table: pd.DataFrame
    judged_on: str
    how: str
    notes: tuple[str, ...]


def compare(a: Judged, b: Judged, how: Eval) -> Comparison:
    """Compare two models on the images and findings that both predicted; a finding undefined for one has no row value.

    Raises:
        CxrError: No image or finding in common, labels or patients of an image that differ, or no paired intervals.
    """
    if how.interval not in ("patients", "images"):
        raise CxrError(f"eval.interval: {how.interval} gives no paired intervals", "use patients or images")
    (first, second), left_out = align([(judged.name, judged.predictions) for judged in (a, b)])
    resampling, more = resampling_of(first.rows, how)
    if resampling is None:
        raise CxrError(f"{a.name} and {b.name}: {'; '.join(more)}", "compare on more patients")
    table = pd.DataFrame({"finding": [*first.findings, "mean"]})
    counts = [metrics.count(first.y[:, c]) for c in range(len(first.findings))]
    table["num"] = pd.array([num for num, _ in counts] + [len(first)], dtype="Int64")
    table["num_positive"] = pd.array([positive for _, positive in counts] + [None], dtype="Int64")
    thresholds = [_values(judged.thresholds, first.findings) for judged in (a, b)]
    both = list(zip((first, second), thresholds, strict=True))
    points = [_points(own, values) for own, values in both]
    draws = [draw_figures(own.y, own.p, values, resampling) for own, values in both]
    for figure in FIGURES:
        columns = _columns([own[figure] for own in points], [own[figure] for own in draws])
        table = table.assign(**{f"{figure}_{name}": values for name, values in columns.items()})
    p = [_delong(first.y[:, c], first.p[:, c], second.p[:, c]) for c in range(len(first.findings))]
    table = table.assign(delong_p=[*p, np.nan], delong_p_holm=[*holm(p), np.nan])
    origins = [f"thresholds of {judged.name}: {origin(judged.thresholds)}" for judged in (a, b)]
    notes = (*a.notes, *b.notes, *left_out, *more, *origins)
    return Comparison((a.name, b.name), table, first.describe(), resampling.describe(), notes)


def holm(p_values: Sequence[float]) -> Float:
    """P-values corrected for their number by Holm (1979); a nan is no test and stays nan."""
    p = np.asarray(p_values, np.float64)
    tested = np.flatnonzero(~np.isnan(p))
    order = tested[np.argsort(p[tested], kind="stable")]
    corrected = np.full(len(p), np.nan)
    corrected[order] = np.minimum(1, np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1)))
    return corrected


def bootstrap_p(differences: Float) -> float:
    """Two-sided p-value of no difference: twice the smaller share of draws beyond zero (Efron and Tibshirani 1993).

    One draw is added on each side, so that with 1,000 draws no p-value is below 0.002; nan if half are undefined.
    """
    defined = differences[~np.isnan(differences)]
    if len(defined) <= len(differences) / 2:
        return np.nan
    beyond = min(np.count_nonzero(defined <= 0), np.count_nonzero(defined >= 0))
    return float(min(1.0, 2 * (beyond + 1) / (len(defined) + 1)))


def _columns(points: Sequence[Float], draws: Sequence[Float]) -> dict[str, Float]:
    """The columns of one figure, the last row the macro mean over the findings defined for both models."""
    defined = ~np.isnan(points[0]) & ~np.isnan(points[1])
    a, b = (np.append(own, own[defined].mean() if defined.any() else np.nan) for own in points)
    by_finding = draws[1] - draws[0]
    mean = by_finding[defined].mean(axis=0) if defined.any() else np.full(by_finding.shape[1], np.nan)
    differences = [*by_finding, mean]
    bounds = [difference_interval(float(point), own) for point, own in zip(b - a, differences, strict=True)]
    p = [
        np.nan if np.isnan(bound.low) else bootstrap_p(own)
        for bound, own in zip(bounds, differences, strict=True)
    ]
    return {
        "a": a,
        "b": b,
        "difference": b - a,
        "low": np.array([bound.low for bound in bounds]),
        "high": np.array([bound.high for bound in bounds]),
        "p": np.array(p),
        "p_holm": np.append(holm(p[:-1]), np.nan),
    }


def _points(predictions: Predictions, thresholds: Float) -> dict[str, Float]:
    y, p = predictions.y, predictions.p
    points = [metrics.point(y[:, c], p[:, c], float(thresholds[c])) for c in range(y.shape[1])]
    return {figure: np.array([getattr(point, figure) for point in points]) for figure in FIGURES}


def _values(thresholds: Thresholds, findings: Sequence[str]) -> Float:
    return np.array([thresholds.values[thresholds.findings.index(finding)] for finding in findings])


def _delong(y: Float, a: Float, b: Float) -> float:
    known = ~np.isnan(y)
    return delong.compare(y[known], a[known], b[known])
