"""Which rows train, validate and test: by the archive's lists, by list files, by patient, or by a column."""

import hashlib
import re
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cxr.config.schema import Data
from cxr.console import count
from cxr.errors import CxrError
from cxr.fields.identity import normalise
from cxr.labels.columns import find_name
from cxr.labels.lookup import stem
from cxr.labels.sheet import decode_text
from cxr.labels.table import LabelTable

Assigned = npt.NDArray[np.str_]
Listed = Mapping[str, Sequence[str]]

SPLITS = ("train", "val", "test")
SPLIT_WORDS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test",
         "testing": "test", "": ""}  # fmt: skip
"""What a split column may say, in any case."""

KNOWN_SPLITS: tuple[tuple[str, Mapping[str, str]], ...] = (
    (
        "NIH official",  # train_val_list.txt (86,524 names) and test_list.txt (25,596) of NIH's release
        {
            "train+val": "61fbe896321c1c1c8b75f3e4f3a08e4fef6486d95ef8a667c31d4d60dca6cb81",
            "test": "38ca5ef7f756092946f57c1a59faca882ed589a1ab1f72590b45dc06c6d5e1cc",
        },
    ),
    (
        "NIH community",  # random by patient, shared by public CheXNet reproductions: 78,468 / 11,219 / 22,433 names
        {
            "train": "7265fa9efe68c5e8afa201c9b7ecf9b25d9e9a9c41fab3e0efe8e650bd405d06",
            "val": "65fd487c51e6316d6db7e547ac0dedd3beb6ef70ea36e74c4e55a77ca5ff40e9",
            "test": "a20c79828a7825d1d5ac7e8e1b2eccdb21db7e87f9449415f40896116264d55a",
        },
    ),
    (
        "CheXpert official training set",  # train.csv: 223,414 names like train/patient00001/study1/view1_frontal.jpg
        {"train": "3d676e50d2f36abf485b85d7c9f6f98c2824b8e5d73d58ea99002b06eb8e77f8"},
    ),
)
"""Lists recognised by `hash_names`; a name with `+` is the hash of both folds' names together."""

NAMED = 5  # patients or images that an error lists before it only counts


@dataclass(frozen=True)
class Split:
    """The fold of each row of a table, and what was listed for each fold.

    Attributes:
        kind: official, lists, random or column.
        name: What a report calls it, such as `NIH official` or `random by patient (seed 0)`.
        assigned: [N] train, val, test, or empty for a row in no split.
        hashes: Per fold `hash_names` of its images, listed ones without a row included.
        absent: Listed names that the table has no row for.
    """

    kind: str
    name: str
    assigned: Assigned
    hashes: Mapping[str, str]
    absent: tuple[str, ...] = ()

    def rows(self, split: str) -> npt.NDArray[np.intp]:
        """Indices of the rows in train, val or test."""
        return np.flatnonzero(self.assigned == split)


def assign(table: LabelTable, data: Data) -> Split:
    """The fold of every row under data.split, no patient in two of them.

    Assign before dropping rows (missing files, views): the patients drawn depend on the patients in the table.

    Raises:
        CxrError: Lists or values that are not there or contradict each other, a patient in two folds or without id.
    """
    unnamed = table.rows["image"][table.rows["patient_id"] == ""]
    if len(unnamed):
        what = f"{count(len(unnamed), 'image')} without a patient, the first {unnamed.iloc[0]}"
        raise CxrError(
            f"{table.root}: {what}", "a patient's images must stay in one split; fill in the patient"
        )
    split = SPLIT_RULES[data.split](table, data)
    by_name = (
        "; or, if equal names are different people, data.columns.patient=null counts each image as a patient"
    )
    check_leak(table.rows["patient_id"], split.assigned, by_name if table.source == "folder" else "")
    return split


def check_leak(patient_ids: Iterable[str], fold: Iterable[str], more_hint: str = "") -> None:
    """Refuse a patient with images in two folds; an empty fold is none.

    Raises:
        CxrError: Naming the first such patients with their folds, and how many more there are.
    """
    folds: dict[str, set[str]] = {}
    for patient, name in zip(patient_ids, fold, strict=True):
        if name:
            folds.setdefault(patient, set()).add(str(name))
    leaked = {patient: names for patient, names in folds.items() if len(names) > 1}
    if leaked:
        problems = [
            f"data.split: patient {patient} is in {_join(names)}" for patient, names in leaked.items()
        ]
        more = (
            [f"data.split: {len(leaked) - NAMED:,} more patients are in two splits"]
            if len(leaked) > NAMED
            else []
        )
        hint = "all images of a patient must be in one split; mend the lists, or use data.split=random"
        raise CxrError([*problems[:NAMED], *more], hint + more_hint)


