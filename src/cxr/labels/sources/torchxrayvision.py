"""Any dataset that a class of the torchxrayvision package reads, named by data.dataset.

Rows, labels and pixels are those of the class. Its defaults that drop rows are switched off:
unique_patients=False, every view, max_aspect_ratio=None, no masks; data.arguments may switch them on again.

What a class changes otherwise stays changed: CheX_Dataset, MIMIC_Dataset and BRAX_Dataset turn uncertain
cells blank and set blank cells to 0 where No Finding is 1; PC_Dataset drops rows by age and finds words
inside other words. The sources chexpert, mimic, brax, padchest and nih read these datasets as they are.

Labels: the class's .labels, 1, 0 or nan (blank). Pixels: dataset[row]["img"] in -1024 to 1024, mapped back to
0 to 255, which is exact for 8-bit files; each is read once, while packing. A file that is not there is thus
found while packing, as an unreadable image (data.unreadable=skip leaves it out).

Patients: the table's column of a patient, under any usual name. Where there is none each image counts as a
patient, which a warning says: images of one patient may then be in two splits.

Images: the table's column of an image, under any usual name, else the row's number. Rows of one image, as
SIIM's table has them, are joined by data.duplicates.

Files expected: as the class's documentation says, below data.root (its imgpath). Nothing is downloaded.

Citation: Cohen et al. "TorchXRayVision: A library of chest X-ray datasets and models." MIDL 2022; and that
of the dataset.
"""

import difflib
import inspect
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol, cast

import numpy as np
import numpy.typing as npt
import pandas as pd

from cxr.config.schema import Data
from cxr.console import say
from cxr.errors import CxrError, UnreadableImageError, is_system_error
from cxr.fields.cells import LABEL_HINT, SOFT_HINT
from cxr.fields.identity import normalise_images
from cxr.findings import canonical, name_key
from cxr.labels.columns import find_name
from cxr.labels.reading import make_rows, root_folder
from cxr.labels.table import Float, LabelTable

SAFE: Mapping[str, object] = {
    "unique_patients": False,
    "views": ["*"],
    "max_aspect_ratio": None,
    "pathology_masks": False,
    "semantic_masks": False,
}
"""Arguments passed to every class that has them: their defaults drop rows, or read files needlessly."""

_ROUNDING = 0.05  # of 1024: a class computes in float32


class XrvDataset(Protocol):
    """What an object of a torchxrayvision class offers: labels [N, C], their table, and each row's pixels."""

    pathologies: Sequence[str]
    labels: npt.NDArray[np.generic]
    csv: pd.DataFrame

    def __getitem__(self, row: int) -> Mapping[str, npt.NDArray[np.float32]]: ...


def read(data: Data) -> LabelTable:
    """Every row of the dataset as its class gives it; `rows.path` is the name that read_pixels knows.

    Raises:
        CxrError: No folder, no such class or argument, the class's message when it cannot read the dataset,
            labels that are not 1, 0, -1 or blank.
    """
    root = root_folder(data, "the images, as the class in data.dataset expects them")
    assert data.dataset is not None  # the config requires it
    dataset = _open(_find_class(data.dataset), data)
    raw = _read_labels(dataset, data.dataset, data.soft_labels == "keep")
    table = dataset.csv.reset_index(drop=True)
    if len(table) != len(raw):
        problem = f"data.dataset: {data.dataset} gives {len(table):,} rows and labels of {len(raw):,}"
        raise CxrError(problem, "use another dataset, or source=table")
    rows, names_patients = _read_rows(table, data)
    findings = tuple(canonical(str(name)) for name in dataset.pathologies)
    if len(set(map(name_key, findings))) < len(findings):
        problem = f"data.dataset: {data.dataset} names a finding twice"
        raise CxrError(problem, f"its findings are {', '.join(findings)}")
    read_pixels = _make_reader(dataset, list(rows["path"]), root)
    return LabelTable(
        "torchxrayvision", root, rows, findings, raw, read_pixels=read_pixels, names_patients=names_patients
    )


