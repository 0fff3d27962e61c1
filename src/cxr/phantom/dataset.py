"""Generated chest-like images in the layout of ChestX-ray14 or CheXpert, for the demo and for tests.

What is drawn: frontal views (PA, and AP with a larger heart) of invented patients with one to six images each. The 14
findings of ChestX-ray14 are drawn independently with a prevalence of 0.12 to 0.16, so one image in eight has none and
most have two or more; each is drawn as a textbook describes it, in bold strokes. The CheXpert layout leaves Emphysema
out, which has no observation there, and adds fractures and support devices. Nothing about real patients is in it, and
no figure measured on it says anything about radiographs.

Files, NIH layout: `images/*.png`, `Data_Entry_2017_v2020.csv`, `train_val_list.txt`, `test_list.txt` (one patient in
five), `BBox_List_2017.csv`. The boxes hold pixels of the generated image, not of a 1024-pixel frame as the archive's.

Files, CheXpert layout: `train|valid|test/patient*/study*/view1_frontal.jpg`, `train.csv` (negatives mostly blank, one
cell in ten uncertain), `valid.csv` (one patient in ten), `test.csv` (one in five), `boxes.csv` with a box for each
observation that a finding stands for.
"""

import os
import shutil
import uuid
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from cxr.config.schema import Phantom
from cxr.errors import CxrError
from cxr.files import explain_os_errors
from cxr.findings import CHEXPERT_14, NIH_14, NO_FINDING
from cxr.images.box import Box
from cxr.phantom.anatomy import Chest
from cxr.phantom.findings import radiograph

PREVALENCE = {
    "Atelectasis": 0.15, "Cardiomegaly": 0.14, "Effusion": 0.15, "Infiltration": 0.16, "Mass": 0.14, "Nodule": 0.15,
    "Pneumonia": 0.13, "Pneumothorax": 0.14, "Consolidation": 0.13, "Edema": 0.12, "Emphysema": 0.12, "Fibrosis": 0.13,
    "Pleural_Thickening": 0.13, "Hernia": 0.12, "Fracture": 0.12, "Support Devices": 0.20,
}  # fmt: skip
"""Share of images with each finding."""

OBSERVATIONS = {
    "Atelectasis": ("Atelectasis", "Lung Opacity"),
    "Cardiomegaly": ("Cardiomegaly", "Enlarged Cardiomediastinum"),
    "Effusion": ("Pleural Effusion",),
    "Infiltration": ("Lung Opacity",),
    "Mass": ("Lung Lesion", "Lung Opacity"),
    "Nodule": ("Lung Lesion", "Lung Opacity"),
    "Pneumonia": ("Pneumonia", "Lung Opacity"),
    "Pneumothorax": ("Pneumothorax",),
    "Consolidation": ("Consolidation", "Lung Opacity"),
    "Edema": ("Edema", "Lung Opacity"),
    "Fibrosis": ("Pleural Other",),
    "Pleural_Thickening": ("Pleural Other",),
    "Hernia": ("Enlarged Cardiomediastinum",),
    "Fracture": ("Fracture",),
    "Support Devices": ("Support Devices",),
}
"""CheXpert's observations that each drawn finding stands for."""

_NIH_HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
)


@dataclass(frozen=True)
class Exam:
    """One image to draw: whose, which follow-up (from 0), and how the chest lies in it."""

    index: int
    patient: int
    follow_up: int
    age: int
    sex: str
    view: str
    chest: Chest
    height: float
    """Height over width of the picture in the CheXpert layout."""


@dataclass(frozen=True)
class Drawn:
    """An exam whose image is written, with the box (x, y, width, height) of each finding in its pixels."""

    exam: Exam
    boxes: dict[str, Box]


