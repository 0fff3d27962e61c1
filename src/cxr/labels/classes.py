"""Labels as words: one column of classes or of lists of findings becomes a column a finding."""

import ast
import re
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd

from cxr.console import count
from cxr.fields.cells import is_blank
from cxr.findings import NO_FINDING, canonical, find, name_key
from cxr.labels.problems import MAX_NAMED
from cxr.labels.table import Float

_BETWEEN = re.compile(r"[|,;]")
_QUOTED = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\"""")
_BRACKETS = frozenset((("[", "]"), ("{", "}"), ("(", ")")))
_NEGATIVE = frozenset(("negative", "nodisease"))
"""Classes that say that nothing was found, as `name_key` writes them, beside the synonyms of `No Finding`."""


def read_classes(cells: Sequence[str]) -> tuple[tuple[str, ...], Float]:
    """(findings in the order of their names, [N, C] 1 where a cell names the finding, else 0).

    A cell is a word, or several separated by `|`, `,` or `;`, or a list such as ['a', 'b']. `normal`,
    `healthy` and `negative` mean No Finding, which comes last. A blank cell says nothing: its row is blank
    throughout.

    Args:
        cells: [N] cells, as the table says them.
    """
    # each distinct cell is read once: there are far fewer of them than rows
    codes, distinct = pd.factorize(np.array(cells, dtype=object))
    lists = [read_words(str(cell)) for cell in distinct]
    # by key: `Mass` and `mass` are the same finding, and the first spelling is kept
    spellings: dict[str, str] = {}
    for words in lists:
        for word in words:
            spellings.setdefault(name_key(word), word)
    # in the order of names, so that another order of the rows gives the same columns
    findings = sorted(spellings.values(), key=lambda name: (name == NO_FINDING, name.casefold()))
    column_of = {name_key(name): column for column, name in enumerate(findings)}
    raw = np.zeros((len(distinct), len(findings)), np.float32)
    for row, words in enumerate(lists):
        raw[row, [column_of[name_key(word)] for word in words]] = 1
        if not words:
            raw[row] = np.nan
    return tuple(findings), raw[codes]


def match_words(
    asked: Sequence[str],
    words: Sequence[str],
    raw: Float,
    column: str,
    match: Callable[[str, Sequence[str]], str | None] = find,
) -> tuple[Float, tuple[str, ...], tuple[str, ...]]:
    """([N, C] 1 where a row says a word for the finding, findings that any row says, a note on other words).

    Args:
        asked: C findings.
        words: W words of a column, as `read_classes` returns them; several may mean one finding.
        raw: [N, W] 1 where a row says the word, nan where it says nothing.
        column: Name of the column.
        match: Which of the findings a word means.
    """
    y = np.full((len(raw), len(asked)), np.nan, np.float32)
    if len(words):
        y[~np.isnan(raw).all(axis=1)] = 0  # a row that names other findings has none of these
    named = set()
    others: dict[str, int] = {}  # rows of each word that is no finding asked for
    for index, word in enumerate(words):
        is_word = raw[:, index] == 1
        finding = match(word, asked)
        if finding is not None:
            named.add(finding)
            y[is_word, asked.index(finding)] = 1
        elif word != NO_FINDING:
            others[word] = int(is_word.sum())
    findings = tuple(finding for finding in asked if finding in named)
    if not others:
        return y, findings, ()
    first = ", ".join(f"{word} ({count(num, 'row')})" for word, num in list(others.items())[:MAX_NAMED])
    more = f" and {len(others) - MAX_NAMED:,} more" if len(others) > MAX_NAMED else ""
    return y, findings, (f"words of column {column} that are none of the findings here: {first}{more}",)


def read_words(cell: str) -> list[str]:
    """The findings that a cell names; none where it is blank."""
    return [name_class(word) for word in split_words(cell)]


def split_words(cell: str) -> list[str]:
    """The words of `a|b`, `a, b`, ['a', 'b'], ['a' 'b'] as NumPy prints it, {a, b} and ('a', 'b')."""
    text = cell.strip()
    if (text[:1], text[-1:]) in _BRACKETS:
        text = text[1:-1]
        quoted = _QUOTED.findall(text)
        if quoted and not _QUOTED.sub("", text).strip(" ,;|\n\t"):  # nothing but quoted words and separators
            words = [_unquote(literal) for literal in quoted]
            return [word for word in words if not is_blank(word)]
    words = [word.strip().strip("'\"").strip() for word in _BETWEEN.split(text)]
    return [word for word in words if not is_blank(word)]


def count_words(num_rows: Mapping[str, int]) -> str:
    """The words and in how many rows each is, the most frequent first, equally frequent ones by name."""
    first = sorted(num_rows.items(), key=lambda item: (-item[1], item[0]))[:MAX_NAMED]
    more = f" and {len(num_rows) - MAX_NAMED:,} more" if len(num_rows) > MAX_NAMED else ""
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
