"""What a reported number is: predictions and operating points -> Report."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from cxr.config.schema import Eval
from cxr.errors import CxrError
from cxr.evaluation.align import Average, average
from cxr.evaluation.calibration import Temperatures, calibration_table, fit, reliability_table
from cxr.evaluation.join import DEFAULT, LabelOptions
from cxr.evaluation.predictions import Predictions, read
from cxr.evaluation.published import Published, beside
from cxr.evaluation.same_names import match_names
from cxr.evaluation.statistics import delong, metrics
from cxr.evaluation.statistics.bootstrap import RESAMPLED, Resampling, draw_figures, resampling_of
from cxr.evaluation.statistics.intervals import NONE, Interval, behind, interval, mean_interval
from cxr.evaluation.statistics.metrics import Float, Point
from cxr.evaluation.subgroups import Subgroups, subgroups
from cxr.evaluation.thresholds import Thresholds, choose, count_shared, fixed
from cxr.evaluation.units import combine
from cxr.findings import CHEXPERT_5, NIH_14, find_spelling

FIGURES = Point._fields
AT_THRESHOLD = ("f1", "sensitivity", "specificity", "ppv", "npv")
"""Figures that depend on the operating point."""
MEAN, MEAN_5, MICRO = "mean", "mean, CheXpert's five", "micro"
"""Rows below the findings: macro means, and one figure over all cells ravelled."""
_DEFAULT_SUBGROUPS = Eval().subgroups


@dataclass(frozen=True)
class Report:
    """Every figure of one set of predictions.

    Attributes:
        about: (key, value) pairs that say what was judged: run, checkpoint, data, policies.
        table: A row a finding: `finding`, `num` (rows whose label is known), `num_positive`, each of FIGURES, the
            RESAMPLED ones with `_low` and `_high`, and `threshold` (positive when p >= threshold). nan = undefined.
        summary: The same columns in rows MEAN, MEAN_5 where all five are among more findings, and MICRO. A mean is
            over the findings whose figure is defined and has no threshold; MICRO has no intervals.
        thresholds: The operating points and where they come from.
        judged_on: The rows that the figures are about, as `test rows (560 images, 97 patients)`.
        intervals: How they were made, as `bootstrap over 97 patients (1,000 draws, seed 0)`; empty when there are none.
        optimistic: Thresholds were chosen on rows that are judged here, so AT_THRESHOLD figures flatter the model.
        notes: What a reader must know: undefined figures, fallback thresholds, thresholds chosen on judged rows.
        subgroups: AUROC by group, and the gaps.
        calibration: See `calibration_table`.
        calibrated_on: Rows that temperatures were fitted on, empty when there are none.
        reliability: See `reliability_table`.
        published: Results of others, where the findings are those of ChestX-ray14.
    """

    about: tuple[tuple[str, str], ...]
    table: pd.DataFrame
    summary: pd.DataFrame
    thresholds: Thresholds
    judged_on: str
    intervals: str
    optimistic: bool
    notes: tuple[str, ...]
    subgroups: Subgroups | None = None
    calibration: pd.DataFrame | None = None
    calibrated_on: str = ""
    reliability: pd.DataFrame | None = None
    published: Published | None = None


def score(
    predictions: Predictions,
    thresholds: Thresholds,
    about: Mapping[str, str] | Sequence[tuple[str, str]] = (),
    notes: Sequence[str] = (),
    how: Eval | None = None,
    temperatures: Temperatures | None = None,
) -> Report:
    """The report of these predictions; the only place where a figure comes from, in training as in `cxr eval`.

    The order of the rows changes no figure: they are taken in the order of their images' names. Thresholds chosen on
    rows that are judged here are not refused, since training looks at its validation rows, but are marked.

    Args:
        predictions: The rows to judge.
        thresholds: Their operating points.
        about: What a reader wants to know of the model and the data.
        notes: Further notes.
        how: Intervals and subgroups; without it there are point estimates alone, as during training.
        temperatures: Fitted on validation rows.
    """
    assert thresholds.findings == predictions.findings
    predictions = predictions.select(np.argsort(predictions.rows["image"].to_numpy(dtype=str), kind="stable"))
    shared = count_shared(thresholds, predictions.rows)
    overlap = _overlap_notes(predictions, shared)
    resampling, more = resampling_of(predictions.rows, how) if how else (None, [])
    table, draws = _table(predictions, thresholds, resampling, bool(how and how.interval == "delong"))
    summary = _summary(predictions, thresholds, table, draws, resampling.num_units if resampling else 0)
    found = (*overlap, *notes, *more, *_undefined_notes(table, draws), *_fallback_notes(thresholds))
    report = Report(
        about=tuple(about.items()) if isinstance(about, Mapping) else tuple(about),
        table=table,
        summary=summary,
        thresholds=thresholds,
        judged_on=predictions.describe(),
        intervals=_intervals(how, resampling),
        optimistic=bool(shared),
        notes=found,
    )
    return _with_details(report, predictions, how, resampling, temperatures) if how else report


def score_files(
    paths: Sequence[Path],
    how: Eval,
    labels: Path | None = None,
    validation: Path | None = None,
    tune_on_test: bool = False,
    averaged: Average = "probabilities",
    options: LabelOptions = DEFAULT,
) -> tuple[Report, Predictions, Predictions]:
    """(report, all rows read, judged rows) of predictions files, averaged when there are several; see `judge_files`."""
    every, judged, thresholds, temperatures, notes = judge_files(
        paths, how, labels, validation, tune_on_test, averaged, options
    )
    about = [("predictions", ", ".join(str(path) for path in paths))]
    if len(paths) > 1:
        about.append(("ensemble", f"mean of the {averaged} of {len(paths)} models"))
    if labels is not None:
        about.append(("labels", f"{labels} (uncertain cells unknown, blank cells negative)"))
    return score(judged, thresholds, about, notes, how, temperatures), every, judged


def judge_files(
    paths: Sequence[Path],
    how: Eval,
    labels: Path | None = None,
    validation: Path | None = None,
    tune_on_test: bool = False,
    averaged: Average = "probabilities",
    options: LabelOptions = DEFAULT,
) -> tuple[Predictions, Predictions, Thresholds, Temperatures | None, list[str]]:
    """(all rows, judged rows, thresholds, temperatures, notes) of predictions files as `predictions.read` reads them.

    Rows of split `test` are judged, or all rows where none is. A rule chooses thresholds on the rows of `validation`,
    else on rows of split `val`. Where there are neither, nothing is tuned and the threshold is 0.5, which a note says;
    with `tune_on_test` it is tuned on the judged rows, and every figure that depends on it is marked.

    Raises:
        CxrError: Whatever `predictions.read`, `thresholds.choose` and `align` raise; judged images in `validation`.
    """
    every = [(str(path), read(path, labels, options=options)) for path in paths]
    predictions, notes = average(every, averaged) if len(every) > 1 else (every[0][1], [])
    predictions = combine(predictions, how.unit, how.combine)
    notes += dict.fromkeys(note for _, own in every for note in own.notes)
    notes += [note for note in predictions.notes if note not in notes]
    split = predictions.rows["split"].to_numpy()
    test = split == "test"
    judged = predictions.select(test) if test.any() else predictions
    tuned_on = predictions.select((split == "val") & test.any())
    if validation is not None:
        tuned_on = _read_validation(validation, labels, judged, options, how)
        notes += [f"{validation}: {note}" for note in tuned_on.notes if note not in notes]
    notes += _shared_notes(tuned_on, judged)
    rows = tuned_on if len(tuned_on) or not tune_on_test else judged
    if isinstance(how.threshold, str) and not len(rows):
        notes.append(
            "thresholds are not tuned: there are no validation rows; give some with --validation FILE"
        )
        thresholds = fixed(predictions.findings)
    else:
        thresholds = choose(rows, how.threshold)
    return predictions, judged, thresholds, fit(tuned_on) if len(tuned_on) else None, notes


def macro_auroc(report: Report) -> float:
    """Mean AUROC over the findings where it is defined; nan when it is nowhere."""
    return float(report.summary["auroc"].iloc[0])


def _shared_notes(validation: Predictions, judged: Predictions) -> list[str]:
    """Thresholds chosen on the images of a patient know something of the patient's other images."""
    shared = set(validation.rows["patient_id"]) & set(judged.rows["patient_id"]) - {""}
    if not shared:
        return []
    return [f"thresholds were chosen on other images of {len(shared):,} patients who are judged here"]


