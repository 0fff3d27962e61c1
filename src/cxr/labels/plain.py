"""What label tables beside predictions share with the predictions: their ids, the findings they name, words, hints."""

import re
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from cxr.console import count
from cxr.errors import CxrError
from cxr.fields.cells import SOFT_HINT, read_column
from cxr.fields.identity import find_rounded, normalise, normalise_ids
from cxr.findings import NO_FINDING, canonical, find
from cxr.labels.classes import read_classes
from cxr.labels.columns import find_column, is_metadata
from cxr.labels.sheet import Sheet
from cxr.labels.table import Float

IDS = ("image", "patient_id", "study_id")
"""Row columns that are ids."""
ROW_KINDS = (*IDS, "view", "sex", "age")
_NAMED = 5
_IN_CONFIG = (
    (re.escape(SOFT_HINT), "figures need labels of 1 or 0: round what lies between, or delete it"),
    (r"data\.columns\.labels=(\S+)( reads .*)?", r"--label-column \1\2"),
    (
        r"keep one of them, or name it: data\.columns\.patient=.*",
        "rename the one that does not name the patient",
    ),
    (r"data\.columns\.labels .*", "--label-column names a column of classes or lists of findings"),
    (r"data\.csv (must be .*)", r"it \1"),
    (r"(?!data\.duplicates).*\bdata\.\w+.*", "mend the table, or download it again"),
)
"""Clauses of hints that name keys of a config, and what can be done about a table that has none."""


def hint_without_config(hint: str) -> str:
    """The hint for a table that no config describes; data.duplicates is taken there too."""
    clauses = []
    for clause in hint.split("; "):
        meant = ((re.fullmatch(pattern, clause), instead) for pattern, instead in _IN_CONFIG)
        clauses.append(next((found.expand(instead) for found, instead in meant if found), clause))
    return "; ".join(dict.fromkeys(clauses))


def name_plain(sheet: Sheet, words: str | None) -> tuple[str, ...]:
    """The findings that the columns of a plain table, or its column of words, seem to label."""
    if words:
        return read_classes(sheet.column(normalise(words)))[0] if normalise(words) in sheet.header else ()
    taken = {*name_usual(sheet).values()}
    columns = [name for name in sheet.header if name and name not in taken and not is_metadata(name)]
    read = {name: read_column(sheet.numbers(name)) for name in columns}
    sure = [name for name, own in read.items() if own.wrong is None and own.soft is None and own.num_labels]
    return tuple(canonical(re.sub("^y_", "", name, flags=re.IGNORECASE)) for name in sure)


def say_rounded(sheet: Sheet, names: Sequence[str]) -> list[tuple[str, str]]:
    """(`WHERE: WHAT`, hint) of each column of ids that a spreadsheet has rounded, so that several share one."""
    first = {name: find_rounded(sheet.column(name)) for name in names}
    hint = "export the table again with this column as text"
    return [
        (
            f"{sheet.where(row)}: {name} is {sheet.column(name)[row].strip()!r}, a rounded number that ids may share",
            hint,
        )
        for name, row in first.items()
        if row is not None
    ]


def name_usual(sheet: Sheet) -> dict[str, str]:
    """The column of each kind of row column that has a usual name."""
    named: dict[str, str] = {}
    for kind in ROW_KINDS:
        column = find_column(sheet, kind, named.values())
        named |= {kind: column} if column else {}
    return named


def name_studies(sheet: Sheet, columns: Mapping[str, Sequence[str]]) -> list[str]:
    """What the rows of a table without an image column are called: as their study, or else their patient.

    A study is called patient/study where patients share its name, as when visits are counted for each patient.
    """
    studies, patients = (normalise_ids(columns.get(kind, ())) for kind in ("study_id", "patient_id"))
    if not studies and not patients:
        hint = f"name the image column image or filename; its columns are {', '.join(sheet.header)}"
        raise CxrError(f"{sheet.path}: no image column", hint)
    if studies and patients and len(set(zip(patients, studies, strict=True))) > len(set(studies)):
        return [f"{patient}/{study}" for patient, study in zip(patients, studies, strict=True)]
    return studies or patients


def match_words(
    asked: Sequence[str],
    words: Sequence[str],
    raw: Float,
    column: str,
    meaning: Callable[[str, Sequence[str]], str | None] = find,
) -> tuple[Float, tuple[str, ...], tuple[str, ...]]:
    """([N, C] 1 where a row says a word for the finding, findings that any row says, a note on words that are none).

    Args:
        asked: C findings.
        words: W words of a column, as `read_classes` returns them; several may mean one finding.
        raw: [N, W] 1 where a row says the word, nan where it says nothing.
        column: Name of the column.
        meaning: Which of the findings a word means.
    """
    y = np.full((len(raw), len(asked)), np.nan, np.float32)
    if len(words):
        y[~np.isnan(raw).all(axis=1)] = 0
    said, others = set(), {}
    for place, word in enumerate(words):
        name = meaning(word, asked)
        if name is not None:
            said.add(name)
            y[raw[:, place] == 1, asked.index(name)] = 1
        elif word != NO_FINDING:
            others[word] = int((raw[:, place] == 1).sum())
    first = ", ".join(f"{word} ({count(num, 'row')})" for word, num in list(others.items())[:_NAMED])
    more = f" and {len(others) - _NAMED:,} more" if len(others) > _NAMED else ""
    note = (f"words of column {column} that are none of the findings here: {first}{more}",) if others else ()
    return y, tuple(name for name in asked if name in said), note
