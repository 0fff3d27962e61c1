"""Figures of a network: filters, activations, and an embedding coloured by what is known of the images."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from cxr.arrays import Bool, Float32, Float64
from cxr.console import warn
from cxr.evaluation.predictions import Predictions
from cxr.explain.layers import most_active
from cxr.report.document import Figure
from cxr.report.fonts import say_lacking
from cxr.report.plots import BLACK, BLUE, GREY, ORANGE, draw_for_page, drawing
from cxr.text import shorten_all

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing

CHANNELS = 16
"""Channels of a layer that are shown."""
_COLUMNS = 8
_LIGHT = "#c9c9c9"
_PANELS_PER_ROW, _PANEL_INCHES = 4, 2.2
_ATTRIBUTES = {"view": "view", "sex": "sex", "source": "dataset"}
_TITLE_COLUMNS = 24


def mosaic(maps: Float32, num_columns: int = _COLUMNS) -> Float64:
    """Maps [K, h, w] side by side with a line of nan between them."""
    num, height, width = maps.shape
    # rounded up
    num_rows = -(-num // num_columns)
    # a line of one cell after each map, but none after the last
    result = np.full((num_rows * (height + 1) - 1, num_columns * (width + 1) - 1), np.nan)
    for place, one in enumerate(maps):
        row, column = divmod(place, num_columns)
        top, left = row * (height + 1), column * (width + 1)
        result[top : top + height, left : left + width] = one
    return result


def draw_filters(filters: Float32) -> Figure:
    """The filters [K, h, w] of the first layer on one scale, symmetrical about 0."""
    # grey is 0, so that signs can be seen; 1 where all weights are 0, as a scale of no width cannot be drawn
    top = float(np.abs(filters).max()) or 1.0
    shown = mosaic(filters)
    alt = (
        f"{len(filters)} filters of {filters.shape[1]} x {filters.shape[2]} pixels; largest weight {top:.3g}."
    )

    def fill(drawing: "Drawing") -> None:
        _show(drawing, shown, "gray", -top, top)

    with drawing(()):
        return draw_for_page("filters", "Filters of the first layer, per grey level", alt, (6.4, 5.4), fill)


def draw_layer(name: str, maps: Float32) -> Figure:
    """The most active channels of a layer's output [D, h, w] for one image, on one scale."""
    numbers = most_active(maps, CHANNELS)
    shown = mosaic(maps[numbers])
    low, high = float(maps[numbers].min()), float(maps[numbers].max())
    title = f"{name}: {len(maps)} channels of {maps.shape[1]} x {maps.shape[2]}"
    channels = ", ".join(map(str, numbers))
    alt = f"The {len(numbers)} channels with the highest mean, from {low:.3g} to {high:.3g}: {channels}."

    def fill(drawing: "Drawing") -> None:
        _show(drawing, shown, "magma", min(0.0, low), max(high, 1e-9))

    inches = (6.4, 0.3 + 0.72 * -(-len(numbers) // _COLUMNS))
    with drawing((name,)):
        return draw_for_page(f"layer_{name}", f"{title}; channels {channels}", alt, inches, fill)


def _show(drawing: "Drawing", shown: Float64, colours: str, low: float, high: float) -> None:
    axes = drawing.subplots()
    image = axes.imshow(shown, cmap=colours, vmin=low, vmax=high, interpolation="nearest")
    axes.set_axis_off()
    drawing.colorbar(image, ax=axes, shrink=0.9, pad=0.01)


def draw_embedding(
    name: str, title: str, places: Float64, labels: tuple[str, str], predictions: Predictions
) -> Figure:
    """Images at places [n, 2], a panel for each finding and attribute that tells images apart."""
    panels = [(finding, _of_finding(predictions.y[:, c])) for c, finding in enumerate(predictions.findings)]
    panels += [
        (word, _of_attribute(predictions.rows[column]))
        for column, word in _ATTRIBUTES.items()
        if column in predictions.rows
    ]
    # a single group tells no images apart
    panels = [(text, groups) for text, groups in panels if len(groups) > 1]
    titles = shorten_all([text for text, _ in panels], _TITLE_COLUMNS)
    num_columns = max(1, min(_PANELS_PER_ROW, len(panels)))
    num_rows = max(1, -(-len(panels) // num_columns))

    def fill(drawn: "Drawing") -> None:
        grid = drawn.subplots(num_rows, num_columns, squeeze=False, sharex=True, sharey=True)
        for place, axes in enumerate(grid.flat):
            if place >= len(panels):
                axes.set_visible(False)
                continue
            _scatter(axes, places, panels[place][1])
            axes.set_title(titles[place])
            # at the lower and the left edge alone: all panels have the same axes
            axes.set_xlabel(labels[0] if place + num_columns >= len(panels) else "")
            axes.set_ylabel(labels[1] if place % num_columns == 0 else "")

    alt = (
        f"{len(places)} images, a panel for each of: {', '.join(titles) or 'nothing that tells them apart'}."
    )
    inches = (_PANEL_INCHES * num_columns, _PANEL_INCHES * num_rows)
    names = [text for _, groups in panels for text, *_ in groups]
    with drawing([*titles, *names]) as lacking:
        if lacking:
            warn(say_lacking(lacking))
        return draw_for_page(name, title, alt, inches, fill, is_wide=True)


Groups = list[tuple[str, Bool, str]]
"""(name, mask [n], colour) of each group, the last one drawn on top."""


def _of_finding(y: Float64) -> Groups:
    groups = [("negative", y == 0, _LIGHT), ("positive", y == 1, ORANGE)]
    return [group for group in groups if group[1].any()]


def _of_attribute(column: pd.Series) -> Groups:
    """The most frequent values, each with a colour; the rest are grey."""
    values = column[column != ""].value_counts()
    shown: Sequence[str] = sorted(values.index[:3])
    groups: Groups = [("other", np.asarray(~column.isin([*shown, ""])), GREY)]
    for value, colour in zip(shown, (BLUE, ORANGE, BLACK), strict=False):
        groups.append((value, np.asarray(column == value), colour))
    return [group for group in groups if group[1].any()]


def _scatter(axes: "Axes", places: Float64, groups: Groups) -> None:
    for name, mask, colour in groups:
        # as pixels inside the SVG: thousands of dots as paths would be megabytes
        axes.scatter(places[mask, 0], places[mask, 1], s=4, color=colour, lw=0, label=name, rasterized=True)
    axes.legend(frameon=False, fontsize=6, loc="best", handletextpad=0.1, borderpad=0)
    axes.locator_params(nbins=3)
