"""The columns of a label table: which is the image, the patient, the findings, the split, and why.

The rules are those of the table reader; here they are tried out, so that what is written down will be read.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from cxr.console import count
from cxr.errors import CxrError
from cxr.fields.cells import is_blank
from cxr.fields.identity import normalise, normalise_ids, normalise_images
from cxr.findings import NO_FINDING, is_known
from cxr.labels.choose import choose_columns, looks_like_classes
from cxr.labels.classes import name_class, split_words
from cxr.labels.columns import KINDS, find_column, is_metadata
from cxr.labels.lookup import find_files
from cxr.labels.plain import name_plain
from cxr.labels.reading import read_splits, slashes
from cxr.labels.sheet import Sheet, column_key
from cxr.labels.splits import SPLITS
from cxr.propose.choices import Choices

_NUM_TRIED = 100  # names of images that are looked for, to tell the column of images
_MIN_DISTINCT = 1 / 3  # of the rows, whose names differ; a table may have several rows an image, one per box
_MAX_WORDS = 200  # of a column of classes; more is free text


@dataclass(frozen=True)
class SplitColumn:
    """A column that holds train, val or test.

    Attributes:
        name: The column.
        counts: Rows by what they say.
    """

    name: str
    counts: Mapping[str, int]


def choose_table(choices: Choices, root: Path, csv: Path, sheet: Sheet) -> None:
    """Choose source, root, csv and columns of a table; findings and split are chosen once it is read.

    Raises:
        CxrError: Two columns may name the patient; the column that the user names is not there.
    """
    choices.choose(
        "data.source", "table", "a table that is no known dataset's: data.columns say what is what"
    )
    root_why = "the folder of the images; an absolute path works from anywhere"
    choices.choose("data.root", str(root.absolute()), root_why)
    choices.choose("data.csv", _name_csv(root, csv), f"{csv.name}: {count(len(sheet), 'row')}")
    patient = _choose_patient(choices, sheet)
    _choose_image(choices, root, sheet, patient)
    choices.keys["data.columns.patient"] = choices.keys.pop("data.columns.patient")  # the image stands first
    taken = _taken(choices, sheet)
    _choose_labels(choices, sheet, taken)


def _name_csv(root: Path, csv: Path) -> str:
    """data.csv: relative to data.root where it lies below it."""
    folder, path = root.absolute(), csv.absolute()
    return str(path.relative_to(folder)) if path.is_relative_to(folder) else str(path)


def _choose_patient(choices: Choices, sheet: Sheet) -> str | None:
    """The column of patients, None where there is none."""
    key = "data.columns.patient"
    found = None if key in choices.given else find_column(sheet, "patient_id", _given_columns(choices))
    if key in choices.given or found:
        num = len(set(normalise_ids(sheet.column(found)))) if found else 0
        choices.choose(key, found, f"column {found!r}: {count(num, 'patient')}, so the split is by patient")
    else:
        choices.choose(
            key,
            None,
            "WARNING: no column of a usual name holds the patient, so each image counts as one patient.",
            "Images of one patient may be in two splits, and results then look better than they are.",
            "Name the column here if there is one.",
        )
    value = choices.keys[key].value
    return normalise(value) if isinstance(value, str) else None


def _choose_image(choices: Choices, root: Path, sheet: Sheet, patient: str | None) -> None:
    """Choose the column whose cells name files; left to the reader where patients or studies do."""
    key = "data.columns.image"
    if key in choices.given:
        choices.choose(key, None)
        return
    usual = find_column(sheet, "image", {patient} if patient else ())
    # a column of labels may name files, too: 1 is 1.png; so any other column must tell most rows apart
    taken = {usual, patient, *_given_columns(choices)}
    rest = [name for name in sheet.header if name and name not in taken and not is_metadata(name)]
    rest = [name for name in rest if _MIN_DISTINCT * len(sheet) <= len(set(sheet.column(name)))]
    for names in ([usual] if usual else [], rest):
        found = {name: _count_files(root, sheet, name) for name in names}
        best = max(found, key=lambda name: found[name][0], default="")
        if best and found[best][0]:
            tried = f"{found[best][0]} of the first {found[best][1]} names are files below data.root"
            choices.choose(key, best, f"column {best!r}: {tried}")
            return
    if usual:
        choices.choose(key, usual, f"column {usual!r}, by its name; none of its first files was found")


def _count_files(root: Path, sheet: Sheet, column: str) -> tuple[int, int]:
    """(files found, names looked for) of the first images that a column names."""
    # each once: of a table with a row per box, 100 rows may be few images
    names = dict.fromkeys(normalise_images(slashes(sheet.column(column))))
    tried = [name for name in names if not is_blank(name)][:_NUM_TRIED]
    paths, _ = find_files(root, tried) if tried else ([], [])
    return sum(1 for path in paths if path), len(tried)


def _given_columns(choices: Choices) -> set[str]:
    """The columns that the user names as anything."""
    columns: set[str] = set()
    for key, (value, _) in choices.given.items():
        if key.startswith("data.columns.") or key == "data.split_column":
            columns |= {normalise(str(name)) for name in (value if isinstance(value, list) else [value])}
    return columns


def _taken(choices: Choices, sheet: Sheet) -> set[str]:
    """The columns that are no findings: image, patient, study, view, sex, age and the split."""
    taken = _given_columns(choices)
    taken |= {str(choice.value) for key, choice in choices.keys.items() if key.startswith("data.columns.")}
    for kind in KINDS:
        if kind not in ("image", "patient_id"):
            found = find_column(sheet, kind, taken)
            taken |= {found} if found else set()
    return taken


def _choose_labels(choices: Choices, sheet: Sheet, taken: Collection[str]) -> None:
    """Choose a column of classes where no column is a finding; name the findings where some are unclear.

    Otherwise the reader takes every column of labels, and `data.findings` is chosen from what it reads.
    """
    if "data.columns.labels" in choices.given or "data.findings" in choices.given:
        choices.add_given("data")
        return
    soft = choices.given.get("data.soft_labels", ("error", ""))[0] == "keep"
    try:
        has_findings = bool(choose_columns(sheet, taken, None, soft).columns)
    except CxrError as error:
        certain = list(dict.fromkeys(name for name in name_plain(sheet, None) if name != NO_FINDING))
        if not certain:
            raise
        left = [problem.partition(": ")[2] for problem in error.problems]
        choices.choose("data.findings", certain, *(f"WARNING: not taken: {problem}" for problem in left))
        return
    if has_findings:
        return
    names = [name for name in sheet.header if name and name not in taken]
    column = looks_like_classes(sheet, names) or _find_known_words(sheet, names)
    if column:
        words = sorted({word for cell in set(sheet.column(column)) for word in split_words(cell)})
        listed = ", ".join(words[:8]) + (", ..." if len(words) > 8 else "")
        choices.choose("data.columns.labels", column, f"column {column!r} holds words: {listed}")


def _find_known_words(sheet: Sheet, names: Collection[str]) -> str | None:
    """The first column half of whose words are known findings."""
    for name in names:
        words: set[str] = set()
        for cell in set(sheet.column(name)):
            words.update(split_words(cell))
            if len(words) > _MAX_WORDS:
                break
        known = [word for word in words if is_known(name_class(word)) or name_class(word) == NO_FINDING]
        if len(words) <= _MAX_WORDS and known and 2 * len(known) >= len(words):
            return name
    return None


def find_split_column(sheet: Sheet) -> SplitColumn | None:
    """The column that says train, val or test in every row; None where there is none."""
    for name in sheet.header:
        if column_key(name) not in KINDS["split"]:
            continue
        splits = read_splits(sheet.column(name))
        counts = {split: splits.count(split) for split in SPLITS}
        # every cell is a split or blank: one other word, and the column means something else
        if counts["train"] and len(splits) == sum(counts.values()) + splits.count(""):
            return SplitColumn(name, counts)
    return None
