"""Labels as words: one column of classes or of lists of findings becomes a column a finding."""

import ast
import re
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from cxr.fields.cells import is_blank
from cxr.findings import NO_FINDING, canonical, name_key
from cxr.labels.table import Float

_BETWEEN = re.compile(r"[|,;]")
_QUOTED = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\"""")
_BRACKETS = frozenset((("[", "]"), ("{", "}"), ("(", ")")))
_NEGATIVE = frozenset(("negative", "nodisease"))
"""Classes that say that nothing was found, as `name_key` writes them, beside the synonyms of `No Finding`."""


def read_classes(cells: Sequence[str]) -> tuple[tuple[str, ...], Float]:
    """(findings in the order of their names, [N, C] 1 where a cell names the finding and 0 where it does not).

    A cell is a word, or several separated by `|`, `,` or `;`, or a list such as ['a', 'b']. `normal`, `healthy`
    and `negative` mean No Finding. A blank cell says nothing: its row is blank throughout.

    Args:
        cells: [N] cells, as the table says them.
    """
    codes, distinct = pd.factorize(np.array(cells, dtype=object))
    lists = [read_words(str(cell)) for cell in distinct]
    spelled = {
        name_key(word): word for words in reversed(lists) for word in reversed(words)
    }  # first spelling wins
    order = sorted(spelled, key=lambda key: (spelled[key] == NO_FINDING, spelled[key].casefold()))
    places = {key: place for place, key in enumerate(order)}
    raw = np.zeros((len(distinct), len(order)), np.float32)
    for row, words in enumerate(lists):
        raw[row, [places[name_key(word)] for word in words]] = 1
        if not words:
            raw[row] = np.nan
    return tuple(spelled[key] for key in order), raw[codes]


def read_words(cell: str) -> list[str]:
    """The findings that a cell names; none where it is blank."""
    return [name_class(word) for word in split_words(cell)]


def split_words(cell: str) -> list[str]:
    """The words of `a|b`, `a, b`, ['a', 'b'], ['a' 'b'] as NumPy prints it, {a, b} and ('a', 'b'), as they are."""
    text = cell.strip()
    if (text[:1], text[-1:]) in _BRACKETS:
        text = text[1:-1]
        quoted = _QUOTED.findall(text)
        if quoted and not _QUOTED.sub("", text).strip(" ,;|\n\t"):
            return [word for one in quoted if not is_blank(word := _unquote(one))]
    words = (word.strip().strip("'\"").strip() for word in _BETWEEN.split(text))
    return [word for word in words if not is_blank(word)]


def count_words(numbers: Mapping[str, int], most: int = 5) -> str:
    """The words and in how many rows each is, the most frequent first."""
    first = sorted(numbers.items(), key=lambda pair: -pair[1])[:most]
    more = f" and {len(numbers) - most:,} more" if len(numbers) > most else ""
    return ", ".join(f"{word} ({num:,})" for word, num in first) + more


def name_class(word: str) -> str:
    """The finding that a class is called by; No Finding for `normal`, `healthy`, `negative` and the like."""
    return NO_FINDING if name_key(word) in _NEGATIVE else canonical(word)


def _unquote(literal: str) -> str:
    """The text of one quoted word, with Python's escapes for letters."""
    try:
        return str(ast.literal_eval(literal)).strip()  # a literal only: nothing is run
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return literal[1:-1].strip()
