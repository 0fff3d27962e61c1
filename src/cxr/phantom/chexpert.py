"""Generated images in the layout of CheXpert.

Files: `train|valid|test/patient*/study*/view1_frontal.jpg`, `train.csv` (negatives mostly blank, one cell in
ten uncertain), `valid.csv` (one patient in ten), `test.csv` (one in five), `boxes.csv` with a box for each
observation that a finding stands for.
"""

from pathlib import Path

import cv2
import numpy as np

from cxr.findings import CHEXPERT_14, NO_FINDING
from cxr.phantom.exams import Drawn, Exam, draw_exam, random_stream, write_lines

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

_LABEL_STREAM = 2
_SEXES = {"M": "Male", "F": "Female"}
_JPEG_OPTIONS = [cv2.IMWRITE_JPEG_QUALITY, 90]


def _split_of(exam: Exam) -> str:
    if exam.is_test:
        return "test"
    return "valid" if exam.patient % 10 == 3 else "train"


def _image_path(exam: Exam) -> str:
    return f"{_split_of(exam)}/patient{exam.patient:05d}/study{exam.follow_up + 1}/view1_frontal.jpg"


def save_image(root: Path, exam: Exam, size: int, seed: int) -> Drawn:
    """Draws an exam into its file."""
    shape = round(exam.height * size), size
    return draw_exam(root / _image_path(exam), exam, OBSERVATIONS, shape, seed, _JPEG_OPTIONS)


def write_tables(root: Path, drawn: list[Drawn], size: int, seed: int) -> None:
    """Writes the labels of each split, uncertain and blank cells in the training one, and the boxes."""
    header = ",".join(("Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", *CHEXPERT_14))
    tables = {split: [header] for split in ("train", "valid", "test")}
    boxes = ["Path,finding,x,y,w,h"]
    for image in drawn:
        exam, split = image.exam, _split_of(image.exam)
        path = f"CheXpert-v1.0-small/{_image_path(exam)}"
        # a drawn finding may stand for several observations
        present = {name for finding in image.boxes for name in OBSERVATIONS[finding]}
        cells = _certain_cells(present)
        if split == "train":
            cells = _add_doubt(cells, random_stream(seed, _LABEL_STREAM, exam.index))
        row = (path, _SEXES[exam.sex], str(exam.age), "Frontal", exam.view, *cells)
        tables[split].append(",".join(row))
        for finding, (x, y, width, height) in image.boxes.items():
            for name in OBSERVATIONS[finding]:
                boxes.append(f"{path},{name},{x},{y},{width},{height}")
    write_lines(root / "boxes.csv", boxes)
    for split, rows in tables.items():
        write_lines(root / f"{split}.csv", rows)


def _certain_cells(present: set[str]) -> list[str]:
    """Cells 1.0 and 0.0; as in CheXpert, support devices alone leave No Finding at 1."""
    positive = present | {NO_FINDING} if present <= {"Support Devices"} else present
    return ["1.0" if name in positive else "0.0" for name in CHEXPERT_14]


def _add_doubt(cells: list[str], rng: np.random.Generator) -> list[str]:
    """The cells of a training row: No Finding is 1.0 or blank, others become uncertain or blank by chance."""
    no_finding, *others = cells
    doubtful = [no_finding if no_finding == "1.0" else ""]
    for cell, draw in zip(others, rng.random(len(others)), strict=True):
        # one cell in ten; of absent ones eight in ten more are blank, as reports seldom name what is not
        # there
        if draw < 0.1:
            doubtful.append("-1.0")
        elif cell == "0.0" and draw < 0.9:
            doubtful.append("")
        else:
            doubtful.append(cell)
    return doubtful
