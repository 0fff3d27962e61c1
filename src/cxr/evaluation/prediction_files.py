"""CSV files of predictions -> Report: which rows are evaluated, and which rows thresholds are chosen on."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from cxr.config.schema import Eval
from cxr.errors import CxrError
from cxr.evaluation.align import Average, average
from cxr.evaluation.join import DEFAULT, LabelOptions
from cxr.evaluation.predictions import Predictions, read
from cxr.evaluation.raw_scores import no_thresholds
from cxr.evaluation.recalibration import Recalibration, fit
from cxr.evaluation.report import Report, score
from cxr.evaluation.same_names import match_names
from cxr.evaluation.study_rows import PLURALS
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
        images: Where studies or patients are evaluated, their images and the thresholds of images.
    """

    rows: Predictions
    evaluated: Predictions
    thresholds: Thresholds
    recalibration: Recalibration | None
    notes: tuple[str, ...]
    images: tuple[Predictions, Thresholds] | None = None


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
    report = score(
        found.evaluated, found.thresholds, about, found.notes, config, found.recalibration, found.images
    )
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
    is_raw = config.scores == "raw"
    if is_raw:
        _refuse_raw(len(paths), validation, tune_on_test)
    # 1. read, average, and combine images to studies or patients
    files = [(str(path), read(path, labels, options=options, is_raw=is_raw)) for path in paths]
    images, notes = average(files, averaged) if len(files) > 1 else (files[0][1], [])
    # each note once, though several files may have it
    notes += dict.fromkeys(note for _, file in files for note in file.notes)
    rows = combine(images, config.unit, config.combine)
    notes += [note for note in rows.notes if note not in notes]

    # 2. the rows to evaluate, and validation rows; without test rows, val rows are evaluated too
    evaluated, validation_rows = _divide(rows)
    evaluated_images, validation_images = _divide(images)
    if validation is not None:
        validation_images = _read_validation(validation, labels, evaluated_images, options)
        validation_rows = combine(validation_images, config.unit, config.combine)
        _refuse_shared(validation, validation_rows, evaluated)
        notes += [f"{validation}: {note}" for note in validation_rows.notes if note not in notes]
    notes += _note_shared_patients(validation_rows, evaluated)

    # 3. thresholds, each of the unit that it is used for
    def choose_for(found: Predictions, validated: Predictions) -> Thresholds:
        if is_raw:
            return no_thresholds(rows.findings)
        # validation rows win over --tune-on-test
        tuned_on = validated if len(validated) or not tune_on_test else found
        is_untuned = isinstance(config.threshold, str) and not len(tuned_on)
        return fixed(rows.findings) if is_untuned else choose(tuned_on, config.threshold)

    if is_raw:
        # none: raw scores are neither calibrated nor cut
        validation_rows = validation_rows.select(np.array([], np.intp))
    elif isinstance(config.threshold, str) and not len(validation_rows) and not tune_on_test:
        notes.append(
            "thresholds are not tuned: there are no validation rows; give some with --validation FILE"
        )
    recalibration = fit(validation_rows, config) if len(validation_rows) else None
    has_units = rows.unit != images.unit
    return FilePredictions(
        rows,
        evaluated,
        choose_for(evaluated, validation_rows),
        recalibration,
        tuple(notes),
        (evaluated_images, choose_for(evaluated_images, validation_images)) if has_units else None,
    )


def _divide(rows: Predictions) -> tuple[Predictions, Predictions]:
    """(rows of split test, or all where none is; rows of split val beside rows of split test)."""
    is_test = rows.rows["split"].to_numpy() == "test"
    is_val = rows.rows["split"].to_numpy() == "val"
    return rows.select(is_test) if is_test.any() else rows, rows.select(is_val & is_test.any())


def _refuse_raw(num_files: int, validation: Path | Sheet | None, tune_on_test: bool) -> None:
    """Refuse what raw scores cannot have.

    Raises:
        CxrError: Several files, whose scores have no common scale, or thresholds.
    """
    if num_files > 1:
        raise CxrError("eval.scores=raw: raw scores of several models have no mean", "evaluate one at a time")
    if validation is not None or tune_on_test:
        option = "--tune-on-test" if validation is None else "--validation"
        raise CxrError(f"{option}: raw scores have no thresholds", "leave it out, or give probabilities")


def _note_shared_patients(validation: Predictions, evaluated: Predictions) -> list[str]:
    """A note on patients of both: thresholds chosen on their images know something of their other images."""
    shared = set(validation.rows["patient_id"]) & set(evaluated.rows["patient_id"]) - {""}
    if not shared:
        return []
    return [f"thresholds were chosen on other images of {len(shared):,} patients who are evaluated here"]


def _read_validation(
    path: Path | Sheet, labels: Path | Sheet | None, evaluated: Predictions, options: LabelOptions
) -> Predictions:
    """The rows of split val of another file, or all where none is, with the findings that are evaluated.

    Raises:
        CxrError: A finding that the file does not predict, or an image that is evaluated.
    """
    file = read(path, labels, options=options)
    is_val = (file.rows["split"] == "val").to_numpy()
    rows = file.select(is_val) if is_val.any() else file

    # in the order of the evaluated findings, whatever that of the file
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

    y, p = rows.y[:, columns], rows.p[:, columns]
    found = replace(rows, findings=evaluated.findings, y=y, p=p)
    _refuse_shared(path, found, evaluated)
    return found


def _refuse_shared(path: Path | Sheet, validation: Predictions, evaluated: Predictions) -> None:
    """Refuse validation rows that are evaluated.

    Raises:
        CxrError: Such rows.
    """
    is_shared = match_names(validation.rows["image"], evaluated.rows["image"]) >= 0
    shared = validation.rows["image"][is_shared]
    if len(shared):
        many = PLURALS[validation.unit]
        raise CxrError(
            f"{path}: {len(shared):,} of its {many} are evaluated too, the first {shared.min()}",
            f"choose thresholds on other {many} than those that are evaluated",
        )
