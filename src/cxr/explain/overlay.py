"""Overlays: a radiograph beside itself with the map of a finding, a bar with numbers, and what it means.

Evidence for a finding that is called is coloured, on one scale for all findings of the image. A finding that
is not called has no colour: contours show where its map is high.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from cxr.arrays import AnyArray, Float32
from cxr.evaluation.thresholds import Thresholds, origin
from cxr.explain.lettering import LIGHT, SOFT, Colour, Lettering
from cxr.explain.panel import Panel
from cxr.explain.scale import Scale
from cxr.text import DISCLAIMER

_BACKGROUND = 24
_CONTOUR = (255, 230, 120)  # a light blue that the scale's colours do not have
_MIN_WIDTH = 640  # of all tiles of a row together, so that a small image has room for its caption
_USUAL_WIDTH = 1536
_READING = (
    "A map shows what the model used. It does not show that the model is right, nor where a disease ends."
)


@dataclass(frozen=True)
class Shown:
    """A finding of an image: its name, probability, threshold and map [h, w] of the model's square."""

    finding: str
    probability: float
    threshold: float
    cells: Float32

    @property
    def is_called(self) -> bool:
        """Whether its probability reaches its threshold."""
        return self.probability >= self.threshold

    def describe(self) -> str:
        """As `Mass 0.810, called (threshold 0.302)`."""
        called = "called" if self.is_called else "NOT CALLED"
        return f"{self.finding} {self.probability:.3f}, {called} (threshold {self.threshold:.3f})"


@dataclass(frozen=True)
class Source:
    """What a caption says of where a map comes from: image, run and thresholds."""

    image: str
    run: str
    thresholds: Thresholds


def draw_overlay(panel: Panel, shown: Shown, scale: Scale, source: Source) -> Colour:
    """The figure of one finding: BGR [H, W, 3]."""
    # [H, W] in the pixels that are drawn
    values = panel.lay(shown.cells)
    tiles = [("Radiograph", _plain(panel)), (shown.describe(), _with_map(panel, values, shown, scale))]
    lines = [*_describe_map(shown, scale, values), *_describe_source(shown, source)]
    if not panel.is_whole:
        lines.append("The model saw the part in the dashed frame alone.")
    return _compose(tiles, 2, scale, shown.is_called, shown.describe(), lines)


def draw_sheet(panel: Panel, findings: Sequence[Shown], scale: Scale, source: Source) -> Colour:
    """The radiograph and each finding side by side on the same scale: BGR [H, W, 3]."""
    tiles = [("Radiograph", _plain(panel))]
    for shown in findings:
        tiles.append((shown.describe(), _with_map(panel, panel.lay(shown.cells), shown, scale)))
    ticks = ", ".join(f"{tick:g}" for tick in scale.ticks)
    lines = [
        f"Colour: contribution to the logit of a finding that is called, by CAM; one scale for all findings. "
        f"Contours at {ticks}: findings that are not called. {_READING}",
        f"Thresholds: {origin(source.thresholds)}.",
        f"Image {source.image}; run {source.run}. {DISCLAIMER}",
    ]
    if not panel.is_whole:
        lines.append("The model saw the part in the dashed frame alone.")
    num_columns = min(len(tiles), 2 if len(tiles) <= 4 else 4 if len(tiles) <= 12 else 5)
    any_called = any(shown.is_called for shown in findings)
    return _compose(tiles, num_columns, scale, any_called, "All maps of one image on one scale", lines)


def _plain(panel: Panel) -> Colour:
    return np.asarray(cv2.cvtColor(panel.grey, cv2.COLOR_GRAY2BGR), np.uint8)


def _with_map(panel: Panel, values: Float32, shown: Shown, scale: Scale) -> Colour:
    """The radiograph with the colours of a called finding, or with contours of another."""
    if shown.is_called:
        drawn = scale.paint(panel.grey, values)
    else:
        drawn = _plain(panel)
        for level in scale.ticks:
            mask = np.asarray(values >= level, np.uint8)
            outlines, _ = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
            cv2.drawContours(drawn, outlines, -1, _CONTOUR, 2, cv2.LINE_AA)
            if outlines and not mask.all():  # around the whole image there is no line to number
                _number_contour(drawn, max(outlines, key=len)[:, 0], f"{level:g}")
    if not panel.is_whole:
        _draw_frame(drawn, panel)
    return drawn


def _number_contour(drawn: Colour, points: AnyArray, number: str) -> None:
    """Write a number beside the point of a contour [n, 2] that is nearest to the middle of the image."""
    height, width = drawn.shape[:2]
    x, y = points[np.abs(points - (width / 2, height / 2)).sum(axis=1).argmin()]
    place = min(int(x) + 8, width - 50), max(int(y) - 8, 28)
    for colour, thickness in (((0, 0, 0), 6), (_CONTOUR, 2)):  # dark around it, to be read on white
        cv2.putText(drawn, number, place, cv2.FONT_HERSHEY_SIMPLEX, 0.9, colour, thickness, cv2.LINE_AA)


def _draw_frame(drawn: Colour, panel: Panel) -> None:
    """A dashed frame around what the model saw."""
    left, top, width, height = panel.seen
    for start in range(0, max(width, height), 16):
        along = (
            slice(left + start, left + min(start + 8, width)),
            slice(top + start, top + min(start + 8, height)),
        )
        for y in (top, top + height - 1):
            drawn[y, along[0]] = LIGHT
        for x in (left, left + width - 1):
            drawn[along[1], x] = LIGHT


