"""Fonts for the names in a report's figures, whatever script they are written in."""

import base64
import html
import io
import logging
import re
import unicodedata
from collections.abc import Iterable, Iterator
from functools import cache

_DEFAULT = "DejaVu Sans"  # which matplotlib brings along
_MAX_FONTS = 120  # a hundred fonts are opened in about a second
_INVISIBLE = ("Mn", "Me", "Cf", "Zs", "Cc")  # accents and blanks: a name can be read without them
_LARGE_FONTS = ("noto sans", "cjk", "wenquanyi", "droid", "unicode", "unifont", "hei", "gothic", "malgun",
    "lohit",
           "symbola", "segoe ui", "emoji")  # fmt: skip
"""Parts of the names of fonts that have many letters, so that these are opened first."""


def choose_fonts(texts: Iterable[str]) -> tuple[list[str], str]:
    """(families for matplotlib's `font.family`, letters that no installed font has) for texts of any script.

    A figure names fonts in this order: matplotlib's first, then those with letters that are still lacking.
    """
    fonts, lacking = _choose(_foreign_letters(texts))
    return ["sans-serif", *(family for family, _ in fonts)], lacking


def choose_font_files(texts: Iterable[str]) -> tuple[list[str], str]:
    """(files of fonts, letters that no installed font has) for texts of any script; matplotlib's first."""
    fonts, lacking = _choose(_foreign_letters(texts))
    return [_default_file(), *(path for _, path in fonts)], lacking


def _default_file() -> str:
    """DejaVu Sans as matplotlib brings it, or the system's; else Pillow's own font."""
    try:
        import matplotlib as mpl
    except ModuleNotFoundError:
        from cxr.report.font_files import BUILT_IN, find_font_files

        return find_font_files().get(_DEFAULT.replace(" ", ""), BUILT_IN)
    return f"{mpl.get_data_path()}/fonts/ttf/DejaVuSans.ttf"


def _foreign_letters(texts: Iterable[str]) -> frozenset[str]:
    return frozenset(letter for text in texts for letter in text if not letter.isascii())


@cache
def _choose(letters: frozenset[str]) -> tuple[list[tuple[str, str]], str]:
    """((family, file) of each font beside matplotlib's own, letters that no font has)."""
    chosen = []
    lacking = {letter for letter in letters if unicodedata.category(letter) not in _INVISIBLE}
    fonts = _installed() if lacking else iter(())
    for family, path in fonts:
        found = letters_of(path, frozenset(lacking))
        if not found:
            continue
        lacking -= found
        # matplotlib's own is named first by the caller
        chosen += [(family, path)] if family != _DEFAULT else []
        if not lacking:
            break
    return chosen, "".join(sorted(lacking))


def _installed() -> Iterator[tuple[str, str]]:
    """(family, file) of one font a family, those first that are likely to have many letters."""
    try:
        from matplotlib.font_manager import fontManager

        upright = {font.name: font.fname for font in fontManager.ttflist if font.style == "normal"}
    except ModuleNotFoundError:
        from cxr.report.font_files import find_font_files

        upright = find_font_files()
    # a font of coloured pictures cannot be drawn, and the last resort is the boxes themselves
    usable = [name for name in upright if "color" not in name.lower() and "resort" not in name.lower()]
    # matplotlib's own first, then those with many letters: a few files are opened instead of a hundred
    usable.sort(
        key=lambda name: (name != _DEFAULT, not any(part in name.lower() for part in _LARGE_FONTS), name)
    )
    return ((name, upright[name]) for name in usable[:_MAX_FONTS])


@cache
def letters_of(path: str, letters: frozenset[str]) -> frozenset[str]:
    """Which of the letters a font has; none of a file that cannot be opened."""
    try:
        from matplotlib.ft2font import FT2Font
    except ModuleNotFoundError:
        from cxr.report.font_files import drawn_letters

        return drawn_letters(path, letters)
    try:
        known = FT2Font(path).get_charmap()
    except (OSError, RuntimeError, ValueError):
        return frozenset()
    return frozenset(letter for letter in letters if ord(letter) in known)


def say_lacking(letters: str) -> str:
    """One line on letters that no installed font has; empty where there are none."""
    if not letters:
        return ""
    some = " ".join(letters[:5]) + (" ..." if len(letters) > 5 else "")
    boxes = "PNG and PDF files show boxes; SVG files and the page show the names"
    return f"figures: no installed font has {some}: {boxes}"


def embed_font(svg: bytes) -> bytes:
    """The SVG with those letters of matplotlib's font that it shows, so that it looks the same everywhere."""
    # letters as the page shows them: entities such as &amp; are one
    texts = re.findall(r"<text[^>]*>([^<]*)<", svg.decode())
    letters = frozenset("".join(map(html.unescape, texts)))
    font = base64.b64encode(_subset(letters)).decode()
    face = f"@font-face {{font-family: '{_DEFAULT}'; src: url(data:font/woff;base64,{font})}}"
    # into the style sheet that matplotlib writes; where there is none the SVG stays as it is
    head, found, rest = svg.partition(b'<style type="text/css">')
    return head + found + face.encode() + rest


@cache
def _subset(letters: frozenset[str]) -> bytes:
    """Matplotlib's font as WOFF with these letters alone."""
    import matplotlib as mpl
    from fontTools import subset

    logging.getLogger("fontTools").setLevel(logging.ERROR)  # it logs what it leaves out
    options = subset.Options(
        flavor="woff", hinting=False, layout_features=[], recalc_timestamp=False, drop_tables=["FFTM"]
    )
    subsetter = subset.Subsetter(options)
    # the whole font has 756 kB, one with the ASCII letters alone 7 kB (measured)
    subsetter.populate(text="".join(sorted(letters)))
    file = io.BytesIO()
    with subset.load_font(f"{mpl.get_data_path()}/fonts/ttf/DejaVuSans.ttf", options) as font:
        subsetter.subset(font)
        subset.save_font(font, file, options)
    return file.getvalue()
