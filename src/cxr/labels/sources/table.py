"""Any CSV with an image column, a patient column and label columns: data.columns and data.findings say which.

Labels: as the file says them, see `cxr.fields.cells`. Without data.findings every column whose cells are all labels is
a finding, see `cxr.labels.choose`; `y_Mass` is the finding Mass. With data.columns.labels one column holds classes or
lists of findings instead. Rows of one image are joined, see `cxr.labels.duplicates`.

Files expected: data.csv (plain or gzipped), below data.root or at an absolute path; images where its image column says,
relative to data.root, see `cxr.labels.lookup`. In a table of studies, without an image column, the images are the files
of the folder that the study column names. View, sex and age of DICOM files without such a column come from their
headers, a millisecond a file each time the table is read. A column named by data.split_column holds train, val or test.

Ids are text, so `0012` and `12` are two patients, see `cxr.fields.identity`.
"""

import math
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cxr.config.schema import Columns, Data
from cxr.errors import CxrError
from cxr.fields.identity import normalise, normalise_ids, normalise_images
from cxr.findings import find, find_spelling
from cxr.images.dicom.header import Header, read_header
from cxr.labels.choose import Chosen, as_override, choose_columns, looks_like_classes
from cxr.labels.classes import read_classes
from cxr.labels.columns import account, find_column
from cxr.labels.lookup import IMAGE_SUFFIXES, Index, find_files, list_folder
from cxr.labels.plain import IDS, match_words, name_studies, name_usual, say_rounded
from cxr.labels.reading import (
    find_csv,
    make_rows,
    read_cells,
    read_patients,
    root_folder,
    slashes,
    split_column,
)
from cxr.labels.recognise import name_reader
from cxr.labels.sheet import Sheet, read_sheet
from cxr.labels.table import ROW_COLUMNS, Float, LabelTable

Rows = npt.NDArray[np.intp]

_KINDS = {
    "image": "image",
    "patient": "patient_id",
    "study": "study_id",
    "view": "view",
    "sex": "sex",
    "age": "age",
}
_USUAL = Columns()
"""data.columns as long as nobody sets them: then columns of other usual names are looked for, too."""
_IN_HEADERS = ("view", "sex", "age")
_NO_HEADER = (
    ".png",
    ".jpg",
    ".jpeg",
    ".tif",
    ".tiff",
)  # any other file may be DICOM, which often has no suffix
_PATIENT_HINT = "a patient's images must stay in one split, so every row needs its patient"


@dataclass(frozen=True)
class _Labels:
    """Labels of N rows: findings, cells [N, C], what became of the columns that were looked at, and notes."""

    findings: tuple[str, ...]
    raw: Float
    columns: Mapping[str, str]
    why: Mapping[str, str]
    notes: tuple[str, ...] = ()


def read(data: Data, exact: bool = True) -> LabelTable:
    """Every row of data.csv, or every image of its studies, with its file (empty when not there).

    Unless `exact`, columns are taken that mean any of data.findings, whatever they are called.

    Raises:
        CxrError: No folder or table, no such column, a patient missing, a cell that is no label.
    """
    root = root_folder(data, "the images that data.csv names")
    if data.csv is None:
        raise CxrError(
            "data.csv: a table source needs its CSV", "set data.csv, relative to data.root or absolute"
        )
    sheet = read_sheet(find_csv(root, data.csv))
    named = _name_columns(sheet, data, root)
    kept = {name: name for name in data.columns.others if name not in ROW_COLUMNS}
    split = {"split": data.split_column} if data.split_column in sheet.header else {}
    taken = {*named.values(), *data.columns.others, *split.values()}
    labels = _read_labels(sheet, taken, data, exact)
    columns = {name: sheet.column(column) for name, column in (named | kept | split).items()}
    columns |= {"split": found} if (found := split_column(sheet, data)) else {}
    if "patient_id" in named:
        columns["patient_id"] = read_patients(sheet, named["patient_id"], _PATIENT_HINT)
    columns, rows, notes = _locate(root, sheet, columns)
    columns |= _from_headers(root, columns["path"], [name for name in _IN_HEADERS if name not in columns])
    own = {f"kept ({name})": name for name in kept}
    return LabelTable(
        "table",
        root,
        make_rows({"patient_id": columns["image"]} | columns),  # without patients each image counts as one
        labels.findings,
        labels.raw[rows],
        columns=account(sheet, named | split | own, labels.columns, labels.why, "not used"),
        notes=(*labels.notes, *notes),
        names_patients="patient_id" in named,
        where=lambda row: sheet.where(int(rows[row])),
    )


