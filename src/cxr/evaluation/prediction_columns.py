"""The columns of a CSV of predictions: which hold images, probabilities and labels, and their values."""

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
from cxr.labels.classes import match_words, read_classes
from cxr.labels.columns import KINDS, find_column, is_metadata
from cxr.labels.label_csv import hint_without_config
from cxr.labels.reading import map_distinct
from cxr.labels.sheet import Sheet, column_key
from cxr.labels.splits import SPLIT_WORDS

Float = npt.NDArray[np.float64]
Named = Sequence[tuple[str, str]]
"""(finding, column) of each column of one kind."""

_PROBABILITY_HINT = (
    "a probability is a number from 0 to 1 in every cell; logits need a sigmoid, or eval.scores=raw"
)
_LABEL_HINT = "a y_ cell is 1 (present), 0 (absent), -1 (uncertain) or empty; the last two count as unknown"
_PROBABILITY, _LABEL = re.compile("(p|prob)_", re.IGNORECASE), re.compile("y_", re.IGNORECASE)
_ENDING = re.compile(r"[\s_.-]+prob(ability)?$", re.IGNORECASE)
_ROUNDING = 1e-6
"""How far below 0 or above 1 rounding in float32 may put a probability; it is then read as 0 or 1."""


def finding_columns(sheet: Sheet, labelled: Sequence[str] = ()) -> tuple[Named, Named, list[str]]:
    """(columns of probabilities, columns of labels, notes on columns that are not taken for probabilities).

    `p_X` and `prob_X` are probabilities of X. So are `X_prob`, `X_probability` and a bare `X` where X has a
    y_ column or is labelled elsewhere, or where X is a known finding and no column begins with p_ or prob_.

    Args:
        sheet: The table.
        labelled: Findings that the table of labels, or the file's own column of classes, names.
    """
    y_columns = [(_finding(name), name) for name in sheet.header if _LABEL.match(name)]
    prefixed = [(_finding(name), name) for name in sheet.header if _PROBABILITY.match(name)]
    y_keys = {name_key(finding) for finding, _ in y_columns}
    p_columns, left_out = list(prefixed), []
    taken_keys = {name_key(finding) for finding, _ in prefixed}
    # X_prob before X: of both, the first is the probability
    suffixed_first = sorted(_unmarked(sheet), key=lambda name: _ENDING.search(name) is None)
    for name in suffixed_first:
        finding = canonical(_ENDING.sub("", name))
        key = name_key(finding)
        has_suffix = finding != canonical(name)
        seems_one = has_suffix or is_known(finding)
        is_labelled = find(finding, labelled) is not None
        if key in taken_keys:  # X has its probability already
            is_probability = False
        elif key in y_keys:  # a label without a probability would be of no use
            is_probability = True
        elif is_labelled and (seems_one or _holds_probabilities(sheet, name)):
            is_probability = True
        else:  # in a file that marks probabilities, other columns are something else
            is_probability = not prefixed and seems_one
        if is_probability:
            p_columns.append((finding, name))
            taken_keys.add(key)
        elif seems_one or (is_labelled and key not in taken_keys):
            left_out.append(name)

    position = {name: number for number, name in enumerate(sheet.header)}
    p_columns.sort(key=lambda pair: position[pair[1]])
    left_out.sort(key=lambda name: position[name])
    notes = []
    if left_out:
        columns = ", ".join(left_out)
        notes.append(
            f"columns that are not taken for probabilities: {columns}; "
            "p_X is the probability of X, and y_X its label"
        )
    return p_columns, y_columns, notes


def may_be_bare(sheet: Sheet) -> bool:
    """Whether there are columns that may be probabilities although no p_, prob_ or y_ marks them."""
    return any(not is_metadata(name) for name in _unmarked(sheet))


def _unmarked(sheet: Sheet) -> list[str]:
    return [name for name in sheet.header if name and not (_LABEL.match(name) or _PROBABILITY.match(name))]


def _holds_probabilities(sheet: Sheet, name: str) -> bool:
    """Whether every cell is a probability and one is neither 0 nor 1, as labels and the like are."""
    values = np.array([_parse(text) for text in sheet.numbers(name)])
    return bool(((values >= 0) & (values <= 1)).all() and ((values > 0) & (values < 1)).any())


def _finding(column: str) -> str:
    return canonical(re.sub("^(p|prob|y)_", "", column, flags=re.IGNORECASE))


