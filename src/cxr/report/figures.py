"""The pictures of a report, drawn by matplotlib without a display."""

import io
import logging
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from cxr.console import warn
from cxr.evaluation.metric_tables import MEAN
from cxr.evaluation.predictions import Predictions
from cxr.evaluation.report import Report
from cxr.report.fonts import choose_fonts, say_lacking
from cxr.text import shorten, shorten_all, visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_BLUE, _ORANGE, _GREY = (
    "#1f5f99",
    "#c25b12",
    "#767676",
)  # told apart by the colour-blind, and dark enough in print
_COLUMNS, _PANEL = 4, 2.3  # panels a row, inches
_MOST_POINTS = 300
_TITLE, _LABEL = 28, 36  # columns of a name above a panel, and beside an axis
_STYLE = {
    "font.size": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 8.5,
    "svg.fonttype": "none",
    "svg.hashsalt": "cxr",
    "text.parse_math": False,  # a finding may be called $x$ or a_b
}


@dataclass(frozen=True)
class Picture:
    """One figure of a report: `name.svg`, `name.png`, a heading, and what it shows in words."""

    name: str
    heading: str
    alt: str
    svg: bytes
    png: bytes


def draw(
    report: Report, predictions: Predictions, history: Sequence[Mapping[str, float | None]] = ()
) -> list[Picture]:
    """Every picture that the report has something to show in.

    Args:
        report: The report.
        predictions: The rows that it judged.
        history: Per epoch `loss` and `val_loss`, `val_auroc`, of the run's log.
    """
    logging.getLogger("matplotlib").setLevel(
        logging.ERROR
    )  # it tells how it looks for fonts and where it keeps them
    import matplotlib as mpl

    families, lacking = choose_fonts(_names(report))
    if lacking:
        warn(say_lacking(lacking))
    with mpl.rc_context(rc=_STYLE | {"font.family": families}), warnings.catch_warnings():  # type: ignore[arg-type]
        warnings.filterwarnings(
            "ignore", r"Glyph \d+ "
        )  # said above, once and not for each letter of each panel
        return _draw(report, predictions, history)


def _names(report: Report) -> list[str]:
    """Every text in the figures that is not ours."""
    groups = report.subgroups.groups if report.subgroups is not None else None
    named = [] if groups is None or not len(groups) else [*groups["attribute"], *groups["group"]]
    return [visible(str(name)) for name in [*report.table["finding"], *named]]


def _draw(
    report: Report, predictions: Predictions, history: Sequence[Mapping[str, float | None]]
) -> list[Picture]:
    pictures = []
    if report.table["auroc"].notna().any():
        pictures = [_intervals(report), _roc(report, predictions), _precision_recall(report, predictions)]
    if pictures and report.reliability is not None:
        pictures.append(_reliability(report, report.reliability))
    if report.subgroups is not None and len(report.subgroups.groups):
        pictures.append(_subgroups(report.subgroups.groups))
    if len(history) > 1:
        pictures.append(_training(history))
    return pictures


def _intervals(report: Report) -> Picture:
    rows = pd.concat([report.table, report.summary[report.summary["finding"] == MEAN]]).iloc[::-1]

    def plot(axes: "Axes") -> None:
        for place, row in enumerate(rows.to_dict("records")):
            colour = _ORANGE if row["finding"] == MEAN else _BLUE
            axes.plot([row["auroc_low"], row["auroc_high"]], [place, place], color=colour, lw=1.6)
            axes.plot(row["auroc"], place, "o", color=colour, ms=4)
        axes.set_yticks(range(len(rows)), shorten_all(list(rows["finding"])[::-1], _LABEL)[::-1])
        axes.set_xlabel("AUROC")
        axes.grid(axis="x", lw=0.4)

    best, worst = (report.table.loc[getattr(report.table["auroc"], way)()] for way in ("idxmax", "idxmin"))
    alt = (
        f"AUROC of each finding with its interval, from {worst['auroc']:.3f} ({shorten(worst['finding'], 80)}) "
        f"to {best['auroc']:.3f} ({shorten(best['finding'], 80)}); the table of findings has the numbers."
    )
    return _single("auroc", "AUROC by finding", alt, (6.4, 0.6 + 0.24 * len(rows)), plot)


