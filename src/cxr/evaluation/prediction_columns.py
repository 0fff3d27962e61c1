"""The columns of a CSV of predictions: which is the image, a probability, a label, and what their cells say."""

import re
from collections.abc import Collection, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from cxr.errors import CxrError
from cxr.evaluation.join import IDENTITY, STUDY, Mistakes
from cxr.fields.cells import is_blank, read_column
from cxr.fields.identity import normalise, normalise_ids, normalise_images
from cxr.fields.people import read_age, read_sex
from cxr.fields.views import read_views
from cxr.findings import NO_FINDING, canonical, find, find_spelling, is_known, name_key
from cxr.labels.choose import looks_like_classes
from cxr.labels.classes import read_classes
from cxr.labels.columns import KINDS, find_column, is_metadata
from cxr.labels.plain import hint_without_config, match_words
from cxr.labels.reading import map_distinct
from cxr.labels.sheet import Sheet, column_key
from cxr.labels.splits import SPLIT_WORDS

Float = npt.NDArray[np.float64]
Named = Sequence[tuple[str, str]]
"""(finding, column) of each column of one kind."""

_PROBABILITY_HINT = (
    "a probability is a number from 0 to 1 in every cell; logits must go through a sigmoid first"
)
_LABEL_HINT = "a y_ cell is 1 (present), 0 (absent), -1 (uncertain) or empty; the last two count as unknown"
_PROBABILITY, _LABEL = re.compile("(p|prob)_", re.IGNORECASE), re.compile("y_", re.IGNORECASE)
_ENDING = re.compile(r"[\s_.-]+prob(ability)?$", re.IGNORECASE)
_ROUNDING = 1e-6
"""How far beyond 0 and 1 a sum in float32 may end; such a probability is taken for 0 or 1."""


def finding_columns(sheet: Sheet, labelled: Sequence[str] = ()) -> tuple[Named, Named, list[str]]:
    """(finding, column) of each probability, and of each known label; a note on columns that may be probabilities.

    `p_X` and `prob_X` are probabilities of X; so are `X_prob`, `X_probability` and a bare `X` where X has a y_ column
    or is labelled elsewhere, or where it is a known finding and no column is called p_ or prob_.

    Args:
        sheet: The table.
        labelled: Findings that the table of labels, or the file's own column of classes, names.
    """
    y_columns = [(_finding(name), name) for name in sheet.header if _LABEL.match(name)]
    prefixed = [(_finding(name), name) for name in sheet.header if _PROBABILITY.match(name)]
    marks = {name_key(finding) for finding, _ in y_columns}
    found, left = list(prefixed), []
    ends_first = sorted(_unmarked(sheet), key=lambda name: _ENDING.search(name) is None)
    for name in ends_first:  # X_prob goes before X
        finding = canonical(_ENDING.sub("", name))
        ends, known, key = finding != canonical(name), is_known(finding), name_key(finding)
        told = find(finding, labelled) is not None
        if key in {name_key(other) for other, _ in found}:
            left += [name] if ends or known else []
        elif key in marks or (told and (ends or known or _holds_probabilities(sheet, name))):
            found.append((finding, name))
        elif not prefixed and (ends or known):
            found.append((finding, name))
        elif told or ends or known:
            left.append(name)
    order = {name: place for place, name in enumerate(sheet.header)}
    left.sort(key=lambda name: order[name])
    what = "columns that are not taken for probabilities"
    notes = [f"{what}: {', '.join(left)}; p_X is the probability of X, and y_X its label"] if left else []
    return sorted(found, key=lambda pair: order[pair[1]]), y_columns, notes


def may_be_bare(sheet: Sheet) -> bool:
    """Whether there are columns whose names alone may call them probabilities."""
    return any(not is_metadata(name) for name in _unmarked(sheet))


def _unmarked(sheet: Sheet) -> list[str]:
    return [name for name in sheet.header if name and not (_LABEL.match(name) or _PROBABILITY.match(name))]


def _holds_probabilities(sheet: Sheet, name: str) -> bool:
    """Whether every cell is one, and not 0 or 1 throughout, as columns of other matters are."""
    values = np.array([_parse(text) for text in sheet.numbers(name)])
    return bool(((values >= 0) & (values <= 1)).all() and ((values > 0) & (values < 1)).any())