def _describe_map(shown: Shown, scale: Scale, values: Float32) -> list[str]:
    """What is drawn, in words."""
    mean, largest = float(shown.cells.mean()), float(values.max())
    size = f"{shown.cells.shape[1]} x {shown.cells.shape[0]} cells"
    method = (
        f"Method: CAM (class activation map, Zhou et al. 2016) of {size}, exact for this model: "
        f"the mean of the map ({mean:+.2f}) and the finding's bias make its logit."
    )
    if shown.is_called:
        what = (
            "Colour: contribution to the logit, on one scale for all findings of this image. "
            "Only what speaks for the finding is coloured."
        )
    elif largest >= scale.ticks[0]:
        levels = ", ".join(f"{tick:g}" for tick in scale.ticks if tick <= largest)
        what = (
            f"Not called, so not coloured. Contours: contribution to the logit of {levels}, "
            "on the scale of all findings of this image."
        )
    else:
        what = f"Not called, so not coloured. No place contributes {scale.ticks[0]:g} or more to the logit."
    return [what, method]


def _describe_source(shown: Shown, source: Source) -> list[str]:
    thresholds = source.thresholds
    threshold = f"Threshold {shown.threshold:.3f}: {origin(thresholds)}"
    place = thresholds.findings.index(shown.finding)
    if shown.finding in thresholds.fallback:
        threshold += "; set to this value, as these rows allowed no choice"
    elif thresholds.num_positive:
        threshold += f"; {thresholds.num_positive[place]:,} of these images are positive for this finding"
    return [f"{threshold}.", _READING, f"Image {source.image}; run {source.run}. {DISCLAIMER}"]


@dataclass(frozen=True)
class _Layout:
    """Lengths of a figure in pixels; letters grow with its width, to be read where it is shrunk."""

    column: int
    large: int
    small: int
    margin: int
    bar_column: int

    @property
    def line(self) -> int:
        """From one line of small letters to the next."""
        return round(1.4 * self.small)


def _lay_out(num_columns: int, width: int) -> _Layout:
    # letters of a figure wider than usual grow with it; they never shrink below their size
    unit = max(1.0, num_columns * width / _USUAL_WIDTH)
    column = max(width, _MIN_WIDTH // num_columns)
    large, small, margin, bar_column = (round(length * unit) for length in (24, 17, 14, 120))
    return _Layout(column, large, small, margin, bar_column)


def _compose(
    tiles: Sequence[tuple[str, Colour]],
    num_columns: int,
    scale: Scale,
    is_coloured: bool,
    title: str,
    lines: Sequence[str],
) -> Colour:
    """Tiles in rows with a heading each, the bar to their right, lines of text below."""
    letters = Lettering([title, *lines, *(heading for heading, _ in tiles)])
    height, width = tiles[0][1].shape[:2]
    at = _lay_out(num_columns, width)
    # 1. how much room everything takes
    headings = [letters.wrap(heading, at.small, at.column) for heading, _ in tiles]
    # room for the longest heading, so that the tiles of a row stand at one height
    above = max(map(len, headings)) * at.line + at.margin // 3
    row_height = above + height + at.margin
    total_width = 2 * at.margin + num_columns * (at.column + at.margin) + at.bar_column
    written = [
        (title, at.large, LIGHT),
        (lines[0], at.small, LIGHT),
        *((line, at.small, SOFT) for line in lines[1:]),
    ]
    text = [(part, size, colour) for line, size, colour in written
            for part in letters.wrap(line, size, total_width - 2 * at.margin)]  # fmt: skip
    top = at.margin + -(-len(tiles) // num_columns) * row_height
    bar_height = max(min(height, round(0.85 * at.column)), 12 * at.small)
    total_height = (
        max(top + sum(round(1.4 * size) for _, size, _ in text), above + bar_height) + 2 * at.margin
    )
    figure = np.full((total_height, total_width, 3), _BACKGROUND, np.uint8)

    # 2. headings and tiles
    for number, (_, drawn) in enumerate(tiles):
        row, place = divmod(number, num_columns)
        x, y = at.margin + place * (at.column + at.margin), at.margin + row * row_height
        for line, part in enumerate(headings[number]):
            letters.write(figure, part, (x, y + line * at.line + at.small), at.small)
        figure[y + above : y + above + height, x : x + width] = drawn

    # 3. the bar, then the text
    corner = total_width - at.bar_column, at.margin + above
    _draw_bar(figure, letters, scale, is_coloured, corner, bar_height, at)
    for part, size, colour in text:
        top += round(1.4 * size)
        letters.write(figure, part, (at.margin, top), size, colour)
    return figure


def _draw_bar(
    figure: Colour,
    letters: Lettering,
    scale: Scale,
    is_coloured: bool,
    corner: tuple[int, int],
    height: int,
    at: _Layout,
) -> None:
    """The scale: its colours over grey, or its contours, with numbers; `corner` is its upper left one."""
    x, y = corner
    for number, word in enumerate(("added to", "the logit")):
        letters.write(figure, word, (x, y + at.small + number * at.line), at.small)
    y, height, width = y + 3 * at.line, height - 4 * at.line, round(1.5 * at.small)
    # [height, width] from the top of the scale down to 0, painted as a map is
    values = np.linspace(scale.top, 0, height, dtype=np.float32)[:, None].repeat(width, axis=1)
    grey = np.full(values.shape, 110, np.uint8)
    painted = scale.paint(grey, values) if is_coloured else cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR)
    figure[y : y + height, x : x + width] = painted
    for tick in (0.0, *scale.ticks):
        row = y + round((1 - tick / scale.top) * (height - 1))
        is_contour = tick > 0 and not is_coloured
        figure[max(row - is_contour, y) : row + 1, x : x + width + 6] = _CONTOUR if is_contour else LIGHT
        letters.write(figure, f"{tick:g}", (x + width + 12, row + at.small // 3), at.small)
