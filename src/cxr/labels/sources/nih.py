"""NIH ChestX-ray14: one row an image, its findings in one cell separated by bars.

112,120 frontal images (67,310 PA, 44,810 AP) of 30,805 patients; 60,361 images say `No Finding`.

Labels: mined from radiology reports by NLP, stated to be more than 90% accurate; nobody looked at the images.
A cell is 1 when the word is there and 0 when it is not, so nothing is uncertain or blank.

Known faults: ages above 120 years and ages like `058Y`, `011M`, `013D` in the file of 2017; one image in
about 160 is RGBA; many images of pneumothorax show a chest drain, so the disease is already treated
(Oakden-Rayner 2020).

Files expected in data.root:
    Data_Entry_2017_v2020.csv or Data_Entry_2017.csv (or data.csv), plain or gzipped
    images/, or images_001/images/ ... images_012/images/, or the images beside the CSV
    train_val_list.txt (86,524 names) and test_list.txt (25,596 names), for split=official

Citation: Wang et al. "ChestX-ray8: Hospital-scale chest X-ray database and benchmarks on weakly-supervised
classification and localization of common thorax diseases." CVPR 2017.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from cxr.config.schema import Data
from cxr.console import count
from cxr.errors import CxrError
from cxr.fields.identity import normalise, normalise_ids
from cxr.findings import NIH_14, NO_FINDING, canonical
from cxr.labels.classes import split_words
from cxr.labels.columns import account
from cxr.labels.files_read import note_file
from cxr.labels.lookup import list_folder, stem
from cxr.labels.reading import (
    add_files,
    make_rows,
    pick_columns,
    read_label_table,
    read_patients,
    root_folder,
    split_column,
)
from cxr.labels.sheet import Sheet
from cxr.labels.table import Float, LabelTable

TABLES = ("Data_Entry_2017_v2020.csv", "Data_Entry_2017.csv")
LISTS = {"train_val": "train_val_list.txt", "test": "test_list.txt"}
FINDINGS = (*NIH_14, NO_FINDING)
IMAGE, LABELS, PATIENT, FOLLOW_UP = "Image Index", "Finding Labels", "Patient ID", "Follow-up #"
VIEW, AGE, SEX, GENDER = "View Position", "Patient Age", "Patient Sex", "Patient Gender"
KNOWN = (IMAGE, LABELS, PATIENT, FOLLOW_UP, VIEW, AGE, SEX, GENDER)


def read(data: Data) -> LabelTable:
    """Every row of the label table, with its file (empty when not there) and its split in the official lists.

    Raises:
        CxrError: No folder, no label table, a column or a patient missing, an unknown finding, a doubled
            image, or, under split=official, no lists.
    """
    root = root_folder(data, TABLES[0])
    sheet = read_label_table(root, data.csv, "ChestX-ray14", TABLES, "images/").spelled(KNOWN)
    sheet.require([IMAGE, LABELS, PATIENT], f"data.csv must be ChestX-ray14's table, such as {TABLES[0]}")
    read_patients(sheet, PATIENT)  # refuses rows without one
    table = parse(sheet, root)
    images = list(table.rows["image"])
    splits = split_column(sheet, data)
    listed = {} if splits else read_lists(root, needed=data.split == "official")
    splits = splits or [listed.get(image, "") for image in images]
    known = set(images)
    absent = tuple((image, split) for image, split in listed.items() if image not in known)
    return replace(add_files(table, _find_paths(root, images), splits), absent=absent)


def parse(sheet: Sheet, root: Path) -> LabelTable:
    """The table of a CSV in NIH's form, of which only image and labels are needed; no file is looked for."""
    sex = GENDER if GENDER in sheet.header else SEX  # by the file's version
    named = {"image": IMAGE} | pick_columns(sheet, {"view": VIEW, "age": AGE, "sex": sex})
    columns = {name: sheet.column(column) for name, column in named.items()}
    if PATIENT in sheet.header:
        named["patient_id"] = PATIENT
        patients = normalise_ids(sheet.column(PATIENT))
        columns["patient_id"] = patients
        if FOLLOW_UP in sheet.header:  # counts the visits of each patient
            named["study_id"] = FOLLOW_UP
            visits = zip(patients, normalise_ids(sheet.column(FOLLOW_UP)), strict=True)
            columns["study_id"] = [f"{patient}/{visit}" for patient, visit in visits]
    uses = account(sheet, named, {f"list of {len(FINDINGS)}": LABELS}, {}, "not read by data.source=nih")
    raw = _read_findings(sheet)
    return LabelTable("nih", root, make_rows(columns), FINDINGS, raw, columns=uses, where=sheet.where)


