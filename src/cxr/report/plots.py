"""How every figure is drawn: by matplotlib without a display, as SVG and PNG of the same bytes each time."""

import io
import logging
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from cxr.report.document import Estimate, Figure
from cxr.report.fonts import choose_fonts
from cxr.text import shorten_all, visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing

BLUE, ORANGE, GREY, BLACK = "#1f5f99", "#c25b12", "#767676", "#1b1b1b"
"""Colours that colour-blind readers tell apart, dark enough in print."""
LABEL_COLUMNS = 36  # width of a name beside an axis, in letters
_STYLE = {
    "font.size": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 8.5,
    "svg.fonttype": "none",  # text stays text: it can be searched, and the browser's fonts are used
    "svg.hashsalt": "cxr",
    "text.parse_math": False,  # a finding may be called $x$ or a_b
}


@contextmanager
def drawing(texts: Iterable[str]) -> Iterator[str]:
    """One style for the figures of the body, with fonts for these texts; yields letters that no font has."""
    # it logs how it searches for fonts and where it caches them
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    import matplotlib as mpl

    families, lacking = choose_fonts(map(visible, texts))
    style = _STYLE | {"font.family": families}
    with mpl.rc_context(rc=style), warnings.catch_warnings():  # type: ignore[arg-type]
        # the caller warns once, not once per letter and panel
        warnings.filterwarnings("ignore", r"Glyph \d+ ")
        yield lacking


def save(
    name: str,
    title: str,
    alt: str,
    inches: tuple[float, float],
    fill: "Callable[[Drawing], None]",
    is_wide: bool = False,
    with_png: bool = True,
) -> Figure:
    """The figure that `fill` draws."""
    from matplotlib.figure import Figure as Drawing

    drawn = Drawing(figsize=inches, layout="constrained")
    fill(drawn)
    svg, png = io.BytesIO(), io.BytesIO()
    # without a date and with a fixed salt for ids, the same figure is the same bytes
    drawn.savefig(svg, format="svg", metadata={"Date": None})
    if with_png:
        drawn.set_layout_engine("none")  # laid out already
        drawn.savefig(png, format="png", dpi=150)
    return Figure(name, title, alt, svg.getvalue(), png.getvalue(), is_wide)


def draw_bars(
    name: str,
    title: str,
    alt: str,
    rows: Sequence[tuple[str, Sequence[tuple[float, str]]]],
    series: Sequence[str] = (),
) -> Figure:
    """Horizontal bars, for a page alone.

    Args:
        name: Of the figure.
        title: What is shown.
        alt: The same in words.
        rows: From the top, (label, (length, text beside the bar) of each series).
        series: Names of at most four series; none where there is only one.
    """
    num_series = max(1, len(series))
    thickness = 0.84 / num_series  # rows are 1 apart

    def plot(axes: "Axes") -> None:
        for place in range(num_series):
            middles = np.arange(len(rows)) + (place - (num_series - 1) / 2) * thickness
            lengths = [bars[place][0] for _, bars in rows]
            texts = [bars[place][1] for _, bars in rows]
            label = series[place] if series else None
            colour = (BLUE, ORANGE, GREY, BLACK)[place]
            drawn = axes.barh(middles, lengths, 0.9 * thickness, color=colour, label=label)
            axes.bar_label(drawn, texts, padding=2, fontsize=7)
        axes.set_yticks(range(len(rows)), shorten_all([label for label, _ in rows], LABEL_COLUMNS))
        # the lengths stand beside the bars, so that the axis would say them twice
        axes.set_xticks([])
        axes.spines["bottom"].set_visible(False)
        axes.margins(x=0.18, y=0.01)  # room for the texts
        axes.invert_yaxis()  # matplotlib counts from the bottom
        if series:
            axes.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=num_series)

    # 4.2 inches are shown as 400 pixels, the width of a phone
    inches = (4.2, 0.3 + 0.3 * bool(series) + len(rows) * (0.06 + 0.14 * num_series))
    return save(name, title, alt, inches, lambda drawing: plot(drawing.subplots()), with_png=False)


def draw_dots(
    name: str,
    title: str,
    alt: str,
    rows: Sequence[tuple[str, Sequence[Estimate]]],
    series: Sequence[str],
    reference: float,
    axis: str,
) -> Figure:
    """Dots with intervals, for a page alone.

    Args:
        name: Of the figure.
        title: What is shown.
        alt: The same in words.
        rows: From the top, (label, an estimate of each series).
        series: Names of at most four series.
        reference: Where a dotted line stands.
        axis: Name of the horizontal axis.
    """
    thickness = 0.7 / len(series)  # rows are 1 apart

    def plot(axes: "Axes") -> None:
        axes.axvline(reference, color=GREY, lw=0.8, ls=":")
        for place, label in enumerate(series):
            colour = (BLUE, ORANGE, BLACK, GREY)[place]
            middles = np.arange(len(rows)) + (place - (len(series) - 1) / 2) * thickness
            cells = [cells[place] for _, cells in rows]
            values = [np.nan if cell.value is None else cell.value for cell in cells]
            for middle, cell in zip(middles, cells, strict=True):
                if cell.low is not None and cell.high is not None:
                    axes.plot([cell.low, cell.high], [middle, middle], color=colour, lw=1.2)
            axes.plot(values, middles, "o", color=colour, ms=3.5, label=label)
        axes.set_yticks(range(len(rows)), shorten_all([label for label, _ in rows], LABEL_COLUMNS))
        axes.set_xlabel(axis)
        axes.grid(axis="x", lw=0.4)
        axes.margins(y=0.02)
        axes.invert_yaxis()  # matplotlib counts from the bottom
        axes.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=2)

    inches = (5.2, 0.9 + len(rows) * (0.08 + 0.1 * len(series)))
    return save(name, title, alt, inches, lambda drawing: plot(drawing.subplots()), with_png=False)
