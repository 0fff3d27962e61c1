"""How every figure is drawn: by matplotlib, as SVG, PDF and PNG of the same bytes each time.

Figures for files have the width of a journal's column, letters of 7 points or more, and their fonts in them.
"""

import io
import logging
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from cxr.report.document import Estimate, Figure
from cxr.report.fonts import choose_fonts, embed_font
from cxr.text import shorten_all, visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing

BLUE, ORANGE, GREY, BLACK = "#1f5f99", "#c25b12", "#767676", "#1b1b1b"
"""Colours that colour-blind readers tell apart, dark enough in print."""
COLOURS = (BLUE, ORANGE, "#4a8c3f", "#8a4fa3", "#3f9fb0", "#b0a021", "#a33b52", GREY)
"""Of groups, in their order."""
MARKERS = "osD^vPX*"
LABEL_COLUMNS = 36  # width of a name beside an axis, in letters
SINGLE_COLUMN, DOUBLE_COLUMN = 89.0, 183.0
"""Millimetres of one and of two columns in a journal."""
MIN_POINTS = 7
"""Points of the smallest letters that journals print."""
_MM_PER_INCH, _DPI = 25.4, 300
_STYLE = {
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.fonttype": "none",  # text stays text: it can be searched, and drawn with the font inside the file
    "pdf.fonttype": 42,  # whole outlines (TrueType), which journals ask for
    "svg.hashsalt": "cxr",
    "text.parse_math": False,  # a finding may be called $x$ or a_b
}


_SIZES = ("font.size", "axes.titlesize", "axes.labelsize", "xtick.labelsize", "ytick.labelsize",
          "legend.fontsize")  # fmt: skip


@contextmanager
def drawing(texts: Iterable[str], points: float = 8) -> Iterator[str]:
    """One style for the figures of the body, with fonts for these texts; yields letters that no font has."""
    # it logs how it searches for fonts and where it caches them
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    import matplotlib as mpl

    families, lacking = choose_fonts(map(visible, texts))
    style = _STYLE | {"font.family": families} | dict.fromkeys(_SIZES, points)
    with mpl.rc_context(rc=style), warnings.catch_warnings():  # type: ignore[arg-type]
        # the caller warns once, not once per letter and panel
        warnings.filterwarnings("ignore", r"Glyph \d+ ")
        yield lacking


def save(
    name: str,
    title: str,
    alt: str,
    millimetres: tuple[float, float],
    fill: "Callable[[Drawing], None]",
    is_wide: bool = False,
    caption: str = "",
    is_laid_out: bool = False,
) -> Figure:
    """The figure that `fill` draws, for the page and as files.

    Args:
        name: Of its files.
        title: What is shown.
        alt: The same in words.
        millimetres: Width and height.
        fill: Draws on an empty figure.
        is_wide: Whether it is scrolled rather than shrunk on a narrow screen.
        caption: How to read it.
        is_laid_out: Whether `fill` places the axes itself.
    """
    inches = (millimetres[0] / _MM_PER_INCH, millimetres[1] / _MM_PER_INCH)
    drawn, svg = _draw(inches, fill, is_laid_out)
    pdf, png = io.BytesIO(), io.BytesIO()
    # The SVG was laid out above. A second layout could move things, and the files would differ.
    drawn.set_layout_engine("none")  # laid out already
    # from the same drawing, so that page and files show the same
    drawn.savefig(pdf, format="pdf", metadata={"CreationDate": None})
    drawn.savefig(png, format="png", dpi=_DPI)
    return Figure(
        name,
        title,
        alt,
        embed_font(svg),
        png.getvalue(),
        is_wide,
        caption,
        pdf.getvalue(),
        millimetres[0],
    )


def draw_for_page(
    name: str,
    title: str,
    alt: str,
    inches: tuple[float, float],
    fill: "Callable[[Drawing], None]",
    is_wide: bool = False,
) -> Figure:
    """The figure that `fill` draws, for a page alone; arguments as those of `save`."""
    _, svg = _draw(inches, fill)
    return Figure(name, title, alt, svg, is_wide=is_wide)


def _draw(
    inches: tuple[float, float], fill: "Callable[[Drawing], None]", is_laid_out: bool = False
) -> "tuple[Drawing, bytes]":
    """(what `fill` draws, the same as SVG)."""
    from matplotlib.figure import Figure as Drawing

    # Figure itself, not pyplot, which keeps every figure that it makes
    drawn = Drawing(figsize=inches, layout=None if is_laid_out else "constrained")
    fill(drawn)
    svg = io.BytesIO()
    # without a date and with a fixed salt for ids, the same figure is the same bytes
    drawn.savefig(svg, format="svg", metadata={"Date": None})
    return drawn, svg.getvalue()


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
            # [R] the bars of a series: those of a row lie side by side about its middle
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
    return draw_for_page(name, title, alt, inches, lambda drawing: plot(drawing.subplots()))


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
            # matplotlib draws nothing at nan
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
    return draw_for_page(name, title, alt, inches, lambda drawing: plot(drawing.subplots()))
