"""Pictures in rows with headings, a bar with the numbers of their colours, and lines of text below."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

import cv2
import numpy as np

from cxr.explain.contour import CONTOUR
from cxr.explain.lettering import LIGHT, SOFT, Colour, Lettering
from cxr.explain.scale import Scale

_BACKGROUND = 24
_MIN_WIDTH = 640  # of all tiles of a row together, so that a small image has room for its caption
_USUAL_WIDTH = 1536


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


def compose(
    tiles: Sequence[tuple[str, Colour]],
    num_columns: int,
    scale: Scale,
    kinds: AbstractSet[bool],
    title: str,
    lines: Sequence[str],
) -> Colour:
    """Tiles in rows with a heading each, the bar to their right, lines of text below.

    `kinds` says whether findings are shown that are called (True), and others (False).
    """
    letters = Lettering([title, *lines, *(heading for heading, _ in tiles)])
    height, width = tiles[0][1].shape[:2]
    at = _lay_out(num_columns, width)
    # 1. how much room everything takes
    headings = [
        [part for line in heading.split("\n") for part in letters.wrap(line, at.small, at.column)]
        for heading, _ in tiles
    ]
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
    _draw_bar(figure, letters, scale, kinds, corner, bar_height, at)
    for part, size, colour in text:
        top += round(1.4 * size)
        letters.write(figure, part, (at.margin, top), size, colour)
    return figure


def _draw_bar(
    figure: Colour,
    letters: Lettering,
    scale: Scale,
    kinds: AbstractSet[bool],
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
    painted = scale.paint(grey, values) if True in kinds else cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR)
    figure[y : y + height, x : x + width] = painted
    for tick in (0.0, *scale.ticks):
        row = y + round((1 - tick / scale.top) * (height - 1))
        is_contour = tick > 0 and False in kinds
        figure[max(row - is_contour, y) : row + 1, x : x + width + 6] = CONTOUR if is_contour else LIGHT
        letters.write(figure, f"{tick:g}", (x + width + 12, row + at.small // 3), at.small)
