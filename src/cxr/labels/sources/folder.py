"""Folders as classes: images in folders that are called by what is seen in them, and no table.

Layouts: CLASS/image, or SPLIT/CLASS/image with splits called train, val (valid, validation) and test, in any case;
folders around all of it (chest_xray/train/...) and folders called images or data count for nothing. data.folders says
what the folders are where that is not so, as [class, patient].

Labels: each folder of images is a finding, present in its own images and absent in all others. Folders called NORMAL,
No Finding, Healthy or Negative hold the images without any. Who labelled the images, and from what, the folders do not
say.

Patients: by the folder, where data.folders says so, else by the file's name, of which these forms are known:
    person12_bacteria_3.jpeg             person12 (Kermany et al. 2018)
    IM-0115-0001.jpeg, NORMAL2-IM-0032-0001.jpeg   IM-0115, NORMAL2-IM-0032 (the same)
    00000012_003.png                     00000012 (ChestX-ray14)
    patient00012_study1_view1.jpg        patient00012 (CheXpert and others)
Any other image counts as a patient of its own, which a warning says. data.columns.patient=null takes all images so.

Known faults: numbers of persons recur between the splits of Kermany's images, which is refused as a leak; nobody knows
whether they are the same children. __MACOSX and folders of masks are left out.

Citation: Kermany et al. "Identifying medical diagnoses and treatable diseases by image-based deep learning." Cell 172,
2018.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
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
from cxr.labels.table import LabelTable

_NEUTRAL = frozenset(("images", "image", "imgs", "img", "data", "jpeg", "jpg", "png"))
_LEFT_OUT = frozenset(("__macosx", "masks", "mask", "lung masks", "segmentation", "segmentations"))
_PATIENTS = (r"(person\d+)_", r"((?:NORMAL\d*-)?IM-\d+)-", r"(\d{8})_\d{3}\b", r"(patient[-_]?\d+)(?!\d)")

Parts = tuple[str, ...]


def read(data: Data) -> LabelTable:
    """Every image file below data.root, with the class and the split that its folders name.

    Raises:
        CxrError: No folder, no image, folders of which nobody could say which is the class.
    """
    root = root_folder(data, "folders of images, called by their classes")
    if data.split == "column":
        raise CxrError(
            "data.split: folders have no split column", "use official (the folders'), random or lists"
        )
    every = Index.of(root).paths
    paths = [path for path in every if not _is_left_out(path) and _is_image(root, path)]
    others = sorted(set(every) - set(paths))
    if not paths:
        raise CxrError(
            f"{root}: no image in it", "data.root must hold folders of images, called by their classes"
        )
    levels = data.folders or _guess_levels([tuple(path.split("/")[:-1]) for path in paths], root)
    inside = [_read_folders(path, levels, root) for path in paths]
    patients, note = _read_patients(paths, inside, data)
    findings, raw = _one_hot([folders["class"] for folders in inside])
    splits = [folders.get("split", "") for folders in inside]
    rows = make_rows({"image": paths, "path": paths, "split": splits, "patient_id": patients})
    names_patients = any(patient != path for patient, path in zip(patients, paths, strict=True))
    notes = [note] if note and names_patients else []  # else the general warning says it
    if others:
        notes.append(f"{count(len(others), 'file')} left out, without an image or of masks: {others[0]}")
    uses = tuple(
        ColumnUse(word, f"finding {name_class(word)}") for word in sorted({one["class"] for one in inside})
    )
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
    return SPLIT_WORDS.get(folder.strip().casefold(), "")


def _guess_levels(folders: Sequence[Parts], root: Path) -> Parts:
    """What the folders are, from the top: the only one that is no split, no neutral name and not around all others.

    Raises:
        CxrError: None such, several, or images at different depths.
    """
    depths = Counter(map(len, folders))
    if len(depths) > 1:
        what = f"{root}: images lie at different depths, {_say_depths(folders)}"
        raise CxrError(
            what, "move them to folders of one depth, as train/CLASS/image, or set data.root deeper"
        )
    levels, unknown = [], []
    for level, names in enumerate(zip(*set(folders), strict=True)):
        different = set(names)
        if all(_split_of(name) for name in different):
            levels.append("split")
        elif all(name.casefold() in _NEUTRAL for name in different):
            levels.append("other")
        else:
            levels.append("class")
            unknown.append((level, different))
    while len(unknown) > 1 and len(unknown[0][1]) == 1:  # around all of it
        levels[unknown.pop(0)[0]] = "other"
    if len(unknown) != 1 or levels.count("split") > 1:
        what = f"{root}: its folders do not tell which is the class, such as {'/'.join(folders[0]) or 'none at all'}"
        raise CxrError(what, "data.folders=[split, class], say, names what each folder is, from the top")
    return tuple(levels)


def _say_depths(folders: Sequence[Parts]) -> str:
    first = {len(one): "/".join(one) or "the top" for one in reversed(folders)}
    return " and ".join(first[depth] for depth in sorted(first)[:2])


def _read_folders(path: str, levels: Parts, root: Path) -> dict[str, str]:
    """The class, and perhaps the split and the patient, that the folders of an image name.

    Raises:
        CxrError: Fewer folders than levels, a split of another name, no class.
    """
    folders = path.split("/")[:-1]
    if len(folders) < len(levels) or "class" not in levels:
        raise CxrError(
            f"{root}: {path} does not lie in folders of {', '.join(levels)}", "correct data.folders"
        )
    found = {level: normalise(name) for level, name in zip(levels, folders, strict=False) if level != "other"}
    if "split" in found and not _split_of(found["split"]):
        raise CxrError(f"{root}: folder {found['split']} is no split", "a split is called train, val or test")
    return found | ({"split": _split_of(found["split"])} if "split" in found else {})


def _read_patients(
    paths: Sequence[str], inside: Sequence[dict[str, str]], data: Data
) -> tuple[list[str], str]:
    """(the patient of each image, what to say where some images name none)."""
    if data.columns.patient is None:
        return list(paths), ""
    both = list(zip(paths, inside, strict=True))
    named = [folders.get("patient") or next(_patients_of(path), "") for path, folders in both]
    nameless = [path for path, patient in zip(paths, named, strict=True) if not patient]
    if not nameless:
        return named, ""
    note = f"the names of {count(len(nameless), 'image')} of {len(paths):,} tell no patient, such as {nameless[0]}: "
    note += "each counts as a patient, so images of one patient may be in two splits"
    return [patient or path for patient, path in zip(named, paths, strict=True)], note


def _patients_of(path: str) -> Iterator[str]:
    for pattern in _PATIENTS:
        found = re.match(pattern, path.rpartition("/")[2], re.IGNORECASE)
        if found:
            yield found[1]


def _one_hot(classes: Sequence[str]) -> tuple[tuple[str, ...], np.ndarray]:
    """(findings, [N, C] 1 in the images of the finding's folder); images of no finding have 0 throughout."""
    names = {word: name_class(word) for word in dict.fromkeys(classes)}
    first: dict[str, str] = {}
    for name in sorted(names.values()):
        first.setdefault(name_key(name), name)  # NORMAL in train and Normal in test are one
    findings = sorted(first.values(), key=lambda name: (name == NO_FINDING, name))
    places = {word: findings.index(first[name_key(name)]) for word, name in names.items()}
    raw = np.zeros((len(classes), len(findings)), np.float32)
    raw[np.arange(len(classes)), [places[word] for word in classes]] = 1
    return tuple(findings), raw
