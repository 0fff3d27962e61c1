"""Generated images in the layout of ChestX-ray14.

Files: `images/*.png`, `Data_Entry_2017_v2020.csv`, `train_val_list.txt`, `test_list.txt` (one patient in
five), `BBox_List_2017.csv`. The boxes hold pixels of the generated image, not of a frame of 1024 pixels as
the real ones.
"""

from pathlib import Path

import cv2

from cxr.findings import NIH_14, NO_FINDING
from cxr.phantom.exams import Drawn, Exam, draw_exam, write_lines

_HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
)
_BOX_HEADER = "Image Index,Finding Label,Bbox [x,y,w,h],,,"
_DETECTOR_MILLIMETRES = 360
_PNG_OPTIONS = [cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_HUFFMAN_ONLY]  # noise compresses no better


def _file_name(exam: Exam) -> str:
    return f"{exam.patient:08d}_{exam.follow_up:03d}.png"


def save_image(root: Path, exam: Exam, size: int, seed: int) -> Drawn:
    """Draws an exam into its file."""
    path = root / "images" / _file_name(exam)
    return draw_exam(path, exam, NIH_14, (size, size), seed, _PNG_OPTIONS)


def write_tables(root: Path, drawn: list[Drawn], size: int, seed: int) -> None:
    """Writes labels, boxes and lists of splits; nothing in them is random."""
    spacing = round(_DETECTOR_MILLIMETRES / size, 3)
    rows, boxes = [_HEADER], [_BOX_HEADER]
    train_val: list[str] = []
    test: list[str] = []
    for image in drawn:
        exam, name = image.exam, _file_name(image.exam)
        labels = "|".join(image.boxes) or NO_FINDING
        person = f"{exam.follow_up},{exam.patient},{exam.age},{exam.sex},{exam.view}"
        rows.append(f"{name},{labels},{person},{size},{size},{spacing},{spacing}")
        for finding, (x, y, width, height) in image.boxes.items():
            boxes.append(f"{name},{finding},{x},{y},{width},{height},,,")
        (test if exam.is_test else train_val).append(name)
    write_lines(root / "train_val_list.txt", train_val)
    write_lines(root / "test_list.txt", test)
    write_lines(root / "BBox_List_2017.csv", boxes)
    write_lines(root / "Data_Entry_2017_v2020.csv", rows)
