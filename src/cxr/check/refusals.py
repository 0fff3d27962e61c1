"""What cxr train would refuse, found out without training; every fault is noted and none stops the others."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from cxr.check.inspect import Facts
from cxr.check.tally import count_patients
from cxr.config.schema import Config, Data
from cxr.console import count
from cxr.data import combine as joint
from cxr.data.dataset import preprocess, store_path
from cxr.data.pack import list_files
from cxr.data.sampling import check_judgeable, count_steps
from cxr.data.store import Store, check_pixels, describe, open_store
from cxr.errors import CxrError
from cxr.images.dicom.detect import DICOM_SUFFIXES as DICOM
from cxr.images.dicom.header import read_header
from cxr.labels.lookup import say_nearest
from cxr.labels.splits import FOLDS, MAKERS, Split, assign
from cxr.labels.table import LabelTable, Targets

_T = TypeVar("_T")
_NAMED = 3


@dataclass
class Said:
    """What has been found so far: problems that stop a training, what to do about them, and warnings.

    `place` is that of the archive they are about: from 1 on its keys are named data.also.0 and so on. `private` are
    lines that name patients, for the terminal alone: a report is handed on.
    """

    place: int = 0
    problems: list[str] = field(default_factory=list)
    hints: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    private: list[str] = field(default_factory=list)

    def attempt(self, stage: Callable[[], _T]) -> _T | None:
        """What a stage returns, or None once its error is noted."""
        try:
            return stage()
        except CxrError as error:
            self.refuse(error.problems, error.hint)
            return None

    def refuse(self, problems: Sequence[str], hint: str) -> None:
        """Note what cxr train would refuse."""
        self.problems += [joint.name_key(problem, self.place) for problem in problems]
        hint = joint.name_key(hint, self.place)
        self.hints += [hint] if hint not in self.hints else []

    def judge(self, refused: bool, what: str, hint: str) -> None:
        """Note a fault that a policy of the config refuses or lets pass."""
        if refused:
            self.refuse([what], hint)
        else:
            self.warnings.append(joint.name_key(what, self.place))


def check_generated(data: Data) -> None:
    """Refuse a phantom that is not there: its reader would draw it, and a check writes nothing beside its report.

    Raises:
        CxrError: With the command that draws it.
    """
    if data.source == "phantom" and not (data.root.is_dir() and any(data.root.iterdir())):
        asked = data.phantom
        options = (
            f"--images {asked.num_images} --size {asked.size} --layout {asked.layout} --seed {asked.seed}"
        )
        raise CxrError(
            f"{data.root}: this phantom is not generated yet", f"cxr phantom {data.root} {options}"
        )


def try_split(table: LabelTable, data: Data, said: Said) -> Split | None:
    """The split, also one that cxr train would refuse; None where rows cannot be told apart at all.

    Patients in two splits are noted as a number; the terminal names the first of them.
    """
    try:
        return assign(table, data)
    except CxrError as error:
        split = said.attempt(lambda: MAKERS[data.split](table, data))
        found = count_patients(
            list(table.rows["patient_id"]), split.fold if split else np.full(len(table), "")
        )
        if found.rows_without:
            said.refuse([f"{table.root}: images without a patient: {found.rows_without:,}"], error.hint)
        if found.in_two_splits:
            said.refuse(
                [f"data.split: leak: patients in more than one split: {found.in_two_splits:,}"], error.hint
            )
            said.private += error.problems
        if not said.problems:
            said.refuse(error.problems, error.hint)
        return split


def judge_missing(config: Config, table: LabelTable, absent: Sequence[str], said: Said) -> None:
    """Rows without a file, and listed names without a row."""
    without = list(table.rows["image"][table.rows["path"] == ""])
    near = say_nearest(table.root, without) if without and table.read_pixels is None else ""
    total, refused = len(table) + len(absent), config.data.missing == "error"
    for reason, names in (("no file", without), ("no row in the label table", absent)):
        if names:
            what = (
                f"{table.root}: listed images with {reason}: {len(names):,} of {total:,}: {name_first(names)}"
            )
            hint = "complete the archive, or data.missing=skip to go on without them"
            said.judge(refused, what, f"{near}; {hint}" if near and reason == "no file" else hint)
    if len(without) == len(table):
        hint = "correct the names or data.root" if near else "is data.root the right folder?"
        said.refuse([f"{table.root}: none of its {len(table):,} images has a file"], hint)


def judge_unreadable(config: Config, names: Sequence[str], said: Said) -> None:
    """Files that cannot be decoded; the names may say why."""
    if names:
        what = f"{config.data.root}: unreadable files: {len(names):,}: {name_first(names, '; ')}"
        hint = "download or export them again, or data.unreadable=skip to go on without them"
        said.judge(config.data.unreadable == "error", what, hint)


def judge_not_read(config: Config, table: LabelTable, facts: Sequence[Facts], said: Said) -> None:
    """Files that are not at fault: each thing that is in the way is one problem, however many files it concerns.

    Under --quick there are no facts: whether a DICOM file can be read is then asked of the first alone.
    """
    for hint in dict.fromkeys(one.hint for one in facts if one.hint):
        reasons = [one.reason for one in facts if one.hint == hint]
        said.refuse([f"{table.root}: {count(len(reasons), 'file')} not read: {reasons[0]}"], hint)
    first = next((path for path in table.rows["path"] if path.lower().endswith(DICOM)), None)
    if not facts and first and table.read_pixels is None:
        said.attempt(lambda: read_header(table.root / first))


def try_store(config: Config, table: LabelTable, said: Said, quick: bool) -> tuple[Store | None, int]:
    """(the store of these rows, all of which have files, or None; the bytes that one will need where none was begun).

    One of other images, other files or damaged pixels is noted; under --quick pixels are not looked at.
    """
    path, files = store_path(config), list(table.rows["path"])
    if not path.exists():
        begun = path.with_name(path.name + ".partial").exists()  # an interrupted pack has reserved it
        return None, 0 if begun else len(table) * config.image.store_size**2
    images, how = list(table.rows["image"]), preprocess(config)
    wanted, intensity = describe(config.data.source, images, how), config.image.intensity
    now = list_files(table.root, files, images, intensity, table.read_pixels)
    store = said.attempt(lambda: open_store(path, wanted, now, may_write=False, reread=not quick))
    if store is not None and not quick:
        said.attempt(lambda: check_pixels(store))
    return store, 0


def judge_disk(to_pack: Mapping[Path, int], said: Said) -> None:
    """Stores, by their folders, that do not fit on their disk together."""
    disks: dict[int, list[Path]] = {}
    for path in (path for path, num_bytes in to_pack.items() if num_bytes):
        disks.setdefault(_there(path).stat().st_dev, []).append(path)
    for paths in disks.values():
        num_bytes, free = sum(to_pack[path] for path in paths), shutil.disk_usage(_there(paths[0])).free
        if free < num_bytes:
            needs = "the store needs" if len(paths) == 1 else "the stores need"
            what = f"the disk has {gigabytes(free)} free and {needs} {gigabytes(num_bytes)}"
            said.refuse(
                [f"{', '.join(map(str, paths))}: {what}"],
                "free some space, or store.path=FOLDER on another disk",
            )


def _there(path: Path) -> Path:
    """The nearest folder above it that there is."""
    return next(folder for folder in path.absolute().parents if folder.exists())


def judge_across(
    spaces: Sequence[str], tables: Sequence[LabelTable], folds: Sequence[npt.NDArray[np.str_]], said: Said
) -> None:
    """Patients or files that two archives put into different splits; those of one archive are noted with it."""
    rows = [table.rows for table in tables]
    try:
        joint.check_across(spaces, rows, folds)
    except CxrError as error:
        every = [pd.DataFrame({"space": space, "archive": place, "patient": own["patient_id"], "fold": fold})
                 for place, (space, own, fold) in enumerate(zip(spaces, rows, folds, strict=True))]  # fmt: skip
        table = pd.concat(every)[lambda table: table["fold"] != ""]
        several = table.groupby(["space", "patient"])["fold"].nunique() > 1
        alone = (
            table.groupby(["space", "patient", "archive"])["fold"]
            .nunique()
            .groupby(["space", "patient"])
            .max()
            > 1
        )
        num = int((several & ~alone).sum())
        if num:
            said.refuse(
                [f"data.split: leak: patients in different splits of two archives: {num:,}"], error.hint
            )
            said.private += error.problems
    else:
        said.attempt(lambda: joint.check_files(tables, folds))


def judge_training(
    config: Config, images: Mapping[str, int], visits: Sequence[int], validation: Targets | None, said: Said
) -> int | None:
    """Steps of an epoch, None where there can be none; what is refused or remarkable once the rows are known.

    Args:
        config: The recipe.
        images: Rows of all archives by split.
        visits: What an epoch visits of each archive.
        validation: Targets of the validation rows, None where they are not known.
        said: Where it is noted.
    """
    steps = said.attempt(lambda: count_steps(config, images, visits))
    if validation is not None and images["val"]:
        said.attempt(lambda: check_judgeable(config, validation))
    if not images["test"]:
        said.warnings.append("data.split: no images for test, so there is nothing to report on")
    if config.model.weights not in ("imagenet", "none") or config.model.head_findings:
        from cxr.model.load_weights import check_weights  # torch

        said.attempt(lambda: check_weights(config.model))
    if (config.out / "last.pt").exists():
        said.warnings.append(
            f"{config.out}: holds a run already: cxr train needs --resume, --overwrite or out=FOLDER"
        )
    return steps


def name_first(names: Sequence[str], between: str = ", ") -> str:
    """The first names, and a mark where there are more."""
    return between.join([*names[:_NAMED], *(["..."] if len(names) > _NAMED else [])])


def gigabytes(num_bytes: int) -> str:
    """As `7.3 GB`, or `1.8 MB` below one."""
    return f"{num_bytes / 1e9:,.1f} GB" if num_bytes >= 1e9 else f"{num_bytes / 1e6:,.1f} MB"


def count_folds(fold: npt.NDArray[np.str_]) -> dict[str, int]:
    """Rows in each split."""
    return {name: int((fold == name).sum()) for name in FOLDS}