def parse_plain(sheet: Sheet, root: Path, asked: Sequence[str] | None, words: str | None) -> LabelTable:
    """The table of a plain label CSV, whose columns have usual names, without looking for images.

    Args:
        sheet: The table. A row of one of studies, without an image column, is called by its study.
        root: Its folder.
        asked: Findings to read the labels of; None for all that there are.
        words: Column of classes or lists of findings, in place of a column per finding.

    Raises:
        CxrError: No image column, rounded ids, a cell that is no label, no finding.
    """
    named = name_usual(sheet)
    rounded = say_rounded(sheet, [named[kind] for kind in IDS if kind in named])
    if rounded:
        raise CxrError([what for what, _ in rounded], rounded[0][1])
    columns = {name: sheet.column(column) for name, column in named.items()}
    if "image" not in named:
        columns["image"] = name_studies(sheet, columns)
    labels = _labels(sheet, {*named.values()}, asked, words, soft=False, partly=asked is not None)
    rows = make_rows(columns)
    return LabelTable("table", root, rows, labels.findings, labels.raw, notes=labels.notes, where=sheet.where)


def _name_columns(sheet: Sheet, data: Data, root: Path) -> dict[str, str]:
    """The file's column of each kind of row column: as data.columns says, else one of a usual name."""
    asked = {kind: getattr(data.columns, kind) for kind in _KINDS}
    usual = {kind: getattr(_USUAL, kind) for kind in _KINDS}
    named = {_KINDS[kind]: normalise(column) for kind, column in asked.items() if column}
    named = {kind: column for kind, column in named.items() if column in sheet.header}
    for kind, column in asked.items():
        free = column == usual[kind] and not (kind == "patient" and column is None)
        if free and (
            _KINDS[kind] not in named or kind == "patient"
        ):  # another column may name other patients
            others = {name for other, name in named.items() if other != _KINDS[kind]}
            taken = {*others, *data.columns.others, data.split_column, data.columns.labels or ""}
            found = find_column(sheet, _KINDS[kind], taken)
            named = ({_KINDS[kind]: found} if found else {}) | named
    if "image" not in named and asked["image"] == usual["image"]:
        named |= _image_by_patient(sheet, named, root)
    missing = {kind: column for kind, column in asked.items() if column and _KINDS[kind] not in named}
    if "image" in missing and "study_id" in named:
        del missing["image"]  # a table of studies
    lost = [name for name in data.columns.others if name not in sheet.header]
    if data.columns.labels and data.columns.labels not in sheet.header:
        missing["labels"] = data.columns.labels
    if missing or lost:
        raise _missing_columns(sheet, missing, lost)
    return named


def _image_by_patient(sheet: Sheet, named: Mapping[str, str], root: Path) -> dict[str, str]:
    """The patient's column also as the image's, where files have the patients' names, as in RSNA's challenge."""
    column = named.get("patient_id")
    if not column or "study_id" in named:
        return {}
    some = [name for name in dict.fromkeys(normalise_ids(sheet.column(column))) if name][:50]
    return {"image": column} if any(find_files(root, some)[0]) else {}


def _missing_columns(sheet: Sheet, missing: Mapping[str, str], lost: Sequence[str]) -> CxrError:
    named = [*missing.items(), *(("others", name) for name in lost)]
    why = ""
    if "patient" in missing:
        why = "; the patient is needed to keep all images of a patient in one split; data.columns.patient=null says "
        why += "that the table names none: each image then counts as a patient"
    hint = f"set data.columns to columns that the file has: {', '.join(sheet.header)}{why}"
    reader = name_reader(sheet.header)
    problems = [f"{sheet.path}: no column {column!r} (data.columns.{kind})" for kind, column in named]
    return CxrError(problems, f"{reader}; or {hint}" if reader else hint)


def _read_labels(sheet: Sheet, taken: Collection[str], data: Data, exact: bool) -> _Labels:
    asked = data.findings
    assert not isinstance(asked, str)
    return _labels(sheet, taken, asked, data.columns.labels, data.soft_labels == "keep", partly=not exact)


def _labels(
    sheet: Sheet,
    taken: Collection[str],
    asked: Sequence[str] | None,
    words: str | None,
    soft: bool,
    partly: bool,
) -> _Labels:
    """The labels of every row of the file: of a column of words, or of a column per finding."""
    if words:
        findings, raw, notes = _read_words(sheet, words, asked, partly)
        why = dict.fromkeys((name for name in sheet.header if name not in taken), f"findings are in {words}")
        return _Labels(findings, raw, {f"list of {', '.join(findings)}": words}, why, notes)
    chosen = choose_columns(sheet, taken, asked, soft, partly and asked is not None)
    if not chosen.columns:
        raise _no_labels(sheet, chosen.why)
    raw = read_cells(sheet, list(chosen.columns.values()), soft)
    return _Labels(tuple(chosen.columns), raw, chosen.columns, chosen.why, _say_unsure(chosen))


def _say_unsure(chosen: Chosen) -> tuple[str, ...]:
    """A question about columns that may be no findings, for all that their cells tell."""
    if not chosen.unsure:
        return ()
    names, sure = ", ".join(chosen.unsure), [name for name in chosen.columns if name not in chosen.unsure]
    hint = f"{as_override(sure)} leaves them out" if sure else f"{as_override(chosen.unsure)} confirms them"
    return (f"taken as findings for their cells, though no known finding is called so: {names}; {hint}",)


