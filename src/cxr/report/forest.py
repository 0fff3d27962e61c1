"""Forest plots: estimates with their intervals in rows, and their counts and numbers beside them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from cxr.evaluation.metric_tables import MEAN
from cxr.evaluation.report import Report
from cxr.report.document import Figure, format_interval, format_number
from cxr.report.plots import BLACK, BLUE, COLOURS, DOUBLE_COLUMN, GREY, MARKERS, ORANGE, save
from cxr.report.records import Record, estimate, records
from cxr.text import shorten, shorten_all

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing

_NAME_COLUMNS, _PANEL_NAME_COLUMNS = 26, 22
"""Width of a name beside an axis, in letters: of findings, and of findings beside panels of subgroups."""
# millimetres: of a row, above and below the rows, and where columns of text end or begin
ROW, TOP, BOTTOM = 4.6, 5.5, 9.5
_COUNTS, _PLOT, _NUMBERS, _SECOND = 60.0, (64.0, 124.0), 128.0, 160.0
_NAMES_END, _PANEL_GAP = 38.0, 4.0
_PANELS_PER_ROW = 3
_MAX_GROUPS = 8
_GROUP_COLUMNS = 12
"""Width of a group's name in the key, in letters."""
_GROUP_ROW = 1.9
"""Millimetres of a subgroup of a finding."""


def draw_forest(report: Report) -> Figure:
    """AUROC of each finding and their mean, with counts to the left and numbers to the right."""
    means = report.summary[report.summary["finding"] == MEAN]
    rows = records(pd.concat([report.table, means], ignore_index=True))
    height = TOP + ROW * len(rows) + BOTTOM

    def fill(drawing: "Drawing") -> None:
        axes = place_axes(drawing, height, _PLOT)
        for place, row in enumerate(rows):
            colour = ORANGE if row["finding"] == MEAN else BLUE
            if row["auroc"] is not None:
                axes.plot(
                    [_float(row["auroc_low"]), _float(row["auroc_high"])], [place] * 2, color=colour, lw=1.1
                )
                axes.plot(_float(row["auroc"]), place, "s", color=colour, ms=3.2, clip_on=False)
        finish(axes, [str(row["finding"]) for row in rows], "AUROC")
        mean = rows[-1]["auroc"]
        if mean is not None:
            axes.axvline(_float(mean), color=ORANGE, lw=0.6, ls=(0, (4, 3)), zorder=0)
        # a line between the findings and their mean
        axes.axhline(len(rows) - 1.5, color=GREY, lw=0.5)
        low, high = axes.get_xlim()
        # matplotlib leaves room at both ends, also where no AUROC can be
        axes.set_xlim(max(0.0, low), min(1.0, high) if high > 1 else high)
        axes.locator_params(axis="x", nbins=6)
        write_column(axes, _COUNTS, "Positive / images", [_count(row) for row in rows], "right")
        write_column(axes, _NUMBERS, "AUROC (95 % interval)", [_number(row, "auroc") for row in rows])
        precision = [_number(row, "average_precision") for row in rows]
        write_column(axes, _SECOND, "Average precision", [text.partition(" ")[0] for text in precision])

    # for readers who cannot see the figure: both ends of what it shows
    best, worst = (report.table.loc[getattr(report.table["auroc"], way)()] for way in ("idxmax", "idxmin"))
    alt = (
        "AUROC of each finding with its interval, "
        f"from {worst['auroc']:.3f} ({shorten(worst['finding'], 80)}) "
        f"to {best['auroc']:.3f} ({shorten(best['finding'], 80)}); the table of findings has the numbers."
    )
    intervals = f" Lines: 95 % intervals, {report.intervals}." if report.intervals else ""
    caption = (
        f"{report.evaluated_on[0].upper()}{report.evaluated_on[1:]}.{intervals} "
        "Orange: the mean over findings."
    )
    size = (DOUBLE_COLUMN, height)
    return save("auroc", "AUROC by finding", alt, size, fill, is_wide=True, caption=caption, is_laid_out=True)


