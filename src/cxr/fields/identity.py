"""Ids of patients, studies and images as they are compared: normalised once, when a table is read.

Two spellings of one id would otherwise be two patients, whose images land in two splits. The rules, in this
order:

1. Unicode in its composed form (NFC), as file names of macOS are not.
2. White space of any kind, no-break space included, at the ends is dropped and inside becomes one space;
   zero-width spaces and byte order marks are dropped.
3. `12.0`, or `12,0`, is `12` where every id of the column is a whole number or a word for nothing such as
   `nan`, as a column of numbers with gaps is exported.

Leading zeros and case stay: `0012` is not `12`, and `p1` is not `P1`.
"""

import re
import unicodedata
from collections.abc import Sequence

from cxr.fields.cells import is_blank

_WHOLE = re.compile(r"(-?\d+)(?:\.0+|,0)")  # `12,000` is more than 12
_NUMBER = re.compile(r"-?\d+(\.0+|,0)?")
_ROUNDED = re.compile(r"-?\d([.,]\d*)?[eE]\+\d\d+")
_EMPTY_STEP = re.compile(r"/\.?(?=/)")
_INVISIBLE = dict.fromkeys(map(ord, "\u200b\u2060\ufeff"))  # zero-width space, word joiner, byte order mark


def normalise(text: str) -> str:
    """An id by rules 1 and 2."""
    if text.isascii() and text.isprintable() and " " not in text:
        return text  # nearly every id: nothing to do
    return " ".join(unicodedata.normalize("NFC", text).translate(_INVISIBLE).split())


def normalise_ids(values: Sequence[str]) -> list[str]:
    """The ids of one column by all three rules. A word such as `NA` stays an id: it may be somebody's.

    Args:
        values: [N] cells, as the table writes them.
    """
    ids = [normalise(value) for value in values]
    has_decimals = any("." in text or "," in text for text in ids)  # asked first: few columns have any
    if has_decimals and all(_NUMBER.fullmatch(text) or is_blank(text) for text in ids):
        return [_WHOLE.sub(r"\1", text) for text in ids]
    return ids


def normalise_images(values: Sequence[str]) -> list[str]:
    """Names of images by the same rules, with forward slashes, no `./` and no doubled slash.

    Args:
        values: [N] cells, as the table writes them.
    """
    names = []
    for value in values:
        name = value.replace("\\", "/")
        if "/." in name or "//" in name:  # nearly no name has an empty step, and the pattern takes longer
            name = _EMPTY_STEP.sub("", name)
        names.append(name)
    return [name.removeprefix("./") for name in normalise_ids(names)]


def find_rounded(values: Sequence[str]) -> int | None:
    """The first row whose id is a rounded number such as `8.4E+16`; None where there is none.

    A spreadsheet writes long numbers so, and several patients then share one text.
    """
    for row, value in enumerate(values):
        if "+" in value and _ROUNDED.fullmatch(value.strip()):
            return row
    return None
