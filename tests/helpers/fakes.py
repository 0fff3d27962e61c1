"""Writers of the real datasets' layouts, small, with the faults that the real files have."""

import gzip
import os
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from cxr.findings import CHEXPERT_14

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
    seed = zlib.crc32(os.fsencode(path.name))
    pixels = np.random.default_rng(seed).integers(0, 256, (size, size), dtype=np.uint8)
    path.write_bytes(cv2.imencode(path.suffix, pixels)[1].tobytes())  # cv2.imwrite takes no names but UTF-8


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
        write_lines(
            root / "train_val_list.txt", [image.name for image in images if image.split == "train_val"]
        )
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
        columns = [
            "Path",
            *(["Sex", "Age", "Frontal/Lateral", "AP/PA"] if demographics else []),
            *CHEXPERT_14,
        ]
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


def write_gzip(path: Path) -> None:
    """Replace a table by its gzipped form, as PhysioNet publishes it."""
    path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()


MIMIC_SPLITS = ("train",) * 6 + ("validate",) * 2 + ("test",) * 2
MIMIC_VIEWS = ("PA", "LATERAL", "AP", "LL", "")


def write_mimic(root: Path, version: str = "2.0.0", repeats: int = 1) -> Path:
    """MIMIC-CXR-JPG of ten patients with two images each, or more; patient 3's study has no row of labels."""
    metadata = [
        "dicom_id,subject_id,study_id,PerformedProcedureStepDescription,ViewPosition,Rows,Columns,StudyDate"
    ]
    splits = ["dicom_id,study_id,subject_id,split"]
    labels = {name: [",".join(["subject_id", "study_id", *CHEXPERT_14])] for name in ("chexpert", "negbio")}
    for number, split in enumerate(MIMIC_SPLITS * repeats):
        patient, study = 10_000_000 + number, 50_000_000 + number
        for view in (MIMIC_VIEWS[number % 2 * 2], MIMIC_VIEWS[number % 3 + 1]):
            image = f"{number:08x}-{view or 'none'}-{len(metadata):04x}"
            metadata.append(f'{image},{patient},{study},"CHEST (PA, LAT)",{view},32,32,21{number:02}0506')
            splits.append(f"{image},{study},{patient},{split}")
            write_image(root / f"files/p{str(patient)[:2]}/p{patient}/s{study}/{image}.jpg")
        cells = {
            "Cardiomegaly": f"{number % 2}.0",
            "Edema": "-1.0",
            "No Finding": "" if number % 2 else "1.0",
        }
        for name, lines in labels.items():
            own = cells if name == "chexpert" else {**cells, "Edema": "0.0"}
            if number != 3:
                lines.append(",".join([str(patient), str(study), *(own.get(one, "") for one in CHEXPERT_14)]))
    write_lines(root / f"mimic-cxr-{version}-metadata.csv", metadata)
    write_lines(root / f"mimic-cxr-{version}-split.csv", splits)
    for name, lines in labels.items():
        write_lines(root / f"mimic-cxr-{version}-{name}.csv", lines)
    return root


PADCHEST_LABELS = (
    "['normal']",
    "['cardiomegaly', ' pleural effusion', 'pleural effusion', '']",
    "['unchanged', 'NSG tube']",
    "nan",
    "['']",
    "['exclude']",
    "['pseudonodule', 'subcutaneous emphysema', 'pericardial effusion']",
    "['mass', 'air bronchogram',  'COPD signs ']",
    "['cardiomegaly']",
    "['hiatal hernia', 'callus rib fracture', 'suboptimal study']",
)
PADCHEST_TABLE = "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv"


def write_padchest(
    root: Path, labels: Sequence[str] = PADCHEST_LABELS, flat: bool = False, repeats: int = 1
) -> Path:
    """PadChest with an image for each list of labels, two images a patient, 16-bit PNGs in folders 0, 1 and 2."""
    header = (
        ",ImageID,ImageDir,StudyDate_DICOM,StudyID,PatientID,PatientBirth,PatientSex_DICOM,ViewPosition_DICOM,"
        "Projection,MethodProjection,Report,MethodLabel,Labels"
    )
    lines = [header]
    for number, cell in enumerate([*labels] * repeats):
        image, folder = f"2053668664013634{number:06}_k6ga29.png", number % 3
        birth, sex = ("" if number == 4 else "1930.0"), "MFO"[number % 3]
        view = ("PA", "L", "AP_horizontal", "EXCLUDE")[number % 4]
        method = ("Physician", "RNN_model")[number % 2]
        about = (
            number,
            image,
            folder,
            20140915,
            f"study{number}",
            83986048869429233 + number // 2,
            birth,
            sex,
        )
        lines.append(
            ",".join(map(str, (*about, "PA", view, "Manual", '" sin, hallazg ."', method, f'"{cell}"')))
        )
        path = root / (image if flat else f"{folder}/{image}")
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 4096, (36, 32), dtype=np.uint16)
        assert cv2.imwrite(str(path), pixels)
    write_lines(root / PADCHEST_TABLE, lines)
    return root


VINDR_FINDINGS = ("Cardiomegaly", "Nodule/Mass", "Pleural effusion", "Other diseases", "No finding")
VINDR_VOTES = {"a1": ("10000", "11000", "11010"), "b2": ("00001", "00001", "00001"), "c3": ("00100",) * 3}


def write_vindr(root: Path) -> Path:
    """VinDr-CXR: three training images of three readers each, and a test image of one row."""
    train = [",".join(("image_id", "rad_id", *VINDR_FINDINGS))]
    for image, votes in VINDR_VOTES.items():
        train += [",".join((image, f"R{reader + 8}", *vote)) for reader, vote in enumerate(votes)]
    write_lines(root / "annotations/image_labels_train.csv", train)
    other = [name.replace("diseases", "disease") for name in VINDR_FINDINGS]
    write_lines(root / "annotations/image_labels_test.csv", [",".join(("image_id", *other)), "d4,0,1,0,1,0"])
    for path in ("train/a1.png", "train/b2.png", "train/c3.png", "test/d4.png"):
        write_image(root / path)
    return root


def write_brax(root: Path) -> Path:
    """BRAX: six images of four patients, one of them of no view and one aged `85 or more`."""
    header = (
        "DicomPath",
        "PngPath",
        "PatientID",
        "PatientSex",
        "PatientAge",
        "AccessionNumber",
        *CHEXPERT_14,
    )
    lines = [",".join((*header, "ViewPosition"))]
    for number in range(6):
        below = f"id_{number % 4}/Study_{number}/Series_1/image-{number}"
        age, view = ("85 or more" if number == 1 else "40"), ("PA", "L", "")[number % 3]
        cells = (
            {"Cardiomegaly": "1.0", "Edema": "-1.0", "Fracture": "0.0"}
            if number % 2
            else {"No Finding": "1.0"}
        )
        about = (
            f"Anonymized_DICOMs/{below}.dcm",
            f"images/{below}.png",
            f"id_{number % 4}",
            "F",
            age,
            str(number),
        )
        lines.append(",".join((*about, *(cells.get(name, "") for name in CHEXPERT_14), view)))
        write_image(root / f"images/{below}.png")
    write_lines(root / "master_spreadsheet_update.csv", lines)
    return root