def _read_findings(sheet: Sheet) -> Float:
    """[N, C] 1 where a cell of Finding Labels names the finding, else 0."""
    codes, cells = pd.factorize(np.array(sheet.column(LABELS), dtype=object))  # 836 distinct cells in 112,120
    raw = np.zeros((len(cells), len(FINDINGS)), dtype=np.float32)
    problems = []
    for index, cell in enumerate(cells):
        for word in split_words(str(cell)) or [""]:  # an empty cell is an unknown finding, too
            finding = canonical(word)
            if finding in FINDINGS:
                # [distinct cells, C], spread over the rows below
                raw[index, FINDINGS.index(finding)] = 1
            else:
                row = int(np.flatnonzero(codes == index)[0])
                problems.append(f"{sheet.where(row)}: unknown finding {word!r} in {LABELS}")
    if problems:
        raise CxrError(problems, f"findings are {', '.join(FINDINGS)}, separated by |")
    return raw[codes]


def _find_paths(root: Path, images: list[str]) -> list[str]:
    """The file of each image, in any folder, as some copies of the table name others, and with any ending."""
    files = find_images(root)
    files_by_stem = {stem(name): path for name, path in files.items()}
    names = [image.rpartition("/")[2] for image in images]
    return [files.get(name, "") or files_by_stem.get(name, "") for name in names]


def find_images(root: Path) -> dict[str, str]:
    """By name the first path below root of every file in images/, images_*/images/, images_*/ and root."""
    folders = [root / "images", *sorted(root.glob("images_*/images")), *sorted(root.glob("images_*")), root]
    # setdefault: a name in two folders is the file of the first
    files: dict[str, str] = {}
    for folder in folders:
        below = folder.relative_to(root)
        for name in list_folder(folder):
            files.setdefault(normalise(name), (below / name).as_posix())
    return files


def read_lists(root: Path, needed: bool) -> dict[str, str]:
    """`train_val` or `test` by image name, as the official lists say; empty without lists if not needed.

    Raises:
        CxrError: A list is needed and not there, or a name is in both.
    """
    missing = [file for file in LISTS.values() if not (root / file).is_file()]
    if missing and needed:
        problems = [f"{root}: no {file}, which split=official needs" for file in missing]
        hint = "download the lists from the page of the images, or use data.split=random, lists or column"
        raise CxrError(problems, hint)
    listed: dict[str, str] = {}
    for split, file in LISTS.items():
        names = [] if file in missing else _read_names(root / file)
        doubled = [name for name in names if listed.get(name, split) != split]
        if doubled:
            problem = f"{count(len(doubled), 'image')} also in {LISTS['train_val']}, the first {doubled[0]}"
            raise CxrError(f"{root / file}: {problem}", "download both lists again")
        listed.update(dict.fromkeys(names, split))
    return listed


def _read_names(path: Path) -> list[str]:
    note_file(path)
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (UnicodeDecodeError, OSError) as problem:
        raise CxrError(f"{path}: not a readable list of names ({problem})", "download it again") from None
    names = [normalise(line) for line in lines]  # a line may hold nothing but a zero-width space
    return [name.split()[0] for name in names if name]
