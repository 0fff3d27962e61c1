"""Labels as words: one column of classes or of lists of findings becomes a column a finding."""

import ast
import re
from collections.abc import Sequence

import numpy as np
import pandas as pd

from cxr.data.findings import NO_FINDING, canonical, name_key
from cxr.data.labels import Float
from cxr.labels.cells import is_blank

_BETWEEN = re.compile(r"[|,;]")
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
    spelled = {name_key(word): word for words in reversed(lists) for word in reversed(words)}  # first spelling wins
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
    text = cell.strip()
    if text[:1] == "[" and text[-1:] == "]":
        listed = _read_list(text)
        words = listed if listed is not None else _BETWEEN.split(text[1:-1])
    else:
        words = _BETWEEN.split(text)
    words = [word.strip().strip("'\"").strip() for word in words]
    return [name_class(word) for word in words if not is_blank(word)]


def name_class(word: str) -> str:
    """The finding that a class is called by; No Finding for `normal`, `healthy`, `negative` and the like."""
    return NO_FINDING if name_key(word) in _NEGATIVE else canonical(word)


def _read_list(text: str) -> list[str] | None:
    try:
        words = ast.literal_eval(text)  # literals only: nothing is run
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None
    return [str(word) for word in words] if isinstance(words, list) else None