def _find_class(name: str) -> Callable[..., XrvDataset]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the package warns about its own dependencies
        from torchxrayvision import datasets
    getattr(datasets, "_cache_dict", {}).clear()  # or SIIM's files would be those of the folder opened before
    made_of_others = {"Dataset", "CovariateDataset"}
    kinds = {}
    for key, value in vars(datasets).items():
        is_dataset = isinstance(value, type) and issubclass(value, datasets.Dataset)
        if is_dataset and key not in made_of_others and _image_argument(value):
            kinds[key] = value
    if name not in kinds:
        close = difflib.get_close_matches(name, kinds, n=1)
        like = f"; did you mean {close[0]}?" if close else ""
        problem = f"data.dataset: torchxrayvision has no {name}{like}"
        raise CxrError(problem, f"its classes are {', '.join(kinds)}")
    return cast(Callable[..., XrvDataset], kinds[name])


def _image_argument(kind: Callable[..., object]) -> str:
    """imgpath, or what a class calls it; empty for a class that reads no dataset."""
    parameters = inspect.signature(kind).parameters
    return next((name for name in ("imgpath", "imgzippath") if name in parameters), "")


def _open(kind: Callable[..., XrvDataset], data: Data) -> XrvDataset:
    """An object of the class, with imgpath from data.root, and SAFE unless data.arguments differs."""
    parameters = inspect.signature(kind).parameters
    unknown = [name for name in data.arguments if name not in parameters]
    problems = [f"data.arguments: {data.dataset} takes no {name}" for name in unknown]
    if data.csv is not None and "csvpath" not in parameters:
        problems.append(f"data.csv: {data.dataset} takes no csvpath")
    if problems:
        raise CxrError(problems, f"its arguments are {', '.join(parameters)}")
    # only arguments that the class has; those of the user win
    safe = {name: value for name, value in SAFE.items() if name in parameters and name not in data.arguments}
    paths = {}
    if "imgpath" in parameters:
        paths["imgpath"] = str(data.root)
    if data.csv is not None:
        paths["csvpath"] = str(data.root / data.csv)
    if safe:
        say(f"{data.dataset}: {', '.join(f'{name}={value}' for name, value in safe.items())}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return kind(**{**paths, **safe, **data.arguments})
    except Exception as error:  # the classes raise anything, from Exception to KeyError
        needed = [
            name for name, each in parameters.items() if each.default is each.empty and name != "imgpath"
        ]
        hint = f"it needs {', '.join(needed)} in data.arguments; " if needed else ""
        hint += "data.root is its imgpath, and paths in data.arguments are taken as they are"
        raise CxrError(f"data.dataset: {data.dataset}: {_describe(error)}", hint) from None


def _describe(error: Exception) -> str:
    if isinstance(error, LookupError):  # whose text is only the key
        return f"{type(error).__name__}: {error}"
    return str(error) or repr(error)


def _read_labels(dataset: XrvDataset, name: str, soft: bool) -> Float:
    """[N, C] labels as the class gives them: 1, 0, -1 or nan, or between 0 and 1 where `soft`."""
    raw = np.asarray(dataset.labels, dtype=np.float32)
    # [N, C]
    is_soft = (raw > 0) & (raw < 1)
    is_label = np.isin(raw, (1, 0, -1)) | np.isnan(raw) | (is_soft & soft)
    if raw.ndim != 2 or raw.shape[1] != len(dataset.pathologies):
        raise CxrError(f"data.dataset: {name} has labels of shape {raw.shape}", "use another dataset")
    if not is_label.all():
        row, column = np.argwhere(~is_label)[0]
        problem = f"{dataset.pathologies[column]} is {raw[row, column]:g} in row {row}"
        rest = SOFT_HINT if is_soft[row, column] else "scores cannot be classified"
        raise CxrError(f"data.dataset: {name}: {problem}", f"{LABEL_HINT}; {rest}")
    return raw


def _read_rows(table: pd.DataFrame, data: Data) -> tuple[pd.DataFrame, bool]:
    """(ROW_COLUMNS from what a class's table has, whether it names patients)."""
    patients = _text(table, "patient_id")
    numbers = [str(row) for row in range(len(table))]
    files = normalise_images(_text(table, "image") or patients) or numbers
    nameless = [row for row, file in enumerate(files) if not file]
    if nameless:
        rest = f"row {nameless[0]} is the first; they are called by their rows"
        say(f"{data.dataset}: {len(nameless):,} of {len(table):,} rows name no image: {rest}")
    images = [file or f"row {row}" for row, file in enumerate(files)]
    columns = {
        "image": images,
        "path": images,
        "patient_id": patients or images,
        "study_id": _text(table, "study_id"),
        "view": _text(table, "view"),
        "age": _text(table, "age"),
        "sex": _sexes(table),
    }
    if data.split == "column":
        if data.split_column not in table.columns:
            hint = f"its columns are {', '.join(map(str, table.columns))}"
            raise CxrError(f"data.split_column: {data.dataset} has no column {data.split_column!r}", hint)
        columns["split"] = _as_text(table[data.split_column])
    filled = {name: cells or [""] * len(table) for name, cells in columns.items()}
    return make_rows(filled), bool(patients)


def _text(table: pd.DataFrame, kind: str) -> list[str]:
    """The column that usually holds this, as text; none where there is none such."""
    name = find_name([str(column) for column in table.columns], kind)
    return [] if name is None else _as_text(table[name])


def _as_text(values: "pd.Series[str]") -> list[str]:
    return ["" if pd.isna(value) else str(value) for value in values]


def _sexes(table: pd.DataFrame) -> list[str]:
    if not {"sex_male", "sex_female"} <= set(table.columns):
        return _text(table, "sex")
    sexes = zip(table["sex_male"], table["sex_female"], strict=True)
    return ["M" if male else "F" if female else "" for male, female in sexes]


def _make_reader(
    dataset: XrvDataset, paths: Sequence[str], root: Path
) -> Callable[[str], npt.NDArray[np.uint8]]:
    """A function from `rows.path` to grey pixels [H, W]; several threads may call it: classes only read."""
    row_of: dict[str, int] = {}
    for row, path in enumerate(paths):
        row_of.setdefault(path, row)  # the first row of an image

    def read_pixels(path: str) -> npt.NDArray[np.uint8]:
        try:
            pixels = dataset[row_of[path]]["img"]
        except Exception as error:  # a decoder may raise anything on a damaged file
            if is_system_error(error):
                raise
            raise UnreadableImageError(root / path, _describe(error)) from None
        return to_grey(pixels, f"row {row_of[path]} ({path})")

    return read_pixels


def to_grey(pixels: npt.NDArray[np.float32], row: str) -> npt.NDArray[np.uint8]:
    """Grey pixels uint8 [H, W] of torchxrayvision's float [1, H, W] in -1024 to 1024.

    Raises:
        CxrError: Another shape or range, naming the row.
    """
    if pixels.ndim != 3 or len(pixels) != 1 or not pixels.size:
        problem = f"data.dataset: {row} has pixels of shape {pixels.shape}"
        raise CxrError(problem, "an image is [1, height, width]")
    low, high = float(pixels.min()), float(pixels.max())
    if not (low >= -1024 - _ROUNDING and high <= 1024 + _ROUNDING):  # also refuses nan
        problem = f"data.dataset: {row} has pixels from {low:g} to {high:g}"
        raise CxrError(problem, "torchxrayvision's pixels are from -1024 to 1024; use another dataset")
    grey = np.round((np.asarray(pixels[0], np.float64) / 1024 + 1) / 2 * 255)
    return np.clip(grey, 0, 255).astype(np.uint8)