def place_axes(drawing: "Drawing", height: float, columns: tuple[float, float]) -> "Axes":
    """Axes between two places of the width, in millimetres, with room for headings above."""
    width = (columns[1] - columns[0]) / DOUBLE_COLUMN
    return drawing.add_axes(
        (columns[0] / DOUBLE_COLUMN, BOTTOM / height, width, (height - TOP - BOTTOM) / height)
    )


def finish(axes: "Axes", names: Sequence[str], label: str, heading: str = "Finding") -> None:
    """Rows from the top with the names to the left of the figure."""
    # from large to small: the first row is at the top
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_yticks([])
    write_column(axes, 1.0, heading, shorten_all(names, _NAME_COLUMNS))
    axes.set_xlabel(label)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x", lw=0.4, color="#dddddd")
    axes.set_axisbelow(True)


def write_column(
    axes: "Axes", millimetres: float, heading: str, texts: Sequence[str], side: str = "left"
) -> None:
    """Texts beside the rows, at a distance from the left edge of the figure."""
    from matplotlib.transforms import blended_transform_factory

    drawing = axes.get_figure()
    assert drawing is not None
    across = millimetres / DOUBLE_COLUMN
    # across in shares of the figure, down in the rows of the axes: texts stay beside their rows
    where = blended_transform_factory(drawing.transFigure, axes.transData)
    # the heading stands in row -1, above the first
    for place, text in enumerate([heading, *texts], -1):
        colour = GREY if place < 0 else BLACK
        axes.text(across, place, text, transform=where, ha=side, va="center", color=colour, clip_on=False)


def _count(row: Record) -> str:
    if row["num_positive"] is None or row["finding"] == MEAN:
        return f"{row['num']:,}"
    return f"{row['num_positive']:,} / {row['num']:,}"


def _number(row: Record, name: str) -> str:
    cell = estimate(row, name, f"{name}_low", f"{name}_high")
    interval = format_interval(cell)
    return format_number(cell) + (f" ({interval})" if interval else "")


def _float(value: object) -> float:
    return float(value) if isinstance(value, int | float) else np.nan


@dataclass(frozen=True)
class _Attribute:
    """An attribute's panel: its groups with (name, images), and by (group, finding) the row of an AUROC."""

    name: str
    groups: tuple[tuple[str, int], ...]
    rows: Mapping[tuple[str, str], Record]


