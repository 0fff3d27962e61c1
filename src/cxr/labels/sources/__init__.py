"""One file a source: each reads a dataset's layout into a LabelTable, changing no cell and dropping no row.

What holds for all of them is done here, once: one image is one row. CONTRIBUTING.md says in five steps how a
dataset is added.
"""

import os
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd

from cxr.config.schema import Data
from cxr.console import count
from cxr.fields.cells import is_blank
from cxr.labels.duplicates import join_rows
from cxr.labels.recognise import name_reader
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
"""The reader of each `data.source`, whose names are in `config.data` too."""


def read(data: Data, exact: bool = True) -> LabelTable:
    """Every image of the dataset at data.root; `rows.path` is empty where the image file is not there.

    Args:
        data: The dataset, as if it were alone.
        exact: Whether every finding in data.findings must be labelled, under this very name.

    Raises:
        CxrError: The dataset is not there, or its tables are not as its source writes them.
    """
    hint = ""
    if data.source == "table":
        labels = table.read(data, exact)  # the only source whose findings depend on those asked for
        hint = name_reader([use.column for use in labels.columns])
    else:
        labels = READERS[data.source](data)
    # Images are joined by name, so each file has one name before
    labels = join_rows(_name_by_file(labels), data.duplicates, hint)
    return _note_blank_patients(labels)


def _name_by_file(labels: LabelTable) -> LabelTable:
    """The table with one name for each image file, the first, where it names a file in several ways."""
    paths = labels.rows["path"].to_numpy(dtype=object)
    if any(".." in path or "//" in path or path.startswith("/") for path in paths):
        root = str(labels.root)
        plain = [os.path.normpath(os.path.join(root, path)) if path else "" for path in paths]
        paths = np.array(plain, dtype=object)
    codes, files = pd.factorize(paths)
    if len(files) == len(paths):
        return labels  # nearly every table: a file a row
    names = labels.rows["image"].to_numpy(dtype=object)
    first_rows = np.unique(codes, return_index=True)[1]
    first_names = names[first_rows][codes]  # [N]
    is_same = (names == first_names) | (paths == "")  # rows without a file share none
    if is_same.all():
        return labels
    row = int(np.argmax(~is_same))
    num_renamed = count(int((~is_same).sum()), "row")
    note = f"{num_renamed} with another name of an image file, as {names[row]} for {first_names[row]}"
    rows = labels.rows.assign(image=pd.Series(np.where(is_same, names, first_names), dtype=str))
    return replace(labels, rows=rows, notes=(*labels.notes, note))


def _note_blank_patients(labels: LabelTable) -> LabelTable:
    """The table with a note on patients that are called as missing values are, such as `nan`."""
    patients = labels.rows["patient_id"]
    notes = []
    for name in patients.unique():
        if name and is_blank(name):
            num_images = count(int((patients == name).sum()), "image")
            notes.append(f"{num_images} of a patient called {name!r}: is it a missing value?")
    return replace(labels, notes=(*labels.notes, *notes))
