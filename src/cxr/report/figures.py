"""The figures of an evaluation."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from cxr.console import warn
from cxr.evaluation.predictions import Predictions
from cxr.evaluation.report import Report
from cxr.files import write_bytes
from cxr.report.curves import History, fill
from cxr.report.document import Figure
from cxr.report.fonts import say_lacking
from cxr.report.forest import draw_forest, draw_subgroups
from cxr.report.panels import draw_decision_curve, draw_precision_recall, draw_reliability, draw_roc
from cxr.report.plots import DOUBLE_COLUMN, MIN_POINTS, drawing, save

_TRAINING_HEIGHT = 58.0


def draw(report: Report, predictions: Predictions, history: History = ()) -> tuple[Figure, ...]:
    """Every figure that the report has something to show in.

    Args:
        report: The report.
        predictions: The rows that it is about.
        history: Per epoch what `curves.fill` draws, of the run's log.
    """
    groups = report.subgroups.groups if report.subgroups is not None else pd.DataFrame()
    names = [*report.table["finding"], *groups.get("attribute", ()), *groups.get("group", ())]
    with drawing(map(str, names), MIN_POINTS) as lacking:
        if lacking:
            warn(say_lacking(lacking))
        figures = []
        if report.table["auroc"].notna().any():
            figures += [draw_forest(report), draw_roc(report, predictions)]
            figures.append(draw_precision_recall(report, predictions))
            if report.operating is not None and len(report.operating.decision):
                figures.append(draw_decision_curve(report, report.operating.decision))
            if report.reliability is not None:
                figures.append(draw_reliability(report, predictions, report.reliability))
        if len(groups) and (subgroups := draw_subgroups(report, groups)):
            figures.append(subgroups)
        if len(history) > 1:
            figures.append(_draw_training(history))
        return tuple(figures)


def write_files(figures: Sequence[Figure], folder: Path) -> None:
    """Write each as `figures/NAME.svg`, `.pdf` and `.png` below the folder."""
    for figure in figures:
        for kind, data in (("svg", figure.svg), ("pdf", figure.pdf), ("png", figure.png)):
            write_bytes(folder / "figures" / f"{figure.name}.{kind}", data)


def _draw_training(history: History) -> Figure:
    last = history[-1]
    names = {"loss": "loss", "val_loss": "validation loss", "val_auroc": "validation AUROC"}
    values = [(text, last.get(name)) for name, text in names.items()]
    shown = ", ".join(f"{text} {value:.4f}" for text, value in values if value is not None)
    alt = (
        "Training and validation loss, validation AUROC and learning rate by epoch; "
        f"at the last of {len(history)}: {shown}."
    )
    size = (DOUBLE_COLUMN, _TRAINING_HEIGHT)
    caption = "The epoch with a ring is that of the best checkpoint."
    return save(
        "training",
        "Training",
        alt,
        size,
        lambda drawing: fill(drawing, history, font_size=MIN_POINTS),
        is_wide=True,
        caption=caption,
    )
