"""NIH ChestX-ray14: one row an image, its findings in one cell separated by bars.

112,120 frontal images (67,310 PA, 44,810 AP) of 30,805 patients; 60,361 images say `No Finding`.

Labels: mined from radiology reports by NLP, stated to be more than 90% accurate; nobody looked at the images. A cell is
1 when the word is there and 0 when it is not, so nothing is uncertain or blank.

Known faults: ages above 120 years and ages like `058Y`, `011M`, `013D` in the file of 2017; one image in about 160 is
RGBA; many images of pneumothorax show a chest drain, so the disease is already treated (Oakden-Rayner 2020).

Files expected in data.root:
    Data_Entry_2017_v2020.csv or Data_Entry_2017.csv (or data.csv), plain or gzipped
    images/, or images_001/images/ ... images_012/images/, or the images beside the CSV
    train_val_list.txt (86,524 names) and test_list.txt (25,596 names), for split=official

Citation: Wang et al. "ChestX-ray8: Hospital-scale chest X-ray database and benchmarks on weakly-supervised
classification and localization of common thorax diseases." CVPR 2017.
"""

from collections.abc import Sequence
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
from cxr.labels.lookup import list_folder, stem
from cxr.labels.reading import find_csv, make_rows, read_patients, root_folder, split_column
from cxr.labels.sheet import Sheet, read_sheet
from cxr.labels.table import Float, LabelTable

CSV_NAMES = ("Data_Entry_2017_v2020.csv", "Data_Entry_2017.csv")
LISTS = {"train_val": "train_val_list.txt", "test": "test_list.txt"}
FINDINGS = (*NIH_14, NO_FINDING)
IMAGE, LABELS, PATIENT, FOLLOW_UP = "Image Index", "Finding Labels", "Patient ID", "Follow-up #"
COLUMNS = {"View Position": "view", "Patient Age": "age", "Patient Sex": "sex", "Patient Gender": "sex"}
KNOWN = (IMAGE, LABELS, PATIENT, FOLLOW_UP, *COLUMNS)


def read(data: Data) -> LabelTable:
    """Every row of the label table, with its file (empty when not there) and its place in the official lists.

    Raises:
        CxrError: No folder, no label table, a column or a patient missing, an unknown finding, a doubled image, or,
            under split=official, no lists.
    """
    root = root_folder(data, CSV_NAMES[0])
    sheet = read_sheet(_find_csv(root, data.csv)).spelled(KNOWN)
    sheet.require([IMAGE, LABELS, PATIENT], f"data.csv must be ChestX-ray14's table, such as {CSV_NAMES[0]}")
    read_patients(sheet, PATIENT, "a patient's images must stay in one split; fill in the patient")
    table = parse(sheet, root)
    files = find_images(root)
    stems = {stem(name): path for name, path in files.items()}
    paths = [files.get(_last(name), "") or stems.get(_last(name), "") for name in table.rows["image"]]
    rows = table.rows.assign(path=pd.Series(paths, dtype=str))
    column = split_column(sheet, data)
    listed = {} if column else read_lists(root, needed=data.split == "official")
    split = column or [listed.get(name, "") for name in rows["image"]]
    known = set(rows["image"])
    absent = tuple((name, split) for name, split in listed.items() if name not in known)
    return replace(table, rows=rows.assign(split=pd.Series(split, dtype=str)), absent=absent)


def parse(sheet: Sheet, root: Path) -> LabelTable:
    """The table of a CSV in NIH's form, without looking for images or lists; only image and labels are needed."""
    named = {"image": IMAGE} | {name: column for column, name in COLUMNS.items() if column in sheet.header}
    columns = {name: sheet.column(column) for name, column in named.items()}
    if PATIENT in sheet.header:
        named["patient_id"] = PATIENT
        columns["patient_id"] = normalise_ids(sheet.column(PATIENT))
        if FOLLOW_UP in sheet.header:
            visits = normalise_ids(sheet.column(FOLLOW_UP))
            columns["study_id"] = [f"{a}/{b}" for a, b in zip(columns["patient_id"], visits, strict=True)]
            named["study_id"] = FOLLOW_UP
    uses = account(sheet, named, {f"list of {len(FINDINGS)}": LABELS}, {}, "not read by data.source=nih")
    raw = _read_findings(sheet)
    return LabelTable("nih", root, make_rows(columns), FINDINGS, raw, columns=uses, where=sheet.where)


def _read_findings(sheet: Sheet) -> Float:
    codes, cells = pd.factorize(np.array(sheet.column(LABELS), dtype=object))  # 836 distinct cells in 112,120
    raw = np.zeros((len(cells), len(FINDINGS)), dtype=np.float32)
    problems = []
    for place, cell in enumerate(cells):
        for word in split_words(str(cell)) or [""]:
            if canonical(word) in FINDINGS:
                raw[place, FINDINGS.index(canonical(word))] = 1
            else:
                row = int(np.flatnonzero(codes == place)[0])
                problems.append(f"{sheet.where(row)}: unknown finding {word!r} in {LABELS}")
    if problems:
        raise CxrError(problems, f"findings are {', '.join(FINDINGS)}, separated by |")
    return raw[codes]


def _last(name: str) -> str:
    """The name of an image without the folders that some copies of the table put before it."""
    return name.rpartition("/")[2]


def _find_csv(root: Path, csv: Path | None) -> Path:
    if csv is not None:
        return find_csv(root, csv)
    names = [name + end for name in CSV_NAMES for end in ("", ".gz")]
    for name in names:
        if (root / name).exists():
            return root / name
    looked = f"looked for {', '.join(names)}"
    raise CxrError(
        f"{root}: no label table of ChestX-ray14",
        f"{looked}; data.root must be the folder that holds {CSV_NAMES[0]}, or set data.csv",
    )


def find_images(root: Path) -> dict[str, str]:
    """Path below root of every file in images/, images_*/images/, images_*/ and root, by its name, first found."""
    folders = [root / "images", *sorted(root.glob("images_*/images")), *sorted(root.glob("images_*")), root]
    files: dict[str, str] = {}
    for folder in folders:
        below = folder.relative_to(root)
        for name in list_folder(folder):
            files.setdefault(normalise(name), (below / name).as_posix() if folder != root else name)
    return files


def read_lists(root: Path, needed: bool) -> dict[str, str]:
    """`train_val` or `test` by image name, as the official lists say; empty without lists when they are not needed.

    Raises:
        CxrError: A list is needed and not there, or a name is in both.
    """
    missing = [name for name in LISTS.values() if not (root / name).is_file()]
    if missing and needed:
        hint = "download the lists from the page of the images, or use data.split=random, lists or column"
        raise CxrError([f"{root}: no {name}, which split=official needs" for name in missing], hint)
    listed: dict[str, str] = {}
    for split, file in LISTS.items():
        names = _read_names(root / file) if file not in missing else []
        twice = [name for name in names if listed.get(name, split) != split]
        if twice:
            what = f"{count(len(twice), 'image')} also in {LISTS['train_val']}, the first {twice[0]}"
            raise CxrError(f"{root / file}: {what}", "download both lists again")
        listed.update(dict.fromkeys(names, split))
    return listed


def _read_names(path: Path) -> Sequence[str]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
        return [normalise(line).split()[0] for line in lines if line.strip()]
    except (UnicodeDecodeError, OSError) as problem:
        raise CxrError(f"{path}: not a readable list of names ({problem})", "download it again") from None
