"""Config -> Dataset: the rows that train and are judged, their targets, and the store of their pixels.

The order matters: 1. read every row, 2. split (so that the patients drawn do not depend on files that are missing),
3. drop rows without a file, 4. pack, 5. drop rows that are unreadable, of other views or in no split, 6. resolve.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cxr.config import Config
from cxr.console import say, warn
from cxr.data import sources
from cxr.data.findings import NO_FINDING, canonical
from cxr.data.image import Preprocess
from cxr.data.labels import LabelTable, Targets, count, resolve
from cxr.data.pack import pack, write_csv
from cxr.data.splits import FOLDS, Split, assign
from cxr.data.store import Store, describe, fingerprint, open_store
from cxr.errors import CxrError

_NAMED = 5


@dataclass(frozen=True)
class Dataset:
    """Rows that train or are judged, in the order of the label table.

    Attributes:
        table: [n] rows and their labels as the source says them.
        targets: y and mask [n, C].
        fold: [n] train, val or test.
        split: The split of the whole table, for its name and hashes.
        store: Packed pixels.
        index: [n] row of the store for each row.
        dropped: How many rows of the label table are not here, by reason.
    """

    table: LabelTable
    targets: Targets
    fold: npt.NDArray[np.str_]
    split: Split
    store: Store
    index: npt.NDArray[np.int64]
    dropped: dict[str, int]

    def rows(self, fold: str) -> npt.NDArray[np.int64]:
        """Indices of the rows in train, val or test."""
        return np.flatnonzero(self.fold == fold).astype(np.int64)

    def select(self, rows: npt.NDArray[np.int64]) -> Targets:
        """Targets of some rows."""
        return Targets(self.targets.findings, self.targets.y[rows], self.targets.mask[rows])

    def counts(self) -> dict[str, object]:
        """Rows per fold, rows dropped by reason, and cells per fold and finding, as stored with the run."""
        cells = {fold: count(self.select(self.rows(fold))).to_dict("records") for fold in FOLDS}
        images = {fold: len(self.rows(fold)) for fold in FOLDS}
        patients = {fold: int(self.table.rows["patient_id"][self.rows(fold)].nunique()) for fold in FOLDS}
        return {"images": images, "patients": patients, "dropped": self.dropped, "cells": cells}


def preprocess(config: Config) -> Preprocess:
    """How the config asks for files to become pixels."""
    image = config.image
    return Preprocess(image.store_size, image.fit, intensity=image.intensity, borders=image.borders)


def store_path(config: Config) -> Path:
    """The store's folder: store.path, or one named by the source, the root folder and the size."""
    name = re.sub(r"[^\w.-]+", "_", config.data.root.resolve().name) or "root"
    return config.store.path or Path("stores") / f"{config.data.source}-{name}-{config.image.store_size}"


def open_dataset(config: Config, overwrite: bool = False, may_pack: bool = True) -> Dataset:
    """The dataset of a config, packed first when its store is not there.

    Args:
        config: The recipe.
        overwrite: Pack anew even where a store is there.
        may_pack: False where another process of this run packs.

    Raises:
        CxrError: Whatever is wrong with folders, tables, splits, files or an existing store.
    """
    table = sources.read(config.data)
    split = assign(table, config.data)
    missing = _find_missing(table, split)
    if missing and config.data.missing == "error":
        raise _missing_error(table, split, missing)
    found = np.flatnonzero((table.rows["path"] != "").to_numpy())
    if not len(found):
        raise CxrError(f"{table.root}: none of its {len(table):,} images has a file", "is data.root the right folder?")
    store = _open_or_pack(config, table.select(found), overwrite, may_pack)
    if missing and may_pack and not (store.path / "missing.csv").exists():
        write_csv(store.path / "missing.csv", ("image", "reason"), missing)
        warn(f"{len(missing):,} images are missing and skipped: see {store.path / 'missing.csv'}")
    return _keep(config, table, split, store, found)


def _find_missing(table: LabelTable, split: Split) -> list[tuple[str, str]]:
    without_file = table.rows["image"][table.rows["path"] == ""]
    return [(name, "no file") for name in without_file] + [(name, "no row in the label table") for name in split.absent]


