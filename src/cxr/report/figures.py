"""The figures of an evaluation."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from cxr.console import warn
from cxr.evaluation.metric_tables import MEAN
from cxr.evaluation.predictions import Predictions
from cxr.evaluation.report import Report
from cxr.report.curves import INCHES, History, fill
from cxr.report.document import Figure
from cxr.report.fonts import say_lacking
from cxr.report.plots import BLUE, GREY, LABEL_COLUMNS, ORANGE, drawing, save
from cxr.text import shorten, shorten_all

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing

_PANELS_PER_ROW, _PANEL_INCHES = 4, 2.3
_MAX_POINTS = 300
_TITLE_COLUMNS = 28  # width of a name above a panel, in letters


def draw(report: Report, predictions: Predictions, history: History = ()) -> tuple[Figure, ...]:
    """Every figure that the report has something to show in.

    Args:
        report: The report.
        predictions: The rows that it is about.
        history: Per epoch what `curves.fill` draws, of the run's log.
    """
    groups = report.subgroups.groups if report.subgroups is not None else pd.DataFrame()
    names = [*report.table["finding"], *groups.get("attribute", ()), *groups.get("group", ())]
    with drawing(map(str, names)) as lacking:
        if lacking:
            warn(say_lacking(lacking))
        figures = []
        if report.table["auroc"].notna().any():
            figures += [_intervals(report), _roc(report, predictions), _precision_recall(report, predictions)]
            if report.operating is not None:
                figures.append(_decision_curve(report, report.operating.decision))
            if report.reliability is not None:
                figures.append(_reliability(report, report.reliability))
        if len(groups):
            figures.append(_subgroups(groups))
        if len(history) > 1:
            figures.append(_training(history))
        return tuple(figures)


def _intervals(report: Report) -> Figure:
    # matplotlib counts from the bottom, where the mean is to stand
    rows = pd.concat([report.table, report.summary[report.summary["finding"] == MEAN]]).iloc[::-1]

    def plot(axes: "Axes") -> None:
        _plot_intervals(axes, rows, [ORANGE if finding == MEAN else BLUE for finding in rows["finding"]])
        axes.set_yticks(range(len(rows)), shorten_all(list(rows["finding"])[::-1], LABEL_COLUMNS)[::-1])
        axes.set_xlabel("AUROC")

    best, worst = (report.table.loc[getattr(report.table["auroc"], way)()] for way in ("idxmax", "idxmin"))
    alt = (
        "AUROC of each finding with its interval, "
        f"from {worst['auroc']:.3f} ({shorten(worst['finding'], 80)}) "
        f"to {best['auroc']:.3f} ({shorten(best['finding'], 80)}); the table of findings has the numbers."
    )
    return _single("auroc", "AUROC by finding", alt, (6.4, 0.6 + 0.24 * len(rows)), plot)


def _roc(report: Report, predictions: Predictions) -> Figure:
    from sklearn.metrics import roc_curve

    def plot(axes: "Axes", c: int, row: Mapping[str, float]) -> None:
        known = ~np.isnan(predictions.y[:, c])  # [N], rows whose label is known
        false, true, _ = roc_curve(predictions.y[known, c], predictions.p[known, c])
        # chance is the diagonal, the dot the operating point
        axes.plot([0, 1], [0, 1], color=GREY, lw=0.6, ls=":")
        axes.plot(*_thin(false, true), color=BLUE, lw=1.2)
        axes.plot(1 - row["specificity"], row["sensitivity"], "o", color=ORANGE, ms=4)
        axes.set_title(f"{row['title']}\nAUROC {row['auroc']:.3f}")

    alt = (
        "ROC curves, a panel for each finding; the dot is the operating point. "
        "The table of findings has the AUROCs."
    )
    return _panels("roc", "ROC curves", alt, report, ("1 - specificity", "sensitivity"), plot)


def _precision_recall(report: Report, predictions: Predictions) -> Figure:
    from sklearn.metrics import precision_recall_curve

    def plot(axes: "Axes", c: int, row: Mapping[str, float]) -> None:
        known = ~np.isnan(predictions.y[:, c])
        precision, recall, _ = precision_recall_curve(predictions.y[known, c], predictions.p[known, c])
        # scikit-learn ends the curve at recall 0 with precision 1, which no threshold gives
        precision, recall = precision[:-1], recall[:-1]
        # chance reaches the share of positive images
        axes.axhline(row["num_positive"] / row["num"], color=GREY, lw=0.6, ls=":")
        axes.plot(*_thin(recall, precision), color=BLUE, lw=1.2)
        axes.plot(row["sensitivity"], row["ppv"], "o", color=ORANGE, ms=4)
        axes.set_title(f"{row['title']}\navg. precision {row['average_precision']:.3f}")

    alt = (
        "Precision-recall curves, a panel for each finding; dotted is the share of positive images, "
        "which chance reaches, the dot is the operating point."
    )
    return _panels("precision_recall", "Precision-recall curves", alt, report, ("recall", "precision"), plot)


def _decision_curve(report: Report, table: pd.DataFrame) -> Figure:
    def plot(axes: "Axes", c: int, row: Mapping[str, float]) -> None:
        curve = table[table["finding"] == row["finding"]]
        prevalence = row["num_positive"] / row["num"]
        # Calling every image loses its benefit at the prevalence; a few times that is what may be asked.
        most = min(0.5, max(0.02, 4 * prevalence))
        shown = curve[curve["probability"] <= most + 1e-9]
        x = shown["probability"]
        if shown["net_benefit_low"].notna().any():
            axes.fill_between(
                x, shown["net_benefit_low"], shown["net_benefit_high"], color=BLUE, alpha=0.2, lw=0
            )
        axes.plot(x, shown["treat_all"], color=ORANGE, lw=1, ls="--", label="every image")
        axes.axhline(0, color=GREY, lw=0.8, ls=":", label="none")
        axes.plot(x, shown["net_benefit"], color=BLUE, lw=1.2, label="model")
        axes.set(xlim=(0, most), ylim=(-0.2 * prevalence, 1.15 * prevalence))
        axes.locator_params(nbins=4)
        axes.set_title(f"{row['title']}")
        if c == first:
            axes.legend(frameon=False, fontsize=6.5, loc="upper right")

    first = int(np.flatnonzero(report.table["auroc"].notna())[0])
    alt = (
        "Net benefit against the threshold probability, a panel for each finding: of the model with its "
        "interval, of calling every image (dashed) and of calling none (dotted, zero); decision_curve.csv "
        "has the numbers."
    )
    labels = ("threshold probability", "net benefit")
    return _panels("decision_curve", "Decision curves", alt, report, labels, plot, unit_square=False)


def _reliability(report: Report, table: pd.DataFrame) -> Figure:
    def plot(axes: "Axes", c: int, row: Mapping[str, float]) -> None:
        bins = table[table["finding"] == row["finding"]]
        # many findings are rare: the axes end a little above the largest value
        top = max(0.02, 1.08 * float(bins[["mean_probability", "positive"]].to_numpy().max()))
        axes.plot([0, top], [0, top], color=GREY, lw=0.6, ls=":")
        axes.plot(bins["mean_probability"], bins["positive"], "o-", color=BLUE, lw=0.9, ms=3)
        axes.set(xlim=(0, top), ylim=(0, top))
        axes.locator_params(nbins=3)
        axes.set_title(f"{row['title']}\nECE {row['ece']:.3f}")

    alt = (
        "Share of positive images against mean probability in ten groups of images, a panel for each finding."
    )
    labels = ("mean probability", "share positive")
    return _panels("reliability", "Reliability", alt, report, labels, plot, unit_square=False)


def _subgroups(table: pd.DataFrame) -> Figure:
    means = table[(table["finding"] == "mean") & table["auroc"].notna()].iloc[::-1]

    def plot(axes: "Axes") -> None:
        _plot_intervals(axes, means, [BLUE] * len(means))
        groups = shorten_all([f"{row.attribute} {row.group}" for row in means.itertuples()], LABEL_COLUMNS)
        sizes = zip(groups, means["num"], strict=True)
        axes.set_yticks(range(len(means)), [f"{group} ({num:,})" for group, num in sizes])
        axes.set_xlabel("mean AUROC of the findings that every group\nof the attribute has enough images of")

    alt = "Mean AUROC of each subgroup with its interval; the tables of subgroups have the numbers."
    return _single("subgroups", "Subgroups", alt, (6.4, 0.85 + 0.26 * max(1, len(means))), plot)


def _plot_intervals(axes: "Axes", rows: pd.DataFrame, colours: Sequence[str]) -> None:
    """A dot with its interval for each row, from the bottom."""
    for place, (row, colour) in enumerate(zip(rows.to_dict("records"), colours, strict=True)):
        axes.plot([row["auroc_low"], row["auroc_high"]], [place, place], color=colour, lw=1.6)
        axes.plot(row["auroc"], place, "o", color=colour, ms=4)
    axes.grid(axis="x", lw=0.4)


def _training(history: History) -> Figure:
    last = history[-1]
    names = {"loss": "loss", "val_loss": "validation loss", "val_auroc": "validation AUROC"}
    values = [(text, last.get(name)) for name, text in names.items()]
    shown = ", ".join(f"{text} {value:.4f}" for text, value in values if value is not None)
    alt = (
        "Training and validation loss, validation AUROC and learning rate by epoch; "
        f"at the last of {len(history)}: {shown}."
    )
    return save("training", "Training", alt, INCHES, lambda drawing: fill(drawing, history), is_wide=True)


def _thin(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """At most _MAX_POINTS points of a curve, its ends among them; more cannot be seen in a panel."""
    if len(x) <= _MAX_POINTS:
        return x, y
    # points at equal distances along the curve, so that steep parts keep theirs
    along = np.concatenate([[0], np.cumsum(np.abs(np.diff(x)) + np.abs(np.diff(y)))])
    keep = np.unique(np.searchsorted(along, np.linspace(0, along[-1], _MAX_POINTS)))
    keep = np.clip(np.unique(np.concatenate([[0], keep, [len(x) - 1]])), 0, len(x) - 1)
    return x[keep], y[keep]


def _panels(
    name: str,
    title: str,
    alt: str,
    report: Report,
    labels: tuple[str, str],
    plot: "Callable[[Axes, int, Mapping[str, float]], None]",
    unit_square: bool = True,
) -> Figure:
    """A panel for each finding whose metrics are defined."""
    every: list[dict[str, Any]] = [
        {str(name): value for name, value in row.items()} for row in report.table.to_dict("records")
    ]
    titles = shorten_all([str(row["finding"]) for row in every], _TITLE_COLUMNS)
    rows = [(c, row | {"title": titles[c]}) for c, row in enumerate(every) if not np.isnan(row["auroc"])]
    num_columns = min(_PANELS_PER_ROW, len(rows))
    num_rows = -(-len(rows) // _PANELS_PER_ROW)  # rounded up

    def fill(drawing: "Drawing") -> None:
        grid = drawing.subplots(num_rows, num_columns, squeeze=False)
        for place, axes in enumerate(grid.flat):
            if place >= len(rows):
                axes.set_visible(False)
                continue
            if unit_square:
                axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xticks=(0, 0.5, 1), yticks=(0, 0.5, 1))
            plot(axes, *rows[place])
            axes.set_xlabel(labels[0] if place + num_columns >= len(rows) else "")
            axes.set_ylabel(labels[1] if place % num_columns == 0 else "")

    inches = (_PANEL_INCHES * num_columns, _PANEL_INCHES * num_rows)
    return save(name, title, alt, inches, fill, is_wide=True)


def _single(
    name: str, title: str, alt: str, inches: tuple[float, float], plot: "Callable[[Axes], None]"
) -> Figure:
    return save(name, title, alt, inches, lambda drawing: plot(drawing.subplots()))
