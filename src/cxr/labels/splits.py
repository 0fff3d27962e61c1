"""Which rows train, validate and test: by the dataset's lists, by list files, by patient, or by a column."""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cxr.config.schema import Data
from cxr.console import count
from cxr.errors import CxrError
from cxr.labels.problems import shorten_problems
from cxr.labels.split_lists import Listed, hash_names, read_lists, recognise_split
from cxr.labels.table import LabelTable

Names = npt.NDArray[np.str_]

SPLITS = ("train", "val", "test")
SPLIT_WORDS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
    "": "",
}
"""What a split column may say, in any case."""

PATIENT_HINT = "a patient's images must stay in one split; fill in the patient"


@dataclass(frozen=True)
class Split:
    """The split of each row of a table, and what was listed for each split.

    Attributes:
        kind: official, lists, random or column.
        name: What a report calls it, such as `NIH official` or `random by patient (seed 0)`.
        assigned: [N] train, val, test, or empty for a row in no split.
        hashes: Per split `hash_names` of its images, listed ones without a row included.
        absent: Listed names that the table has no row for.
    """

    kind: str
    name: str
    assigned: Names
    hashes: Mapping[str, str]
    absent: tuple[str, ...] = ()

    def rows(self, split: str) -> npt.NDArray[np.intp]:
        """Indices of the rows in train, val or test."""
        return np.flatnonzero(self.assigned == split)


def assign(table: LabelTable, data: Data) -> Split:
    """The split of every row under data.split, no patient in two of them.

    Assign before dropping rows (missing files, views): the patients drawn depend on the patients in the
    table.

    Raises:
        CxrError: Lists or values that are not there or contradict each other, a patient in two splits or
        without id.
    """
    without_patient = table.rows["image"][table.rows["patient_id"] == ""]
    if len(without_patient):
        num = count(len(without_patient), "image")
        problem = f"{num} without a patient, the first {without_patient.iloc[0]}"
        raise CxrError(f"{table.root}: {problem}", PATIENT_HINT)
    split = SPLIT_RULES[data.split](table, data)
    more_hint = ""
    if table.source == "folder":  # whose patients are told by file names
        more_hint = "; or, if equal names are different people, data.columns.patient=null counts each image"
        more_hint += " as a patient"
    check_leak(table.rows["patient_id"], split.assigned, more_hint)
    return split


def check_leak(patient_ids: Iterable[str], assigned: Iterable[str], more_hint: str = "") -> None:
    """Refuse a patient with images in two splits of one dataset; rows in no split (empty) do not count.

    `data.shared_patients` does so for two datasets, `model.leak_check` for a model and the dataset that it is
    evaluated on.

    Raises:
        CxrError: Naming the first such patients with their splits, and how many more there are.
    """
    # the splits that each patient's images are in
    splits_of: dict[str, set[str]] = {}
    for patient, split in zip(patient_ids, assigned, strict=True):
        if split:
            splits_of.setdefault(patient, set()).add(str(split))
    problems = [
        f"data.split: patient {patient} is in {' and '.join(sorted(splits, key=SPLITS.index))}"
        for patient, splits in splits_of.items()
        if len(splits) > 1
    ]
    if problems:
        shown = shorten_problems(problems, "data.split", "patients are in two splits")
        hint = "all images of a patient must be in one split; correct the lists, or use data.split=random"
        raise CxrError(shown, hint + more_hint)


def rank_patients(patients: Iterable[str], seed: int) -> list[str]:
    """The patients in an order drawn from the seed, whatever order they come in.

    The order is that of a hash of seed and id, so a table that lacks some patients ranks the others alike.
    """

    def hash_patient(patient: str) -> bytes:
        return hashlib.sha256(f"{seed}:{patient}".encode(errors="surrogatepass")).digest()

    return sorted(set(patients), key=hash_patient)


def _split_officially(table: LabelTable, data: Data) -> Split:
    # some datasets list training and validation together: validation is drawn from it below
    assigned = table.rows["split"].replace("train_val", "train").to_numpy(dtype=str)
    # with a row in the table, and without one: both belong to the dataset's list
    listed = {split: list(table.rows["image"][assigned == split]) for split in SPLITS}
    absent: dict[str, list[str]] = {split: [] for split in SPLITS}
    for image, split in table.absent:
        absent[split.removesuffix("_val")].append(image)  # train_val is train
    if not any(listed.values()):
        problem = "no image is in the dataset's lists" if table.absent else "the dataset names no splits"
        hint = "use data.split=random, lists or column, or complete data.root"
        raise CxrError(f"{table.root}: {problem}", hint)
    # Lists are recognised as a whole: with names whose images are not here, and before validation is taken
    name = recognise_split({split: listed[split] + absent[split] for split in SPLITS})
    assigned = _take_validation(table, assigned, data)
    return _make_split(
        table, "official", name or "official lists of this dataset (not a published split)", assigned, absent
    )