def own_words(sheet: Sheet, column: str | None) -> tuple[str, ...]:
    """The words of the file's column of classes; empty where it has no such column."""
    name = normalise(column) if column else looks_like_classes(sheet, [name for name in sheet.header if name])
    return read_classes(sheet.column(name))[0] if name in sheet.header else ()


def header_mistakes(sheet: Sheet, named: bool, p_columns: Named, y_columns: Named) -> Mistakes:
    """A missing column (`named`: rows have names), two of a finding, a label without a probability."""
    where, mistakes = f"{sheet.path}:1", Mistakes()
    if not named:
        mistakes.append((f"{where}: no image column", "call it image, filename, Image Index or Path"))
    if not p_columns:
        mistakes.append((f"{where}: no probability column", "call them p_<finding>, as in p_Cardiomegaly"))
    for columns in (p_columns, y_columns):
        first_columns: dict[str, str] = {}
        for finding, name in columns:
            first = first_columns.setdefault(name_key(finding), name)
            if first != name:
                mistakes.append((f"{where}: {first} and {name} both give {finding}", "keep one of them"))
    known = {name_key(finding) for finding, _ in p_columns}
    for finding, name in y_columns if p_columns else ():
        if name_key(finding) not in known:
            problem = f"{where}: {name} has no probability column"
            mistakes.append((problem, f"call it p_{finding}, or delete the label column"))
    return mistakes


def row_columns(sheet: Sheet, taken: Collection[str]) -> dict[str, str]:
    """The columns of IDENTITY and of the study that are found under their usual names, by kind.

    Raises:
        CxrError: Two columns that may name the patient, and group the images differently.
    """
    found: dict[str, str] = {}
    for kind in ("image", "patient_id", STUDY, "view", "sex", "age"):
        try:
            column = find_column(sheet, kind, {*taken, *found.values()})
        except CxrError as error:
            raise CxrError(error.problems, hint_without_config(error.hint)) from None
        if column:
            found[kind] = column
    split = _find_split(sheet, {*taken, *found.values()})
    if split:
        found["split"] = split
    return found


def _find_split(sheet: Sheet, taken: Collection[str]) -> str | None:
    """The column of splits: one called split that is filled, else one that names train, val or test."""
    candidates = [
        name
        for kind in KINDS["split"]
        for name in sheet.header
        if column_key(name) == kind and name not in taken
    ]
    words = {name: {cell.strip().lower() for cell in sheet.column(name)} - {""} for name in candidates}
    called_split = [name for name in candidates if column_key(name) == "split"]
    # whatever its words: others than splits are a mistake
    filled = [name for name in called_split if words[name]]
    with_splits = [name for name in candidates if words[name] & set(SPLIT_WORDS)]
    return next(iter(filled + with_splits + called_split), None)


def identity(sheet: Sheet, found: Mapping[str, str], taken: Collection[str]) -> pd.DataFrame:
    """IDENTITY columns, every id and view normalised, then the further columns as text, the study among them.

    Args:
        sheet: The table.
        found: The column of each kind, as `row_columns` finds them.
        taken: Columns of probabilities and labels.
    """
    # A recognised column takes the name of its kind, whatever the file calls it.
    kinds = {column: kind for kind, column in found.items()}
    further = [kinds.get(name, name) for name in sheet.header if name and name not in taken]
    columns = {name: name for name in further} | dict(found)
    cells = {name: [cell.strip() for cell in sheet.column(column)] for name, column in columns.items()}
    if "image" in cells:
        cells["image"] = normalise_images(cells["image"])
    for name in ("patient_id", STUDY):
        if name in cells:
            cells[name] = normalise_ids(cells[name])
    if "view" in cells:
        cells["view"] = read_views(cells["view"])
    if "sex" in cells:
        cells["sex"] = [read_sex(cell) or cell for cell in cells["sex"]]
    names = [*IDENTITY, *(name for name in columns if name not in IDENTITY)]
    rows = pd.DataFrame({name: pd.Series(cells.get(name, [""] * len(sheet)), dtype=str) for name in names})
    return rows.assign(age=map_distinct(list(rows["age"]), read_age))


def probabilities(sheet: Sheet, names: Sequence[str], is_raw: bool = False) -> tuple[Float, Mistakes]:
    """(the columns as numbers [N, C], the first mistake of each column); raw scores may be any numbers."""
    cells = [[_parse(text) for text in sheet.numbers(name)] for name in names]
    values = np.array(cells, np.float64).reshape(len(names), len(sheet)).T
    if is_raw:
        return values, _wrong_cells(sheet, names, ~np.isfinite(values), "no number", "give a number")
    valid = np.logical_and(values >= -_ROUNDING, values <= 1 + _ROUNDING)
    return values, _wrong_cells(sheet, names, ~valid, "no probability", _PROBABILITY_HINT)