def _finding(column: str) -> str:
    return canonical(re.sub("^(p|prob|y)_", "", column, flags=re.IGNORECASE))


def own_words(sheet: Sheet, column: str | None) -> tuple[str, ...]:
    """The words of the file's own column of classes; none where it has none."""
    name = normalise(column) if column else looks_like_classes(sheet, [name for name in sheet.header if name])
    return read_classes(sheet.column(name))[0] if name in sheet.header else ()


def header_mistakes(sheet: Sheet, found: Collection[str], p_columns: Named, y_columns: Named) -> Mistakes:
    """No image, no probabilities, two columns of one finding, and labels without a probability."""
    where, mistakes = f"{sheet.path}:1", Mistakes()
    if "image" not in found:
        mistakes.append((f"{where}: no image column", "call it image, filename, Image Index or Path"))
    if not p_columns:
        mistakes.append((f"{where}: no probability column", "call them p_<finding>, as in p_Cardiomegaly"))
    for columns in (p_columns, y_columns):
        first: dict[str, str] = {}
        for finding, name in columns:
            if first.setdefault(name_key(finding), name) != name:
                both = f"{first[name_key(finding)]} and {name}"
                mistakes.append((f"{where}: {both} both give {finding}", "keep one of them"))
    known = {name_key(finding) for finding, _ in p_columns}
    for finding, name in y_columns if p_columns else ():
        if name_key(finding) not in known:
            what = f"{where}: {name} has no probability column"
            mistakes.append((what, f"call it p_{finding}, or delete the label column"))
    return mistakes


def row_columns(sheet: Sheet, taken: Collection[str]) -> dict[str, str]:
    """The column of each of IDENTITY and of the study, as far as they are found under their usual names.

    Raises:
        CxrError: Two columns that may name the patient, and group the images differently.
    """
    found: dict[str, str] = {}
    for kind in ("image", "patient_id", STUDY, "view", "sex", "age"):
        try:
            column = find_column(sheet, kind, {*taken, *found.values()})
        except CxrError as error:
            raise CxrError(error.problems, hint_without_config(error.hint)) from None
        found |= {kind: column} if column else {}
    split = _find_split(sheet, {*taken, *found.values()})
    return found | ({"split": split} if split else {})


def _find_split(sheet: Sheet, taken: Collection[str]) -> str | None:
    """The column of a usual name that says train, val or test anywhere; one called split, whatever it says."""
    usual = [
        name
        for kind in KINDS["split"]
        for name in sheet.header
        if column_key(name) == kind and name not in taken
    ]
    words = {name: {cell.strip().lower() for cell in sheet.column(name)} - {""} for name in usual}
    called = [name for name in usual if column_key(name) == "split"]
    said = [name for name in called if words[name]] + [
        name for name in usual if words[name] & set(SPLIT_WORDS)
    ]
    return next(iter(said + called), None)


def identity(sheet: Sheet, found: Mapping[str, str], taken: Collection[str]) -> pd.DataFrame:
    """IDENTITY columns, every id and view normalised, then the further columns as text, the study among them.

    Args:
        sheet: The table.
        found: The column of each kind, as `row_columns` finds them.
        taken: Columns of probabilities and labels.
    """
    kinds = {column: kind for kind, column in found.items()}
    further = [kinds.get(name, name) for name in sheet.header if name and name not in taken]
    columns = {name: name for name in further} | dict(found)
    cells = {name: [cell.strip() for cell in sheet.column(column)] for name, column in columns.items()}
    cells |= {"image": normalise_images(cells["image"])} if "image" in cells else {}
    cells |= {name: normalise_ids(cells[name]) for name in ("patient_id", STUDY) if name in cells}
    cells |= {"view": read_views(cells["view"])} if "view" in cells else {}
    cells |= {"sex": [read_sex(cell) or cell for cell in cells["sex"]]} if "sex" in cells else {}
    names = [*IDENTITY, *(name for name in columns if name not in IDENTITY)]
    rows = pd.DataFrame({name: pd.Series(cells.get(name, [""] * len(sheet)), dtype=str) for name in names})
    return rows.assign(age=map_distinct(list(rows["age"]), read_age))


