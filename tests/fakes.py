"""Writers of the real archives' layouts, small, with the faults that the real files have."""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from cxr.data.findings import CHEXPERT_14

NIH_HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,{sex},View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
)


@dataclass(frozen=True)
class NihImage:
    name: str
    labels: str = "No Finding"
    patient: str = "1"
    age: str = "58"
    sex: str = "M"
    view: str = "PA"
    split: str = "train_val"


NIH_IMAGES = (
    NihImage("00000001_000.png", "Cardiomegaly", "1", "058Y"),
    NihImage("00000001_001.png", "Cardiomegaly|Emphysema", "1", "411", view="AP"),
    NihImage("00000002_000.png", "No Finding", "2", "011M", "F"),
    NihImage("00000003_000.png", "Hernia", "3", "81", "F", split="test"),
    NihImage("00000003_001.png", "Hernia|Infiltration|Pleural_Thickening", "3", "82", "F", split="test"),
    NihImage("00000004_000.png", "Mass|Nodule", "4", "013D"),
)
"""Four patients with the ages of the 2017 file."""


def write_image(path: Path, size: int = 32) -> None:
    """Grey noise, the same for the same name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(zlib.crc32(path.name.encode())).integers(0, 256, (size, size), dtype=np.uint8)
    assert cv2.imwrite(str(path), pixels)


def write_nih(
    root: Path,
    images: Sequence[NihImage] = NIH_IMAGES,
    csv: str = "Data_Entry_2017_v2020.csv",
    folders: Sequence[str] = ("images",),
    sex: str = "Patient Sex",
    lists: bool = True,
    trailing_comma: bool = False,
) -> Path:
    """ChestX-ray14 with its images dealt to the folders in turn; the file of 2017 ends each line in a comma."""
    root.mkdir(parents=True, exist_ok=True)
    lines = [NIH_HEADER.format(sex=sex)]
    for place, image in enumerate(images):
        row = (image.name, image.labels, place, image.patient, image.age, image.sex, image.view)
        lines.append(",".join(map(str, (*row, 2500, 2048, 0.143, 0.143))))
        write_image(root / folders[place % len(folders)] / image.name)
    write_lines(root / csv, [line + "," * trailing_comma for line in lines])
    if lists:
        write_lines(root / "train_val_list.txt", [image.name for image in images if image.split == "train_val"])
        write_lines(root / "test_list.txt", [image.name for image in images if image.split == "test"])
    return root


@dataclass(frozen=True)
class CheXpertImage:
    path: str
    labels: Mapping[str, str]
    sex: str = "Female"
    age: str = "68"
    side: str = "Frontal"
    direction: str = "AP"


def chexpert_images(fold: str, patients: Sequence[int]) -> list[CheXpertImage]:
    """A frontal image for each patient, of present, absent, uncertain and many blank cells, and one lateral image."""
    labels = {"Cardiomegaly": "1.0", "Edema": "0.0", "Atelectasis": "-1.0"}
    first = f"{fold}/patient{patients[0]:05}/study1/view2_lateral.jpg"
    frontal = [CheXpertImage(f"{fold}/patient{n:05}/study1/view1_frontal.jpg", labels) for n in patients]
    return [CheXpertImage(first, {"Fracture": "1.0"}, "Unknown", "0", "Lateral", ""), *frontal]


CHEXPERT_FILES = {"train": (1, 2, 3, 4, 5), "valid": (64541, 64542), "test": (64741,)}


def write_chexpert(
    root: Path,
    prefix: str = "CheXpert-v1.0-small/",
    files: Sequence[str] = ("train", "valid"),
    demographics: bool = True,
    suffix: str = "",
) -> Path:
    """CheXpert's tables and images in root; `prefix` stands before each Path, `suffix` after each table's name."""
    root.mkdir(parents=True, exist_ok=True)
    for fold in files:
        columns = ["Path", *(["Sex", "Age", "Frontal/Lateral", "AP/PA"] if demographics else []), *CHEXPERT_14]
        lines = [",".join(columns)]
        for image in chexpert_images(fold, CHEXPERT_FILES[fold]):
            about = [image.sex, image.age, image.side, image.direction] if demographics else []
            cells = [image.labels.get(name, "") for name in CHEXPERT_14]
            lines.append(",".join([prefix + image.path, *about, *cells]))
            write_image(root / image.path)
        write_lines(root / f"{fold}{suffix}.csv", lines)
    return root


def write_lines(path: Path, lines: Sequence[str], end: str = "\n", encoding: str = "utf-8") -> Path:
    """A text file; end="\\r\\n" and encoding="utf-8-sig" make it as spreadsheets do."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("".join(line + end for line in lines).encode(encoding))
    return path
