"""Which columns of a table are findings: those asked for, those called y_..., or those whose every cell is a label.

Where nothing is asked for, a column is decided by its name and by all of its cells, never by a share of them:

| a column                                     | is                                               |
| -------------------------------------------- | ------------------------------------------------ |
| of a known other name, such as sex or fold   | no finding                                       |
| called p_... or prob_...                     | no finding, but a probability                    |
| of labels and blanks                         | a finding                                        |
| blank throughout, or without any label       | no finding                                       |
| of labels and of other cells, or a known     | an error: the user says which, by data.findings  |
| finding of other cells                       |                                                  |
"""

import difflib
import re
import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from cxr.config.yaml_reader import dump
from cxr.errors import CxrError
from cxr.fields.cells import LABEL_HINT, SOFT_HINT, LabelColumn, read_column
from cxr.findings import canonical, find, find_spelling, is_known, name_key
from cxr.labels.columns import is_metadata
from cxr.labels.sheet import Sheet, column_key

_LABEL, _PROBABILITY = re.compile("^y_", re.IGNORECASE), re.compile("^(p|prob)_", re.IGNORECASE)
_CLASS_NAMES = ("label", "labels", "class", "classes", "classname", "finding", "findings", "findinglabels", "diagnosis",
                "target", "category", "disease", "diseases", "pathology", "pathologies", "groundtruth")  # fmt: skip
_MOST_CLASSES = 100


@dataclass(frozen=True)
class Chosen:
    """The columns that are findings, and why the others are not.

    Attributes:
        columns: The column of each finding.
        why: The reason for each column that was looked at and not taken.
        unsure: Findings taken for their cells although no public dataset calls a finding so.
    """

    columns: Mapping[str, str]
    why: Mapping[str, str] = field(default_factory=dict)
    unsure: tuple[str, ...] = ()


def choose_columns(
    sheet: Sheet,
    taken: Collection[str],
    asked: Sequence[str] | None,
    soft: bool = False,
    partly: bool = False,
) -> Chosen:
    """The columns of a table that are findings.

    Args:
        sheet: The table.
        taken: Columns that are something else, such as the image.
        asked: Findings whose columns are wanted; None for all that there are.
        soft: Whether numbers between 0 and 1 are labels too.
        partly: Whether columns of the same concept will do, and findings without a column are left out.

    Raises:
        CxrError: A finding without a column or with two; a column that may or may not be a finding; none at all.
    """
    others = [name for name in sheet.header if name and name not in taken]
    if asked is None:
        return _choose_all(sheet, others, soft)
    names = {name: canonical(_without_prefix(name)) for name in others}
    columns = _match(sheet, names, asked, partly)
    why = dict.fromkeys((name for name in others if name not in columns.values()), "not in data.findings")
    return Chosen(columns, why)


def as_override(names: Sequence[str]) -> str:
    """The names as data.findings=... takes them, quoted where YAML would read something else."""
    text = dump(list(names))
    if '"' in text:
        return shlex.quote(f"data.findings={text}")
    return f"data.findings={text}" if "'" not in text else f'"data.findings={text}"'


def looks_like_classes(sheet: Sheet, names: Sequence[str]) -> str | None:
    """The first of these columns that seems to hold the names of findings, None where none does."""
    for name in names:
        words = {cell.strip() for cell in sheet.column(name)} - {""}
        if column_key(name) in _CLASS_NAMES and 0 < len(words) <= _MOST_CLASSES:
            return name
    return None


def _without_prefix(column: str) -> str:
    return _LABEL.sub("", column)


def _choose_all(sheet: Sheet, others: Sequence[str], soft: bool) -> Chosen:
    marked = [name for name in others if _LABEL.match(name) and not is_metadata(name)]  # y_min is of a box
    why: dict[str, str] = {}
    found: dict[str, LabelColumn] = {}
    for name in marked or others:
        if not marked and is_metadata(name):
            why[name] = "known to be no finding"
        elif not marked and _PROBABILITY.match(name):
            why[name] = "a probability"
        else:
            found[name] = read_column(sheet.numbers(name))
    why |= dict.fromkeys(
        (name for name in others if marked and name not in marked), "findings are the columns y_..."
    )
    columns, reasons, problems = _decide(sheet, found, soft)
    if problems:
        certain = as_override([canonical(_without_prefix(name)) for name in columns] or ["..."])
        hint = f"name the findings: {certain}, or keep a column with data.columns.others=[...]"
        kinds = [LABEL_HINT] + ([SOFT_HINT] if any(one.soft is not None for one in found.values()) else [])
        raise CxrError(problems, "; ".join([*kinds, hint]))
    names = {name: canonical(_without_prefix(name)) for name in columns}
    _check_different(sheet, names)
    unsure = tuple(finding for name, finding in names.items() if name not in marked and not is_known(finding))
    return Chosen({finding: name for name, finding in names.items()}, why | reasons, unsure)


def _decide(
    sheet: Sheet, found: Mapping[str, LabelColumn], soft: bool
) -> tuple[list[str], dict[str, str], list[str]]:
    """(columns that are findings, why others are not, a problem for each column that may be one)."""
    columns, why, problems = [], {}, []
    for name, column in found.items():
        other = column.wrong if column.wrong is not None else None if soft else column.soft
        if other is None:
            if column.num_labels or (soft and column.soft is not None) or _LABEL.match(name):
                columns.append(name)
            else:
                why[name] = "blank in every row"
        elif (
            column.num_labels
            or (column.soft is not None and column.wrong is None)
            or is_known(canonical(name))
        ):
            cell = sheet.column(name)[other].strip()
            kind = "a soft label" if column.wrong is None else "no label"
            rest = f", and {column.num_labels:,} other cells are 1, 0 or -1" if column.num_labels else ""
            what = f"{name} is {cell!r}, {kind}{rest}"
            problems.append(f"{sheet.where(other)}: {what}")
        else:
            why[name] = (
                f"no cell is a label, the first on line {sheet.lines[other]}"  # a cell may name a person
            )
    return columns, why, problems


def _match(sheet: Sheet, names: Mapping[str, str], asked: Sequence[str], partly: bool) -> dict[str, str]:
    """The column of each finding asked for."""
    spelled = list(names.values())
    columns, problems = {}, []
    for finding in asked:
        same = [name for name, own in names.items() if name_key(own) == name_key(canonical(finding))]
        meant = find(finding, spelled) if partly else find_spelling(finding, spelled)
        if len(same) > 1:
            problems.append(f"{sheet.path}: two columns for finding {finding!r}: {', '.join(same)}")
        elif meant is not None:
            columns[finding] = next(name for name, own in names.items() if own == meant)
        elif not partly:
            problems.append(f"{sheet.path}: no column for finding {finding!r}{_like(finding, spelled)}")
    if not columns and partly:
        raise CxrError(f"{sheet.path}: labels none of {', '.join(asked)}", f"it has {', '.join(names)}")
    if problems:
        raise CxrError(problems, f"data.findings must be columns of the file, which has {', '.join(names)}")
    return columns


def _check_different(sheet: Sheet, names: Mapping[str, str]) -> None:
    first: dict[str, str] = {}
    twice = [(first[name_key(own)], name) for name, own in names.items()
             if first.setdefault(name_key(own), name) != name]  # fmt: skip
    if twice:
        problems = [f"{sheet.path}: two columns for finding {names[a]!r}: {a}, {b}" for a, b in twice]
        raise CxrError(problems, "rename one of them, or delete it")


def _like(name: str, names: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, names, n=1)
    return f"; did you mean {close[0]}?" if close else ""
