"""ROC, precision-recall and reliability curves: a panel for each finding."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from cxr.evaluation.predictions import Predictions
from cxr.evaluation.report import Report
from cxr.report.document import Figure
from cxr.report.plots import BLUE, DOUBLE_COLUMN, GREY, ORANGE, SINGLE_COLUMN, save
from cxr.text import shorten_all

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing

_PANELS_PER_ROW = 5
_MAX_POINTS = 300
_TITLE_COLUMNS = 22  # width of a name above a panel, in letters
_SPIKES = 20
"""Bars of the histogram below a reliability curve."""
_SPIKE_SHARE = 0.16
"""Height of its highest bar, of that of the panel."""
# millimetres: left of the first panel, right of the last, above a panel, below one
_LEFT, _RIGHT, _ABOVE, _BELOW = 11.0, 2.5, 8.5, 8.5
_GAP, _WIDE_GAP = 6.5, 9.0

Row = Mapping[str, Any]


def draw_roc(report: Report, predictions: Predictions) -> Figure:
    """ROC curves with bands and operating points."""
    from sklearn.metrics import roc_curve

    bands = _by_finding(report.curves.roc if report.curves else None)

    def plot(axes: "Axes", c: int, row: Row) -> None:
        known = ~np.isnan(predictions.y[:, c])  # [N], rows whose label is known
        false, true, _ = roc_curve(predictions.y[known, c], predictions.p[known, c])
        # chance is the diagonal, the dot the operating point
        axes.plot([0, 1], [0, 1], color=GREY, lw=0.6, ls=":")
        if row["finding"] in bands:
            _fill_band(axes, bands[row["finding"]], "false_positive_rate", "sensitivity")
        axes.plot(*thin(false, true), color=BLUE, lw=0.9)
        axes.plot(1 - row["specificity"], row["sensitivity"], "o", color=ORANGE, ms=3)
        axes.set_title(f"{row['title']}\n{_describe(row, 'auroc')}")

    alt = (
        "ROC curves, a panel for each finding; the dot is the operating point. "
        "The table of findings has the AUROCs."
    )
    caption = (
        f"Above each panel: AUROC{_bracket(report)}. {_explain_band(report, 'sensitivity')}"
        "Orange: operating point; dotted: chance."
    )
    return _panels("roc", "ROC curves", alt, caption, report, ("1 - specificity", "sensitivity"), plot)


def draw_precision_recall(report: Report, predictions: Predictions) -> Figure:
    """Precision-recall curves with bands and operating points."""
    from sklearn.metrics import precision_recall_curve

    bands = _by_finding(report.curves.precision_recall if report.curves else None)

    def plot(axes: "Axes", c: int, row: Row) -> None:
        known = ~np.isnan(predictions.y[:, c])
        precision, recall, _ = precision_recall_curve(predictions.y[known, c], predictions.p[known, c])
        # scikit-learn ends the curve at recall 0 with precision 1, which no threshold gives
        precision, recall = precision[:-1], recall[:-1]
        # chance reaches the share of positive images
        axes.axhline(row["num_positive"] / row["num"], color=GREY, lw=0.6, ls=":")
        if row["finding"] in bands:
            _fill_band(axes, bands[row["finding"]], "recall", "precision")
        axes.plot(*thin(recall, precision), color=BLUE, lw=0.9)
        axes.plot(row["sensitivity"], row["ppv"], "o", color=ORANGE, ms=3)
        axes.set_title(f"{row['title']}\n{_describe(row, 'average_precision')}")

    alt = (
        "Precision-recall curves, a panel for each finding; dotted is the share of positive images, "
        "which chance reaches, the dot is the operating point."
    )
    caption = (
        f"Above each panel: average precision{_bracket(report)}. {_explain_band(report, 'precision')}"
        "Orange: operating point; dotted: share of positive images, which chance reaches."
    )
    labels = ("recall", "precision")
    return _panels("precision_recall", "Precision-recall curves", alt, caption, report, labels, plot)


def draw_reliability(report: Report, predictions: Predictions, table: pd.DataFrame) -> Figure:
    """Share of positive images against mean probability, with intervals and a histogram."""

    def plot(axes: "Axes", c: int, row: Row) -> None:
        bins = table[table["finding"] == row["finding"]]
        highs = bins["positive_high"].where(bins["positive_high"].notna(), bins["positive"])
        # many findings are rare: the axes end a little above the largest value
        largest = max(bins["mean_probability"].max(), bins["positive"].max(), min(1, highs.iloc[-1]))
        top = min(1.02, max(0.02, 1.08 * float(largest)))
        _plot_spikes(axes, predictions.p[~np.isnan(predictions.y[:, c]), c], top)
        axes.plot([0, top], [0, top], color=GREY, lw=0.6, ls=":")
        axes.vlines(bins["mean_probability"], bins["positive_low"], bins["positive_high"], color=BLUE, lw=0.8)
        axes.plot(bins["mean_probability"], bins["positive"], "o-", color=BLUE, lw=0.7, ms=2)
        axes.set(xlim=(0, top), ylim=(0, top))
        axes.locator_params(axis="y", nbins=3)
        axes.locator_params(axis="x", nbins=3, prune="upper")  # the next panel's 0 stands close
        axes.set_title(f"{row['title']}\n{row['num_positive']:,} of {row['num']:,}")

    alt = (
        "Share of positive images against mean probability in ten groups of images, a panel for each finding."
    )
    lines = "Lines: 95 % intervals by patient. " if table["positive_low"].notna().any() else ""
    caption = (
        "Images in ten groups of equal size by probability; above each panel: positive of all images. "
        f"{lines}Grey: images by probability, on a logarithmic scale; those beyond the axis are not shown. "
        "Dotted: right probabilities."
    )
    labels = ("mean probability", "share positive")
    return _panels("reliability", "Reliability", alt, caption, report, labels, plot, unit_square=False)


def draw_decision_curve(report: Report, table: pd.DataFrame) -> Figure:
    """Net benefit against the threshold probability, beside calling every image and calling none."""

    def plot(axes: "Axes", c: int, row: Row) -> None:
        curve = table[table["finding"] == row["finding"]]
        # the net benefit of a perfect model, so the top of the panel
        prevalence = row["num_positive"] / row["num"]
        # Calling every image loses its benefit at the prevalence; a few times that is what may be asked.
        most = min(0.5, max(0.02, 4 * prevalence))
        shown = curve[curve["probability"] <= most + 1e-9]
        x = shown["probability"]
        if shown["net_benefit_low"].notna().any():
            _fill_band(axes, shown, "probability", "net_benefit")
        axes.plot(x, shown["treat_all"], color=ORANGE, lw=0.8, ls="--")
        axes.axhline(0, color=GREY, lw=0.6, ls=":")
        axes.plot(x, shown["net_benefit"], color=BLUE, lw=0.9)
        axes.set(xlim=(0, most), ylim=(-0.2 * prevalence, 1.15 * prevalence))
        axes.locator_params(axis="y", nbins=3)
        axes.locator_params(axis="x", nbins=3, prune="upper")  # the next panel's 0 stands close
        axes.set_title(f"{row['title']}\n{row['num_positive']:,} of {row['num']:,}")

    alt = (
        "Net benefit against the threshold probability, a panel for each finding: of the model with its "
        "interval, of calling every image (dashed) and of calling none (dotted, zero); decision_curve.csv "
        "has the numbers."
    )
    bands = "Bands: 95 % intervals at each place alone, by patient. " if report.intervals else ""
    caption = (
        f"Above each panel: positive of all images. {bands}Blue: the model; dashed: every image is called; "
        "dotted: none."
    )
    labels = ("threshold probability", "net benefit")
    return _panels("decision_curve", "Decision curves", alt, caption, report, labels, plot, unit_square=False)


def _plot_spikes(axes: "Axes", p: np.ndarray[Any, np.dtype[np.float64]], top: float) -> None:
    """Bars at the bottom: how many images have a probability, on a logarithmic scale."""
    edges = np.linspace(0, top, _SPIKES + 1)
    numbers = np.histogram(p, edges)[0]
    # 1 + n, so that an empty bar has height 0 and a single image can be seen beside thousands
    heights = np.log10(1 + numbers) / np.log10(1 + max(1, numbers.max())) * _SPIKE_SHARE * top
    axes.bar(edges[:-1], heights, np.diff(edges), align="edge", color="#d5d5d5", edgecolor="white", lw=0.2)


def _by_finding(table: pd.DataFrame | None) -> dict[str, pd.DataFrame]:
    """The curve of each finding that has intervals."""
    if table is None:
        return {}
    # the last column is the upper end of the interval
    bounded = table[table.columns[-1]].notna()
    return {str(finding): rows for finding, rows in table[bounded].groupby("finding", sort=False)}


def _fill_band(axes: "Axes", rows: pd.DataFrame, x: str, y: str) -> None:
    axes.fill_between(rows[x], rows[f"{y}_low"], rows[f"{y}_high"], color=BLUE, alpha=0.2, lw=0)


def _describe(row: Row, name: str) -> str:
    """As `0.912 (0.890-0.931)`."""
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    return f"{row[name]:.3f}" + (f" ({low:.3f}-{high:.3f})" if low == low else "")


def _bracket(report: Report) -> str:
    return " (95 % interval)" if report.intervals else ""


def _explain_band(report: Report, name: str) -> str:
    has_bands = report.curves is not None and bool(report.curves.roc["sensitivity_low"].notna().any())
    return f"Bands: 95 % intervals of the {name} at each place alone, by patient. " if has_bands else ""


def thin(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
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
    caption: str,
    report: Report,
    labels: tuple[str, str],
    plot: "Callable[[Axes, int, Row], None]",
    unit_square: bool = True,
) -> Figure:
    """A panel for each finding whose metrics are defined."""
    every: list[dict[str, Any]] = [
        {str(key): value for key, value in row.items()} for row in report.table.to_dict("records")
    ]
    rows = [(c, row) for c, row in enumerate(every) if not np.isnan(row["auroc"])]
    return save_panels(name, title, alt, caption, rows, labels, plot, unit_square)


def save_panels(
    name: str,
    title: str,
    alt: str,
    caption: str,
    rows: Sequence[tuple[int, Row]],
    labels: tuple[str, str],
    plot: "Callable[[Axes, int, Row], None]",
    unit_square: bool = True,
) -> Figure:
    """A panel for each of these findings.

    Args:
        name: Of the figure's files.
        title: What is shown.
        alt: The same in words.
        caption: How to read it.
        rows: (number of the finding, its row, which has `finding`).
        labels: Of both axes.
        plot: Draws the panel of a finding; its row then has `title`, the finding cut to the panel's width.
        unit_square: Whether both axes go from 0 to 1.
    """
    titles = shorten_all([str(row["finding"]) for _, row in rows], _TITLE_COLUMNS)
    num_columns = min(_PANELS_PER_ROW, len(rows))
    num_rows = -(-len(rows) // num_columns)  # rounded up
    # one or two panels are no wider than a column of a journal
    width = SINGLE_COLUMN if num_columns < 3 else DOUBLE_COLUMN
    gap = _GAP if unit_square else _WIDE_GAP  # for numbers such as 0.05 beside the axes
    # millimetres of a square panel; the height of the figure follows from it
    side = (width - _LEFT - _RIGHT - gap * (num_columns - 1)) / num_columns
    height = num_rows * (_ABOVE + side + _BELOW)

    def fill(drawing: "Drawing") -> None:
        for place, (c, row) in enumerate(rows):
            line, column = divmod(place, num_columns)
            left = _LEFT + column * (side + gap)
            # matplotlib counts from the lower left corner, panels are read from the upper one
            bottom = height - (line + 1) * (_ABOVE + side + _BELOW) + _BELOW
            axes = drawing.add_axes((left / width, bottom / height, side / width, side / height))
            if unit_square:
                axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xticks=(0, 0.5, 1), yticks=(0, 0.5, 1))
            plot(axes, c, {**row, "title": titles[place]})
            # below a panel another one may stand
            axes.set_xlabel(labels[0] if place + num_columns >= len(rows) else "", labelpad=1)
            axes.set_ylabel(labels[1] if column == 0 else "", labelpad=1)
            axes.tick_params(pad=1.5)

    size = (width, height)
    return save(name, title, alt, size, fill, is_wide=True, caption=caption, is_laid_out=True)
