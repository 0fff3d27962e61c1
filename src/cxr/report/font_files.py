"""Fonts where matplotlib is not installed: the system's files, and the letters that they have by Pillow."""

import os
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from PIL import ImageFont

BUILT_IN = ""
"""Stands for Pillow's own font, which has Latin letters."""

_SUFFIXES = (".ttf", ".otf", ".ttc")
_NO_LETTER = "\uffff"  # no font has it: it is drawn as every missing letter
_SIZE = 16


@cache
def find_font_files() -> dict[str, str]:
    """File by family, told by its name, as `DejaVuSans`; one file a family."""
    found: dict[str, str] = {}
    for folder in _folders():
        for path in sorted(folder.rglob("*")) if folder.is_dir() else ():
            if path.suffix.lower() in _SUFFIXES:
                found.setdefault(path.stem.removesuffix("-Regular"), str(path))
    return found


def _folders() -> Iterator[Path]:
    """Where the system and the user have fonts."""
    if sys.platform == "win32":
        yield Path(os.environ.get("WINDIR", "C:/Windows"), "Fonts")
    else:
        yield from map(Path, ("/usr/share/fonts", "/usr/local/share/fonts", "/Library/Fonts"))
        yield from (Path.home() / name for name in (".fonts", ".local/share/fonts", "Library/Fonts"))


def open_font(path: str, size: int) -> ImageFont.FreeTypeFont | None:
    """The font in a size; None of a file that Pillow cannot open, such as one of pictures."""
    try:
        if path == BUILT_IN:
            font = ImageFont.load_default(size)
            return font if isinstance(font, ImageFont.FreeTypeFont) else None
        return ImageFont.truetype(path, size, layout_engine=ImageFont.Layout.BASIC)
    except OSError:
        return None


def drawn_letters(path: str, letters: frozenset[str]) -> frozenset[str]:
    """Which of the letters a font has; none of a file that Pillow cannot open."""
    font = open_font(path, _SIZE)
    if font is None:
        return frozenset()
    missing = _draw(font, _NO_LETTER)
    return frozenset(letter for letter in letters if _draw(font, letter) != missing)


def _draw(font: ImageFont.FreeTypeFont, letter: str) -> tuple[tuple[int, int], bytes]:
    mask = font.getmask(letter)
    return mask.size, bytes(mask)
