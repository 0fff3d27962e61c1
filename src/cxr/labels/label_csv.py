"""The labels of a CSV alone, without images: for predictions that were made elsewhere, and for readers."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from cxr.errors import CxrError
from cxr.fields.cells import SOFT_HINT
from cxr.findings import CHEXPERT_14, canonical
from cxr.labels import relabelled
from cxr.labels.choose import looks_like_classes
from cxr.labels.duplicates import Duplicates, join_rows
from cxr.labels.plain import name_plain, parse_plain
from cxr.labels.sheet import Sheet, read_sheet
from cxr.labels.sources import brax, chexpert, nih, padchest, vindr
from cxr.labels.table import LabelTable

_HINTS = (
    (re.escape(SOFT_HINT), "metrics need labels of 1 or 0: round what lies between, or delete it"),
    (r"data\.columns\.labels=(\S+)( reads .*)?", r"--label-column \1\2"),
    (
        r"keep one of them, or name it: data\.columns\.patient=.*",
        "rename the one that does not name the patient",
    ),
    (r"data\.columns\.labels .*", "--label-column names a column of classes or lists of findings"),
    (r"data\.csv (must be .*)", r"it \1"),
    (r"(?!data\.duplicates).*\bdata\.\w+.*", "correct the table, or download it again"),
)
"""Clauses of hints that name keys of a config, and what can be done about a table that has none."""


def read_labels(
    csv: Path | Sheet,
    findings: Sequence[str] | None = None,
    words: str | None = None,
    duplicates: Duplicates = "error",
) -> LabelTable:
    """The labels of a CSV alone, in the form of a public dataset or plain; no image is looked for.

    NIH form has `Image Index` and `Finding Labels`, PadChest form `ImageID` and `Labels`, VinDr-CXR form
    `image_id` and `rad_id` or `class_name`, CheXpert and BRAX form `Path` or `PngPath` and observations.
    Radiologists' labels of part of ChestX-ray14 are known by their columns, see `labels.relabelled`. Any
    other table is plain: an image column, or a study's, perhaps patient, view, sex and age, all known by
    their usual names, and columns of labels.

    Args:
        csv: The file, or what `read_sheet` read of it.
        findings: Those of a plain table to read; None for all that there are.
        words: Column of a plain table that holds classes or lists of findings.
        duplicates: What becomes of rows of an image whose labels differ.

    Raises:
        CxrError: Not a CSV, no image column, no finding, rows of one image that differ.
    """
    sheet = csv if isinstance(csv, Sheet) else read_sheet(csv)
    try:
        form = None if words else _find_form(sheet)
        if form:
            parse, spelled = form
            labels = parse(spelled, sheet.path.parent)
        else:
            labels = parse_plain(sheet, sheet.path.parent, findings, words)
        # rows of one image become one, whatever the form
        return join_rows(labels, duplicates)
    except CxrError as error:
        hint = hint_without_config(error.hint)
        column = None if words else looks_like_classes(sheet, [name for name in sheet.header if name])
        if column and "--label" not in hint:
            hint += f"; --label-column {column} reads its words as findings"
        raise CxrError(error.problems, hint) from None


def name_labels(sheet: Sheet, words: str | None) -> tuple[str, ...]:
    """The findings that a table seems to label; none where it cannot be read, which `read_labels` explains.

    Args:
        sheet: The table.
        words: Its column of classes or lists of findings.
    """
    form = None if words else _find_form(sheet)
    try:
        if form:
            parse, spelled = form
            return parse(spelled, sheet.path.parent).findings
        return name_plain(sheet, words)
    except CxrError:
        return ()


def hint_without_config(hint: str) -> str:
    """The hint for a table that no config describes; data.duplicates is taken there too."""
    clauses = []
    for clause in hint.split("; "):
        for pattern, replacement in _HINTS:  # the first that fits
            match = re.fullmatch(pattern, clause)
            if match:
                clause = match.expand(replacement)
                break
        clauses.append(clause)
    return "; ".join(dict.fromkeys(clauses))


def _find_form(sheet: Sheet) -> tuple[Callable[[Sheet, Path], LabelTable], Sheet] | None:
    """The reader of a public dataset's table, and the table spelled as it wants; None for a plain table."""
    if relabelled.is_google(sheet):  # its table also has NIH's columns
        return relabelled.parse_google, sheet
    if relabelled.is_rsna(sheet):
        return relabelled.parse_rsna, sheet
    for names, parse in (
        ((nih.IMAGE, nih.LABELS), nih.parse),
        ((padchest.IMAGE, padchest.LABELS), padchest.parse),
    ):
        spelled = sheet.spelled(names)
        if set(names) <= set(spelled.header):
            return parse, spelled
    # one row per reader or per box
    spelled = sheet.spelled((vindr.IMAGE, vindr.READER, vindr.CLASS))
    if vindr.IMAGE in spelled.header and {vindr.READER, vindr.CLASS} & set(spelled.header):
        return vindr.parse, spelled
    # a column Path alone says little: tables of any kind have one
    has_observation = any(canonical(name) in CHEXPERT_14 for name in sheet.header)
    for column, parse in ((chexpert.PATH, chexpert.parse), (brax.PNG, brax.parse)):
        if has_observation and column in sheet.header:
            return parse, sheet
    return None
