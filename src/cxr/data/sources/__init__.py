"""One file a source: each reads an archive's own layout into a LabelTable, changing no cell and dropping no row."""

from collections.abc import Callable
from pathlib import Path

from cxr.config import Data
from cxr.data.findings import CHEXPERT_14, canonical
from cxr.data.labels import LabelTable
from cxr.data.sources import brax, chexpert, mimic, nih, padchest, table, vindr
from cxr.data.sources.files import read_sheet


def _read_phantom(data: Data) -> LabelTable:
    from cxr.data.sources import phantom  # draws images, which no other source needs

    return phantom.read(data)


def _read_torchxrayvision(data: Data) -> LabelTable:
    from cxr.data.sources import torchxrayvision  # talks while it reads, for which it loads rich

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
    "phantom": _read_phantom,
}
"""The reader of each `data.source`; another source is another line."""


def read(data: Data, exact: bool = True) -> LabelTable:
    """Every row of the archive at data.root; `rows.path` is empty where the image file is not there.

    Args:
        data: The archive, as if it were alone.
        exact: Whether every finding in data.findings must be labelled, under this very name.

    Raises:
        CxrError: The archive is not there, or its tables are not as its source writes them.
    """
    if data.source == "table" and not exact:  # the one source whose findings depend on those asked for
        return table.read(data, exact)
    return READERS[data.source](data)


def read_labels(csv: Path) -> LabelTable:
    """The labels of a CSV by itself, in the form of an archive or plain; no image is looked for.

    NIH form has `Image Index` and `Finding Labels`, PadChest form `ImageID` and `Labels`, VinDr-CXR form `image_id` and
    `rad_id`, CheXpert and BRAX form `Path` or `PngPath` and observations; any other table is plain: an image column,
    perhaps patient_id, view, sex and age, and every other column of 1, 0, -1 or blank is a finding.

    Raises:
        CxrError: Not a CSV, no image column, no finding.
    """
    sheet = read_sheet(csv)
    if {nih.IMAGE, nih.LABELS} <= set(sheet.header):
        return nih.parse(sheet, csv.parent)
    if {padchest.IMAGE, padchest.LABELS} <= set(sheet.header):
        return padchest.parse(sheet, csv.parent)
    if {vindr.IMAGE, vindr.READER} <= set(sheet.header):
        return vindr.parse(sheet, csv.parent)
    observed = {canonical(name) for name in sheet.header} & set(CHEXPERT_14)
    for column, parse in ((chexpert.PATH, chexpert.parse), (brax.PNG, brax.parse)):
        if observed and column in sheet.header:
            return parse(sheet, csv.parent)
    return table.parse_plain(sheet, csv.parent)