def _missing_error(table: LabelTable, split: Split, missing: Sequence[tuple[str, str]]) -> CxrError:
    problems, total = [], len(table) + len(split.absent)
    for reason in ("no file", "no row in the label table"):
        names = [name for name, why in missing if why == reason]
        if names:
            first = ", ".join(names[:_NAMED]) + (", ..." if len(names) > _NAMED else "")
            problems.append(f"{table.root}: {len(names):,} of {total:,} listed images have {reason}: {first}")
    hint = "unpack the rest of the archive there, or data.missing=skip to go on without them (listed in missing.csv)"
    return CxrError(problems, hint)


def _open_or_pack(config: Config, table: LabelTable, overwrite: bool, may_pack: bool) -> Store:
    path, images = store_path(config), list(table.rows["image"])
    files = list(table.rows["path"])
    wanted = describe(config.data.source, images, preprocess(config), fingerprint(table.root, files))
    if (path.exists() and not overwrite) or not may_pack:
        store = open_store(path, wanted)
        _check_readable(store, config)
        return store
    say(f"packing {len(table):,} images at {config.image.store_size} pixels into {path}")
    unreadable, workers = config.data.unreadable, config.store.workers
    return pack(table.root, files, images, wanted, path, unreadable, workers, table.read_pixels)


def _check_readable(store: Store, config: Config) -> None:
    num_bad = int((~store.readable).sum())
    if num_bad and config.data.unreadable == "error":
        raise CxrError(
            f"{store.path}: {num_bad:,} of its files were unreadable and are listed in unreadable.csv",
            "data.unreadable=skip goes on without them; cxr pack CONFIG --overwrite reads them again",
        )


def _keep(config: Config, table: LabelTable, split: Split, store: Store, found: npt.NDArray[np.intp]) -> Dataset:
    rows, dropped = keep_rows(config, table, split, _spread(store.readable, found, len(table)))
    kept = table.select(rows)
    place = np.full(len(table), -1, np.int64)
    place[found] = np.arange(len(found))
    return Dataset(kept, choose_targets(config, kept), split.fold[rows], split, store, place[rows], dropped)


def keep_rows(
    config: Config, table: LabelTable, split: Split, readable: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[np.intp], dict[str, int]]:
    """(rows that train or are judged, how many others there are by the first reason that drops them).

    Args:
        config: The recipe, for data.views.
        table: N rows.
        split: Their folds.
        readable: [N] False where a file could not be decoded.
    """
    views = config.data.views
    reasons = {
        "no file": (table.rows["path"] == "").to_numpy(),
        "unreadable": ~readable,
        "other view": np.zeros(len(table), bool) if views is None else ~table.rows["view"].isin(views).to_numpy(),
        "in no split": split.fold == "",
    }
    keep, dropped = np.ones(len(table), bool), {}
    for reason, drop in reasons.items():
        dropped[reason] = int((keep & drop).sum())
        keep &= ~drop
    if split.absent:
        dropped["listed but not in the label table"] = len(split.absent)
    return np.flatnonzero(keep), dropped


def _spread(readable: npt.NDArray[np.bool_], found: npt.NDArray[np.intp], num: int) -> npt.NDArray[np.bool_]:
    every = np.ones(num, bool)
    every[found] = readable
    return every


def choose_targets(config: Config, table: LabelTable) -> Targets:
    """The targets that the config asks for, of every row.

    Raises:
        CxrError: A finding, or one that data.uncertain names, that the table does not label.
    """
    data = config.data
    asked = data.findings or tuple(name for name in table.findings if name != NO_FINDING)
    assert not isinstance(asked, str)
    uncertain = data.uncertain
    if isinstance(uncertain, dict):
        uncertain = {canonical(name): policy for name, policy in uncertain.items()}
        unknown = sorted(set(uncertain) - set(asked) - {"default"})
        if unknown:
            problems = [f"data.uncertain: {name!r} is no finding here" for name in unknown]
            raise CxrError(problems, f"findings are {', '.join(asked)}")
    return resolve(table, asked, uncertain, data.blank, seed=data.split_seed)