def generate(root: Path, phantom: Phantom, workers: int = 0) -> None:
    """Writes an archive of generated images to `root`, which appears only when it is complete.

    Each image is a function of the seed and its index, whatever `workers`, the number of threads (0: one a core).

    Raises:
        CxrError: `root` is there and is not an empty folder.
    """
    root = root.absolute()
    if root.exists() and not (root.is_dir() and not any(root.iterdir())):
        raise CxrError(f"{root}: is there already", "name an empty or new folder, or delete this one")
    partial = root.with_name(f".{root.name}.partial-{uuid.uuid4().hex[:8]}")
    with explain_os_errors(root):
        partial.mkdir(parents=True)
    try:
        _fill(partial, phantom, workers or os.cpu_count() or 1)
        partial.rename(root)
    except OSError:
        # Another process may have finished the same archive first; its files equal ours.
        if find_layout(root) is None:
            raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def find_layout(root: Path) -> str | None:
    """`nih` or `chexpert` by the tables in a folder, None where it has neither."""
    if any(root.glob("Data_Entry_2017*.csv")):
        return "nih"
    return "chexpert" if (root / "train.csv").exists() else None


def _fill(root: Path, phantom: Phantom, workers: int) -> None:
    save, write = (_save_nih, _write_nih) if phantom.layout == "nih" else (_save_chexpert, _write_chexpert)
    with ThreadPoolExecutor(workers) as pool:
        drawn = list(pool.map(lambda exam: save(root, exam, phantom), plan(phantom)))
    write(root, drawn, phantom)


def plan(phantom: Phantom) -> list[Exam]:
    """The images to draw, patient by patient."""
    exams: list[Exam] = []
    patient = 0
    while len(exams) < phantom.num_images:
        patient += 1
        exams.extend(_exams(patient, len(exams), _random(phantom, 0, patient)))
    return exams[: phantom.num_images]


def _random(phantom: Phantom, *stream: int) -> np.random.Generator:
    return np.random.default_rng([phantom.seed % 2**32, *stream])


def _exams(patient: int, first: int, rng: np.random.Generator) -> Iterator[Exam]:
    num_images = min(int(rng.geometric(0.45)), 6)
    age, sex, height = int(rng.integers(18, 85)), "MF"[rng.integers(2)], float(rng.uniform(0.83, 1.0))
    build = rng.uniform((0.33, 0.09, 0.66, 0.40, 0.36), (0.38, 0.13, 0.71, 0.46, 0.42))
    for follow_up in range(num_images):
        view = "AP" if rng.random() < 0.35 else "PA"
        yield Exam(first + follow_up, patient, follow_up, age, sex, view, _chest(build, view, rng), height)
        age += int(rng.integers(0, 3))


def _chest(build: Iterable[float], view: str, rng: np.random.Generator) -> Chest:
    width, apex, dome, heart, air = (float(part) for part in build)
    dome += rng.normal(0, 0.008) - (0.015 if view == "AP" else 0)  # breathed in less deeply when lying
    return Chest(
        width=width,
        apex=apex,
        domes=(dome - 0.012, dome + 0.012),
        heart=heart * (1.06 if view == "AP" else 1),
        air=air,
        tilt=rng.normal(0, 2),
        shift=(rng.normal(0, 0.012), rng.normal(0, 0.012)),
        zoom=rng.uniform(0.95, 1.04),
        gamma=float(np.exp(rng.normal(0, 0.12))),
    )


def _draw(
    path: Path, exam: Exam, phantom: Phantom, known: Iterable[str], height: int, options: list[int]
) -> Drawn:
    rng = _random(phantom, 1, exam.index)
    findings = frozenset(name for name in known if rng.random() < PREVALENCE[name])
    image, boxes = radiograph(exam.chest, findings, (height, phantom.size), rng)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(path.suffix, image, options)[1].tobytes())
    return Drawn(exam, boxes)


def _nih_name(exam: Exam) -> str:
    return f"{exam.patient:08d}_{exam.follow_up:03d}.png"


def _save_nih(root: Path, exam: Exam, phantom: Phantom) -> Drawn:
    path = root / "images" / _nih_name(exam)
    return _draw(
        path,
        exam,
        phantom,
        NIH_14,
        phantom.size,
        [cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_HUFFMAN_ONLY],
    )