def probabilities(sheet: Sheet, names: Sequence[str]) -> tuple[Float, Mistakes]:
    """The columns as numbers [N, C], and the first mistake of each column; 1.0000001 is one by rounding."""
    values = np.empty((len(sheet), len(names)))
    for column, name in enumerate(names):
        values[:, column] = [_parse(text) for text in sheet.numbers(name)]
    valid = np.logical_and(values >= -_ROUNDING, values <= 1 + _ROUNDING)
    return values, _wrong_cells(sheet, names, ~valid, "no probability", _PROBABILITY_HINT)


def _read_y(sheet: Sheet, names: Sequence[str]) -> tuple[Float, Mistakes]:
    """The columns as labels [N, C], uncertain ones unknown, and the first mistake of each column."""
    values, wrong = np.empty((len(sheet), len(names))), np.zeros((len(sheet), len(names)), bool)
    for column, name in enumerate(names):
        read = read_column(sheet.numbers(name)).values.astype(np.float64)
        blank = np.array([is_blank(cell) for cell in sheet.column(name)])
        wrong[:, column] = (np.isnan(read) & ~blank) | ((read > 0) & (read < 1))
        values[:, column] = np.where(read == -1, np.nan, read)
    return values, _wrong_cells(sheet, names, wrong, "no label", _LABEL_HINT)


def _wrong_cells(
    sheet: Sheet, names: Sequence[str], wrong: npt.NDArray[np.bool_], what: str, hint: str
) -> Mistakes:
    mistakes = Mistakes()
    for column, name in enumerate(names):
        rows = np.flatnonzero(wrong[:, column])
        if len(rows):
            more = f" (and {len(rows) - 1:,} more in this column)" if len(rows) > 1 else ""
            cell = sheet.column(name)[rows[0]].strip() or "empty"
            mistakes.append((f"{sheet.where(int(rows[0]))}: {name} is {cell}, {what}{more}", hint))
    return mistakes


def _parse(text: str) -> float:
    """The number, nan when empty, and infinity for other text, which is no probability."""
    try:
        return float(text)
    except ValueError:
        return np.inf if text.strip() else np.nan


def own_labels(
    sheet: Sheet, findings: Sequence[str], y_columns: Mapping[str, str], needed: bool, words: str | None
) -> tuple[Float, Mistakes, list[str]]:
    """(labels [N, C] of the y_ columns, or of a column of classes, mistakes, notes).

    Args:
        sheet: The table.
        findings: C findings.
        y_columns: The column of each finding's labels.
        needed: Whether no labels are a mistake.
        words: The column of classes; None looks for one where there are no y_ columns.
    """
    y = np.full((len(sheet), len(findings)), np.nan)
    words = words or (None if y_columns else _find_classes(sheet, findings))
    if words:
        y, mistakes, notes = _read_classes(sheet, findings, normalise(words))
        return y, mistakes, [f"labels are the words of column {words!r}", *notes]
    columns = {find_spelling(finding, findings) or "": name for finding, name in y_columns.items()}
    if not columns:
        hint = "give a CSV of labels with --labels, a column of classes with --label-column, or columns y_<finding>"
        return y, [(f"{sheet.path}:1: no labels (no y_ column of its findings)", hint)] if needed else [], []
    known, mistakes = _read_y(sheet, list(columns.values()))
    y[:, [findings.index(finding) for finding in columns]] = known
    return y, mistakes, []


def _find_classes(sheet: Sheet, findings: Sequence[str]) -> str | None:
    """A column called label, class or the like whose every word is a finding that is predicted, or none of them."""
    name = looks_like_classes(sheet, [name for name in sheet.header if name])
    if name is None:
        return None
    classes, _ = read_classes(sheet.column(name))
    if not classes or any(find(one, [*findings, NO_FINDING]) is None for one in classes):
        return None
    return name


def _read_classes(
    sheet: Sheet, findings: Sequence[str], column: str
) -> tuple[Float, Mistakes, tuple[str, ...]]:
    if column not in sheet.header:
        hint = f"--label-column is one of {', '.join(sheet.header)}"
        return (
            np.full((len(sheet), len(findings)), np.nan),
            [(f"{sheet.path}:1: no column {column!r}", hint)],
            (),
        )
    classes, raw = read_classes(sheet.column(column))
    y, said, note = match_words(findings, classes, raw, column)
    if not said:
        hint = f"the column's words are {', '.join(classes)}"
        return (
            y.astype(np.float64),
            [(f"{sheet.path}:1: {column} names none of {', '.join(findings)}", hint)],
            (),
        )
    return y.astype(np.float64), [], note