def _read_labels(sheet: Sheet, names: Sequence[str]) -> tuple[Float, Mistakes]:
    """(the columns as labels [N, C], uncertain ones unknown; the first mistake of each column)."""
    values, wrong = np.empty((len(sheet), len(names))), np.zeros((len(sheet), len(names)), bool)
    for column, name in enumerate(names):
        labels = read_column(sheet.numbers(name)).values.astype(np.float64)
        blank = np.array([is_blank(cell) for cell in sheet.column(name)])
        is_soft = (labels > 0) & (labels < 1)  # training takes soft labels, metrics do not
        wrong[:, column] = (np.isnan(labels) & ~blank) | is_soft
        values[:, column] = np.where(labels == -1, np.nan, labels)
    return values, _wrong_cells(sheet, names, wrong, "no label", _LABEL_HINT)


def _wrong_cells(
    sheet: Sheet, names: Sequence[str], wrong: npt.NDArray[np.bool_], problem: str, hint: str
) -> Mistakes:
    """The first wrong cell of each column, with the number of further ones, for the mask `wrong` [N, C]."""
    mistakes = Mistakes()
    for column, name in enumerate(names):
        rows = np.flatnonzero(wrong[:, column])
        if len(rows):
            more = f" (and {len(rows) - 1:,} more in this column)" if len(rows) > 1 else ""
            cell = sheet.column(name)[rows[0]].strip() or "empty"
            mistakes.append((f"{sheet.where(int(rows[0]))}: {name} is {cell}, {problem}{more}", hint))
    return mistakes


def _parse(text: str) -> float:
    """The number, nan when empty, and infinity for other text, which is no probability."""
    try:
        return float(text)
    except ValueError:
        return np.inf if text.strip() else np.nan


def own_labels(
    sheet: Sheet, findings: Sequence[str], y_columns: Mapping[str, str], needed: bool, column: str | None
) -> tuple[Float, Mistakes, list[str]]:
    """(labels [N, C] of the y_ columns, or of a column of classes; mistakes; notes).

    Args:
        sheet: The table.
        findings: C findings.
        y_columns: The column of each finding's labels.
        needed: Whether it is a mistake to have no labels.
        column: The column of classes; where it is None and there are no y_ columns, one is searched for.
    """
    if not column and not y_columns:
        column = _find_classes(sheet, findings)
    if column:
        y, mistakes, notes = _read_classes(sheet, findings, normalise(column))
        return y, mistakes, [f"labels are the words of column {column!r}", *notes]
    y = np.full((len(sheet), len(findings)), np.nan)
    columns = {find_spelling(finding, findings) or "": name for finding, name in y_columns.items()}
    if columns:
        known, mistakes = _read_labels(sheet, list(columns.values()))
        y[:, [findings.index(finding) for finding in columns]] = known
        return y, mistakes, []
    if not needed:
        return y, [], []
    problem = f"{sheet.path}:1: no labels (no y_ column of its findings)"
    hint = (
        "give a CSV of labels with --labels, a column of classes with --label-column, or columns y_<finding>"
    )
    return y, [(problem, hint)], []


def _find_classes(sheet: Sheet, findings: Sequence[str]) -> str | None:
    """A column called label, class or the like whose every word is a predicted finding or "No Finding"."""
    name = looks_like_classes(sheet, [name for name in sheet.header if name])
    if name is None:
        return None
    classes, _ = read_classes(sheet.column(name))
    if not classes or any(find(word, [*findings, NO_FINDING]) is None for word in classes):
        return None
    return name


def _read_classes(
    sheet: Sheet, findings: Sequence[str], column: str
) -> tuple[Float, Mistakes, tuple[str, ...]]:
    """(labels [N, C] of a column of classes, mistakes, notes)."""
    if column not in sheet.header:
        hint = f"--label-column is one of {', '.join(sheet.header)}"
        unknown = np.full((len(sheet), len(findings)), np.nan)
        return unknown, [(f"{sheet.path}:1: no column {column!r}", hint)], ()
    classes, raw = read_classes(sheet.column(column))
    labels, matched, notes = match_words(findings, classes, raw, column)
    y = labels.astype(np.float64)
    if matched:
        return y, [], notes
    problem = f"{sheet.path}:1: {column} names none of {', '.join(findings)}"
    return y, [(problem, f"the column's words are {', '.join(classes)}")], ()