def _write_nih(root: Path, drawn: list[Drawn], phantom: Phantom) -> None:
    size, spacing = phantom.size, round(360 / phantom.size, 3)
    rows, boxes = [_NIH_HEADER], ["Image Index,Finding Label,Bbox [x,y,w,h],,,"]
    lists: dict[bool, list[str]] = {False: [], True: []}
    for one in drawn:
        exam, name = one.exam, _nih_name(one.exam)
        labels = "|".join(one.boxes) or NO_FINDING
        person = f"{exam.follow_up},{exam.patient},{exam.age},{exam.sex},{exam.view}"
        rows.append(f"{name},{labels},{person},{size},{size},{spacing},{spacing}")
        boxes.extend(f"{name},{finding},{x},{y},{w},{h},,," for finding, (x, y, w, h) in one.boxes.items())
        lists[_is_test(exam)].append(name)
    _write_lines(root / "train_val_list.txt", lists[False])
    _write_lines(root / "test_list.txt", lists[True])
    _write_lines(root / "BBox_List_2017.csv", boxes)
    _write_lines(root / "Data_Entry_2017_v2020.csv", rows)


def _is_test(exam: Exam) -> bool:
    return exam.patient % 5 == 2  # so that two patients are enough for a training and a test row


def _chexpert_split(exam: Exam) -> str:
    return "test" if _is_test(exam) else "valid" if exam.patient % 10 == 3 else "train"


def _chexpert_path(exam: Exam) -> str:
    return f"{_chexpert_split(exam)}/patient{exam.patient:05d}/study{exam.follow_up + 1}/view1_frontal.jpg"


def _save_chexpert(root: Path, exam: Exam, phantom: Phantom) -> Drawn:
    height = round(exam.height * phantom.size)
    return _draw(
        root / _chexpert_path(exam), exam, phantom, OBSERVATIONS, height, [cv2.IMWRITE_JPEG_QUALITY, 90]
    )


def _write_chexpert(root: Path, drawn: list[Drawn], phantom: Phantom) -> None:
    header = ",".join(("Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", *CHEXPERT_14))
    tables = {split: [header] for split in ("train", "valid", "test")}
    boxes = ["Path,finding,x,y,w,h"]
    for one in drawn:
        exam, split = one.exam, _chexpert_split(one.exam)
        path = f"CheXpert-v1.0-small/{_chexpert_path(exam)}"
        present = {name for finding in one.boxes for name in OBSERVATIONS[finding]}
        cells = _sure(present) if split != "train" else _hedged(present, _random(phantom, 2, exam.index))
        sex = {"M": "Male", "F": "Female"}[exam.sex]
        tables[split].append(",".join((path, sex, str(exam.age), "Frontal", exam.view, *cells)))
        for finding, (x, y, w, h) in one.boxes.items():
            boxes.extend(f"{path},{name},{x},{y},{w},{h}" for name in OBSERVATIONS[finding])
    _write_lines(root / "boxes.csv", boxes)
    for split, rows in tables.items():
        _write_lines(root / f"{split}.csv", rows)


def _sure(present: set[str]) -> list[str]:
    """Cells 1.0 and 0.0; as in CheXpert, support devices alone leave No Finding at 1."""
    nothing = {NO_FINDING} if present <= {"Support Devices"} else set()
    return ["1.0" if name in present | nothing else "0.0" for name in CHEXPERT_14]


def _hedged(present: set[str], rng: np.random.Generator) -> list[str]:
    """The cells of a training row: No Finding is 1.0 or blank, others are made uncertain or blank by chance."""
    first, *cells = _sure(present)
    draws = rng.random(len(cells))
    blanked = [
        "-1.0" if u < 0.1 else "" if cell == "0.0" and u < 0.9 else cell
        for cell, u in zip(cells, draws, strict=True)
    ]
    return [first if first == "1.0" else "", *blanked]


def _write_lines(path: Path, lines: list[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines))
