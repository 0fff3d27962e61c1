"""Two test sets of other patients, as an internal and an external one: differences without pairs."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from cxr.config.schema import Eval
from cxr.errors import CxrError
from cxr.evaluation.compare import (
    Compared,
    Comparison,
    Side,
    comparison_table,
    describe_thresholds,
    refuse_intervals,
    thresholds_of,
)
from cxr.evaluation.differences import findings_of_mean, measure
from cxr.evaluation.few_patients import note_few
from cxr.evaluation.predictions import Predictions
from cxr.evaluation.same_names import match_names
from cxr.evaluation.statistics import delong, metrics
from cxr.evaluation.statistics.bootstrap import Resampling, resampling_of
from cxr.findings import find_spelling


def compare_unpaired(a: Compared, b: Compared, config: Eval) -> Comparison:
    """B less A, each on its own images; the table has `num_b` and `num_positive_b` too.

    Variances of both add up: draws of B are independent of those of A.

    Raises:
        CxrError: No finding in common, images of both, or no intervals.
    """
    refuse_intervals(config)
    findings = [name for name in a.predictions.findings if find_spelling(name, b.predictions.findings)]
    if not findings:
        raise CxrError(f"{a.name} and {b.name}: no finding in common", "name findings alike in both")
    # the same images on both sides would be paired
    _refuse_same_images(a, b)
    # With the same seed two sets of as many patients would have the same draws.
    configs = config, config.model_copy(update={"draw_seed": config.draw_seed + 1})
    sides, resamplings, notes = [], [], []
    for model, own in zip((a, b), configs, strict=True):
        rows = _select(model.predictions, findings)
        resampling, more = resampling_of(rows.rows, own)
        if resampling is None:
            raise CxrError(f"{model.name}: {'; '.join(more)}", "compare on more patients")
        notes += [f"{model.name}: {note}" for note in more]
        resamplings.append(resampling)
        renamed = replace(model, predictions=rows)
        sides.append(Side(renamed, rows, measure(rows, thresholds_of(model, rows.findings), resampling)))

    # Images of both sides are other ones: variances of their AUROCs add up without a covariance.
    parts = [_clustered(side.predictions, drawn) for side, drawn in zip(sides, resamplings, strict=True)]
    first, second = sides
    counts = [metrics.count(second.predictions.y[:, c]) for c in range(len(findings))]
    of_mean = findings_of_mean(first.measured, second.measured)
    tests = delong.compare_independent(parts[0], parts[1], of_mean)
    table = comparison_table(first, second, tests, is_paired=False)
    table["num_b"] = [num for num, _ in counts] + [len(second.predictions)]
    table["num_positive_b"] = np.array([positive for _, positive in counts] + [np.nan])
    table = table.astype({"num_b": "Int64", "num_positive_b": "Int64"})
    few = note_few(findings, [side.measured for side in sides], table)
    origins, is_unlike = describe_thresholds(a, b)
    where = [f"{name}: {side.predictions.describe()}" for name, side in zip("AB", sides, strict=True)]
    return Comparison(
        names=(a.name, b.name),
        table=table,
        evaluated_on="; ".join(where),
        intervals="; ".join(
            f"{name}: {drawn.describe()}" for name, drawn in zip("AB", resamplings, strict=True)
        ),
        notes=(*a.notes, *b.notes, *notes, *few, *origins),
        unlike_thresholds=is_unlike,
        warnings=tuple(_note_shared_patients(first.predictions, second.predictions)),
        curves=(first.predictions, second.predictions),
        is_paired=False,
    )


def _refuse_same_images(a: Compared, b: Compared) -> None:
    """Refuse images of both sides.

    Raises:
        CxrError: There are some, and the comparison is a paired one.
    """
    # [N of B] the row of A that is the same image, -1 where there is none
    matches = match_names(b.predictions.rows["image"], a.predictions.rows["image"]) >= 0
    if not matches.any():
        return
    first = b.predictions.rows["image"][matches].iloc[0]
    raise CxrError(
        f"--unpaired: {int(matches.sum()):,} images of {b.name} are those of {a.name}, the first {first}",
        "leave out --unpaired to compare on the same images, or remove them from one side",
    )


def _note_shared_patients(a: Predictions, b: Predictions) -> list[str]:
    shared = set(a.rows["patient_id"]) & set(b.rows["patient_id"]) - {""}
    if not shared:
        return []
    return [
        f"{len(shared):,} patient ids are in both: if these are the same people, both sides are not "
        "independent, and the intervals and p-values are wrong"
    ]


def _select(predictions: Predictions, findings: list[str]) -> Predictions:
    """The columns of these findings, under these names, with rows in the order of their images' names."""
    names = [find_spelling(name, predictions.findings) for name in findings]
    columns = [predictions.findings.index(name) for name in names if name is not None]
    # so that the order of the file changes no draw
    order = np.argsort(predictions.rows["image"].to_numpy(dtype=str), kind="stable")
    rows = predictions.select(order)
    return replace(rows, findings=tuple(findings), y=rows.y[:, columns], p=rows.p[:, columns])


def _clustered(rows: Predictions, resampling: Resampling) -> list[delong.Clustered]:
    """C times the AUROC of one score, by patient."""
    parts = []
    for c in range(len(rows.findings)):
        known: npt.NDArray[np.bool_] = ~np.isnan(rows.y[:, c])
        units = resampling.of_row[known]
        # scores [n, 1]: one model
        parts.append(delong.clustered(rows.y[known, c], rows.p[known, c, None], units, resampling.num_units))
    return parts
