"""One archive of a config: its table, its split, its files and its store, before rows are chosen."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from cxr.config.schema import Config
from cxr.console import count, say, warn
from cxr.data import combine as joint
from cxr.data.changes import Files
from cxr.data.pack import begin, is_begun, list_files, pack, write_csv
from cxr.data.store import Manifest, Store, describe, open_store
from cxr.errors import CxrError
from cxr.files import clear_leftovers
from cxr.images.prepare import Preprocess
from cxr.labels import sources
from cxr.labels.lookup import say_nearest
from cxr.labels.splits import Split, assign
from cxr.labels.table import LabelTable

_NAMED = 5

Packing = Literal["needed", "go on", "overwrite", "update"]
"""When files are packed: where there is no store; also where an interrupted pack of one can go on; all of them, again;
those that have changed, and those whose rows are damaged."""


@dataclass(frozen=True)
class ListedArchive:
    """An archive before its pixels are looked at.

    Attributes:
        config: As if the archive were alone.
        table: Every row.
        split: Their split.
        missing: (image, reason) of each image without a file or a row.
        found: Rows with a file.
    """

    config: Config
    table: LabelTable
    split: Split
    missing: list[tuple[str, str]]
    found: npt.NDArray[np.intp]

    @property
    def store_path(self) -> Path:
        """The folder of its store."""
        return joint.store_path(self.config, self.config.data)

    @cached_property
    def wanted(self) -> Manifest:
        """What its store must hold."""
        return describe(self.config.data.source, self.images, preprocess(self.config))

    @cached_property
    def images(self) -> list[str]:
        """Names of the images with a file."""
        return list(self.table.rows["image"].iloc[self.found])

    @cached_property
    def paths(self) -> list[str]:
        """Their files."""
        return list(self.table.rows["path"].iloc[self.found])

    @property
    def files(self) -> Files:
        """The files of its store's rows."""
        table, intensity = self.table, self.config.image.intensity
        return list_files(table.root, self.paths, self.images, intensity, table.read_pixels)


def preprocess(config: Config) -> Preprocess:
    """How the config asks for files to become pixels."""
    image = config.image
    return Preprocess(image.store_size, image.fit, intensity=image.intensity, borders=image.borders)


def list_archive(config: Config, exact: bool) -> ListedArchive:
    """Read the table of one archive, split it and look for its files.

    Args:
        config: As if the archive were alone.
        exact: Whether every finding in data.findings must be labelled, under this very name.

    Raises:
        CxrError: Whatever is wrong with its folder, its table, its split; missing files.
    """
    table = sources.read(config.data, exact)
    split = assign(table, config.data)
    missing = _find_missing(table, split)
    if missing and config.data.missing == "error":
        raise _missing_error(table, split, missing)
    found = np.flatnonzero((table.rows["path"] != "").to_numpy())
    if not len(found):
        near = say_nearest(table.root, table.rows["image"])
        hint = f"{near}; correct the names or data.root" if near else "is data.root the right folder?"
        raise CxrError(f"{table.root}: none of its {len(table):,} images has a file", hint)
    return ListedArchive(config, table, split, missing, found)


def open_existing(archive: ListedArchive, packing: Packing, may_pack: bool) -> Store | None:
    """The store that is there, None where one is to be packed.

    Raises:
        CxrError: It is of other images, other pixels or other files, or holds unreadable ones that are an error.
    """
    path = archive.store_path
    _refuse_dataset(path, archive.table.root)
    is_to_pack = packing in ("overwrite", "update") or (packing == "go on" and is_begun(path, archive.wanted))
    if may_pack and (is_to_pack or not path.exists()):
        return None
    store = open_store(path, archive.wanted, archive.files)
    _check_readable(store, archive.config)
    return store


def _refuse_dataset(store: Path, root: Path) -> None:
    """Refuse a store in the place of the images, which packing it would replace."""
    there, images = os.path.realpath(store), os.path.realpath(root)
    if os.path.commonpath([there, images]) == there:
        raise CxrError(f"store.path: {store} is the folder of the images, or above it", "name another folder")


def begin_again(archive: ListedArchive, packing: Packing) -> None:
    """Begin to pack an archive again where that is asked for, so that `pack_archive` goes on with it.

    Raises:
        CxrError: As `pack.begin`.
    """
    if packing in ("overwrite", "update"):
        begin(packing, archive.files, archive.wanted, archive.store_path, archive.config.store.workers)


def pack_archive(archive: ListedArchive) -> Store:
    """Pack one archive, or go on with it.

    Raises:
        CxrError: As `pack`.
        Interrupted: A signal, with what was packed saved.
    """
    config, table, path = archive.config, archive.table, archive.store_path
    say(f"packing {count(len(archive.found), 'image')} at {config.image.store_size} pixels into {path}")
    return pack(
        table.root,
        archive.paths,
        archive.images,
        archive.wanted,
        path,
        config.data.unreadable,
        config.store.workers,
        table.read_pixels,
    )


def planned_store(archive: ListedArchive) -> Store:
    """A store in which every file could be decoded; its pixels are one byte that stands for all."""
    wanted = archive.wanted
    shape = (wanted.num_images, wanted.preprocess.size, wanted.preprocess.size)
    pixels = np.broadcast_to(np.uint8(0), shape)
    return Store(archive.store_path, wanted, pixels, np.ones(wanted.num_images, bool))


def note_missing(folder: Path, missing: Sequence[tuple[str, str]]) -> None:
    """Write missing.csv beside the store where it is not there yet."""
    if not (folder / "missing.csv").exists():
        clear_leftovers(folder)
        write_csv(folder / "missing.csv", ("image", "reason"), missing)
        warn(f"{count(len(missing), 'image')} missing and skipped: see {folder / 'missing.csv'}")


def _find_missing(table: LabelTable, split: Split) -> list[tuple[str, str]]:
    without_file = table.rows["image"][table.rows["path"] == ""]
    return [(name, "no file") for name in without_file] + [
        (name, "no row in the label table") for name in split.absent
    ]


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


def _check_readable(store: Store, config: Config) -> None:
    num_bad = int((~store.readable).sum())
    if num_bad and config.data.unreadable == "error":
        raise CxrError(
            f"{store.path}: {num_bad:,} of its files were unreadable and are listed in unreadable.csv",
            "data.unreadable=skip goes on without them; cxr pack CONFIG --update reads them again",
        )