def _read_validation(
    path: Path, labels: Path | None, judged: Predictions, options: LabelOptions, how: Eval
) -> Predictions:
    """The rows of split val of another file, or all its rows where none is; findings in the judged order."""
    every = read(path, labels, options=options)
    val = (every.rows["split"] == "val").to_numpy()
    rows = combine(every.select(val) if val.any() else every, how.unit, how.combine)
    own = [find_spelling(finding, rows.findings) for finding in judged.findings]
    missing = [finding for finding, name in zip(judged.findings, own, strict=True) if name is None]
    if missing:
        raise CxrError(f"{path}: no probability of {', '.join(missing)}", "predict the same findings on both")
    shared = rows.rows["image"][match_names(rows.rows["image"], judged.rows["image"]) >= 0]
    if len(shared):
        what = f"{len(shared):,} of its images are judged too, the first {shared.min()}"
        raise CxrError(f"{path}: {what}", "choose thresholds on other images than those that are judged")
    columns = [rows.findings.index(name) for name in own if name is not None]
    notes = tuple(dict.fromkeys((*every.notes, *rows.notes)))
    return Predictions(rows.rows, judged.findings, rows.y[:, columns], rows.p[:, columns], notes)


def _table(
    predictions: Predictions, thresholds: Thresholds, resampling: Resampling | None, by_delong: bool
) -> tuple[pd.DataFrame, dict[str, Float]]:
    """The rows of the findings, and the draws behind their intervals (none without resampling)."""
    y, p = predictions.y, predictions.p
    draws = draw_figures(y, p, np.array(thresholds.values), resampling) if resampling else {}
    rows = []
    for c, finding in enumerate(predictions.findings):
        point = metrics.point(y[:, c], p[:, c], thresholds.values[c])
        bounds = {}
        if resampling:
            patients = behind(y[:, c], resampling)
            bounds = {
                name: interval(getattr(point, name), own[c], patients.of(name)) for name, own in draws.items()
            }
        if by_delong:
            bounds["auroc"] = _delong(y[:, c], p[:, c])
        num, num_positive = metrics.count(y[:, c])
        head = {"finding": finding, "num": num, "num_positive": num_positive}
        rows.append(head | _columns(point, bounds) | {"threshold": thresholds.values[c]})
    return _frame(rows), draws


