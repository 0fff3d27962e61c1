"""Config -> Dataset: the rows that train and are judged, their targets, and the store of their pixels.

The order matters: 1. read every row, 2. split (so that the patients drawn do not depend on files that are missing),
3. drop rows without a file, 4. pack, 5. drop rows that are unreadable, of other views or in no split, 6. resolve. With
several archives (`data.also`) each goes through all of it by itself, and they are joined at the end.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cxr.config import Config
from cxr.console import count as count_of
from cxr.console import say, warn
from cxr.data import joint, sources
from cxr.data.epoch import num_visits
from cxr.data.image import Preprocess
from cxr.data.labels import LabelTable, Targets, count
from cxr.data.pack import pack, write_csv
from cxr.data.splits import FOLDS, Split, assign
from cxr.data.store import Store, describe, fingerprint, join_stores, open_store
from cxr.errors import CxrError
from cxr.labels.lookup import say_nearest
from cxr.labels.views import read_views

_NAMED = 5
_NONE = np.array([], np.intp)


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
        name: What the archive is called, where there are several.
        id_space: Where a patient's id means the same person, see `joint.id_space`.
        weight: Visits of each training row an epoch.
        parts: The archives that were joined, each as if it were alone and its rows in this order; empty for one.
    """

    table: LabelTable
    targets: Targets
    fold: npt.NDArray[np.str_]
    split: Split
    store: Store
    index: npt.NDArray[np.int64]
    dropped: dict[str, int]
    name: str = ""
    id_space: str = ""
    weight: float = 1.0
    parts: tuple["Dataset", ...] = field(default=(), repr=False)

    @property
    def archives(self) -> tuple["Dataset", ...]:
        """The archives that were joined, or this one."""
        return self.parts or (self,)

    def groups(self) -> list[tuple[npt.NDArray[np.int64], float]]:
        """(training rows here, weight) of each archive."""
        starts = np.cumsum([0, *(len(part.table) for part in self.archives)])
        return [(start + part.rows("train"), part.weight) for start, part in zip(starts, self.archives, strict=False)]

    def visits(self) -> list[int]:
        """How many training rows of each archive an epoch visits."""
        return [num_visits(len(rows), weight) for rows, weight in self.groups()]

    def rows(self, fold: str) -> npt.NDArray[np.int64]:
        """Indices of the rows in train, val or test."""
        return np.flatnonzero(self.fold == fold).astype(np.int64)

    def select(self, rows: npt.NDArray[np.int64]) -> Targets:
        """Targets of some rows."""
        return Targets(self.targets.findings, self.targets.y[rows], self.targets.mask[rows])

    def keep_findings(self, places: Sequence[int]) -> "Dataset":
        """The same rows with the findings at those places, in every archive."""
        findings, y, mask = self.targets.findings, self.targets.y, self.targets.mask
        targets = Targets(tuple(findings[place] for place in places), y[:, places], mask[:, places])
        return replace(self, targets=targets, parts=tuple(part.keep_findings(places) for part in self.parts))

    def counts(self) -> dict[str, object]:
        """Rows per fold, rows dropped by reason, and cells per fold and finding, as stored with the run."""
        cells = {fold: count(self.select(self.rows(fold))).to_dict("records") for fold in FOLDS}
        images = {fold: len(self.rows(fold)) for fold in FOLDS}
        patients = {fold: int(self.table.rows["patient_id"][self.rows(fold)].nunique()) for fold in FOLDS}
        own = {"images": images, "patients": patients, "dropped": self.dropped, "cells": cells}
        return own | ({"archives": {part.name: part.counts() for part in self.parts}} if self.parts else {})


def preprocess(config: Config) -> Preprocess:
    """How the config asks for files to become pixels."""
    image = config.image
    return Preprocess(image.store_size, image.fit, intensity=image.intensity, borders=image.borders)


def store_path(config: Config) -> Path:
    """The folder of the main archive's store."""
    return joint.store_path(config, config.data)


@dataclass(frozen=True)
class _Listed:
    """An archive before its pixels are looked at; `config` is as if it were alone."""

    config: Config
    table: LabelTable
    split: Split
    missing: list[tuple[str, str]]


def open_dataset(config: Config, overwrite: bool = False, may_pack: bool = True, partly: bool = False) -> Dataset:
    """The dataset of a config, packed first when its store is not there; several archives are joined.

    Args:
        config: The recipe.
        overwrite: Pack anew even where a store is there.
        may_pack: False where another process of this run packs.
        partly: Whether targets that no archive labels are masked, as another hospital's may be, rather than refused.

    Raises:
        CxrError: Whatever is wrong with folders, tables, splits, files or an existing store.
    """
    configs = joint.separate(config)
    exact = len(configs) == 1 and not partly
    listed: list[_Listed] = []
    for place, one in enumerate(configs):
        with joint.naming(place):
            listed.append(_list(one, exact))
    findings = choose_findings(config, [one.table for one in listed], exact, partly)
    id_spaces = [joint.id_space(one.table.source, one.config.data.name) for one in listed]
    joint.check_across(id_spaces, [one.table.rows for one in listed], [one.split.fold for one in listed])
    for place, archive in enumerate(listed):
        with joint.naming(place):  # on no rows: what is wrong shows before hours of packing
            joint.resolve_aligned(archive.table.select(_NONE), findings, archive.config.data, exact)
    parts = []
    for place, archive in enumerate(listed):
        with joint.naming(place):
            parts.append(_open_archive(archive, findings, exact, overwrite, may_pack))
    return parts[0] if len(parts) == 1 else _join(parts, joint.names(config.data))


