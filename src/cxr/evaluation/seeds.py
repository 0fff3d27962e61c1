"""Several runs of a recipe: the mean and the spread of each metric, and whether recipes differ beyond it."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt
import pandas as pd

from cxr.config.schema import Eval
from cxr.evaluation.compare import Compared, Side, align_sides
from cxr.evaluation.differences import METRICS, findings_of_mean
from cxr.evaluation.family import letter
from cxr.evaluation.few_patients import note_few
from cxr.evaluation.statistics.difference import Drawn, mean_of, paired
from cxr.evaluation.statistics.intervals import LEVEL
from cxr.evaluation.statistics.metrics import Float

RUN_COLUMNS = ("recipe", "finding", "metric", "num_runs", "mean", "sd", "lowest", "highest")
DIFFERENCE_COLUMNS = ("a", "b", "finding", "metric", "difference", "seed_low", "seed_high", "patient_low",
                      "patient_high", "within_seed_noise")  # fmt: skip


@dataclass(frozen=True)
class Seeds:
    """Recipes, each of several runs on the same images.

    Attributes:
        recipes: Names of the runs of each.
        runs: RUN_COLUMNS, a row per recipe (A, B, ...), finding or `mean`, and metric of METRICS: mean,
            standard deviation, lowest and highest over the runs.
        differences: DIFFERENCE_COLUMNS, b less a of the means over runs; `seed_low` and `seed_high` are
            Welch's interval with runs as units, `patient_low` and `patient_high` the paired one of these runs
            over draws of patients. `within_seed_noise` says that Welch's interval holds 0.
        evaluated_on: The rows.
        intervals: How those over patients were made.
        notes: What a reader must know.
    """

    recipes: tuple[tuple[str, ...], ...]
    runs: pd.DataFrame
    differences: pd.DataFrame
    evaluated_on: str
    intervals: str
    notes: tuple[str, ...]


def compare_seeds(models: Sequence[Compared], num_runs: int, config: Eval) -> Seeds:
    """The recipes of which each `num_runs` models in a row are runs, on the images that all predict.

    Raises:
        CxrError: As `compare.compare`.
    """
    # a single run has no spread between runs
    assert num_runs >= 2 and not len(models) % num_runs
    # all runs of all recipes on the same images, and in the same draws of patients
    sides, resampling, notes = align_sides(models, config)
    recipes = [sides[first : first + num_runs] for first in range(0, len(sides), num_runs)]
    findings = [*sides[0].predictions.findings, "mean"]
    of_mean = findings_of_mean(*(side.measured for side in sides))
    measured = [_with_means(sides_of, of_mean) for sides_of in recipes]
    runs: list[dict[str, object]] = []
    for place, values in enumerate(measured):
        for metric, (points, _) in values.items():
            runs += [
                {
                    "recipe": letter(place),
                    "finding": finding,
                    "metric": metric,
                    "num_runs": num_runs,
                    "mean": each.mean(),
                    # divided by runs less one: the runs are a sample of those that the recipe could give
                    "sd": each.std(ddof=1),
                    "lowest": each.min(),
                    "highest": each.max(),
                }
                for finding, each in zip(findings, points.T, strict=True)
            ]
    differences: list[dict[str, object]] = []
    for a, b in combinations(range(len(recipes)), 2):
        for metric in METRICS:
            pair = measured[a][metric], measured[b][metric]
            drawn = _by_patient(*pair, sides[0].measured.num_patients, of_mean)
            differences += [
                _difference(
                    letter(a), letter(b), finding, metric, pair[0][0][:, c], pair[1][0][:, c], drawn[c]
                )
                for c, finding in enumerate(findings)
            ]
    table = pd.DataFrame(differences, columns=list(DIFFERENCE_COLUMNS))
    means = table[(table["metric"] == "auroc") & (table["finding"] == "mean")]
    few = note_few(
        findings[:-1],
        [side.measured for side in sides],
        # with a single recipe there is no difference, and no interval that could lack
        means.rename(columns={"patient_low": "auroc_low"}),
    )
    of_models = [note for model in models for note in model.notes]
    return Seeds(
        recipes=tuple(tuple(side.model.name for side in sides_of) for sides_of in recipes),
        runs=pd.DataFrame(runs, columns=list(RUN_COLUMNS)),
        differences=table,
        evaluated_on=sides[0].predictions.describe(),
        intervals=resampling.describe(),
        notes=tuple(dict.fromkeys([*of_models, *notes, *few])),
    )


def welch(a: Float, b: Float) -> tuple[float, float]:
    """95 % interval of the mean of b less that of a, whose variances may differ (Welch 1947)."""
    from scipy.special import stdtrit

    # of the mean of each recipe's runs
    variances = a.var(ddof=1) / len(a), b.var(ddof=1) / len(b)
    difference, total = float(b.mean() - a.mean()), sum(variances)
    # a metric that a run does not define
    if np.isnan(total):
        return np.nan, np.nan
    if not total:  # runs without any spread
        return difference, difference
    # Welch's and Satterthwaite's degrees of freedom, with runs as units
    freedom = total**2 / sum(v**2 / (len(x) - 1) for v, x in zip(variances, (a, b), strict=True))
    half_width = float(stdtrit(freedom, (1 + LEVEL) / 2) * np.sqrt(total))
    return difference - half_width, difference + half_width


def _with_means(sides: Sequence[Side], of_mean: npt.NDArray[np.bool_]) -> dict[str, tuple[Float, Float]]:
    """(points [R, C + 1] of the runs, the last the macro mean; draws [C, D] of the runs' mean) by metric."""
    found = {}
    for metric in METRICS:
        points = np.stack([side.measured.points[metric] for side in sides])  # [R, C]
        # the mean over runs within each draw: all runs are measured on the same patients
        draws = np.mean([side.measured.draws[metric] for side in sides], axis=0)  # [C, D]
        means = points[:, of_mean].mean(axis=1) if of_mean.any() else np.full(len(points), np.nan)
        found[metric] = np.column_stack([points, means]), draws
    return found


def _by_patient(
    a: tuple[Float, Float], b: tuple[Float, Float], num_patients: Float, of_mean: npt.NDArray[np.bool_]
) -> list[Drawn]:
    """C + 1 differences of the means over runs in the same draws of patients, the last of the macro mean."""
    drawn = []
    for c, num in enumerate(num_patients.tolist()):
        points = float(a[0][:, c].mean()), float(b[0][:, c].mean())
        drawn.append(paired(points, (a[1][c], b[1][c]), num))
    return [*drawn, mean_of([drawn[c] for c in np.flatnonzero(of_mean)])]


def _difference(
    a: str, b: str, finding: str, metric: str, points_a: Float, points_b: Float, drawn: Drawn
) -> dict[str, object]:
    difference = float(points_b.mean() - points_a.mean())
    low, high = welch(points_a, points_b)
    # about other patients for these runs, where Welch's interval is about other runs on these patients
    patients = drawn.test().bounds()
    within = None if np.isnan(low) else bool(low <= 0 <= high)
    values = (a, b, finding, metric, difference, low, high, patients.low, patients.high, within)
    return dict(zip(DIFFERENCE_COLUMNS, values, strict=True))
