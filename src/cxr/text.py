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
"""Stands below each result."""

MAX_LETTERS = 1_000
"""Longer messages are shortened in the middle before they are printed."""

# Unicode's categories of control, format, half a surrogate pair, line and paragraph separators
_HIDDEN = ("Cc", "Cf", "Cs", "Zl", "Zp")
_JOINERS = "\u200c\u200d"  # Persian, Hindi and many more are misspelt without them
_SIGNS = frozenset("\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd")
"""Signs of Arabic, Syriac and Kaithi that are seen, although their Unicode category is format."""
_NAMED = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
# accents on one letter; no script stacks as many, and a flood of them covers the lines around it
_MAX_MARKS = 8
_MAX_NAME_BYTES = 200  # of 255, so that endings and numbers fit behind it
_SURROGATE_BYTES = range(0xDC80, 0xDD00)  # how Python holds bytes of file names that are no UTF-8
_ELLIPSIS = "…"


def visible(text: str) -> str:
    r"""The text on one line, with escapes such as `\x1b` for what acts on a terminal or cannot be seen.

    Letters of every script stay. Control characters, line ends, marks that turn the direction of writing,
    spaces without width, bytes of file names that are no UTF-8, and more than eight accents on one letter
    become escapes.
    """
    if text.isprintable() and text.isascii():
        return text
    return "".join(_escape(letter) if hidden else letter for letter, hidden in _find_hidden(text))


def visible_lines(text: str) -> str:
    """The text with its line feeds as they are, and the rest `visible`."""
    return "\n".join(map(visible, text.split("\n")))


def _find_hidden(text: str) -> Iterator[tuple[str, bool]]:
    """(letter, whether it must be escaped) of each letter."""
    num_marks = 0
    for letter in text:
        kind = unicodedata.category(letter)
        num_marks = num_marks + 1 if kind in ("Mn", "Me") else 0
        yield letter, num_marks > _MAX_MARKS or _is_hidden(letter, kind)


def _is_hidden(letter: str, kind: str) -> bool:
    # Cn is not assigned: perhaps a letter younger than this Python, but these never become letters
    if kind == "Cn":
        code = ord(letter)
        is_noncharacter = code & 0xFFFE == 0xFFFE or 0xFDD0 <= code <= 0xFDEF
        return is_noncharacter or 0xFFF0 <= code <= 0xFFF8 or code >= 0xE0000
    return kind in _HIDDEN and letter not in _JOINERS and letter not in _SIGNS


def _escape(letter: str) -> str:
    code = ord(letter)
    if letter in _NAMED:
        return _NAMED[letter]
    if code in _SURROGATE_BYTES:
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def width(text: str) -> int:
    """Columns of a terminal that the text takes: two for a Chinese letter, none for an accent."""
    return sum(_letter_width(letter) for letter in text)


def _letter_width(letter: str) -> int:
    if unicodedata.category(letter) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(letter) in "WF" else 1


def shorten(text: str, columns: int) -> str:
    """The text where it fits into so many columns, else its beginning and its end with `…` between them."""
    if len(text) < 20 * columns and width(text) <= columns:  # a text far too long need not be measured
        return text
    end = _first_fitting(text[::-1], (columns - 1) // 3)[::-1]
    return _first_fitting(text, columns - 1 - width(end)) + _ELLIPSIS + end


def shorten_all(texts: Sequence[str], columns: int) -> list[str]:
    """Each text `visible` and at most so wide; texts that differ stay different."""
    short = [shorten(visible(text), columns) for text in texts]
    for number, text in enumerate(texts):
        # two findings that are cut to the same name would be one in a figure
        is_taken = any(short[other] == short[number] and texts[other] != text for other in range(number))
        if is_taken:
            short[number] = f"{shorten(short[number], columns - 5)} #{number + 1}"
    return short


def short_name(name: str) -> str:
    """A name for a file or a folder: the same, or cut and with a hash where it may be too long."""
    data = name.encode(errors="surrogateescape")
    if len(data) <= _MAX_NAME_BYTES:
        return name
    return data[: _MAX_NAME_BYTES - 9].decode(errors="ignore") + f"-{zlib.crc32(data):08x}"


def _first_fitting(text: str, columns: int) -> str:
    total = 0
    for number, letter in enumerate(text):
        total += _letter_width(letter)
        if total > columns:
            return text[:number]
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
    # the writer quotes a carriage return only where lines end in one
    csv.writer(text, lineterminator="\r\n").writerow(cells)
    return text.getvalue().removesuffix("\r\n") + "\n"


def json_text(document: object, indent: int) -> str:
    """A document as JSON, with an escape for each letter that `visible` escapes; it is read back the same."""
    text = json.dumps(document, indent=indent, allow_nan=False, ensure_ascii=False)
    return "\n".join(map(_json_line, text.split("\n"))) + "\n"


def _json_line(line: str) -> str:
    if visible(line) == line:
        return line
    return "".join(json.dumps(letter)[1:-1] if hidden else letter for letter, hidden in _find_hidden(line))


def markdown(text: str) -> str:
    """The text as Markdown that shows it as it is: no link, heading, formula, code or HTML."""
    plain = visible(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    # signs that mean something anywhere; then underscores, but for those inside a word
    escaped = re.sub(r"([\\`*\[\]|$~])", r"\\\1", plain)
    escaped = re.sub(r"(?<![^\W_])_|_(?![^\W_])", r"\\_", escaped)  # Pleural_Thickening is written as it is
    return re.sub(r"^(\s*\d*)([#+.)-])(?=#*\s)", r"\1\\\2", escaped).replace("://", ":\\//")