def hash_names(names: Iterable[str]) -> str:
    """SHA-256 of the sorted names, joined by line feeds: what a list holds, whatever its order."""
    return hashlib.sha256("\n".join(sorted(names)).encode(errors="surrogatepass")).hexdigest()


def recognise(listed: Listed) -> str | None:
    """The name of the known split whose lists hold exactly these images."""
    for name, hashes in KNOWN_SPLITS:
        if all(hash_names(_together(listed, folds)) == digest for folds, digest in hashes.items()):
            return name
    return None


def rank_patients(patients: Iterable[str], seed: int) -> list[str]:
    """The patients in an order drawn from the seed, whatever order they come in.

    The order is that of a hash of seed and id, so a table that lacks some patients ranks the others alike.
    """
    return sorted(
        set(patients),
        key=lambda patient: hashlib.sha256(f"{seed}:{patient}".encode(errors="surrogatepass")).digest(),
    )


def _official(table: LabelTable, data: Data) -> Split:
    says = table.rows["split"].replace("train_val", "train").to_numpy(dtype=str)
    listed = {fold: list(table.rows["image"][says == fold]) for fold in SPLITS}
    absent = {
        fold: [name for name, own in table.absent if own.removesuffix("_val") == fold] for fold in SPLITS
    }
    if not any(listed.values()):
        what = "no image is in the archive's own lists" if table.absent else "the archive names no splits"
        raise CxrError(
            f"{table.root}: {what}", "use data.split=random, lists or column, or complete data.root"
        )
    name = recognise({fold: listed[fold] + absent[fold] for fold in SPLITS})
    fold = _cut_validation(table, says, data)
    return _split(table, "official", name or "official lists of this archive (unrecognised)", fold, absent)


def _column(table: LabelTable, data: Data) -> Split:
    values = table.rows["split"].str.strip().str.lower()
    unknown = table.rows["image"][~values.isin(list(SPLIT_WORDS))]
    if len(unknown):
        first = table.rows["split"][unknown.index[0]]
        what = f"{data.split_column} is {first!r} for image {unknown.iloc[0]} ({len(unknown):,} such rows)"
        raise CxrError(f"{table.root}: {what}", "data.split_column holds train, val or test, or nothing")
    fold = _cut_validation(table, values.map(SPLIT_WORDS).to_numpy(dtype=str), data)
    return _split(table, "column", f"column {data.split_column}", fold)


def _random(table: LabelTable, data: Data) -> Split:
    patients = rank_patients(table.rows["patient_id"], data.split_seed)
    num_test = _share(data.test_fraction, patients)
    num_val = _share(data.val_fraction, patients)
    _check_enough(patients, num_test + num_val)
    folds = dict.fromkeys(patients, "train")
    folds |= dict.fromkeys(patients[:num_test], "test")
    folds |= dict.fromkeys(patients[num_test : num_test + num_val], "val")
    fold = np.array([folds[patient] for patient in table.rows["patient_id"]])
    return _split(table, "random", f"random by patient (seed {data.split_seed})", fold)


def _lists(table: LabelTable, data: Data) -> Split:
    assert data.lists is not None  # the config requires them
    files = {"train": data.lists.train, "val": data.lists.val, "test": data.lists.test}
    rows = {name: row for row, name in enumerate(table.rows["image"])}
    find = _finder(list(rows))
    listed = {
        fold: [find(n) for n in read_names(_locate(file, data.root), rows)] for fold, file in files.items()
    }
    _check_disjoint(listed, files)
    fold = np.full(len(table), "", dtype="<U5")
    for name, images in listed.items():
        fold[[rows[image] for image in images if image in rows]] = name
    if not (fold != "").any():
        what = f"none of their {sum(map(len, listed.values())):,} names is an image of {table.root}"
        hint = f"a name there is like {listed['train'][0]}, an image like {table.rows['image'].iloc[0]}"
        raise CxrError(f"data.lists: {what}", hint)
    absent = {name: [image for image in images if image not in rows] for name, images in listed.items()}
    own = f"lists ({', '.join(file.name for file in files.values())})"
    return _split(table, "lists", recognise(listed) or own, fold, absent)


SPLIT_RULES: dict[str, Callable[[LabelTable, Data], Split]] = {
    "official": _official,
    "lists": _lists,
    "random": _random,
    "column": _column,
}


