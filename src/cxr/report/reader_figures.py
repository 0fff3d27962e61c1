"""Readers as points on the ROC curves of a model."""

from typing import TYPE_CHECKING

from cxr.evaluation.readers import ReaderComparison
from cxr.report.document import Figure
from cxr.report.plots import BLUE, DOUBLE_COLUMN, GREY, MIN_POINTS, ORANGE, SINGLE_COLUMN, drawing, save
from cxr.text import shorten_all

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing

_PER_ROW = 3
_LEGEND = 9.0  # millimetres
_TITLE_COLUMNS = 30
_MARKS = "osD^vP*Xh<>d"
"""One for each reader, so that the figure can be read without colours; with more readers marks repeat."""


def draw(result: ReaderComparison) -> list[Figure]:
    """The figure, where there is a curve; filled points lie below it."""
    if not result.curves:
        return []
    names = list(dict.fromkeys(result.points["reader"]))
    findings = list(result.curves)
    titles = shorten_all(findings, _TITLE_COLUMNS)

    def plot(axes: "Axes", place: int) -> None:
        finding = findings[place]
        points = result.points[result.points["finding"] == finding]
        axes.plot([0, 1], [0, 1], color=GREY, lw=0.6, ls=":")
        axes.plot(*result.curves[finding], color=BLUE, lw=1.2, label="model")
        for row in points.to_dict("records"):
            mark = _MARKS[names.index(row["reader"]) % len(_MARKS)]
            face = ORANGE if row["is_below"] is True else "white"
            x, y = row["false_positive_rate"], row["sensitivity"]
            axes.plot(x, y, mark, mec=ORANGE, mfc=face, ms=5, ls="", label=row["reader"])
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xticks=(0, 0.5, 1), yticks=(0, 0.5, 1))
        num_below = int(points["is_below"].fillna(False).sum())
        axes.set_title(f"{titles[place]}\n{num_below} of {len(points)} readers below")

    def fill(drawn: "Drawing") -> None:
        grid = drawn.subplots(-(-len(findings) // _PER_ROW), num_columns, squeeze=False)
        for place, axes in enumerate(grid.flat):
            if place >= len(findings):
                axes.set_visible(False)
                continue
            plot(axes, place)
            axes.set_xlabel("1 - specificity" if place + num_columns >= len(findings) else "")
            axes.set_ylabel("sensitivity" if place % num_columns == 0 else "")
        # of one panel: the readers are the same in all
        handles, labels = grid.flat[0].get_legend_handles_labels()
        drawn.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)

    num_columns = min(_PER_ROW, len(findings))
    width = DOUBLE_COLUMN if num_columns > 1 else SINGLE_COLUMN
    # square panels, and the legend below
    height = width / num_columns * -(-len(findings) // _PER_ROW) + _LEGEND
    alt = "ROC curve of the model, a panel for each finding; each mark is a reader."
    caption = "A filled mark lies below the curve; the table of points has the numbers."
    with drawing([*findings, *names], MIN_POINTS):
        title = "Readers and the model's ROC curve"
        return [save("readers_roc", title, alt, (width, height), fill, is_wide=True, caption=caption)]
