"""Config -> Dataset: the rows that train and are judged, their targets, and the store of their pixels.

The order matters: 1. read every row, 2. split (so that the patients drawn do not depend on files that are missing),
3. drop rows without a file, 4. open the stores that are there, 5. pack those that are not, 6. drop rows that are
unreadable, of other views or in no split, 7. resolve. With several archives (`data.also`) each goes through all of it
as if it were alone, each step for all of them before the next, and they are joined at the end.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cxr.config.schema import Config
from cxr.data import combine as joint
from cxr.data.listing import (
    ListedArchive,
    Packing,
    begin_again,
    list_archive,
    note_missing,
    open_existing,
    pack_archive,
    planned_store,
)
from cxr.data.listing import preprocess as preprocess  # here for everybody who has a dataset
from cxr.data.sampling import num_visits
from cxr.data.store import Store, join_stores
from cxr.fields.views import read_views
from cxr.labels.splits import SPLITS, Split
from cxr.labels.table import LabelTable
from cxr.labels.targets import Targets, count_targets

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
        return [
            (start + part.rows("train"), part.weight)
            for start, part in zip(starts, self.archives, strict=False)
        ]

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
        cells = {fold: count_targets(self.select(self.rows(fold))).to_dict("records") for fold in SPLITS}
        images = {fold: len(self.rows(fold)) for fold in SPLITS}
        patients = {fold: int(self.table.rows["patient_id"][self.rows(fold)].nunique()) for fold in SPLITS}
        own = {"images": images, "patients": patients, "dropped": self.dropped, "cells": cells}
        return own | ({"archives": {part.name: part.counts() for part in self.parts}} if self.parts else {})


def store_path(config: Config) -> Path:
    """The folder of the main archive's store."""
    return joint.store_path(config, config.data)


@dataclass(frozen=True)
class Listed:
    """All that is known of a dataset before a file is packed.

    Attributes:
        config: The recipe.
        findings: The targets.
        exact: Whether each must be labelled under its very name.
        packing: When files are packed.
        archives: Tables, splits and files.
        stores: Their stores, None for those that are still to be packed.
    """

    config: Config
    findings: tuple[str, ...]
    exact: bool
    packing: Packing
    archives: tuple[ListedArchive, ...] = field(repr=False)
    stores: tuple[Store | None, ...] = field(repr=False)

    @property
    def is_certain(self) -> bool:
        """Whether it is known which rows will be left: nothing is to be packed, or no file may be unreadable."""
        both = zip(self.archives, self.stores, strict=True)
        return all(store is not None or one.config.data.unreadable == "error" for one, store in both)

    def plan(self) -> Dataset:
        """The dataset as it will be if every file that is still to be packed can be decoded; it has no pixels yet."""
        return self._join([store or planned_store(archive) for archive, store in self._both()])

    def open(self, may_pack: bool = True, begun: Callable[[], None] = lambda: None) -> Dataset:
        """The dataset, packed first where that is needed.

        Args:
            may_pack: False where another process of this run packs.
            begun: Called once what is packed again was begun, so that an interrupted pack would go on with it.

        Raises:
            CxrError: Files that cannot be read, a store that is none.
            Interrupted: A signal while packing, with what was packed saved.
        """
        for place, archive in enumerate(self.archives):  # all of them first: a stop then forgets none of them
            with joint.naming(place):
                begin_again(archive, self.packing)
        begun()
        stores = []
        for place, (archive, store) in enumerate(self._both()):
            with joint.naming(place):
                stores.append(store or pack_archive(archive))
                if archive.missing and may_pack:
                    note_missing(stores[-1].path, archive.missing)
        return self._join(stores)

    def _both(self) -> Iterator[tuple[ListedArchive, Store | None]]:
        return zip(self.archives, self.stores, strict=True)

    def _join(self, stores: Sequence[Store]) -> Dataset:
        parts = []
        for place, (archive, store) in enumerate(zip(self.archives, stores, strict=True)):
            with joint.naming(place):
                parts.append(_select(archive, store, self.findings, self.exact))
        return parts[0] if len(parts) == 1 else _join(parts, joint.names(self.config.data))


