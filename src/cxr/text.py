"""Text that is not ours: names of files, findings and patients, cells, values, and messages of libraries.

Such text may hold anything. Whatever goes to a terminal or into a page goes through `visible` first.
"""

import csv
import io
import json
import re
import unicodedata
import zlib
from collections.abc import Iterable, Iterator, Sequence

DISCLAIMER = "Research tool, not a medical device."
"""What each result says below it."""

MOST_LETTERS = 1_000
"""Longer messages are shortened in the middle before they are printed."""

_HIDDEN = (
    "Cc",
    "Cf",
    "Cs",
    "Zl",
    "Zp",
)  # control, format, half a surrogate pair, line and paragraph separators
_JOINERS = "\u200c\u200d"  # Persian, Hindi and many more are misspelt without them
_SIGNS = frozenset("\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd")
"""Signs of Arabic, Syriac and Kaithi that are seen although Unicode counts them among its format characters."""
_NAMED = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
_MOST_MARKS = (
    8  # accents on one letter; no script stacks as many, and a flood of them covers the lines around it
)
_MOST_BYTES = 200  # of 255, so that endings and numbers fit behind it
_BYTES = range(0xDC80, 0xDD00)  # how Python holds bytes of file names that are no UTF-8


def visible(text: str) -> str:
    r"""The text on one line, with escapes such as `\x1b` for what would act on a terminal or could not be seen.

    Letters of every script stay. Control characters, line ends, marks that turn the direction of writing, spaces
    without width, bytes of file names that are no UTF-8, and more than eight accents on one letter become escapes.
    """
    if text.isprintable() and text.isascii():
        return text
    return "".join(_escape(letter) if hidden else letter for letter, hidden in _sort(text))


def visible_lines(text: str) -> str:
    """The text with its line feeds as they are, and the rest `visible`."""
    return "\n".join(map(visible, text.split("\n")))


def _sort(text: str) -> Iterator[tuple[str, bool]]:
    """(letter, whether it must be escaped) in turn."""
    num_marks = 0
    for letter in text:
        kind = unicodedata.category(letter)
        num_marks = num_marks + 1 if kind in ("Mn", "Me") else 0
        yield letter, num_marks > _MOST_MARKS or _is_hidden(letter, kind)


def _is_hidden(letter: str, kind: str) -> bool:
    if kind == "Cn":  # not assigned: a letter younger than this Python, unless it is never to be one
        code = ord(letter)
        return (
            code & 0xFFFE == 0xFFFE or 0xFDD0 <= code <= 0xFDEF or 0xFFF0 <= code <= 0xFFF8 or code >= 0xE0000
        )
    return kind in _HIDDEN and letter not in _JOINERS and letter not in _SIGNS


def _escape(letter: str) -> str:
    code = ord(letter)
    if letter in _NAMED:
        return _NAMED[letter]
    if code in _BYTES:
        return f"\\x{code - 0xDC00:02x}"
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def width(text: str) -> int:
    """Columns of a terminal that the text takes: two for a Chinese letter, none for an accent."""
    return sum(_letter_width(letter) for letter in text)


def _letter_width(letter: str) -> int:
    if unicodedata.category(letter) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(letter) in "WF" else 1


def shorten(text: str, columns: int) -> str:
    """The text where it fits into so many columns, else its beginning and its end with `…` between them."""
    if len(text) < 20 * columns and width(text) <= columns:
        return text
    end = _first_fitting(text[::-1], (columns - 1) // 3)[::-1]
    return _first_fitting(text, columns - 1 - width(end)) + "…" + end


def shorten_all(texts: Sequence[str], columns: int) -> list[str]:
    """Each text `visible` and at most so wide, those that differ still different."""
    short = [shorten(visible(text), columns) for text in texts]
    for place, text in enumerate(texts):
        same = [other for other in range(place) if short[other] == short[place] and texts[other] != text]
        if same:
            short[place] = f"{shorten(short[place], columns - 5)} #{place + 1}"
    return short


def short_name(name: str) -> str:
    """A name for a file or a folder: the same, or where a file system might refuse its length cut, with a hash."""
    data = name.encode(errors="surrogateescape")
    if len(data) <= _MOST_BYTES:
        return name
    return data[: _MOST_BYTES - 9].decode(errors="ignore") + f"-{zlib.crc32(data):08x}"


def _first_fitting(text: str, columns: int) -> str:
    taken = 0
    for place, letter in enumerate(text):
        taken += _letter_width(letter)
        if taken > columns:
            return text[:place]
    return text


def quote(value: object) -> str:
    """A value as Python writes it, shortened; for messages about what a user has given."""
    try:
        text = repr(value)
    except ValueError:  # an integer of more than 4,300 digits
        return "a number of thousands of digits"
    return shorten(text, 80)


def csv_line(cells: Iterable[object]) -> str:
    """A line of a CSV file that gives back the very cells (RFC 4180)."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerow(
        cells
    )  # it quotes a carriage return only where lines end in one
    return text.getvalue().removesuffix("\r\n") + "\n"


def json_text(document: object, indent: int) -> str:
    """A document as JSON, where escapes stand for what `visible` would show as such; what is read back is the same."""
    text = json.dumps(document, indent=indent, allow_nan=False, ensure_ascii=False)
    return "\n".join(map(_json_line, text.split("\n"))) + "\n"


def _json_line(line: str) -> str:
    if visible(line) == line:
        return line
    return "".join(json.dumps(letter)[1:-1] if hidden else letter for letter, hidden in _sort(line))


def markdown(text: str) -> str:
    """The text as Markdown that shows it as it is: nothing in it is a link, a heading, a formula, code or HTML."""
    plain = visible(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    escaped = re.sub(r"([\\`*\[\]|$~])", r"\\\1", plain)
    escaped = re.sub(r"(?<![^\W_])_|_(?![^\W_])", r"\\_", escaped)  # Pleural_Thickening is written as it is
    return re.sub(r"^(\s*\d*)([#+.)-])(?=#*\s)", r"\1\\\2", escaped).replace("://", ":\\//")
