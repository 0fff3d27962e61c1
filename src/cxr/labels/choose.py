"""Which columns of a table are findings: those asked for, those called y_..., or those of labels alone.

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
_CLASS_NAMES = (
    "label", "labels", "class", "classes", "classname", "finding", "findings", "findinglabels", "diagnosis",
    "target", "category", "disease", "diseases", "pathology", "pathologies", "groundtruth",
)  # fmt: skip
_MAX_CLASSES = 100


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
        CxrError: A finding without a column or with two; a column that may or may not be a finding; none at
        all.
    """
    others = [name for name in sheet.header if name and name not in taken]
    if asked is None:
        return _choose_all(sheet, others, soft)
    finding_of = {name: _name_finding(name) for name in others}
    columns = _match(sheet, finding_of, asked, partly)
    left = [name for name in others if name not in columns.values()]
    return Chosen(columns, dict.fromkeys(left, "not in data.findings"))


def as_override(names: Sequence[str]) -> str:
    """The names as data.findings=... takes them, quoted where YAML would read something else."""
    override = f"data.findings={dump(list(names))}"
    # quotes for the shell, as the hint is copied to a command line
    if '"' in override:
        return shlex.quote(override)
    return f'"{override}"' if "'" in override else override


def looks_like_classes(sheet: Sheet, names: Sequence[str]) -> str | None:
    """The first of these columns that seems to hold the names of findings, None where none does."""
    for name in names:
        words = {cell.strip() for cell in sheet.column(name)} - {""}
        if column_key(name) in _CLASS_NAMES and 0 < len(words) <= _MAX_CLASSES:
            return name
    return None


def _name_finding(column: str) -> str:
    """The finding that a column is called by: `y_Mass` is Mass."""
    return canonical(_LABEL.sub("", column))


def _choose_all(sheet: Sheet, others: Sequence[str], soft: bool) -> Chosen:
    """The columns whose names or cells say that they are findings."""
    marked = [name for name in others if _LABEL.match(name) and not is_metadata(name)]  # y_min is of a box
    why: dict[str, str] = {}
    read: dict[str, LabelColumn] = {}
    for name in others:
        if marked and name not in marked:
            why[name] = "findings are the columns y_..."
        elif not marked and is_metadata(name):
            why[name] = "known to be no finding"
        elif not marked and _PROBABILITY.match(name):
            why[name] = "a probability"
        else:
            read[name] = read_column(sheet.numbers(name))
    columns, reasons, problems = _decide(sheet, read, soft)
    if problems:
        certain = as_override([_name_finding(name) for name in columns] or ["..."])
        # every column that can be decided is in the hint, so that it can be copied
        hints = [LABEL_HINT]
        if any(column.soft is not None for column in read.values()):
            hints.append(SOFT_HINT)
        hints.append(f"name the findings: {certain}, or keep a column with data.columns.others=[...]")
        raise CxrError(problems, "; ".join(hints))
    finding_of = {name: _name_finding(name) for name in columns}
    _check_different(sheet, finding_of)
    unsure = [finding for name, finding in finding_of.items() if name not in marked and not is_known(finding)]
    return Chosen({finding: name for name, finding in finding_of.items()}, why | reasons, tuple(unsure))


def _decide(
    sheet: Sheet, read: Mapping[str, LabelColumn], soft: bool
) -> tuple[list[str], dict[str, str], list[str]]:
    """(columns that are findings, why others are not, a problem for each column that may be a finding)."""
    columns, why, problems = [], {}, []
    for name, column in read.items():
        # 1. the first cell that stands against a finding, if there is one
        row = column.wrong  # the first whose cell is no label
        if row is None and not soft:
            row = column.soft
        has_soft = column.soft is not None
        # 2. none: a finding, unless all is blank; a column y_... is one even then
        if row is None and (column.num_labels or has_soft or _LABEL.match(name)):
            columns.append(name)
        elif row is None:
            why[name] = "blank in every row"
        # 3. labels beside other cells, or a known name: the user must say what it is
        elif column.num_labels or (has_soft and column.wrong is None) or is_known(canonical(name)):
            cell = sheet.column(name)[row].strip()
            kind = "a soft label" if column.wrong is None else "no label"
            rest = f", and {column.num_labels:,} other cells are 1, 0 or -1" if column.num_labels else ""
            problems.append(f"{sheet.where(row)}: {name} is {cell!r}, {kind}{rest}")
        else:
            # the cell is not shown: it may be the name of a person
            why[name] = f"no cell is a label, the first on line {sheet.lines[row]}"
    return columns, why, problems


def _match(sheet: Sheet, finding_of: Mapping[str, str], asked: Sequence[str], partly: bool) -> dict[str, str]:
    """The column of each finding asked for, from the finding of each column."""
    spellings = list(finding_of.values())
    columns, problems = {}, []
    for finding in asked:
        key = name_key(canonical(finding))
        same = [name for name, other in finding_of.items() if name_key(other) == key]
        meant = find(finding, spellings) if partly else find_spelling(finding, spellings)
        if len(same) > 1:
            problems.append(f"{sheet.path}: two columns for finding {finding!r}: {', '.join(same)}")
        elif meant is not None:
            columns[finding] = next(name for name, other in finding_of.items() if other == meant)
        elif not partly:
            close = difflib.get_close_matches(finding, spellings, n=1)
            like = f"; did you mean {close[0]}?" if close else ""
            problems.append(f"{sheet.path}: no column for finding {finding!r}{like}")
    names = ", ".join(finding_of)
    if not columns and partly:
        raise CxrError(f"{sheet.path}: labels none of {', '.join(asked)}", f"it has {names}")
    if problems:
        raise CxrError(problems, f"data.findings must be columns of the file, which has {names}")
    return columns


def _check_different(sheet: Sheet, finding_of: Mapping[str, str]) -> None:
    """Refuse two columns of one finding."""
    first: dict[str, str] = {}
    problems = []
    for name, finding in finding_of.items():
        other = first.setdefault(name_key(finding), name)
        if other != name:
            problems.append(f"{sheet.path}: two columns for finding {finding_of[other]!r}: {other}, {name}")
    if problems:
        raise CxrError(problems, "rename one of them, or delete it")