def read_names(path: Path, known: Container[str] = ()) -> list[str]:
    """The names that a list file holds, a name a line, each once.

    A name is the whole line if it is `known`, else the text up to the first comma if that is, else up to the first
    blank or comma. A first line that is neither known nor has a suffix like `.png`, as the
    next one has, is a header.

    Raises:
        CxrError: Not a text file, or empty.
    """
    try:
        lines = decode_text(path, path.read_bytes(), "list of names").splitlines()
    except (UnicodeDecodeError, OSError) as problem:
        raise CxrError(
            f"{path}: not a readable list of names ({problem})", "a list has an image name a line"
        ) from None
    names = [_first_name(line.strip(), known) for line in lines if line.strip()]
    if names and names[0] not in known and "." not in names[0]:
        others_have_endings = "." in "".join(names[1:2])
        names = names[1:] if others_have_endings or _is_heading(names[0]) else names
    if not names:
        raise CxrError(f"{path}: no names", "a list has an image name a line")
    return list(dict.fromkeys(names))


def _first_name(line: str, known: Container[str]) -> str:
    line = normalise(line.replace("\\", "/")).removeprefix("./")
    whole = (line, *(line.split(sign, 1)[0].strip().strip('"') for sign in ",;"))
    return next(
        (name for name in whole if name in known), re.split(r"[\s,;]", line, maxsplit=1)[0].strip('"')
    )


def _is_heading(name: str) -> bool:
    """Whether a list's first line is what the column of images is called."""
    one = name.rstrip("sS")
    return find_name([name, one], "image") is not None or one.casefold() in ("name", "id")


def _finder(images: Sequence[str]) -> Callable[[str], str]:
    """A function from a listed name to the image it means, or to its own canonical form when there is none.

    `a/b.png` means the image a/b.png, else b.png; `b.png` means b.png, else the only image whose file name is b.png;
    `b` means the only image b with an ending.
    """
    known = set(images)
    by_name: dict[str, str] = {}
    for image in images:
        name = image.rsplit("/", 1)[-1]
        by_name[name] = "" if name in by_name else image
    stems: dict[str, str] = {}
    for image in images:
        stems[stem(image)] = "" if stem(image) in stems else image
    flat = not any("/" in image for image in images)

    def find(name: str) -> str:
        parts = name.split("/")
        ends = ("/".join(parts[start:]) for start in range(len(parts)))
        own = next((end for end in ends if end in known), "") or stems.get(name, "")
        return own or (len(parts) == 1 and by_name.get(name)) or (parts[-1] if flat else name)

    return find


def _locate(file: Path, root: Path) -> Path:
    """The list file as given or, failing that, below data.root."""
    for path in (file, root / file):
        if path.is_file():
            return path
    raise CxrError(f"data.lists: no file {file}", f"looked for {file} and {root / file}")


def _check_disjoint(listed: Listed, files: Mapping[str, Path]) -> None:
    first: dict[str, str] = {}
    twice = [
        (name, first[name], fold)
        for fold in SPLITS
        for name in listed[fold]
        if first.setdefault(name, fold) != fold
    ]
    problems = [f"data.lists: {name} is in {files[a].name} and {files[b].name}" for name, a, b in twice]
    if problems:
        more = (
            [f"data.lists: {len(problems) - NAMED:,} more names are in two lists"]
            if len(problems) > NAMED
            else []
        )
        raise CxrError([*problems[:NAMED], *more], "a name belongs in one list")


def _cut_validation(table: LabelTable, fold: Assigned, data: Data) -> Assigned:
    """The folds with data.val_fraction of the training patients moved to val, unless val has images already."""
    if "val" in fold or "train" not in fold:
        return fold
    train = fold == "train"
    patients = rank_patients(table.rows["patient_id"][train], data.split_seed)
    num_val = _share(data.val_fraction, patients)
    _check_enough(patients, num_val)
    return np.where(train & table.rows["patient_id"].isin(patients[:num_val]).to_numpy(), "val", fold)


def _share(fraction: float, patients: Sequence[str]) -> int:
    """The nearest number of patients, at least one unless the fraction is 0."""
    return max(1, round(fraction * len(patients))) if fraction else 0


def _check_enough(patients: Sequence[str], num_taken: int) -> None:
    if num_taken >= len(patients):
        taken = f"{num_taken} for validation and test"
        what = f"of {count(len(patients), 'patient')} none is left for training after {taken}"
        raise CxrError(
            f"data.split: {what}", "lower data.val_fraction and data.test_fraction, or add patients"
        )


def _split(table: LabelTable, kind: str, name: str, fold: Assigned, absent: Listed | None = None) -> Split:
    absent = absent or {}
    named = {own: [*table.rows["image"][fold == own], *absent.get(own, ())] for own in SPLITS}
    hashes = {own: hash_names(names) for own, names in named.items()}
    return Split(kind, name, fold, hashes, tuple(image for images in absent.values() for image in images))


def _together(listed: Listed, folds: str) -> Iterable[str]:
    return (name for fold in folds.split("+") for name in listed[fold])


def _join(folds: Iterable[str]) -> str:
    return " and ".join(sorted(folds, key=SPLITS.index))
