"""Two models on the same images: differences, paired intervals, p-values, Holm's correction over findings."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from cxr.config.schema import Eval
from cxr.errors import CxrError
from cxr.evaluation.align import align
from cxr.evaluation.predictions import Predictions
from cxr.evaluation.statistics import delong, metrics
from cxr.evaluation.statistics.bootstrap import Resampling, draw_metrics, resampling_of
from cxr.evaluation.statistics.intervals import difference_interval
from cxr.evaluation.statistics.metrics import Float
from cxr.evaluation.thresholds import Thresholds, origin

METRICS = ("auroc", "f1")
MADE = ("pixels", "views", "test-time augmentation")
"""Keys of a report's `about` in which two models may differ although their images have the same names."""


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
    """B against A on the same images.

    Attributes:
        names: Of A and B.
        table: One row per finding and a last one `mean`; of each metric X in METRICS `X_a`, `X_b`,
            `X_difference` (B less A), `X_low`, `X_high` (its 95 % interval), `X_p` (two-sided), `X_p_holm`
            (corrected over the findings). `auroc_p` is that of DeLong's paired test by patient (Obuchowski
            1997), as are `delong_p` and `delong_p_holm`; `f1_p` and `auroc_p_bootstrap` are shares of draws.
            `f1_p_is_bound` and `f1_p_holm_is_bound` say where p is at most that, since no draw lay beyond 0.
        evaluated_on: The rows.
        intervals: How intervals were made.
        notes: What a reader must know.
        unlike_thresholds: The thresholds of one model were chosen on rows and those of the other were not, so
            that their F1 differs for that alone.
        warnings: In what else than the models both sides differ, to be read before any p-value.
    """

    names: tuple[str, str]
    table: pd.DataFrame
    evaluated_on: str
    intervals: str
    notes: tuple[str, ...]
    unlike_thresholds: bool = False
    warnings: tuple[str, ...] = ()


def compare(a: Compared, b: Compared, config: Eval) -> Comparison:
    """The comparison of two models on the images and findings that both predict; undefined metrics are nan.

    Raises:
        CxrError: No image or finding in common, labels or patients of an image that differ, or no paired
            intervals.
    """
    if config.interval not in ("patients", "images"):
        raise CxrError(
            f"eval.interval: {config.interval} gives no paired intervals", "use patients or images"
        )
    models = (a, b)
    aligned, alignment_notes = align([(model.name, model.predictions) for model in models])
    rows = aligned[0]  # rows, findings and labels are the same in both from here on
    resampling, resampling_notes = resampling_of(rows.rows, config)
    if resampling is None:
        raise CxrError(f"{a.name} and {b.name}: {'; '.join(resampling_notes)}", "compare on more patients")

    counts = [metrics.count(rows.y[:, c]) for c in range(len(rows.findings))]
    columns: dict[str, object] = {
        "finding": [*rows.findings, "mean"],
        "num": pd.array([num for num, _ in counts] + [len(rows)], dtype="Int64"),
        "num_positive": pd.array([positive for _, positive in counts] + [None], dtype="Int64"),
    }
    points, draws = [], []
    for model, predictions in zip(models, aligned, strict=True):
        thresholds = _thresholds_of(model, rows.findings)
        points.append(_points(predictions, thresholds))
        # One resampling for both: draw d holds the same patients, so that differences are paired.
        draws.append(draw_metrics(predictions.y, predictions.p, thresholds, resampling))
    compared = {
        metric: _compare_metric(points[0][metric], points[1][metric], draws[0][metric], draws[1][metric])
        for metric in METRICS
    }
    p_values = {"auroc": _delong(aligned, resampling), "f1": compared["f1"].p}
    corrected = {metric: np.append(holm(p[:-1]), np.nan) for metric, p in p_values.items()}
    for metric in METRICS:
        columns |= {f"{metric}_{name}": values for name, values in compared[metric].columns.items()}
        columns |= {f"{metric}_p": p_values[metric], f"{metric}_p_holm": corrected[metric]}
    columns |= {"delong_p": p_values["auroc"], "delong_p_holm": corrected["auroc"]}
    columns |= {"auroc_p_bootstrap": compared["auroc"].p, "f1_p_is_bound": compared["f1"].is_bound}
    columns["f1_p_holm_is_bound"] = np.append(_rests_on_bounds(compared["f1"]), False)

    # Two operating points may come from two rules or two sets of rows, which a reader of the F1 must know.
    origins = [f"thresholds of {model.name}: {origin(model.thresholds)}" for model in models]
    is_unlike = a.thresholds.is_chosen != b.thresholds.is_chosen
    if is_unlike:
        origins.append(
            "F1 marked * stands beside F1 at thresholds of another kind: one model's were chosen on rows, "
            "the other's were not, so that the difference is not one of the models alone"
        )
    return Comparison(
        names=(a.name, b.name),
        table=pd.DataFrame(columns),
        evaluated_on=rows.describe(),
        intervals=resampling.describe(),
        notes=(*a.notes, *b.notes, *alignment_notes, *resampling_notes, *origins),
        unlike_thresholds=is_unlike,
        warnings=tuple(_find_differences(a, b)),
    )