def _read_words(
    sheet: Sheet, column: str, asked: Sequence[str] | None, partly: bool
) -> tuple[tuple[str, ...], Float, tuple[str, ...]]:
    """(findings, cells [N, C], notes) of a column of classes or lists of findings."""
    column = normalise(column)
    sheet.require([column], "data.columns.labels is the column of classes")
    findings, raw = read_classes(sheet.column(column))
    if not findings:
        raise CxrError(
            f"{sheet.path}: {column} is blank in every row", "data.columns.labels names the findings"
        )
    if asked is None:
        return findings, raw, ()
    y, said, note = match_words(asked, findings, raw, column, find if partly else find_spelling)
    problems = [f"{sheet.path}: no row says {name!r} in {column}" for name in asked if name not in said]
    if problems and (not partly or not said):
        raise CxrError(problems, f"its rows say {', '.join(findings)}")
    return said, y[:, [asked.index(name) for name in said]], note


def _no_labels(sheet: Sheet, why: Mapping[str, str]) -> CxrError:
    """The error for a table without a finding, with what can be done about it."""
    hints = ["a label column holds 1, 0, -1 or blank, and not blank alone"]
    words = looks_like_classes(sheet, list(why))
    if words:
        hints.append(f"data.columns.labels={words} reads its words as findings")
    hints += [reader] if (reader := name_reader(sheet.header)) else []
    hints.append(
        f"looked at {', '.join(f'{name} ({reason})' for name, reason in why.items()) or 'no further column'}"
    )
    return CxrError(f"{sheet.path}: no label column", "; ".join(hints))


def _locate(
    root: Path, sheet: Sheet, columns: dict[str, list[str]]
) -> tuple[dict[str, list[str]], Rows, tuple[str, ...]]:
    """(columns with each image's file, row of the table of each image, notes); of studies, all images of each."""
    rows = np.arange(len(sheet))
    if "image" not in columns:
        images, rows = _images_of_studies(root, sheet, columns["study_id"])
        columns = {name: [cells[row] for row in rows] for name, cells in columns.items()} | {"image": images}
    else:
        columns = columns | {"image": slashes(columns["image"])}
    paths, notes = _find_files(root, columns["image"])
    return columns | {"path": paths}, rows, tuple(notes)


def _find_files(root: Path, images: Sequence[str]) -> tuple[list[str], list[str]]:
    """As `find_files`, by the names as they are and then as they are compared, where `12.0` is `12`."""
    compared = normalise_images(images)
    if compared == images or not any("." in name or "," in name for name in images):
        return find_files(root, images)
    paths, notes = find_files(root, compared)
    lost = [row for row, path in enumerate(paths) if not path and compared[row] != images[row]]
    own, more = find_files(root, [images[row] for row in lost]) if lost else ([], [])
    for row, path in zip(lost, own, strict=True):
        paths[row] = path
    return paths, [*notes, *more]


def _images_of_studies(root: Path, sheet: Sheet, studies: Sequence[str]) -> tuple[list[str], Rows]:
    """(image files in the folders that the studies name, row of the table of each)."""
    images, rows, empty = [], [], []
    for row, (study, compared) in enumerate(zip(slashes(studies), normalise_ids(studies), strict=True)):
        folder = normalise(study)
        names = _images_below(root, folder) or _images_below(root, compared)
        images += names
        rows += [row] * len(names)
        empty += [] if names else [row]
    if empty:
        first = studies[empty[0]].strip()
        more = f" (and {len(empty) - 1:,} more)" if len(empty) > 1 else ""
        what = f"{sheet.where(empty[0])}: study {first!r} has no folder of images below {root}{more}"
        hint = "a table without an image column names folders of images in its study column"
        raise CxrError(
            what, f"{hint}; else set data.columns.image; its columns are {', '.join(sheet.header)}"
        )
    return images, np.array(rows, np.intp)


def _images_below(root: Path, folder: str) -> list[str]:
    """The images in a folder, else in the folders of series below it, relative to root."""
    if not folder:
        return []
    own = sorted(name for name in list_folder(root / folder) if _may_be_image(name))
    names = own or [name for name in Index.of(root / folder).paths if _may_be_image(os.path.basename(name))]
    return [f"{folder}/{name}" for name in names]


def _may_be_image(name: str) -> bool:
    ending = os.path.splitext(name)[1].lower()
    return not name.startswith(".") and (ending in IMAGE_SUFFIXES or not ending or ending[1:].isdigit())


def _from_headers(root: Path, paths: Sequence[str], names: Collection[str]) -> dict[str, list[str]]:
    """The columns `names` as DICOM headers say them, empty for other files; of the patient's identity nothing."""
    if not names or all(path.lower().endswith(_NO_HEADER) for path in paths if path):
        return {}
    has = [bool(path) and not path.lower().endswith(_NO_HEADER) for path in paths]
    headers = [read_header(root / path) if one else Header() for path, one in zip(paths, has, strict=True)]
    return {name: [_as_cell(getattr(header, name)) for header in headers] for name in names}


def _as_cell(value: str | float) -> str:
    return value if isinstance(value, str) else "" if math.isnan(value) else f"{value:.6f}"
