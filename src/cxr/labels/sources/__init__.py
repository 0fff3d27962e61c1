"""One file a source: each reads a dataset's own layout into a LabelTable, changing no cell and dropping no row.

What holds for all of them is done here, once: one image is one row.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from cxr.config.schema import Data
from cxr.console import count
from cxr.errors import CxrError
from cxr.fields.cells import is_blank
from cxr.findings import CHEXPERT_14, canonical
from cxr.labels import plain
from cxr.labels.choose import looks_like_classes
from cxr.labels.duplicates import Duplicates, join_rows
from cxr.labels.recognise import name_reader
from cxr.labels.sheet import Sheet, read_sheet
from cxr.labels.sources import brax, chexpert, mimic, nih, padchest, table, vindr
from cxr.labels.table import LabelTable


def _read_phantom(data: Data) -> LabelTable:
    from cxr.labels.sources import phantom  # draws images, which no other source needs

    return phantom.read(data)


def _read_folder(data: Data) -> LabelTable:
    from cxr.labels.sources import folder

    return folder.read(data)


def _read_torchxrayvision(data: Data) -> LabelTable:
    from cxr.labels.sources import torchxrayvision  # talks while it reads, for which it loads rich

    return torchxrayvision.read(data)


READERS: dict[str, Callable[[Data], LabelTable]] = {
    "nih": nih.read,
    "chexpert": chexpert.read,
    "mimic": mimic.read,
    "padchest": padchest.read,
    "vindr": vindr.read,
    "brax": brax.read,
    "torchxrayvision": _read_torchxrayvision,
    "table": table.read,
    "folder": _read_folder,
    "phantom": _read_phantom,
}
"""The reader of each `data.source`; another source is another line."""


def read(data: Data, exact: bool = True) -> LabelTable:
    """Every image of the dataset at data.root; `rows.path` is empty where the image file is not there.

    Args:
        data: The dataset, as if it were alone.
        exact: Whether every finding in data.findings must be labelled, under this very name.

    Raises:
        CxrError: The dataset is not there, or its tables are not as its source writes them.
    """
    if data.source == "table" and not exact:  # the one source whose findings depend on those asked for
        found = table.read(data, exact)
    else:
        found = READERS[data.source](data)
    hint = name_reader([use.column for use in found.columns]) if data.source == "table" else ""
    return _question_ids(join_rows(_name_by_file(found), data.duplicates, hint))


def _name_by_file(table: LabelTable) -> LabelTable:
    """The table with one name for each image file, the first, where it names a file in several ways."""
    paths = table.rows["path"].to_numpy(dtype=object)
    if any(".." in path or "//" in path or path.startswith("/") for path in paths):
        top = str(table.root)
        paths = np.array(
            [os.path.normpath(os.path.join(top, path)) if path else "" for path in paths], dtype=object
        )
    codes, files = pd.factorize(paths)
    if len(files) == len(paths):
        return table
    names = table.rows["image"].to_numpy(dtype=object)
    first = names[np.unique(codes, return_index=True)[1]][codes]
    same = (names == first) | (paths == "")
    if same.all():
        return table
    row = int(np.argmax(~same))
    note = f"{count(int((~same).sum()), 'row')} with another name of an image file, as {names[row]} for {first[row]}"
    rows = table.rows.assign(image=pd.Series(np.where(same, names, first), dtype=str))
    return replace(table, rows=rows, notes=(*table.notes, note))


def _question_ids(table: LabelTable) -> LabelTable:
    """The table with a note on patients that are called as missing values are, such as `nan`."""
    ids = table.rows["patient_id"]
    odd = [name for name in ids.unique() if name and is_blank(name)]
    num = {name: count(int((ids == name).sum()), "image") for name in odd}
    notes = [f"{num[name]} of a patient called {name!r}: is it a missing value?" for name in odd]
    return replace(table, notes=(*table.notes, *notes))


def read_labels(
    csv: Path | Sheet,
    findings: Sequence[str] | None = None,
    words: str | None = None,
    duplicates: Duplicates = "error",
) -> LabelTable:
    """The labels of a CSV alone, in the form of a public dataset or plain; no image is looked for.

    NIH form has `Image Index` and `Finding Labels`, PadChest form `ImageID` and `Labels`, VinDr-CXR form `image_id` and
    `rad_id` or `class_name`, CheXpert and BRAX form `Path` or `PngPath` and observations. Any other table is plain: an
    image column, or a study's, perhaps patient, view, sex and age, all known by their usual names, and columns of
    labels.

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
        found = (
            table.parse_plain(sheet, sheet.path.parent, findings, words) if words else _parse(sheet, findings)
        )
        return join_rows(found, duplicates)
    except CxrError as error:
        hint = plain.hint_without_config(error.hint)
        column = None if words else looks_like_classes(sheet, [name for name in sheet.header if name])
        reads = (
            f"; --label-column {column} reads its words as findings"
            if column and "--label" not in hint
            else ""
        )
        raise CxrError(error.problems, hint + reads) from None


def name_labels(sheet: Sheet, words: str | None) -> tuple[str, ...]:
    """The findings that a table seems to label; none where it cannot be read, for which `read_labels` has the words.

    Args:
        sheet: The table.
        words: Its column of classes or lists of findings.
    """
    known = None if words else _find_form(sheet)
    try:
        return known[0](known[1], sheet.path.parent).findings if known else plain.name_plain(sheet, words)
    except CxrError:
        return ()


def _parse(sheet: Sheet, findings: Sequence[str] | None) -> LabelTable:
    """The table in the form that its columns tell."""
    known, root = _find_form(sheet), sheet.path.parent
    return known[0](known[1], root) if known else table.parse_plain(sheet, root, findings, None)


def _find_form(sheet: Sheet) -> tuple[Callable[[Sheet, Path], LabelTable], Sheet] | None:
    """The reader of a public dataset whose table this is, and the table spelled as it wants; None for a plain one."""
    for known, parse in (
        ((nih.IMAGE, nih.LABELS), nih.parse),
        ((padchest.IMAGE, padchest.LABELS), padchest.parse),
    ):
        if set(known) <= set(sheet.spelled(known).header):
            return parse, sheet.spelled(known)
    both = sheet.spelled(vindr.KNOWN)
    if vindr.IMAGE in both.header and {vindr.READER, vindr.CLASS} & set(both.header):
        return vindr.parse, both
    observed = {canonical(name) for name in sheet.header} & set(CHEXPERT_14)
    for column, parse in ((chexpert.PATH, chexpert.parse), (brax.PNG, brax.parse)):
        if observed and column in sheet.header:
            return parse, sheet
    return None