def _summary(
    predictions: Predictions,
    thresholds: Thresholds,
    table: pd.DataFrame,
    draws: Mapping[str, Float],
    num_patients: int,
) -> pd.DataFrame:
    five = [finding in CHEXPERT_5 for finding in predictions.findings]
    rows = [
        {"finding": MEAN, "num": len(predictions)}
        | _mean(table, draws, np.ones(len(table), bool), num_patients)
    ]
    if sum(five) == len(CHEXPERT_5) < len(five):
        rows.append(
            {"finding": MEAN_5, "num": len(predictions)} | _mean(table, draws, np.array(five), num_patients)
        )
    num, num_positive = metrics.count(predictions.y.ravel())
    micro = {"finding": MICRO, "num": num, "num_positive": num_positive}
    rows.append(micro | _columns(_micro(predictions, thresholds), {}))
    return _frame(rows)


def _mean(
    table: pd.DataFrame, draws: Mapping[str, Float], which: np.ndarray, num_patients: int
) -> dict[str, float]:
    """Macro means; a draw counts where every figure that the mean is over is defined in it."""
    means, bounds = {}, {}
    for figure in FIGURES:
        values = table[figure].to_numpy()
        defined = which & ~np.isnan(values)
        means[figure] = metrics.macro_mean(list(values[which]))
        if figure in draws and defined.any():
            own = [Interval(*pair) for pair in table[[f"{figure}_low", f"{figure}_high"]].to_numpy()[defined]]
            drawn = draws[figure][defined].mean(axis=0)
            bounds[figure] = mean_interval(means[figure], drawn, num_patients, own)
    return _columns(Point(**means), bounds)