def _split_by_column(table: LabelTable, data: Data) -> Split:
    words = table.rows["split"].str.strip().str.lower()
    unknown = table.rows["image"][~words.isin(list(SPLIT_WORDS))]
    if len(unknown):
        first = table.rows["split"][unknown.index[0]]
        problem = f"{data.split_column} is {first!r} for image {unknown.iloc[0]} ({len(unknown):,} such rows)"
        raise CxrError(f"{table.root}: {problem}", "data.split_column holds train, val or test, or nothing")
    assigned = _take_validation(table, words.map(SPLIT_WORDS).to_numpy(dtype=str), data)
    return _make_split(table, "column", f"column {data.split_column}", assigned)


def _split_at_random(table: LabelTable, data: Data) -> Split:
    patients = rank_patients(table.rows["patient_id"], data.split_seed)
    num_test = _count_share(data.test_fraction, patients)
    num_val = _count_share(data.val_fraction, patients)
    _check_enough(patients, num_test + num_val)
    # The first patients test, the next validate, the others train
    split_of = dict.fromkeys(patients, "train")
    split_of |= dict.fromkeys(patients[:num_test], "test")
    split_of |= dict.fromkeys(patients[num_test : num_test + num_val], "val")
    assigned = np.array([split_of[patient] for patient in table.rows["patient_id"]])
    return _make_split(table, "random", f"random by patient (seed {data.split_seed})", assigned)


def _split_by_lists(table: LabelTable, data: Data) -> Split:
    assert data.lists is not None  # the config requires them
    files = {"train": data.lists.train, "val": data.lists.val, "test": data.lists.test}
    row_of = {image: row for row, image in enumerate(table.rows["image"])}
    listed = read_lists(files, data.root, row_of)
    # rows that no list names stay in no split
    assigned = np.full(len(table), "", dtype="<U5")
    absent: dict[str, list[str]] = {}
    for split, images in listed.items():
        assigned[[row_of[image] for image in images if image in row_of]] = split
        absent[split] = [image for image in images if image not in row_of]
    if not (assigned != "").any():
        num_names = sum(len(names) for names in listed.values())
        problem = f"none of their {num_names:,} names is an image of {table.root}"
        hint = f"a name there is like {listed['train'][0]}, an image like {table.rows['image'].iloc[0]}"
        raise CxrError(f"data.lists: {problem}", hint)
    unrecognised = f"lists ({', '.join(file.name for file in files.values())})"
    return _make_split(table, "lists", recognise_split(listed) or unrecognised, assigned, absent)


SPLIT_RULES: dict[str, Callable[[LabelTable, Data], Split]] = {
    "official": _split_officially,
    "lists": _split_by_lists,
    "random": _split_at_random,
    "column": _split_by_column,
}
"""The function of each `data.split`; `assign` calls it and refuses a leak."""


def _take_validation(table: LabelTable, assigned: Names, data: Data) -> Names:
    """The splits with data.val_fraction of the training patients moved to val, unless val has images."""
    if "val" in assigned or "train" not in assigned:
        return assigned
    # of the training patients alone: nobody is moved out of test
    in_train = assigned == "train"
    patients = rank_patients(table.rows["patient_id"][in_train], data.split_seed)
    num_val = _count_share(data.val_fraction, patients)
    _check_enough(patients, num_val)
    # all images of a chosen patient move together
    is_chosen = table.rows["patient_id"].isin(patients[:num_val]).to_numpy()
    return np.where(in_train & is_chosen, "val", assigned)


def _count_share(fraction: float, patients: Sequence[str]) -> int:
    """The nearest number of patients, at least one unless the fraction is 0."""
    return max(1, round(fraction * len(patients))) if fraction else 0


def _check_enough(patients: Sequence[str], num_taken: int) -> None:
    if num_taken >= len(patients):
        problem = f"of {count(len(patients), 'patient')} none is left for training"
        problem += f" after {num_taken} for validation and test"
        hint = "lower data.val_fraction and data.test_fraction, or add patients"
        raise CxrError(f"data.split: {problem}", hint)


def _make_split(
    table: LabelTable, kind: str, name: str, assigned: Names, absent: Listed | None = None
) -> Split:
    """The Split of these rows, with the hash of all names that belong to each of train, val and test."""
    absent = absent or dict.fromkeys(SPLITS, ())
    hashes = {
        split: hash_names([*table.rows["image"][assigned == split], *absent[split]]) for split in SPLITS
    }
    names = [image for images in absent.values() for image in images]
    return Split(kind, name, assigned, hashes, tuple(names))
