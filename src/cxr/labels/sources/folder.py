"""Folders as classes: images in folders that are called by what is seen in them, and no table.

Layouts: CLASS/image, or SPLIT/CLASS/image with splits called train, val (valid, validation) and test, in any
case; folders around all of it (chest_xray/train/...) and folders called images or data are passed over. For
other layouts data.folders says what each folder is, such as [class, patient].

Labels: each folder of images is a finding, present in its images and absent in all others. Folders called
NORMAL, No Finding, Healthy or Negative hold the images without any. The folders do not say who labelled the
images.

Patients: by the folder, where data.folders says so, else by the file's name, of which these forms are known:
    person12_bacteria_3.jpeg             person12 (Kermany et al. 2018)
    IM-0115-0001.jpeg, NORMAL2-IM-0032-0001.jpeg   IM-0115, NORMAL2-IM-0032 (the same)
    00000012_003.png                     00000012 (ChestX-ray14)
    patient00012_study1_view1.jpg        patient00012 (CheXpert and others)
Any other image counts as a patient, which a warning says; under data.columns.patient=null every image does.

Known faults: numbers of persons are in several splits of Kermany's images, which is refused as a leak; it is
not known whether they are the same children. __MACOSX and folders of masks are left out.

Citation: Kermany et al. "Identifying medical diagnoses and treatable diseases by image-based deep learning."
Cell 172, 2018.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cxr.config.schema import Data
from cxr.console import count
from cxr.errors import CxrError
from cxr.fields.identity import normalise
from cxr.findings import NO_FINDING, name_key
from cxr.images.find_images import is_image
from cxr.labels.classes import name_class
from cxr.labels.columns import ColumnUse
from cxr.labels.lookup import IMAGE_SUFFIXES, Index
from cxr.labels.reading import make_rows, root_folder
from cxr.labels.splits import SPLIT_WORDS
from cxr.labels.table import Float, LabelTable

_NEUTRAL = frozenset(("images", "image", "imgs", "img", "data", "jpeg", "jpg", "png"))
_LEFT_OUT = frozenset(("__macosx", "masks", "mask", "lung masks", "segmentation", "segmentations"))
_PATIENTS = (r"(person\d+)_", r"((?:NORMAL\d*-)?IM-\d+)-", r"(\d{8})_\d{3}\b", r"(patient[-_]?\d+)(?!\d)")

Parts = tuple[str, ...]


@dataclass(frozen=True)
class _Folders:
    """What the folders of an image name; split and patient are empty where none does."""

    finding: str
    split: str
    patient: str


def read(data: Data) -> LabelTable:
    """Every image file below data.root, with the class and the split that its folders name.

    Raises:
        CxrError: No folder, no image, folders that do not tell which is the class.
    """
    root = root_folder(data, "folders of images, called by their classes")
    if data.split == "column":
        problem = "data.split: folders have no split column"
        raise CxrError(problem, "use official (the folders'), random or lists")
    files = Index.of(root).paths
    paths = [path for path in files if not _is_left_out(path) and _is_image(root, path)]
    if not paths:
        problem = f"{root}: no image in it"
        raise CxrError(problem, "data.root must hold folders of images, called by their classes")
    levels = data.folders or _guess_levels([tuple(path.split("/")[:-1]) for path in paths], root)
    folders = [_read_folders(path, levels, root) for path in paths]
    patients: list[str] = paths  # each image counts as a patient
    without_patient: list[str] = []
    if data.columns.patient is not None:
        patients, without_patient = _read_patients(paths, folders)
    findings, raw = _one_hot([above.finding for above in folders])
    splits = [above.split for above in folders]
    rows = make_rows({"image": paths, "path": paths, "split": splits, "patient_id": patients})
    names_patients = any(patient != path for patient, path in zip(patients, paths, strict=True))
    notes = []
    if without_patient and names_patients:  # where no image names one, the general warning says it
        notes.append(
            f"the names of {count(len(without_patient), 'image')} of {len(paths):,} tell no patient, "
            f"such as {without_patient[0]}: each counts as a patient, so images of one patient may be in two "
            "splits"
        )
    others = sorted(set(files) - set(paths))
    if others:
        notes.append(f"{count(len(others), 'file')} left out, without an image or of masks: {others[0]}")
    classes = sorted({above.finding for above in folders})
    uses = tuple(ColumnUse(word, f"finding {name_class(word)}") for word in classes)
    return LabelTable(
        "folder", root, rows, findings, raw, columns=uses, notes=tuple(notes), names_patients=names_patients
    )


def _is_image(root: Path, path: str) -> bool:
    """Whether a file is an image by its name, else by its first bytes: DICOM files often have no ending."""
    try:
        return path.lower().endswith(IMAGE_SUFFIXES) or is_image(root / path, (root / path).stat().st_mode)
    except OSError:  # packing says why it cannot be read
        return False


def _is_left_out(path: str) -> bool:
    return any(part.casefold() in _LEFT_OUT for part in path.split("/")[:-1])


def _split_of(folder: str) -> str:
    """train, val or test where a folder is called so, else nothing."""
    return SPLIT_WORDS.get(folder.strip().casefold(), "")


def _guess_levels(folders: Sequence[Parts], root: Path) -> Parts:
    """What each folder is, from the top: split, class or other.

    The class is the only level that is no split, has no neutral name and is not around all others.

    Raises:
        CxrError: No such level, several, or images at different depths.
    """
    depths = Counter(map(len, folders))
    if len(depths) > 1:
        first = {len(parts): "/".join(parts) or "the top" for parts in reversed(folders)}
        examples = " and ".join(first[depth] for depth in sorted(first)[:2])
        hint = "move them to folders of one depth, as train/CLASS/image, or set data.root deeper"
        raise CxrError(f"{root}: images lie at different depths, {examples}", hint)
    levels: list[str] = []
    unknown: list[int] = []  # levels that may be the class
    names_at = [set(names) for names in zip(*set(folders), strict=True)]  # per level, from the top
    for level, names in enumerate(names_at):
        if all(_split_of(name) for name in names):
            levels.append("split")
        elif all(name.casefold() in _NEUTRAL for name in names):
            levels.append("other")
        else:
            levels.append("class")
            unknown.append(level)
    # from the top: a single folder around all images tells nothing about them
    while len(unknown) > 1 and len(names_at[unknown[0]]) == 1:  # a folder around all others
        levels[unknown.pop(0)] = "other"
    if len(unknown) != 1 or levels.count("split") > 1:
        example = "/".join(folders[0]) or "none at all"
        problem = f"{root}: its folders do not tell which is the class, such as {example}"
        hint = "data.folders=[split, class], say, names what each folder is, from the top"
        raise CxrError(problem, hint)
    return tuple(levels)


def _read_folders(path: str, levels: Parts, root: Path) -> _Folders:
    """What the folders of an image name.

    Raises:
        CxrError: Fewer folders than levels, a split of another name, no class.
    """
    folders = path.split("/")[:-1]
    if len(folders) < len(levels) or "class" not in levels:
        problem = f"{root}: {path} does not lie in folders of {', '.join(levels)}"
        raise CxrError(problem, "correct data.folders")
    found = {level: normalise(name) for level, name in zip(levels, folders, strict=False)}
    split = _split_of(found["split"]) if "split" in found else ""
    if "split" in found and not split:
        raise CxrError(f"{root}: folder {found['split']} is no split", "a split is called train, val or test")
    return _Folders(found["class"], split, found.get("patient", ""))


def _read_patients(paths: Sequence[str], folders: Sequence[_Folders]) -> tuple[list[str], list[str]]:
    """(the patient of each image, the images that name none, which are called by their path)."""
    patients, without_patient = [], []
    for path, above in zip(paths, folders, strict=True):
        patient = above.patient or _patient_of(path.rpartition("/")[2])
        if not patient:
            without_patient.append(path)
        patients.append(patient or path)
    return patients, without_patient


def _patient_of(name: str) -> str:
    """The patient that the name of a file tells; empty where it tells none."""
    for pattern in _PATIENTS:
        match = re.match(pattern, name, re.IGNORECASE)
        if match:
            return match[1]
    return ""


def _one_hot(classes: Sequence[str]) -> tuple[Parts, Float]:
    """(findings, [N, C] 1 in the images of the finding's folder); images of no finding have 0 throughout."""
    names = {word: name_class(word) for word in set(classes)}
    spellings: dict[str, str] = {}
    for name in sorted(names.values()):
        spellings.setdefault(name_key(name), name)  # Mass in train and mass in test are the same finding
    findings = sorted(spellings.values(), key=lambda name: (name == NO_FINDING, name))
    column_of = {word: findings.index(spellings[name_key(name)]) for word, name in names.items()}
    # every image is in one folder, so that all other findings are absent
    raw = np.zeros((len(classes), len(findings)), np.float32)
    raw[np.arange(len(classes)), [column_of[word] for word in classes]] = 1
    return tuple(findings), raw