def _roc(report: Report, predictions: Predictions) -> Picture:
    from sklearn.metrics import roc_curve

    def plot(axes: "Axes", c: int, row: Mapping[str, float]) -> None:
        known = ~np.isnan(predictions.y[:, c])
        false, true, _ = roc_curve(predictions.y[known, c], predictions.p[known, c])
        axes.plot([0, 1], [0, 1], color=_GREY, lw=0.6, ls=":")
        axes.plot(*_thin(false, true), color=_BLUE, lw=1.2)
        axes.plot(1 - row["specificity"], row["sensitivity"], "o", color=_ORANGE, ms=4)
        axes.set_title(f"{row['title']}\nAUROC {row['auroc']:.3f}")

    alt = (
        "ROC curves, a panel a finding; the dot is the operating point. The table of findings has the AUROCs."
    )
    return _panels("roc", "ROC curves", alt, report, ("1 - specificity", "sensitivity"), plot)


def _precision_recall(report: Report, predictions: Predictions) -> Picture:
    from sklearn.metrics import precision_recall_curve

    def plot(axes: "Axes", c: int, row: Mapping[str, float]) -> None:
        known = ~np.isnan(predictions.y[:, c])
        precision, recall, _ = precision_recall_curve(predictions.y[known, c], predictions.p[known, c])
        axes.axhline(row["num_positive"] / row["num"], color=_GREY, lw=0.6, ls=":")
        axes.plot(*_thin(recall, precision), color=_BLUE, lw=1.2)
        axes.plot(row["sensitivity"], row["ppv"], "o", color=_ORANGE, ms=4)
        axes.set_title(f"{row['title']}\navg. precision {row['average_precision']:.3f}")

    alt = (
        "Precision-recall curves, a panel a finding; dotted is the share of positive images, which chance reaches, "
        "the dot is the operating point."
    )
    return _panels("precision_recall", "Precision-recall curves", alt, report, ("recall", "precision"), plot)


def _reliability(report: Report, table: pd.DataFrame) -> Picture:
    def plot(axes: "Axes", c: int, row: Mapping[str, float]) -> None:
        own = table[table["finding"] == row["finding"]]
        top = max(0.02, 1.08 * float(own[["mean_probability", "positive"]].to_numpy().max()))
        axes.plot([0, top], [0, top], color=_GREY, lw=0.6, ls=":")
        axes.plot(own["mean_probability"], own["positive"], "o-", color=_BLUE, lw=0.9, ms=3)
        axes.set(xlim=(0, top), ylim=(0, top))
        axes.locator_params(nbins=3)
        axes.set_title(f"{row['title']}\nECE {row['ece']:.3f}")

    alt = "Share of positive images against mean probability in ten groups of images, a panel a finding."
    labels = ("mean probability", "share positive")
    return _panels("reliability", "Reliability", alt, report, labels, plot, unit_square=False)


def _subgroups(table: pd.DataFrame) -> Picture:
    means = table[(table["finding"] == "mean") & table["auroc"].notna()].iloc[::-1]

    def plot(axes: "Axes") -> None:
        for place, row in enumerate(means.to_dict("records")):
            axes.plot([row["auroc_low"], row["auroc_high"]], [place, place], color=_BLUE, lw=1.6)
            axes.plot(row["auroc"], place, "o", color=_BLUE, ms=4)
        groups = shorten_all([f"{row.attribute} {row.group}" for row in means.itertuples()], _LABEL)
        sizes = zip(groups, means["num"], strict=True)
        axes.set_yticks(range(len(means)), [f"{group} ({num:,})" for group, num in sizes])
        axes.set_xlabel("mean AUROC of the findings that every group\nof the attribute has enough images of")
        axes.grid(axis="x", lw=0.4)

    alt = "Mean AUROC of each subgroup with its interval; the tables of subgroups have the numbers."
    return _single("subgroups", "Subgroups", alt, (6.4, 0.85 + 0.26 * max(1, len(means))), plot)


