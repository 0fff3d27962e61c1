"""Which reader a table or a folder needs: a public dataset's, that of any table, or of folders as classes."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cxr.config.schema import Data
from cxr.console import count
from cxr.errors import CxrError
from cxr.findings import NO_FINDING, is_known
from cxr.images.dicom.detect import is_dicom
from cxr.images.find_images import find_images
from cxr.images.kinds import FIRST_BYTES
from cxr.labels.classes import name_class
from cxr.labels.reading import root_folder
from cxr.labels.recognise import find_reader
from cxr.labels.sheet import Sheet, read_sheet
from cxr.labels.sources import folder as folders
from cxr.paths import exists, is_folder

_TABLES = ("*.csv", "*.tsv", "*.csv.gz")
_BELOW = ("", "annotations", "CheXpert-v1.0*")
"""Folders in which public datasets keep their tables."""
_MAX_CLASSES = 50
_ID = re.compile(r".*\d.*\d.*")  # p10000032, 1.2.840, 00000012: no class is called so

_EXAMPLE = "image,patient_id,Edema,Effusion with rows such as a.png,12,1,0"
_NEEDED = (
    f"write a CSV file with a row an image ({_EXAMPLE}) and name it: cxr init my.yaml --csv labels.csv; "
    "or put the images into folders that are called by their classes"
)


@dataclass(frozen=True)
class Start:
    """What is known before any label is read.

    Attributes:
        source: data.source.
        root: data.root.
        csv: data.csv, None where the reader finds its tables itself.
        sheet: The table, for source=table.
        why: Why this reader.
    """

    source: str
    root: Path
    csv: Path | None
    sheet: Sheet | None
    why: str


def find_start(csv: Path | None, images: Path | None, source: str | None = None) -> Start:
    """The reader of a table, of a folder of images, or of both.

    Args:
        csv: The label table.
        images: The folder of the images; None where they lie beside the table.
        source: The reader that the user wants.

    Raises:
        CxrError: Neither; no such file or folder; a folder of images without labels, or with several tables.
    """
    if csv is None and images is None:
        hint = "cxr init my.yaml --csv labels.csv, or --images FOLDER, or both"
        raise CxrError("cxr init: needs a table of labels or a folder of images", hint)
    if images is not None:
        root_folder(Data(source="folder", root=images), "the images")
    if csv is not None:
        return _start_from_table(csv, images, source)
    assert images is not None
    # 1. a public dataset's table, which its own reader understands best; 2. any table; 3. folders as classes
    known, others = _find_tables(images)
    if source not in (None, "table", "folder"):
        return Start(source, images, None, None, "data.source is given")
    if known and source is None:
        path, found, what = known[0]
        return Start(found, images, None, None, f"{path.name} is one of the {what}")
    if len(others) > 1 and source is None:
        names = ", ".join(path.name for path in others)
        raise CxrError(f"{images}: several tables: {names}", "say which holds the labels: --csv FILE")
    if others and source != "folder":
        return Start("table", images, others[0], read_sheet(others[0]), "the only table there")
    return _start_from_folders(images, is_wanted=source == "folder")


def _start_from_table(csv: Path, images: Path | None, source: str | None) -> Start:
    """The reader of a table: its dataset's, where the columns are those of one."""
    if is_folder(csv):
        hint = f"--csv names a file; cxr init my.yaml --images {csv} looks into a folder"
        raise CxrError(f"{csv}: is a folder", hint)
    sheet = read_sheet(csv)
    reader = find_reader(sheet.header)
    root = images or csv.parent
    if source is None and reader and reader.source != "torchxrayvision":
        # as VinDr-CXR keeps its tables: the images lie beside that folder
        if images is None and csv.parent.name == "annotations":
            root = csv.parent.parent
        beside, _ = _find_tables(root)
        # where the reader finds the table itself, data.csv is left
        # out: it would hide the dataset's other tables
        is_found = any(path.samefile(csv) for path, name, _ in beside if name == reader.source)
        why = f"{csv.name} is one of the {reader.what.partition(',')[0]}"
        return Start(reader.source, root, None if is_found else csv, sheet, why)
    if source in (None, "table"):
        return Start("table", root, csv, sheet, "a table that is no known dataset's")
    return Start(source or "table", root, csv, sheet, "data.source is given")


def _find_tables(root: Path) -> tuple[list[tuple[Path, str, str]], list[Path]]:
    """((table, reader, what it reads) of each known dataset's table, all others at the top) of a folder."""
    paths: list[Path] = []
    for below in _BELOW:
        folders_here = [root] if not below else sorted(path for path in root.glob(below) if path.is_dir())
        paths += [path for folder in folders_here for kind in _TABLES for path in sorted(folder.glob(kind))]
    known, others = [], []
    for path in paths:
        try:
            reader = find_reader(read_sheet(path).header)
        except CxrError:  # no table that could be read; asked for by name, it is an error
            continue
        if reader and reader.source != "torchxrayvision":
            known.append((path, reader.source, reader.what.partition(",")[0]))
        elif path.parent == root:
            others.append(path)
    return known, others


def _start_from_folders(root: Path, is_wanted: bool) -> Start:
    """Folders as classes, where their names can be classes.

    Raises:
        CxrError: They cannot: labels are missing.
    """
    try:
        table = folders.read(Data(source="folder", root=root))
    except CxrError as error:
        if is_wanted:
            raise
        raise _no_labels(root, error.problems[0]) from None
    classes = [use.column for use in table.columns]
    if not is_wanted and not _are_classes(classes):
        shown = ", ".join(classes[:3])
        raise _no_labels(root, f"its folders ({shown} ...) do not look like classes") from None
    return Start("folder", root, None, None, f"its folders are classes: {', '.join(classes[:_MAX_CLASSES])}")


def _are_classes(names: Sequence[str]) -> bool:
    """Whether names of folders may be classes: a few, and known findings, or at least no ids."""
    # a single known name will do
    if any(is_known(name) or name_class(name) == NO_FINDING for name in names):
        return True
    return 1 < len(names) <= _MAX_CLASSES and not all(_ID.fullmatch(name) for name in names)


def _no_labels(root: Path, reason: str) -> CxrError:
    """The error for images of which nothing says what is seen on them."""
    images = [found.path for found in find_images(root) if found.kind == "image"]
    if not images:
        what = "no image in it" if exists(root) else "no such folder"
        return CxrError(f"{root}: {what}", "--images names the folder of the images")
    num_dicom = sum(map(_is_dicom, images))
    kinds = f", {num_dicom:,} of them DICOM" if num_dicom else ""
    problem = f"{root}: {count(len(images), 'image')}{kinds}, and no labels: no table"
    return CxrError(f"{problem}, and {reason.removeprefix(f'{root}: ')}", _NEEDED)


def _is_dicom(path: Path) -> bool:
    with path.open("rb") as file:
        return is_dicom(file.read(FIRST_BYTES), path)
