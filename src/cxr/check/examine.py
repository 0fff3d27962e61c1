"""Listed datasets -> examined datasets: files decoded, outliers listed, rows kept; and several joined."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from cxr.check import outliers
from cxr.check.files import Facts, find_unnamed, read_files
from cxr.check.problems import check_decoded, check_unreadable
from cxr.check.result import Listing
from cxr.config.schema import Config
from cxr.data import combine as joint
from cxr.data.checksums import check_pixels
from cxr.data.dataset import keep_rows
from cxr.data.listing import ALL, ListedDataset
from cxr.data.open_stores import check_folder
from cxr.data.problems import Problems
from cxr.data.store import Store, open_store
from cxr.data.store_files import Read, reader
from cxr.images.grey import Grey
from cxr.images.notes import CONSTANT, Notes
from cxr.labels.splits import SPLITS
from cxr.labels.table import LabelTable

Rows = npt.NDArray[np.intp]


@dataclass(frozen=True)
class ExaminedDataset:
    """A dataset whose files were examined, or several joined.

    Paths, images and patients of joined datasets begin with the dataset's name.

    Attributes:
        listed: Its table [N], its split and its files [m].
        facts: [m] facts of the files; none under --quick.
        read: Grey pixels of a path, as packing reads them.
        rows: [n] rows that would be trained on or evaluated.
        dropped: How many others, by reason.
        listings: Outliers by kind.
        unnamed: (how many image files no row names, the first of them).
        bytes_to_pack: Bytes that the store will need; 0 where it is there or its packing has begun.
        datasets: [N] the dataset of each row, where several are joined.
    """

    listed: ListedDataset
    facts: Sequence[Facts]
    read: Read
    rows: Rows
    dropped: dict[str, int]
    listings: tuple[Listing, ...]
    unnamed: tuple[int, tuple[str, ...]]
    bytes_to_pack: int
    datasets: tuple[str, ...] = ()

    @property
    def kept(self) -> LabelTable:
        """[n] rows that would be trained on or evaluated."""
        return self.listed.table.select(self.rows)

    @property
    def splits(self) -> npt.NDArray[np.str_]:
        """[n] their splits."""
        return self.listed.split.assigned[self.rows]

    @property
    def split_names(self) -> tuple[str, ...]:
        """What cells are counted in: the splits, or all rows together."""
        return SPLITS if self.listed.has_split else (ALL,)

    @property
    def patients(self) -> "pd.Series[str]":
        """[N] patients as `id space/id`, the same wherever they are the same person; blank where unknown."""
        # blank stays blank: a blank id with the space in front would look like one patient
        ids = self.listed.table.rows["patient_id"]
        return ids.where(ids.str.strip() == "", self.listed.id_space + "/" + ids)


def examine(listed: ListedDataset, quick: bool, skip: Sequence[Path], problems: Problems) -> ExaminedDataset:
    """A dataset with its files examined; problems of the files and of the store are noted.

    Args:
        listed: The dataset.
        quick: Look whether files are there, and decode none.
        skip: Folders below data.root that hold no images of the dataset.
        problems: Collects the problems.
    """
    config, table, found = listed.config, listed.table, listed.found
    notes = Notes()
    read = reader(table.root, config.image.intensity, table.read_pixels, notes)
    # every file is read by the function that packing uses, so that both find the same faults
    facts: list[Facts] = []
    if not quick:
        title = f"check {listed.name}".rstrip()
        facts = read_files(table.root, listed.paths, read, config.store.workers, title)
        facts = [
            # constant images have a listing of their own kind
            replace(fact, notes=tuple(note for note in notes.of(path) if note != CONSTANT))
            for fact, path in zip(facts, listed.paths, strict=True)
        ]

    # rows without pixels: as the store says where there is one, else as the files are
    readable = np.ones(len(table), bool)
    store = _open_store(listed, quick, problems) if len(found) else None
    if store is not None:
        readable[found] = store.readable
    else:
        check_decoded(listed, facts, problems)
        if facts:
            readable[found] = [not fact.is_faulty for fact in facts]
    # a store knows which files were unreadable, and their facts tell why
    unreadable = []
    reasons = {row: fact.reason for row, fact in zip(found, facts, strict=False)}
    for row in np.flatnonzero(~readable):
        path, reason = table.rows["path"][row], reasons.get(row)
        unreadable.append(f"{path}: {reason}" if reason else path)
    check_unreadable(config.data, unreadable, problems)

    rows, dropped = keep_rows(config, table, listed.split, readable)
    return ExaminedDataset(
        listed=listed,
        facts=facts,
        read=read,
        rows=rows,
        dropped=dropped,
        listings=tuple(_list_outliers(listed, rows, facts)),
        unnamed=_find_unnamed(listed, skip),
        bytes_to_pack=_count_bytes_to_pack(listed),
    )


def _open_store(listed: ListedDataset, quick: bool, problems: Problems) -> Store | None:
    """The store that is there, or None; a store of other images, other files or damaged pixels is noted."""
    path = listed.store_path
    if not check_folder(listed, problems) or not path.exists():
        return None
    # a check writes nothing, and under --quick reads neither files nor pixels
    store = problems.attempt(
        lambda: open_store(path, listed.wanted, listed.files, may_write=False, reread=not quick)
    )
    if store is not None and not quick:
        problems.attempt(lambda: check_pixels(store))
    return store


def _count_bytes_to_pack(listed: ListedDataset) -> int:
    path = listed.store_path
    # a store that is there, or begun, needs no further room
    begun = path.with_name(path.name + ".partial")  # an interrupted pack has reserved its bytes
    if path.exists() or begun.exists():
        return 0
    return len(listed.found) * listed.config.image.store_size**2


def _list_outliers(listed: ListedDataset, kept: Rows, facts: Sequence[Facts]) -> list[Listing]:
    table, found = listed.table, listed.found
    names = [path or image for path, image in zip(table.rows["path"], table.rows["image"], strict=True)]
    lateral = outliers.is_lateral(list(table.rows["view"]))

    without_file = (table.rows["path"] == "").to_numpy()
    rule = "a row of the label table has no file"
    listings = [outliers.make_listing("missing", "Missing files", rule, names, without_file)]
    if facts:
        found_names = [names[row] for row in found]
        size = listed.config.image.size
        listings += outliers.list_outliers(found_names, lateral[found], facts, size)

    # lateral images are told only where most of the rows that would be used are frontal: a dataset of
    # lateral images is no fault, and neither are lateral images that data.views leaves out
    lateral_kept = np.zeros(len(table), bool)
    lateral_kept[kept] = lateral[kept]
    if lateral_kept.sum() < len(kept) / 2:
        title = "Lateral images among frontal ones"
        rule = "the view column says lateral where most images are frontal; pixels were not looked at"
        listings.append(outliers.make_listing("lateral", title, rule, names, lateral_kept))
    return [listing for listing in listings if listing.images]


def _find_unnamed(listed: ListedDataset, skip: Sequence[Path]) -> tuple[int, tuple[str, ...]]:
    if listed.table.read_pixels is not None:  # paths are then no files that could be searched for
        return 0, ()
    store = listed.store_path
    beside = [store.with_name(store.name + ending) for ending in (".partial", ".old")]
    # reports, run folders and stores may stand below data.root; their images are not the dataset's
    skipped = [*skip, listed.config.out, store, *beside]
    return find_unnamed(listed.table.root, set(listed.table.rows["path"]), skipped)


def join(config: Config, datasets: Sequence[ExaminedDataset], findings: Sequence[str]) -> ExaminedDataset:
    """Several datasets as one; images begin with the name of the dataset, patients with the id space."""
    names = [dataset.listed.name for dataset in datasets]
    sizes = [len(dataset.listed.table) for dataset in datasets]
    starts = [0, *accumulate(sizes)][:-1]
    # rows of a dataset begin at its start in the joined table
    pairs = list(zip(datasets, starts, strict=True))
    first_unnamed = [f"{dataset.listed.name}/{path}" for dataset in datasets for path in dataset.unnamed[1]]
    listed = ListedDataset(
        config=config,
        name="",
        key=datasets[0].listed.key,
        table=_join_tables(datasets, findings),
        was_read=all(dataset.listed.was_read for dataset in datasets),
        split=joint.join_splits([dataset.listed.split for dataset in datasets], names),
        has_split=all(dataset.listed.has_split for dataset in datasets),
        found=np.concatenate([start + dataset.listed.found for dataset, start in pairs]),
    )
    return ExaminedDataset(
        listed=listed,
        facts=[fact for dataset in datasets for fact in dataset.facts],
        read=_join_readers(datasets),
        rows=np.concatenate([start + dataset.rows for dataset, start in pairs]),
        dropped=join_dropped(datasets),
        listings=_join_listings(datasets),
        unnamed=(sum(dataset.unnamed[0] for dataset in datasets), tuple(first_unnamed)),
        bytes_to_pack=sum(dataset.bytes_to_pack for dataset in datasets),
        datasets=tuple(name for name, size in zip(names, sizes, strict=True) for _ in range(size)),
    )


def join_dropped(datasets: Sequence[ExaminedDataset]) -> dict[str, int]:
    """How many rows are dropped, by dataset and reason; by reason alone where there is one dataset."""
    dropped: dict[str, int] = {}
    for dataset in datasets:
        name = f"{dataset.listed.name}: " if len(datasets) > 1 else ""
        dropped |= {f"{name}{reason}": num for reason, num in dataset.dropped.items()}
    return dropped


def _join_tables(datasets: Sequence[ExaminedDataset], findings: Sequence[str]) -> LabelTable:
    tables = []
    for dataset in datasets:
        table, name = dataset.listed.table, dataset.listed.name
        rows = table.rows.drop(columns=joint.SOURCE, errors="ignore")  # noted as a problem already
        paths = (name + "/" + rows["path"]).where(rows["path"] != "", "")
        tables.append(replace(table, rows=rows.assign(path=paths)))
    joined = joint.join_tables(tables, [dataset.listed.name for dataset in datasets], findings)
    patients = np.concatenate([dataset.patients for dataset in datasets])
    return replace(joined, rows=joined.rows.assign(patient_id=patients))


def _join_listings(datasets: Sequence[ExaminedDataset]) -> tuple[Listing, ...]:
    """Each kind once; its rule was applied in each dataset separately."""
    joined: dict[str, Listing] = {}
    for dataset in datasets:
        for listing in dataset.listings:
            images = tuple(f"{dataset.listed.name}/{image}" for image in listing.images)
            before = joined.get(listing.kind, replace(listing, images=(), notes=()))
            joined[listing.kind] = replace(
                listing, images=before.images + images, notes=before.notes + listing.notes
            )
    return tuple(joined.values())


def _join_readers(datasets: Sequence[ExaminedDataset]) -> Read:
    """Grey pixels of `dataset/path`."""
    readers = {dataset.listed.name: dataset.read for dataset in datasets}

    def read(path: str) -> Grey:
        name, path_there = path.split("/", 1)
        return readers[name](path_there)

    return read
