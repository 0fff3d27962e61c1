"""Text of any script on pixels, by Pillow: OpenCV's own letters are ASCII alone."""

from collections.abc import Sequence
from functools import cache

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from cxr.report.font_files import open_font
from cxr.report.fonts import choose_font_files, letters_of
from cxr.text import visible

Colour = npt.NDArray[np.uint8]
"""Pixels [H, W, 3] in OpenCV's order: blue, green, red."""

LIGHT = (235, 235, 235)
SOFT = (170, 170, 170)


@cache
def _font(path: str, size: int) -> ImageFont.FreeTypeFont | None:
    return open_font(path, size)


class Lettering:
    """The fonts that some texts need; every other text of the same scripts can be written with them too.

    A letter that no font has is a box. Texts go through `visible` first, so that an escape stands for what
    turns the direction of writing or cannot be seen, such as bytes of a file name that are no UTF-8.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        shown = [visible(text) for text in texts]
        self._files, _ = choose_font_files(shown)
        letters = frozenset(letter for text in shown for letter in text if not letter.isascii())
        # the first font that has a letter writes it
        self._font_of = {
            letter: path for path in reversed(self._files) for letter in letters_of(path, letters)
        }

    def _runs(self, text: str, size: int) -> list[tuple[str, ImageFont.FreeTypeFont]]:
        """Parts of a visible text, each with the font that writes it."""
        default = _font(self._files[0], size)
        assert default is not None
        runs: list[tuple[str, ImageFont.FreeTypeFont]] = []
        for letter in text:
            font = _font(self._font_of.get(letter, self._files[0]), size) or default
            if runs and runs[-1][1] is font:
                runs[-1] = runs[-1][0] + letter, font
            else:
                runs.append((letter, font))
        return runs

    def width(self, text: str, size: int) -> int:
        """Pixels that a text takes."""
        return round(sum(font.getlength(part) for part, font in self._runs(visible(text), size)))

    def write(
        self,
        canvas: Colour,
        text: str,
        place: tuple[int, int],
        size: int,
        colour: tuple[int, int, int] = LIGHT,
        outline: int = 0,
    ) -> None:
        """Write a line into pixels; `place` is (x, y) of its left end and its baseline.

        `outline` is the width in pixels of black around the letters.
        """
        # Pillow draws on a copy of the rows around the line, which then go back
        top, bottom = max(0, place[1] - 2 * size), min(len(canvas), place[1] + size)
        rows = Image.fromarray(np.ascontiguousarray(canvas[top:bottom]))
        pen, x = ImageDraw.Draw(rows), float(place[0])
        for part, font in self._runs(visible(text), size):
            pen.text(
                (x, place[1] - top), part, colour, font, "ls", stroke_width=outline, stroke_fill=(0, 0, 0)
            )
            x += font.getlength(part)
        canvas[top:bottom] = np.asarray(rows)

    def wrap(self, text: str, size: int, width: int) -> list[str]:
        """The text in lines of at most so many pixels; a word that is longer is broken."""
        lines = [""]
        for word in visible(text).split(" "):
            longer = f"{lines[-1]} {word}" if lines[-1] else word
            if self.width(longer, size) <= width:
                lines[-1] = longer
                continue
            # A word that does not fit begins a new line; one that is longer than a line is broken by letters.
            if lines[-1]:
                lines.append("")
            for letter in word:
                if lines[-1] and self.width(lines[-1] + letter, size) > width:
                    lines.append("")
                lines[-1] += letter
        return lines
