"""Config -> Dataset: the rows that train and are evaluated, their targets, and the store of their pixels.

The order matters:
1. to 4. list, split, locate and resolve (see `listing`),
5. open the stores that are there,
6. pack those that are not,
7. drop rows that are unreadable, of other views or in no split,
8. resolve the rest.
With several datasets (`data.also`) each goes through all of it alone, and they are joined last.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cxr.config.schema import Config
from cxr.data import combine as joint
from cxr.data.listing import ListedDataset, ListedDatasets, list_datasets
from cxr.data.listing import preprocess as preprocess  # here for everybody who has a dataset
from cxr.data.open_stores import (
    Packing,
    begin_again,
    note_missing,
    open_existing,
    pack_dataset,
    planned_store,
)
from cxr.data.problems import in_section, new_stages
from cxr.data.sampling import num_visits
from cxr.data.store import Store, join_stores
from cxr.fields.views import read_views
from cxr.labels.splits import SPLITS, Split
from cxr.labels.table import LabelTable
from cxr.labels.targets import Targets, count_targets


@dataclass(frozen=True)
class Dataset:
    """Rows that train or are evaluated, in the order of the label table.

    Attributes:
        table: [n] rows and their labels as the source says them.
        targets: y and mask [n, C].
        assigned: [n] train, val or test.
        split: The split of the whole table, for its name and hashes.
        store: Packed pixels.
        index: [n] row of the store for each row.
        dropped: How many rows of the label table are not here, by reason.
        name: Its name where there are several.
        id_space: Where a patient id means the same person, see `joint.id_space`.
        weight: Visits of each training row per epoch.
        parts: The datasets that were joined, in the order of the rows, each as if alone; empty for one.
    """

    table: LabelTable
    targets: Targets
    assigned: npt.NDArray[np.str_]
    split: Split
    store: Store
    index: npt.NDArray[np.int64]
    dropped: dict[str, int]
    name: str = ""
    id_space: str = ""
    weight: float = 1.0
    parts: tuple["Dataset", ...] = field(default=(), repr=False)

    @property
    def datasets(self) -> tuple["Dataset", ...]:
        """The datasets that were joined, or this one."""
        return self.parts or (self,)

    def groups(self) -> list[tuple[npt.NDArray[np.int64], float]]:
        """(training rows here, weight) of each dataset."""
        groups, start = [], 0
        for part in self.datasets:
            groups.append((start + part.rows("train"), part.weight))
            start += len(part.table)
        return groups

    def visits(self) -> list[int]:
        """How many training rows of each dataset an epoch visits."""
        return [num_visits(len(rows), weight) for rows, weight in self.groups()]

    def rows(self, split: str) -> npt.NDArray[np.int64]:
        """Indices of the rows in train, val or test."""
        return np.flatnonzero(self.assigned == split).astype(np.int64)

    def select(self, rows: npt.NDArray[np.int64]) -> Targets:
        """Targets of some rows."""
        return Targets(self.targets.findings, self.targets.y[rows], self.targets.mask[rows])

    def keep_findings(self, columns: Sequence[int]) -> "Dataset":
        """The same rows with some of the findings, given by their columns in the targets, in all parts."""
        findings, y, mask = self.targets.findings, self.targets.y, self.targets.mask
        targets = Targets(tuple(findings[column] for column in columns), y[:, columns], mask[:, columns])
        return replace(self, targets=targets, parts=tuple(part.keep_findings(columns) for part in self.parts))

    def counts(self) -> dict[str, object]:
        """Rows per split, rows dropped by reason, cells per split and finding, as stored with the run."""
        rows = {split: self.rows(split) for split in SPLITS}
        patients = self.table.rows["patient_id"]
        counts: dict[str, object] = {
            "images": {split: len(some) for split, some in rows.items()},
            "patients": {split: int(patients[some].nunique()) for split, some in rows.items()},
            "dropped": self.dropped,
            "cells": {
                split: count_targets(self.select(some)).to_dict("records") for split, some in rows.items()
            },
        }
        if self.parts:
            counts["datasets"] = {part.name: part.counts() for part in self.parts}
        return counts


def store_path(config: Config) -> Path:
    """The folder of the main dataset's store."""
    return joint.store_path(config, config.data)


@dataclass(frozen=True)
class Listed:
    """All that is known of a config's datasets before a file is packed.

    Attributes:
        config: The recipe.
        tables: Tables, splits, files and targets.
        packing: When files are packed.
        stores: A store of each dataset, None for those that are still to be packed.
    """

    config: Config
    tables: ListedDatasets
    packing: Packing
    stores: tuple[Store | None, ...] = field(repr=False)

    @property
    def is_certain(self) -> bool:
        """Whether the rows that will be left are known: all is packed, or no file may be unreadable."""
        return all(
            store is not None or dataset.config.data.unreadable == "error"
            for dataset, store in zip(self.tables.datasets, self.stores, strict=True)
        )

    def plan(self) -> Dataset:
        """The dataset as it will be if every file that is to be packed can be decoded; without pixels yet."""
        pairs = zip(self.tables.datasets, self.stores, strict=True)
        return _select_all(
            self.config, self.tables, [store or planned_store(dataset) for dataset, store in pairs]
        )

    def open(self, may_pack: bool = True, begun: Callable[[], None] = lambda: None) -> Dataset:
        """The dataset, packed first where that is needed.

        Args:
            may_pack: False where another process of this run packs.
            begun: Called once packing has begun again where that is asked for, so that it can be continued.

        Raises:
            CxrError: Files that cannot be read, a folder that is no store.
            Interrupted: A signal while packing, with what was packed saved.
        """
        for dataset in self.tables.datasets:  # all of them first: a stop then forgets none of them
            with in_section(dataset.key):
                begin_again(dataset, self.packing)
        begun()  # from here on the same command without --overwrite or --update continues
        stores = []
        for dataset, store in zip(self.tables.datasets, self.stores, strict=True):
            with in_section(dataset.key):
                opened = store or pack_dataset(dataset)
                stores.append(opened)
                if dataset.missing and may_pack:
                    note_missing(opened.path, dataset.missing)
        return _select_all(self.config, self.tables, stores)