def open_dataset(
    config: Config, overwrite: bool = False, may_pack: bool = True, partly: bool = False
) -> Dataset:
    """The dataset of a config, packed first when its store is not there; several archives are joined.

    Args:
        config: The recipe.
        overwrite: Pack again even where a store is there.
        may_pack: False where another process of this run packs.
        partly: Whether targets that no archive labels are masked, as another hospital's may be, rather than refused.

    Raises:
        CxrError: Whatever is wrong with folders, tables, splits, files or an existing store.
    """
    return list_dataset(config, "overwrite" if overwrite else "needed", may_pack, partly).open(may_pack)


def list_dataset(
    config: Config, packing: Packing = "needed", may_pack: bool = True, partly: bool = False
) -> Listed:
    """Read the tables of a config, split them, look for their files and open the stores that are there.

    Args:
        config: The recipe.
        packing: When files are packed.
        may_pack: False where another process of this run packs.
        partly: Whether targets that no archive labels are masked, as another hospital's may be, rather than refused.

    Raises:
        CxrError: Whatever is wrong with folders, tables, splits, labels, files or an existing store.
    """
    configs = joint.separate(config)
    exact = len(configs) == 1 and not partly
    listed: list[ListedArchive] = []
    for place, one in enumerate(configs):
        with joint.naming(place):
            listed.append(list_archive(one, exact))
    findings = choose_findings(config, [one.table for one in listed], exact, partly)
    id_spaces = [joint.id_space(one.table.source, one.config.data.name) for one in listed]
    joint.check_across(id_spaces, [one.table.rows for one in listed], [one.split.assigned for one in listed])
    if len(listed) > 1:
        joint.check_files([one.table for one in listed], [one.split.assigned for one in listed])
    stores = []
    for place, archive in enumerate(listed):
        with joint.naming(place):  # on no rows: what is wrong shows before hours of packing
            joint.resolve_aligned(archive.table.select(_NONE), findings, archive.config.data, exact)
    for place, archive in enumerate(listed):
        with joint.naming(place):
            stores.append(open_existing(archive, packing, may_pack))
    return Listed(config, tuple(findings), exact, packing, tuple(listed), tuple(stores))


def choose_findings(
    config: Config, tables: Sequence[LabelTable], exact: bool, partly: bool = False
) -> tuple[str, ...]:
    """The targets: those that the config asks for, else what any archive labels.

    Raises:
        CxrError: Findings that no archive labels; with `exact` that is found out when they are resolved.
    """
    asked = config.data.findings
    assert not isinstance(asked, str)
    return asked if exact and asked else joint.choose_findings(tables, asked, partly)


def _select(archive: ListedArchive, store: Store, findings: Sequence[str], exact: bool) -> Dataset:
    """The rows of one archive that train or are evaluated."""
    table, found = archive.table, archive.found
    rows, dropped = keep_rows(
        archive.config, table, archive.split, _spread(store.readable, found, len(table))
    )
    place = np.full(len(table), -1, np.int64)
    place[found] = np.arange(len(found))
    kept, data = table.select(rows), archive.config.data
    targets = joint.resolve_aligned(kept, findings, data, exact)
    fold = archive.split.assigned[rows]
    space = joint.id_space(table.source, data.name)
    return Dataset(
        kept, targets, fold, archive.split, store, place[rows], dropped, data.name or "", space, data.weight
    )


def _join(archives: Sequence[Dataset], named: Sequence[str]) -> Dataset:
    """The rows of all archives, one archive after another."""
    parts = [replace(part, name=name) for part, name in zip(archives, named, strict=True)]
    targets = [part.targets for part in parts]
    starts = np.cumsum([0, *(len(part.store.readable) for part in parts)])
    findings = targets[0].findings
    return Dataset(
        table=joint.join_tables([part.table for part in parts], named, findings),
        targets=Targets(
            findings, np.concatenate([t.y for t in targets]), np.concatenate([t.mask for t in targets])
        ),
        fold=np.concatenate([part.fold for part in parts]),
        split=joint.join_splits([part.split for part in parts], named),
        store=join_stores([part.store for part in parts]),
        index=np.concatenate([start + part.index for start, part in zip(starts, parts, strict=False)]),
        dropped={f"{part.name}: {reason}": num for part in parts for reason, num in part.dropped.items()},
        parts=tuple(parts),
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
        "other view": np.zeros(len(table), bool)
        if views is None
        else ~table.rows["view"].isin(views).to_numpy(),
        "in no split": split.assigned == "",
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
