"""What cxr train would refuse, found out without training; every fault is noted and none stops the others."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from cxr.check.tally import count_patients
from cxr.config import Config, Data
from cxr.data.dataset import preprocess, store_path
from cxr.data.labels import LabelTable
from cxr.data.splits import FOLDS, MAKERS, Split, assign
from cxr.data.store import Store, describe, fingerprint, open_store
from cxr.errors import CxrError

_T = TypeVar("_T")
_NAMED = 3
_SMALLEST = 64  # model inputs from here on have a last feature map of more than one pixel


@dataclass
class Said:
    """What has been found so far: problems that stop a training, what to do about them, and warnings."""

    problems: list[str] = field(default_factory=list)
    hints: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def attempt(self, stage: Callable[[], _T]) -> _T | None:
        """What a stage returns, or None once its error is noted."""
        try:
            return stage()
        except CxrError as error:
            self.refuse(error.problems, error.hint)
            return None

    def refuse(self, problems: Sequence[str], hint: str) -> None:
        """Note what cxr train would refuse."""
        self.problems += problems
        self.hints += [hint] if hint not in self.hints else []

    def judge(self, refused: bool, what: str, hint: str) -> None:
        """Note a fault that a policy of the config refuses or lets pass."""
        if refused:
            self.refuse([what], hint)
        else:
            self.warnings.append(what)


def check_generated(data: Data) -> None:
    """Refuse a phantom that is not there: its reader would draw it, and a check writes nothing beside its report.

    Raises:
        CxrError: With the command that draws it.
    """
    if data.source == "phantom" and not (data.root.is_dir() and any(data.root.iterdir())):
        asked = data.phantom
        options = f"--images {asked.num_images} --size {asked.size} --layout {asked.layout} --seed {asked.seed}"
        raise CxrError(f"{data.root}: this phantom is not generated yet", f"cxr phantom {data.root} {options}")


def try_split(table: LabelTable, data: Data, said: Said) -> Split | None:
    """The split, also one that cxr train would refuse; None where rows cannot be told apart at all.

    Patients in two splits are noted as a number: the error that cxr train gives would name them.
    """
    try:
        return assign(table, data)
    except CxrError as error:
        split = said.attempt(lambda: MAKERS[data.split](table, data))
        found = count_patients(list(table.rows["patient_id"]), split.fold if split else np.full(len(table), ""))
        if found.rows_without:
            said.refuse([f"{table.root}: images without a patient: {found.rows_without:,}"], error.hint)
        if found.in_two_splits:
            said.refuse([f"data.split: leak: patients in more than one split: {found.in_two_splits:,}"], error.hint)
        if not said.problems:
            said.refuse(error.problems, error.hint)
        return split


def judge_missing(config: Config, table: LabelTable, absent: Sequence[str], said: Said) -> None:
    """Rows without a file, and listed names without a row."""
    without = list(table.rows["image"][table.rows["path"] == ""])
    total, refused = len(table) + len(absent), config.data.missing == "error"
    for reason, names in (("no file", without), ("no row in the label table", absent)):
        if names:
            what = f"{table.root}: listed images with {reason}: {len(names):,} of {total:,}: {name_first(names)}"
            said.judge(refused, what, "complete the archive, or data.missing=skip to go on without them")
    if len(without) == len(table):
        said.refuse([f"{table.root}: none of its {len(table):,} images has a file"], "is data.root the right folder?")


def judge_unreadable(config: Config, names: Sequence[str], said: Said) -> None:
    """Files that cannot be decoded; the names may say why."""
    if names:
        what = f"{config.data.root}: unreadable files: {len(names):,}: {name_first(names, '; ')}"
        hint = "download or export them again, or data.unreadable=skip to go on without them"
        said.judge(config.data.unreadable == "error", what, hint)


def try_store(config: Config, table: LabelTable, said: Said) -> Store | None:
    """The store of these rows, all of which have files, if there is one; noted when it is of other images or pixels."""
    path, files = store_path(config), list(table.rows["path"])
    if not path.exists():
        _judge_disk(path, len(table) * config.image.store_size**2, said)
        return None
    marks = fingerprint(table.root, files)
    wanted = describe(config.data.source, list(table.rows["image"]), preprocess(config), marks)
    return said.attempt(lambda: open_store(path, wanted))


def _judge_disk(path: Path, num_bytes: int, said: Said) -> None:
    if path.with_name(path.name + ".partial").exists():
        return  # an interrupted pack has reserved it
    there = next(folder for folder in path.absolute().parents if folder.exists())
    free = shutil.disk_usage(there).free
    if free < num_bytes:
        what = f"{path}: the disk has {gigabytes(free)} free and the store needs {gigabytes(num_bytes)}"
        said.refuse([what], "free some space, or store.path=FOLDER on another disk")


def judge_training(config: Config, images: dict[str, int], said: Said) -> None:
    """What is refused or remarkable once the rows are known."""
    empty = [f"data.split: no images for {fold}" for fold in ("train", "val") if not images[fold]]
    if empty:
        said.refuse(empty, "unpack more of the archive, or take another data.split")
    elif config.image.size < _SMALLEST:
        from cxr.model.run import check_last_batch  # torch, which no other part of a check needs

        said.attempt(lambda: check_last_batch(config, images["train"]))
    if not images["test"]:
        said.warnings.append("data.split: no images for test, so there is nothing to report on")
    weights = config.model.weights
    if weights.startswith("xrv:"):
        from cxr.model import xrv  # torch

        said.attempt(lambda: xrv.find(weights))
    elif weights not in ("imagenet", "none") and not Path(weights).is_file():
        said.refuse([f"model.weights: {weights}: no such file"], "give imagenet, none, or a checkpoint file")
    if (config.out / "last.pt").exists():
        said.warnings.append(f"{config.out}: holds a run already: cxr train needs --resume, --overwrite or out=FOLDER")


def name_first(names: Sequence[str], between: str = ", ") -> str:
    """The first names, and a mark where there are more."""
    return between.join([*names[:_NAMED], *(["..."] if len(names) > _NAMED else [])])


def gigabytes(num_bytes: int) -> str:
    """As `7.3 GB`, or `1.8 MB` below one."""
    return f"{num_bytes / 1e9:,.1f} GB" if num_bytes >= 1e9 else f"{num_bytes / 1e6:,.1f} MB"


def count_folds(fold: npt.NDArray[np.str_]) -> dict[str, int]:
    """Rows in each split."""
    return {name: int((fold == name).sum()) for name in FOLDS}