def open_dataset(
    config: Config, overwrite: bool = False, may_pack: bool = True, partly: bool = False
) -> Dataset:
    """The dataset of a config, packed first when its store is not there; several datasets are joined.

    Args:
        config: The recipe.
        overwrite: Pack again even where a store is there.
        may_pack: False where another process of this run packs.
        partly: Whether targets that no dataset labels are masked rather than refused, as for another
            hospital's data.

    Raises:
        CxrError: Whatever is wrong with folders, tables, splits, files or an existing store.
    """
    return list_dataset(config, "overwrite" if overwrite else "needed", may_pack, partly).open(may_pack)


def list_dataset(
    config: Config, packing: Packing = "needed", may_pack: bool = True, partly: bool = False
) -> Listed:
    """The datasets of a config before a file is packed: tables, splits, files, and the stores that are there.

    Args:
        config: The recipe.
        packing: When files are packed.
        may_pack: False where another process of this run packs.
        partly: Whether targets that no dataset labels are masked rather than refused, as for another
            hospital's data.

    Raises:
        CxrError: All problems of the first stage that has some.
    """
    stages = new_stages(1 + len(config.data.also))
    tables = list_datasets(config, stages, partly)
    stores = [
        open_existing(dataset, packing, may_pack, problems)
        for dataset, problems in zip(tables.datasets, stages.datasets, strict=True)
    ]
    stages.end_stage()
    return Listed(config, tables, packing, tuple(stores))


def _select_all(config: Config, tables: ListedDatasets, stores: Sequence[Store]) -> Dataset:
    """The rows of all datasets that train or are evaluated."""
    parts = [_select(dataset, store, tables) for dataset, store in zip(tables.datasets, stores, strict=True)]
    return parts[0] if len(parts) == 1 else _join(parts, joint.names(config.data))


def _select(dataset: ListedDataset, store: Store, tables: ListedDatasets) -> Dataset:
    """The rows of one dataset that train or are evaluated."""
    table, found, data = dataset.table, dataset.found, dataset.config.data
    readable = np.ones(len(table), bool)
    readable[found] = store.readable
    rows, dropped = keep_rows(dataset.config, table, dataset.split, readable)
    # row of the store for each row of the table; the store holds the rows with a file, in the table's order
    store_row = np.full(len(table), -1, np.int64)
    store_row[found] = np.arange(len(found))
    kept = table.select(rows)
    return Dataset(
        table=kept,
        targets=joint.resolve_aligned(kept, tables.findings, data, tables.by_concept, dataset.key),
        assigned=dataset.split.assigned[rows],
        split=dataset.split,
        store=store,
        index=store_row[rows],
        dropped=dropped,
        name=data.name or "",
        id_space=dataset.id_space,
        weight=data.weight,
    )


def _join(datasets: Sequence[Dataset], named: Sequence[str]) -> Dataset:
    """The rows of all datasets, those of one after those of another."""
    parts = [replace(part, name=name) for part, name in zip(datasets, named, strict=True)]
    # where the rows of each store begin in the joined store
    starts = np.cumsum([0, *(len(part.store.readable) for part in parts)])[:-1]
    findings = parts[0].targets.findings
    y = np.concatenate([part.targets.y for part in parts])
    mask = np.concatenate([part.targets.mask for part in parts])
    return Dataset(
        table=joint.join_tables([part.table for part in parts], named, findings),
        targets=Targets(findings, y, mask),
        assigned=np.concatenate([part.assigned for part in parts]),
        split=joint.join_splits([part.split for part in parts], named),
        store=join_stores([part.store for part in parts]),
        index=np.concatenate([start + part.index for start, part in zip(starts, parts, strict=True)]),
        dropped={f"{part.name}: {reason}": num for part in parts for reason, num in part.dropped.items()},
        parts=tuple(parts),
    )


def keep_rows(
    config: Config, table: LabelTable, split: Split, readable: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[np.intp], dict[str, int]]:
    """(rows that train or are evaluated, how many others there are by the first reason that drops them).

    Args:
        config: The recipe, for data.views.
        table: N rows.
        split: Their splits.
        readable: [N] False where a file could not be decoded.
    """
    other_view = np.zeros(len(table), bool)
    if config.data.views is not None:
        other_view = ~table.rows["view"].isin(read_views(config.data.views)).to_numpy()
    reasons = {
        "no file": (table.rows["path"] == "").to_numpy(),
        "unreadable": ~readable,
        "other view": other_view,
        "in no split": split.assigned == "",
    }
    # each row is counted once, under the first reason that drops it
    keep = np.ones(len(table), bool)
    dropped = {}
    for reason, drop in reasons.items():
        dropped[reason] = int((keep & drop).sum())
        keep &= ~drop
    if split.absent:
        dropped["listed but not in the label table"] = len(split.absent)
    return np.flatnonzero(keep), dropped