def _micro(predictions: Predictions, thresholds: Thresholds) -> Point:
    """Every cell a row of its own; each is called by its finding's threshold."""
    y, p = predictions.y.ravel(), predictions.p.ravel()
    called = (predictions.p >= np.array(thresholds.values)).ravel().astype(np.float64)
    at = metrics.point(y, called, 0.5)._asdict()
    whole = metrics.point(y, p, 0.5)._asdict()
    return Point(**{figure: (at if figure in AT_THRESHOLD else whole)[figure] for figure in FIGURES})


def _columns(point: Point, bounds: Mapping[str, Interval]) -> dict[str, float]:
    columns: dict[str, float] = {}
    for figure in FIGURES:
        columns[figure] = getattr(point, figure)
        if figure in RESAMPLED:
            columns[f"{figure}_low"], columns[f"{figure}_high"] = bounds.get(figure, NONE)
    return columns


def _frame(rows: Sequence[Mapping[str, object]]) -> pd.DataFrame:
    names = ["finding", "num", "num_positive", *_columns(Point(*[np.nan] * len(FIGURES)), {}), "threshold"]
    return pd.DataFrame(list(rows), columns=names).astype({"num": "Int64", "num_positive": "Int64"})


def _delong(y: Float, p: Float) -> Interval:
    known = ~np.isnan(y)
    auroc, covariance = delong.covariance(y[known], p[known, None])
    return delong.interval(float(auroc[0]), float(covariance[0, 0]))


def _intervals(how: Eval | None, resampling: Resampling | None) -> str:
    if how and how.interval == "delong":
        return "DeLong's variance, AUROC alone, images taken for independent"
    return resampling.describe() if resampling else ""


def _with_details(
    report: Report,
    predictions: Predictions,
    how: Eval,
    resampling: Resampling | None,
    temperatures: Temperatures | None,
) -> Report:
    """The report with subgroups, calibration and what others published."""
    known = [name for name in how.subgroups if name not in _DEFAULT_SUBGROUPS or _is_known(predictions, name)]
    return replace(
        report,
        subgroups=subgroups(predictions, known, resampling),
        calibration=calibration_table(predictions, temperatures),
        calibrated_on=temperatures.fitted_on if temperatures else "",
        reliability=reliability_table(predictions),
        published=beside(predictions.rows["image"]) if set(predictions.findings) == set(NIH_14) else None,
    )


def _is_known(predictions: Predictions, attribute: str) -> bool:
    """Whether any row says it; the default attributes are left out in silence where none does."""
    if attribute not in predictions.rows.columns:
        return False
    values = predictions.rows[attribute]
    return bool(values.notna().any() if attribute == "age" else (values != "").any())


def _overlap_notes(predictions: Predictions, shared: int | None) -> list[str]:
    if shared is None:
        why = "another key than CXR_PATIENT_KEY hashed their names"
        return [f"whether thresholds were chosen on images evaluated here is not known: {why}"]
    what = f"thresholds were chosen on {shared:,} of the {len(predictions):,} images judged here"
    return [f"{what}, so figures marked * are optimistic"] if shared else []


def _undefined_notes(table: pd.DataFrame, draws: Mapping[str, Float]) -> list[str]:
    unknown = table["num"] == 0
    groups = {
        "no image with a known label": unknown,
        "no positive image": (table["num_positive"] == 0) & ~unknown,
        "no negative image": (table["num_positive"] == table["num"]) & ~unknown,
    }
    notes = [
        f"n/a, {why}: {', '.join(table['finding'][which])}" for why, which in groups.items() if which.any()
    ]
    defined = int(table["auroc"].notna().sum())
    if defined < len(table):
        notes.append(f"the mean AUROC is over {defined} of {len(table)} findings")
    if draws:
        wanting = table["finding"][table["auroc"].notna() & table["auroc_low"].isna()]
        if len(wanting):
            notes.append(f"no interval, too few patients hold one of the classes: {', '.join(wanting)}")
    return notes


def _fallback_notes(thresholds: Thresholds) -> list[str]:
    if not thresholds.fallback:
        return []
    why = "the rows it is chosen on hold one class only"
    if "=" in thresholds.rule:
        why += f" or no threshold gives {thresholds.rule.replace('=', ' ')}"
    return [f"threshold 0.5, since {why}: {', '.join(thresholds.fallback)}"]