def _find_differences(a: Compared, b: Compared) -> list[str]:
    """A line for each thing that is known of both sides and differs; labels that differ were refused."""
    of_b = dict(b.made)
    return [
        f"{key} differ, so the difference is not one of the models alone: A {value}, B {of_b[key]}"
        for key, value in a.made
        if of_b.get(key, value) != value
    ]


def holm(p_values: Sequence[float] | Float) -> Float:
    """P-values corrected for their number by Holm (1979); a nan is no test and stays nan."""
    p = np.asarray(p_values, np.float64)
    tested = np.flatnonzero(~np.isnan(p))
    order = tested[np.argsort(p[tested], kind="stable")]
    corrected = np.full(len(p), np.nan)
    # The smallest of m p-values is multiplied by m, the next by m - 1, ...; none falls below a smaller one's.
    corrected[order] = np.minimum(1, np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1)))
    return corrected


def bootstrap_p(differences: Float) -> float:
    """Two-sided p-value of no difference: twice the smaller share of draws beyond zero.

    Efron and Tibshirani 1993. One draw is added on each side, so that with 1,000 draws no p-value is
    below 0.002; nan if half are undefined.
    """
    defined = differences[~np.isnan(differences)]
    if len(defined) <= len(differences) / 2:
        return np.nan
    beyond = min(np.count_nonzero(defined <= 0), np.count_nonzero(defined >= 0))
    return float(min(1.0, 2 * (beyond + 1) / (len(defined) + 1)))


class _ByMetric(NamedTuple):
    """One metric of both models: columns, bootstrap p-values, and which of these are bounds; [C + 1] each."""

    columns: dict[str, Float]
    p: Float
    is_bound: npt.NDArray[np.bool_]


def _compare_metric(a: Float, b: Float, draws_a: Float, draws_b: Float) -> _ByMetric:
    """One metric, the last row the macro mean over the findings defined for both models.

    Args:
        a: [C] of the first model.
        b: [C] of the second.
        draws_a: [C, D].
        draws_b: [C, D], in the same draws of patients: differences are paired.
    """
    by_finding = draws_b - draws_a
    defined = ~np.isnan(a) & ~np.isnan(b)
    if defined.any():
        a, b = np.append(a, a[defined].mean()), np.append(b, b[defined].mean())
        mean = by_finding[defined].mean(axis=0)
    else:
        a, b = np.append(a, np.nan), np.append(b, np.nan)
        mean = np.full(by_finding.shape[1], np.nan)

    intervals, p_values, is_bound = [], [], []
    for point, differences in zip(b - a, [*by_finding, mean], strict=True):
        bounds = difference_interval(float(point), differences)
        intervals.append(bounds)
        # no p-value where too few draws define the difference for an interval
        p_values.append(np.nan if np.isnan(bounds.low) else bootstrap_p(differences))
        least = 2 / (np.count_nonzero(~np.isnan(differences)) + 1)
        is_bound.append(p_values[-1] == min(1.0, least))
    columns = {
        "a": a,
        "b": b,
        "difference": b - a,
        "low": np.array([bounds.low for bounds in intervals]),
        "high": np.array([bounds.high for bounds in intervals]),
    }
    return _ByMetric(columns, np.array(p_values), np.array(is_bound))


def _points(predictions: Predictions, thresholds: Float) -> dict[str, Float]:
    """Each of METRICS [C] of all rows."""
    y, p = predictions.y, predictions.p
    points = [metrics.point(y[:, c], p[:, c], float(thresholds[c])) for c in range(y.shape[1])]
    return {metric: np.array([getattr(point, metric) for point in points]) for metric in METRICS}


def _thresholds_of(model: Compared, findings: Sequence[str]) -> Float:
    thresholds = model.thresholds
    return np.array([thresholds.values[thresholds.findings.index(finding)] for finding in findings])


def _delong(aligned: Sequence[Predictions], resampling: Resampling) -> Float:
    """P-values [C + 1] of DeLong's test by patient, the last that of the mean AUROC."""
    first, second = aligned
    parts = []
    for c in range(len(first.findings)):
        known = ~np.isnan(first.y[:, c])
        scores = np.stack([first.p[known, c], second.p[known, c]], axis=1)
        units = resampling.of_row[known]
        parts.append(delong.clustered(first.y[known, c], scores, units, resampling.num_units))
    return np.array([found.p for found in delong.compare_clustered(parts)])


def _rests_on_bounds(compared: _ByMetric) -> npt.NDArray[np.bool_]:
    """Which corrected p-values [C] would be smaller if more draws had been made: they rest on a bound."""
    p_values = compared.p[:-1]
    without = np.where(compared.is_bound[:-1], 0, p_values)
    rests: npt.NDArray[np.bool_] = ~np.isnan(p_values) & (holm(p_values) != holm(without))
    return rests