def _list(config: Config, exact: bool) -> _Listed:
    table = sources.read(config.data, exact)
    split = assign(table, config.data)
    missing = _find_missing(table, split)
    if missing and config.data.missing == "error":
        raise _missing_error(table, split, missing)
    if not (table.rows["path"] != "").any():
        near = say_nearest(table.root, table.rows["image"])
        hint = f"{near}; correct the names or data.root" if near else "is data.root the right folder?"
        raise CxrError(f"{table.root}: none of its {len(table):,} images has a file", hint)
    return _Listed(config, table, split, missing)


def choose_findings(config: Config, tables: Sequence[LabelTable], exact: bool, partly: bool = False) -> tuple[str, ...]:
    """The targets: those that the config asks for, else what any archive labels.

    Raises:
        CxrError: Findings that no archive labels; with `exact` that is found out when they are resolved.
    """
    asked = config.data.findings
    assert not isinstance(asked, str)
    return asked if exact and asked else joint.choose_findings(tables, asked, partly)


def _open_archive(archive: _Listed, findings: Sequence[str], exact: bool, overwrite: bool, may_pack: bool) -> Dataset:
    table, missing = archive.table, archive.missing
    found = np.flatnonzero((table.rows["path"] != "").to_numpy())
    store = _open_or_pack(archive.config, table.select(found), overwrite, may_pack)
    if missing and may_pack and not (store.path / "missing.csv").exists():
        write_csv(store.path / "missing.csv", ("image", "reason"), missing)
        warn(f"{count_of(len(missing), 'image')} missing and skipped: see {store.path / 'missing.csv'}")
    rows, dropped = keep_rows(archive.config, table, archive.split, _spread(store.readable, found, len(table)))
    place = np.full(len(table), -1, np.int64)
    place[found] = np.arange(len(found))
    kept, data = table.select(rows), archive.config.data
    targets = joint.resolve_aligned(kept, findings, data, exact)
    fold = archive.split.fold[rows]
    space = joint.id_space(table.source, data.name)
    return Dataset(kept, targets, fold, archive.split, store, place[rows], dropped, data.name or "", space, data.weight)


def _join(archives: Sequence[Dataset], named: Sequence[str]) -> Dataset:
    """The rows of all archives, one archive after another."""
    parts = [replace(part, name=name) for part, name in zip(archives, named, strict=True)]
    targets = [part.targets for part in parts]
    starts = np.cumsum([0, *(len(part.store.readable) for part in parts)])
    findings = targets[0].findings
    return Dataset(
        table=joint.join_tables([part.table for part in parts], named, findings),
        targets=Targets(findings, np.concatenate([t.y for t in targets]), np.concatenate([t.mask for t in targets])),
        fold=np.concatenate([part.fold for part in parts]),
        split=joint.join_splits([part.split for part in parts], named),
        store=join_stores([part.store for part in parts]),
        index=np.concatenate([start + part.index for start, part in zip(starts, parts, strict=False)]),
        dropped={f"{part.name}: {reason}": num for part in parts for reason, num in part.dropped.items()},
        parts=tuple(parts),
    )


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
    near = say_nearest(table.root, [name for name, why in missing if why == "no file"])
    return CxrError(problems, f"{near}; {hint}" if near else hint)


def _open_or_pack(config: Config, table: LabelTable, overwrite: bool, may_pack: bool) -> Store:
    path, images = store_path(config), list(table.rows["image"])
    files = list(table.rows["path"])
    wanted = describe(config.data.source, images, preprocess(config), fingerprint(table.root, files))
    if (path.exists() and not overwrite) or not may_pack:
        store = open_store(path, wanted)
        _check_readable(store, config)
        return store
    say(f"packing {count_of(len(table), 'image')} at {config.image.store_size} pixels into {path}")
    unreadable, workers = config.data.unreadable, config.store.workers
    return pack(table.root, files, images, wanted, path, unreadable, workers, table.read_pixels)


def _check_readable(store: Store, config: Config) -> None:
    num_bad = int((~store.readable).sum())
    if num_bad and config.data.unreadable == "error":
        raise CxrError(
            f"{store.path}: {num_bad:,} of its files were unreadable and are listed in unreadable.csv",
            "data.unreadable=skip goes on without them; cxr pack CONFIG --overwrite reads them again",
        )


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
    views = None if config.data.views is None else read_views(config.data.views)
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