def draw_subgroups(report: Report, groups: pd.DataFrame) -> Figure | None:
    """AUROC of each subgroup by finding, a panel for each attribute; None where no subgroup has one."""
    panels = [
        panel
        for name, table in groups.groupby("attribute", sort=False)
        if (panel := _read_attribute(str(name), table)).groups
    ]
    if not panels:
        return None
    every = [*report.table["finding"], MEAN]
    findings = [name for name in every if any(key[1] == name for panel in panels for key in panel.rows)]
    # the AUROC of all images, a grey mark behind the groups of each finding
    overall = dict(zip(report.table["finding"], report.table["auroc"], strict=True))
    num_columns = min(_PANELS_PER_ROW, len(panels))
    num_rows = -(-len(panels) // num_columns)
    most = max(len(panel.groups) for panel in panels)
    # the key of a panel stands above it, a line for two groups
    num_lines = -(-most // 2)
    head = 6.0 + 3.4 * num_lines
    body = len(findings) * max(ROW, _GROUP_ROW * most + 1.2)
    height = num_rows * (head + body + BOTTOM)
    width = (DOUBLE_COLUMN - _NAMES_END - 2 - _PANEL_GAP * (num_columns - 1)) / num_columns
    lowest = min(_lowest(row) for panel in panels for row in panel.rows.values())
    # one axis for all panels, from a multiple of 0.05 below the lowest interval, so that they compare
    limits = max(0.0, float(np.floor((lowest - 0.01) * 20) / 20)), 1.005

    def fill(drawing: "Drawing") -> None:
        for number, panel in enumerate(panels):
            row, column = divmod(number, num_columns)
            left = _NAMES_END + column * (width + _PANEL_GAP)
            bottom = height - (row + 1) * (head + body + BOTTOM) + BOTTOM
            box = (left / DOUBLE_COLUMN, bottom / height, width / DOUBLE_COLUMN, body / height)
            axes = drawing.add_axes(box)
            _fill_panel(axes, findings, panel, overall)
            axes.set_xlim(limits)
            axes.set_title(f"By {panel.name}", loc="left", pad=3 + 9.6 * num_lines)
            if column == 0:
                axes.set_yticks(range(len(findings)), shorten_all(findings, _PANEL_NAME_COLUMNS))

    alt = "AUROC of each subgroup with its interval, by finding; the tables of subgroups have the numbers."
    title = "AUROC of subgroups by finding"
    size = (DOUBLE_COLUMN, height)
    caption = _describe_subgroups(panels, [name for name in every if name not in findings])
    return save("subgroups", title, alt, size, fill, is_wide=True, caption=caption, is_laid_out=True)


def _describe_subgroups(panels: Sequence[_Attribute], left_out: Sequence[str]) -> str:
    caption = (
        "Lines: 95 % intervals. Grey marks: AUROC of all images. Numbers of images stand in brackets. "
        "Subgroups with fewer than 10 patients of either class are left out"
    )
    names = [name for name in left_out if name != MEAN]
    caption += f", and with them {', '.join(names)}." if names else "."
    if any(len(panel.groups) == _MAX_GROUPS for panel in panels):
        caption += f" At most the {_MAX_GROUPS} largest groups of an attribute are drawn."
    return caption


def _read_attribute(name: str, table: pd.DataFrame) -> _Attribute:
    """The largest groups with an AUROC, in the order of the table."""
    defined = table[table["auroc"].notna()]
    sizes = table.groupby("group", sort=False)["num"].max()
    sizes = sizes[sizes.index.isin(defined["group"])]
    # Chosen by size, drawn in the table's order: ages stay in their order.
    kept = set(sizes.sort_values(ascending=False, kind="stable").index[:_MAX_GROUPS])
    rows = {(str(row["group"]), str(row["finding"])): row for row in records(defined) if row["group"] in kept}
    return _Attribute(
        name, tuple((str(group), int(num)) for group, num in sizes.items() if group in kept), rows
    )


def _lowest(row: Record) -> float:
    return min(value for name in ("auroc", "auroc_low") if (value := _float(row[name])) == value)


def _fill_panel(
    axes: "Axes", findings: Sequence[str], panel: _Attribute, overall: Mapping[str, float]
) -> None:
    """One attribute: the groups of a finding stand below each other."""
    step = 0.8 / len(panel.groups)
    shown = shorten_all([name for name, _ in panel.groups], _GROUP_COLUMNS)
    for number, (name, num) in enumerate(panel.groups):
        # groups share 0.8 of a row's height, in the middle of the row
        offset = (number - (len(panel.groups) - 1) / 2) * step
        colour, marker = COLOURS[number], MARKERS[number]
        # nothing but an entry of the key
        axes.plot([], [], marker, color=colour, ms=2.6, label=f"{shown[number]} ({num:,})")
        for place, finding in enumerate(findings):
            row = panel.rows.get((name, finding))
            if row is not None:
                ends = [_float(row["auroc_low"]), _float(row["auroc_high"])]
                axes.plot(ends, [place + offset] * 2, color=colour, lw=0.9)
                axes.plot(_float(row["auroc"]), place + offset, marker, color=colour, ms=2.6)
    for place, finding in enumerate(findings):
        axes.plot(
            [overall.get(finding, np.nan)] * 2, [place - 0.42, place + 0.42], color=GREY, lw=0.8, zorder=0
        )
        # every second row is shaded, to be followed across the panels
        if place % 2:
            axes.axhspan(place - 0.5, place + 0.5, color="#f4f4f4", lw=0, zorder=-1)
    axes.set_ylim(len(findings) - 0.5, -0.5)
    axes.set_yticks([])
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.set_xlabel("AUROC")
    axes.locator_params(axis="x", nbins=5)
    _place_key(axes)


def _place_key(axes: "Axes") -> None:
    """The key above the panel, two groups a line."""
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(-0.02, 1.0),
        ncols=2,
        frameon=False,
        borderpad=0,
        borderaxespad=0.2,
        handlelength=0.8,
        handletextpad=0.4,
        columnspacing=0.8,
        labelspacing=0.2,
    )
