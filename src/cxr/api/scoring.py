"""Predictions in a DataFrame -> Report, with the numbers of `cxr eval`; no torch is imported."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from cxr.api.words import in_python, name_arguments
from cxr.config.load import override
from cxr.config.schema import EvalOnly
from cxr.evaluation import report as evaluation
from cxr.evaluation.prediction_files import score_files
from cxr.evaluation.predictions import Predictions
from cxr.files import write_text
from cxr.labels.sheet import Sheet, sheet_of_frame
from cxr.report import figures, html, json_file
from cxr.report.evaluation import facts
from cxr.report.evaluation_page import page
from cxr.report.run_files import Training

TableOrFile = pd.DataFrame | str | Path


def score(
    predictions: TableOrFile,
    labels: TableOrFile | None = None,
    *,
    validation: TableOrFile | None = None,
    overrides: Sequence[str] = (),
) -> "Report":
    """The report of predictions, whoever made them, as `cxr eval predictions.csv` makes it.

    Tables are DataFrames or CSV files. Columns are known by their usual names: `image`, `patient_id`,
    `split`, `view`, `sex`, `age`; the probability of X is `p_X`, its label `y_X` (1, 0, or empty for
    unknown). A bare `X`, as `Model.predict` gives it, is a probability where X has a label or is a known
    finding. Rows of split test are evaluated, or all where none is. docs/method.md has the rules.

    Args:
        predictions: A row per image.
        labels: Labels of the images, in place of the columns `y_X`; uncertain cells (-1) are unknown, blank
            cells negative. Images are joined by name.
        validation: Predictions of other images with labels, on which thresholds are chosen; without it, on
            rows of split val, or else they are 0.5.
        overrides: Keys of the section eval, such as `eval.threshold=youden` or `eval.interval=none`.

    Raises:
        CxrError: Every mistake of a table at once. Line 1 of a DataFrame is its header, line 2 the first row.
    """
    with in_python():
        report, found = score_files(
            # messages name the argument where there is no file
            [_open(predictions, "predictions")],
            override(EvalOnly(), overrides).eval,
            None if labels is None else _open(labels, "labels"),
            None if validation is None else _open(validation, "validation"),
        )
    return Report(report, found.evaluated)


def _open(table: TableOrFile, name: str) -> Sheet | Path:
    """The cells of a DataFrame, or the file."""
    return sheet_of_frame(table, name) if isinstance(table, pd.DataFrame) else Path(table)


class Report:
    """Metrics of predictions, as `score` gives them.

    Attributes:
        table: One row per finding: `finding`, `num` (images with a known label), `num_positive`, `auroc`,
            `average_precision`, `f1`, `sensitivity`, `specificity`, `ppv`, `npv`, `brier`, `ece`, those with
            an interval also with `_low` and `_high`, and `threshold`. nan where a metric is undefined.
        summary: The same columns in rows `mean` and `micro`.
        mean_auroc: Over the findings where it is defined; nan where it is for none.
        evaluated_on: As `test rows (560 images, 97 patients)`.
        notes: What a reader of the numbers must know.
    """

    def __init__(self, report: evaluation.Report, evaluated: Predictions) -> None:
        self._report, self._evaluated = report, evaluated
        self.table: pd.DataFrame = report.table
        self.summary: pd.DataFrame = report.summary
        self.mean_auroc: float = evaluation.macro_auroc(report)
        self.evaluated_on: str = report.evaluated_on
        self.notes: tuple[str, ...] = tuple(map(name_arguments, report.notes))

    def __repr__(self) -> str:
        return f"<cxr.Report of {self.evaluated_on}: mean AUROC {self.mean_auroc:.3f}>"

    def to_html(self, path: str | Path | None = None) -> str:
        """The page that `cxr eval` writes, with its figures in it; written into a file where one is named.

        Raises:
            CxrError: The file cannot be written.
        """
        drawn = figures.draw(self._report, self._evaluated)
        return _write(html.render(page(self._report, drawn, Training())), path)

    def to_json(self, path: str | Path | None = None) -> str:
        """Every number in full precision, as `cxr eval` writes them into report.json, with the notes.

        Raises:
            CxrError: The file cannot be written.
        """
        return _write(json_file.render(facts(self._report), self._report.notes), path)


def _write(text: str, path: str | Path | None) -> str:
    if path is not None:
        write_text(Path(path), text)
    return text
