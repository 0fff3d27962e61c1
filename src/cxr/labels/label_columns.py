"""The labels of any table: of a column per finding, or of one column of classes or lists of findings."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from cxr.errors import CxrError
from cxr.fields.identity import normalise
from cxr.findings import find, find_spelling
from cxr.labels.choose import Chosen, as_override, choose_columns, looks_like_classes
from cxr.labels.classes import match_words, read_classes
from cxr.labels.reading import read_cells
from cxr.labels.recognise import name_reader
from cxr.labels.sheet import Sheet
from cxr.labels.table import Float


@dataclass(frozen=True)
class Labels:
    """Labels of the N rows of a table.

    Attributes:
        findings: C names.
        raw: [N, C] cells, as the table says them.
        columns: The column of each finding.
        why: The reason for each column that was considered and not taken.
        notes: What a reader must know, a line each.
    """

    findings: tuple[str, ...]
    raw: Float
    columns: Mapping[str, str]
    why: Mapping[str, str]
    notes: tuple[str, ...] = ()


def read_label_columns(
    sheet: Sheet,
    taken: Collection[str],
    asked: Sequence[str] | None,
    class_column: str | None,
    soft: bool = False,
    allow_missing: bool = False,
) -> Labels:
    """The labels of every row of a table.

    Args:
        sheet: The table.
        taken: Columns that are something else, such as the image.
        asked: Findings that are wanted; None for all that there are.
        class_column: The column of classes or lists of findings; None for a column per finding.
        soft: Whether numbers between 0 and 1 are labels too.
        allow_missing: Whether columns of the same concept will do, and findings without a column are left
            out.

    Raises:
        CxrError: No finding, a finding asked for that is not there, a cell that is no label.
    """
    if class_column:
        findings, raw, notes = _read_words(sheet, class_column, asked, allow_missing)
        others = [name for name in sheet.header if name not in taken]
        why = dict.fromkeys(others, f"findings are in {class_column}")
        return Labels(findings, raw, {f"list of {', '.join(findings)}": class_column}, why, notes)
    # `allow_missing` loosens what was asked for; where nothing was, there is nothing to loosen
    chosen = choose_columns(sheet, taken, asked, soft, allow_missing and asked is not None)
    if not chosen.columns:
        raise _no_labels(sheet, chosen.why)
    raw = read_cells(sheet, list(chosen.columns.values()), soft)
    return Labels(tuple(chosen.columns), raw, chosen.columns, chosen.why, _note_unsure(chosen))


def _read_words(
    sheet: Sheet, column: str, asked: Sequence[str] | None, allow_missing: bool
) -> tuple[tuple[str, ...], Float, tuple[str, ...]]:
    """(findings, cells [N, C], notes) of a column of classes or lists of findings."""
    column = normalise(column)
    sheet.require([column], "data.columns.labels is the column of classes")
    findings, raw = read_classes(sheet.column(column))
    if not findings:
        problem = f"{sheet.path}: {column} is blank in every row"
        raise CxrError(problem, "data.columns.labels names the findings")
    if asked is None:
        return findings, raw, ()
    y, named, notes = match_words(asked, findings, raw, column, find if allow_missing else find_spelling)
    problems = [f"{sheet.path}: no row says {name!r} in {column}" for name in asked if name not in named]
    if problems and (not allow_missing or not named):
        raise CxrError(problems, f"its rows say {', '.join(findings)}")
    return named, y[:, [asked.index(name) for name in named]], notes


def _note_unsure(chosen: Chosen) -> tuple[str, ...]:
    """A note on columns whose cells are labels, though their names may be no findings."""
    if not chosen.unsure:
        return ()
    sure = [name for name in chosen.columns if name not in chosen.unsure]
    hint = f"{as_override(sure)} leaves them out" if sure else f"{as_override(chosen.unsure)} confirms them"
    names = ", ".join(chosen.unsure)
    return (f"taken as findings for their cells, though no known finding is called so: {names}; {hint}",)


def _no_labels(sheet: Sheet, why: Mapping[str, str]) -> CxrError:
    """The error for a table without a finding, with what can be done about it."""
    hints = ["a label column holds 1, 0, -1 or blank, and not blank alone"]
    words = looks_like_classes(sheet, list(why))
    if words:
        hints.append(f"data.columns.labels={words} reads its words as findings")
    reader = name_reader(sheet.header)
    if reader:
        hints.append(reader)
    reasons = ", ".join(f"{name} ({reason})" for name, reason in why.items())
    hints.append(f"looked at {reasons or 'no further column'}")
    return CxrError(f"{sheet.path}: no label column", "; ".join(hints))
