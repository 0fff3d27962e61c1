"""CSV files of predictions -> Report: which rows are evaluated, and which rows thresholds are chosen on."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cxr.config.schema import Eval
from cxr.errors import CxrError
from cxr.evaluation.align import Average, average
from cxr.evaluation.join import DEFAULT, LabelOptions
from cxr.evaluation.predictions import Predictions, read
from cxr.evaluation.recalibration import Recalibration, fit
from cxr.evaluation.report import Report, score
from cxr.evaluation.same_names import match_names
from cxr.evaluation.thresholds import Thresholds, choose, fixed
from cxr.evaluation.units import combine
from cxr.findings import find_spelling
from cxr.labels.sheet import Sheet


@dataclass(frozen=True)
class FilePredictions:
    """What files of predictions hold, ready to be scored.

    Attributes:
        rows: Every row that was read, averaged over the files.
        evaluated: Those of split `test`, or all where no row is of split `test`.
        thresholds: Operating points.
        recalibration: Fitted on validation rows; None where there are none.
        notes: What a report must say of them.
    """

    rows: Predictions
    evaluated: Predictions
    thresholds: Thresholds
    recalibration: Recalibration | None
    notes: tuple[str, ...]


def score_files(
    paths: Sequence[Path | Sheet],
    config: Eval,
    labels: Path | Sheet | None = None,
    validation: Path | Sheet | None = None,
    tune_on_test: bool = False,
    averaged: Average = "probabilities",
    options: LabelOptions = DEFAULT,
) -> tuple[Report, FilePredictions]:
    """(the report, what was read) of predictions files, averaged when there are several; see `read_files`."""
    found = read_files(paths, config, labels, validation, tune_on_test, averaged, options)
    about = [("predictions", ", ".join(str(path) for path in paths))]
    if len(paths) > 1:
        about.append(("ensemble", f"mean of the {averaged} of {len(paths)} models"))
    if labels is not None:
        about.append(("labels", f"{labels} (uncertain cells unknown, blank cells negative)"))
    report = score(found.evaluated, found.thresholds, about, found.notes, config, found.recalibration)
    return report, found


def read_files(
    paths: Sequence[Path | Sheet],
    config: Eval,
    labels: Path | Sheet | None = None,
    validation: Path | Sheet | None = None,
    tune_on_test: bool = False,
    averaged: Average = "probabilities",
    options: LabelOptions = DEFAULT,
) -> FilePredictions:
    """Predictions files, or sheets that were read, as `predictions.read` reads them, with operating points.

    Rows of split `test` are evaluated, or all rows where none is. A rule chooses thresholds on the rows of
    `validation`, else on rows of split `val`. Without either, nothing is tuned and the threshold is 0.5,
    which a note says; with `tune_on_test` it is tuned on the evaluated rows, and every metric that depends on
    it is marked.

    Raises:
        CxrError: Whatever `predictions.read`, `thresholds.choose` and `align` raise; evaluated images in
            `validation`.
    """
    # 1. read, average, and combine images to studies or patients
    files = [(str(path), read(path, labels, options=options)) for path in paths]
    rows, notes = average(files, averaged) if len(files) > 1 else (files[0][1], [])
    rows = combine(rows, config.unit, config.combine)
    notes += dict.fromkeys(note for _, file in files for note in file.notes)
    notes += [note for note in rows.notes if note not in notes]

    # 2. the rows to evaluate, and validation rows; without test rows, val rows are evaluated too
    is_test = rows.rows["split"].to_numpy() == "test"
    is_val = rows.rows["split"].to_numpy() == "val"
    evaluated = rows.select(is_test) if is_test.any() else rows
    validation_rows = rows.select(is_val & is_test.any())
    if validation is not None:
        validation_rows = _read_validation(validation, labels, evaluated, options, config)
        notes += [f"{validation}: {note}" for note in validation_rows.notes if note not in notes]
    notes += _note_shared_patients(validation_rows, evaluated)

    # 3. thresholds
    tuned_on = validation_rows if len(validation_rows) or not tune_on_test else evaluated
    if isinstance(config.threshold, str) and not len(tuned_on):
        notes.append(
            "thresholds are not tuned: there are no validation rows; give some with --validation FILE"
        )
        thresholds = fixed(rows.findings)
    else:
        thresholds = choose(tuned_on, config.threshold)
    recalibration = fit(validation_rows, config) if len(validation_rows) else None
    return FilePredictions(rows, evaluated, thresholds, recalibration, tuple(notes))


def _note_shared_patients(validation: Predictions, evaluated: Predictions) -> list[str]:
    """A note on patients of both: thresholds chosen on their images know something of their other images."""
    shared = set(validation.rows["patient_id"]) & set(evaluated.rows["patient_id"]) - {""}
    if not shared:
        return []
    return [f"thresholds were chosen on other images of {len(shared):,} patients who are evaluated here"]


def _read_validation(
    path: Path | Sheet,
    labels: Path | Sheet | None,
    evaluated: Predictions,
    options: LabelOptions,
    config: Eval,
) -> Predictions:
    """The rows of split val of another file, or all where none is, with the findings that are evaluated.

    Raises:
        CxrError: A finding that the file does not predict, or an image that is evaluated.
    """
    file = read(path, labels, options=options)
    is_val = (file.rows["split"] == "val").to_numpy()
    rows = combine(file.select(is_val) if is_val.any() else file, config.unit, config.combine)

    columns, missing = [], []
    for finding in evaluated.findings:
        name = find_spelling(finding, rows.findings)
        if name is None:
            missing.append(finding)
        else:
            columns.append(rows.findings.index(name))
    if missing:
        raise CxrError(
            f"{path}: no probability of {', '.join(missing)}", "predict the same findings in both files"
        )

    is_shared = match_names(rows.rows["image"], evaluated.rows["image"]) >= 0
    shared = rows.rows["image"][is_shared]
    if len(shared):
        raise CxrError(
            f"{path}: {len(shared):,} of its images are evaluated too, the first {shared.min()}",
            "choose thresholds on other images than those that are evaluated",
        )
    notes = tuple(dict.fromkeys((*file.notes, *rows.notes)))
    y, p = rows.y[:, columns], rows.p[:, columns]
    return replace(rows, findings=evaluated.findings, y=y, p=p, notes=notes)
