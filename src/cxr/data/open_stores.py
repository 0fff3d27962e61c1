"""The stage after listing: the stores of listed datasets are opened, or packed where there are none."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from cxr.console import count, say, warn
from cxr.data.listing import ListedDataset
from cxr.data.pack import begin, is_begun, pack, write_csv
from cxr.data.problems import Problems
from cxr.data.store import Store, open_store
from cxr.files import clear_leftovers

Packing = Literal["needed", "go on", "overwrite", "update"]
"""When files are packed: where there is no store; also where an interrupted pack can be continued; all of
them again; those that have changed, and those whose rows are damaged."""


def open_existing(
    dataset: ListedDataset, packing: Packing, may_pack: bool, problems: Problems
) -> Store | None:
    """The store that is there; None where one is to be packed, or is noted as unusable."""
    path = dataset.store_path
    # before anything else: packing would replace the images, --overwrite would delete them
    is_safe = check_folder(dataset, problems)
    is_to_pack = packing in ("overwrite", "update") or (packing == "go on" and is_begun(path, dataset.wanted))
    if not is_safe or (may_pack and (is_to_pack or not path.exists())):
        return None
    store = problems.attempt(lambda: open_store(path, dataset.wanted, dataset.files))
    num_unreadable = 0 if store is None else int((~store.readable).sum())
    # it was packed under skip, and the config asks for more now
    if num_unreadable and dataset.config.data.unreadable == "error":
        text = f"{path}: {num_unreadable:,} of its files were unreadable and are listed in unreadable.csv"
        hint = f"{problems.key}.unreadable=skip continues without them; "
        hint += "cxr pack CONFIG --update reads them again"
        problems.add([text], hint)
    return store


def check_folder(dataset: ListedDataset, problems: Problems) -> bool:
    """Whether the store's folder is not the dataset's, which packing would replace; noted where it is."""
    path = dataset.store_path
    # real paths, as a link may lead to the images
    store, images = os.path.realpath(path), os.path.realpath(dataset.table.root)
    is_safe = os.path.commonpath([store, images]) != store
    if not is_safe:
        text = f"store.path: {path} is the folder of the images, or a folder above it"
        problems.add([text], "name another folder")
    return is_safe


def begin_again(dataset: ListedDataset, packing: Packing) -> None:
    """Begin to pack a dataset again where that is asked for, so that `pack_dataset` continues with it.

    Raises:
        CxrError: As `pack.begin`.
    """
    if packing in ("overwrite", "update"):
        begin(packing, dataset.files, dataset.wanted, dataset.store_path, dataset.config.store.workers)


def pack_dataset(dataset: ListedDataset) -> Store:
    """The store of a dataset, packed now, or continued where its packing was interrupted.

    Raises:
        CxrError: As `pack`.
        Interrupted: A signal, with what was packed saved.
    """
    config, table, path = dataset.config, dataset.table, dataset.store_path
    say(f"packing {count(len(dataset.found), 'image')} at {config.image.store_size} pixels into {path}")
    return pack(
        table.root,
        dataset.paths,
        dataset.images,
        dataset.wanted,
        path,
        config.data.unreadable,
        config.store.workers,
        table.read_pixels,
    )


def planned_store(dataset: ListedDataset) -> Store:
    """A store in which every file could be decoded; one byte stands for all its pixels."""
    wanted = dataset.wanted
    shape = (wanted.num_images, wanted.preprocess.size, wanted.preprocess.size)
    # [N, S, S] views of one byte: steps can be counted before anything is packed
    pixels = np.broadcast_to(np.uint8(0), shape)
    return Store(dataset.store_path, wanted, pixels, np.ones(wanted.num_images, bool))


def note_missing(folder: Path, missing: Sequence[tuple[str, str]]) -> None:
    """Write missing.csv beside the store where it is not there yet."""
    path = folder / "missing.csv"
    if not path.exists():
        clear_leftovers(folder)
        write_csv(path, ("image", "reason"), missing)
        warn(f"{count(len(missing), 'image')} missing and skipped: see {path}")
