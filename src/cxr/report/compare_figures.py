"""Figures of comparisons: the differences with their intervals, and the models' ROC curves in one panel."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from cxr.evaluation.compare import Comparison
from cxr.evaluation.family import Family, letter
from cxr.evaluation.predictions import Predictions
from cxr.evaluation.statistics import metrics
from cxr.report.document import Figure, format_cell
from cxr.report.forest import BOTTOM, ROW, TOP, finish, place_axes, write_column
from cxr.report.panels import Row, save_panels, thin
from cxr.report.plots import BLUE, COLOURS, DOUBLE_COLUMN, GREY, MIN_POINTS, ORANGE, drawing, save
from cxr.report.records import Record, estimate, records

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing

_PLOT, _NUMBERS = (50.0, 125.0), 129.0
"""Millimetres where the axes of differences lie, and where the numbers beside them begin."""
_MOST_CURVES = 4
_STYLES = ("-", "--", "-.", ":")
"""So that curves can be told apart without colours."""


def draw_comparison(comparison: Comparison) -> tuple[Figure, ...]:
    """Differences of AUROC by finding, and the ROC curves of A and B."""
    rows = records(comparison.table)
    names = [str(row["finding"]) for row in rows]
    caption = (
        f"AUROC of B less that of A. Lines: 95 % intervals, {comparison.intervals}. Orange: the mean over "
        "findings. Left of the dotted line A is better, right of it B."
    )
    with drawing(names, MIN_POINTS):
        return _draw(rows, names, "Finding", caption, comparison.curves, comparison.is_paired)


def draw_family(family: Family) -> tuple[Figure, ...]:
    """Differences of the mean AUROC of each pair, and the ROC curves of up to four models."""
    rows = records(family.table[family.table["finding"] == "mean"])
    names = [f"{letter(b)} less {letter(a)}" for a, b in family.pairs]
    intervals = f"95 % intervals, {family.intervals}, not corrected for their number"
    caption = f"Mean AUROC over findings. Lines: {intervals}."
    with drawing([*names, *family.curves[0].findings], MIN_POINTS):
        return _draw(rows, names, "Models", caption, family.curves, is_paired=True)


def _draw(
    rows: Sequence[Record],
    names: Sequence[str],
    heading: str,
    caption: str,
    curves: Sequence[Predictions],
    is_paired: bool,
) -> tuple[Figure, ...]:
    defined = [
        (row, name) for row, name in zip(rows, names, strict=True) if row["auroc_difference"] is not None
    ]
    if not defined:
        return ()
    figures = [
        _draw_differences([row for row, _ in defined], [name for _, name in defined], heading, caption)
    ]
    # more curves in a panel cannot be told apart
    if len(curves) <= _MOST_CURVES:
        figures += _draw_roc(curves, is_paired)
    return tuple(figures)


def _draw_differences(rows: Sequence[Record], names: Sequence[str], heading: str, caption: str) -> Figure:
    height = TOP + ROW * len(rows) + BOTTOM
    cells = [estimate(row, "auroc_difference", "auroc_low", "auroc_high", signed=True) for row in rows]

    def fill(drawing: "Drawing") -> None:
        axes = place_axes(drawing, height, _PLOT)
        for place, (name, cell) in enumerate(zip(names, cells, strict=True)):
            colour = ORANGE if name == "mean" else BLUE
            if cell.low is not None and cell.high is not None:
                axes.plot([cell.low, cell.high], [place] * 2, color=colour, lw=1.1)
            assert cell.value is not None
            axes.plot(cell.value, place, "s", color=colour, ms=3.2, clip_on=False)
        axes.axvline(0, color=GREY, lw=0.8, ls=":", zorder=0)
        finish(axes, names, "difference of AUROC", heading)
        axes.locator_params(axis="x", nbins=6)
        write_column(axes, _NUMBERS, "Difference (95 % interval)", [format_cell(cell) for cell in cells])

    alt = "Differences of AUROC with their intervals: " + "; ".join(
        f"{name} {format_cell(cell)}" for name, cell in zip(names[:20], cells[:20], strict=True)
    )
    size = (DOUBLE_COLUMN, height)
    title = "Differences of AUROC"
    return save("differences", title, alt, size, fill, is_wide=True, caption=caption, is_laid_out=True)


def _draw_roc(curves: Sequence[Predictions], is_paired: bool) -> list[Figure]:
    """A panel for each finding whose AUROC all models have."""
    from sklearn.metrics import roc_curve

    # [M, C]
    aurocs = np.array(
        [[metrics.auroc(rows.y[:, c], rows.p[:, c]) for c in range(len(rows.findings))] for rows in curves]
    )
    defined = [
        (c, {"finding": name})
        for c, name in enumerate(curves[0].findings)
        if not np.isnan(aurocs[:, c]).any()
    ]
    if not defined:
        return []

    def plot(axes: "Axes", c: int, row: Row) -> None:
        axes.plot([0, 1], [0, 1], color=GREY, lw=0.6, ls=":")
        for place, rows in enumerate(curves):
            known = ~np.isnan(rows.y[:, c])
            false, true, _ = roc_curve(rows.y[known, c], rows.p[known, c])
            label = f"{letter(place)} {aurocs[place, c]:.3f}"
            axes.plot(*thin(false, true), color=COLOURS[place], ls=_STYLES[place], lw=0.9, label=label)
        axes.legend(frameon=False, loc="lower right", handlelength=1.4, borderaxespad=0.1, labelspacing=0.2)
        axes.set_title(row["title"])

    images = "the same images" if is_paired else "images of other patients"
    letters = ", ".join(letter(place) for place in range(len(curves)))
    alt = f"ROC curves of {letters} on {images}, a panel for each finding, with their AUROCs."
    caption = f"Numbers: AUROC of {letters}, on {images}. Dotted: chance."
    labels = ("1 - specificity", "sensitivity")
    return [save_panels("roc", "ROC curves", alt, caption, defined, labels, plot)]