def _training(history: Sequence[Mapping[str, float | None]]) -> Picture:
    from matplotlib.ticker import MaxNLocator

    epochs = np.arange(1, len(history) + 1)

    def values(name: str) -> list[float]:
        return [np.nan if (value := row.get(name)) is None else value for row in history]

    def plot(axes: "Axes") -> None:
        axes.plot(epochs, values("loss"), "o-", color=_GREY, ms=3, lw=1, label="training loss")
        axes.plot(epochs, values("val_loss"), "o-", color=_ORANGE, ms=3, lw=1, label="validation loss")
        axes.set(xlabel="epoch", ylabel="loss", ylim=(0, None))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        other = axes.twinx()
        other.plot(epochs, values("val_auroc"), "s-", color=_BLUE, ms=3, lw=1, label="validation AUROC")
        other.set_ylabel("AUROC")
        other.spines["right"].set_visible(True)
        handles, labels = (a + b for a, b in zip(axes.get_legend_handles_labels(),
                                                 other.get_legend_handles_labels(), strict=True))  # fmt: skip
        axes.legend(handles, labels, frameon=False, loc="upper center", bbox_to_anchor=(0.5, 1.15), ncols=3)

    last = history[-1]
    shown = ", ".join(
        f"{name.replace('_', ' ')} {value:.4f}" for name, value in last.items() if value is not None
    )
    alt = (
        f"Training and validation loss and validation AUROC by epoch; at the last of {len(history)}: {shown}."
    )
    return _single("training", "Training", alt, (6.4, 3.2), plot)


def _thin(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """At most 300 points of a curve, its ends among them; the eye sees no more in a panel."""
    if len(x) <= _MOST_POINTS:
        return x, y
    along = np.concatenate([[0], np.cumsum(np.abs(np.diff(x)) + np.abs(np.diff(y)))])
    keep = np.unique(np.searchsorted(along, np.linspace(0, along[-1], _MOST_POINTS)))
    keep = np.clip(np.unique(np.concatenate([[0], keep, [len(x) - 1]])), 0, len(x) - 1)
    return x[keep], y[keep]


def _panels(
    name: str,
    heading: str,
    alt: str,
    report: Report,
    labels: tuple[str, str],
    plot: "Callable[[Axes, int, Mapping[str, float]], None]",
    unit_square: bool = True,
) -> Picture:
    """A panel for each finding whose figures are defined."""
    every: list[dict[str, Any]] = [{str(name): value for name, value in row.items()}
                                   for row in report.table.to_dict("records")]  # fmt: skip
    titles = shorten_all([str(row["finding"]) for row in every], _TITLE)
    rows = [(c, row | {"title": titles[c]}) for c, row in enumerate(every) if not np.isnan(row["auroc"])]
    num_rows = -(-len(rows) // _COLUMNS)
    num_columns = min(_COLUMNS, len(rows))

    def fill(figure: "Figure") -> None:
        grid = figure.subplots(num_rows, num_columns, squeeze=False)
        for place, axes in enumerate(grid.flat):
            if place >= len(rows):
                axes.set_visible(False)
                continue
            if unit_square:
                axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xticks=(0, 0.5, 1), yticks=(0, 0.5, 1))
            plot(axes, *rows[place])
            axes.set_xlabel(labels[0] if place + num_columns >= len(rows) else "")
            axes.set_ylabel(labels[1] if place % num_columns == 0 else "")

    return _save(name, heading, alt, (_PANEL * num_columns, _PANEL * num_rows), fill)


def _single(
    name: str, heading: str, alt: str, inches: tuple[float, float], plot: "Callable[[Axes], None]"
) -> Picture:
    return _save(name, heading, alt, inches, lambda figure: plot(figure.subplots()))


def _save(
    name: str, heading: str, alt: str, inches: tuple[float, float], fill: "Callable[[Figure], None]"
) -> Picture:
    from matplotlib.figure import Figure

    figure = Figure(figsize=inches, layout="constrained")
    fill(figure)
    svg, png = io.BytesIO(), io.BytesIO()
    figure.savefig(svg, format="svg", metadata={"Date": None})
    figure.set_layout_engine("none")  # laid out already
    figure.savefig(png, format="png", dpi=150)
    return Picture(name, heading, alt, svg.getvalue(), png.getvalue())
