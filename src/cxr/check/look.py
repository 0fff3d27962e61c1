"""An archive -> Look: its table, split and files, before anything is asked of all archives together."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from cxr.check import odd, refusals
from cxr.check.disk import find_unnamed
from cxr.check.inspect import Facts, inspect
from cxr.check.refusals import Said
from cxr.check.result import Listing
from cxr.config.schema import Config
from cxr.data import combine as joint
from cxr.data.dataset import keep_rows, store_path
from cxr.data.store_files import Read, reader
from cxr.images.notes import CONSTANT, Notes
from cxr.labels import sources
from cxr.labels.reading import make_rows
from cxr.labels.splits import FOLDS, Split
from cxr.labels.table import LabelTable, Targets

ALL = "all"
"""The fold of every row where no split could be made."""

Rows = npt.NDArray[np.intp]
Fold = npt.NDArray[np.str_]


@dataclass(frozen=True)
class Look:
    """One archive, or several laid one after another, whose paths, images and patients then have a name before them.

    Attributes:
        name: What it is called where there are several.
        config: Its config, as if it were alone.
        table: Every row.
        was_read: Whether there is a label table at all.
        split: Their split.
        has_split: Whether one could be made.
        found: [m] rows with a file.
        facts: [m] what the files are, none under --quick.
        read: Grey pixels of a path, as packing reads them.
        rows: [n] rows that would be trained on or judged.
        dropped: How many others, by reason.
        listings: Odd files by kind.
        unnamed: Image files that no row names, and the first of them.
        to_pack: Bytes that the store will need; 0 where it is there or was begun.
        said: What was found so far.
        archives: [N] the archive of each row, where there are several.
    """

    name: str
    config: Config
    table: LabelTable
    was_read: bool
    split: Split
    has_split: bool
    found: Rows
    facts: Sequence[Facts]
    read: Read
    rows: Rows
    dropped: dict[str, int]
    listings: tuple[Listing, ...]
    unnamed: tuple[int, tuple[str, ...]]
    to_pack: int
    said: Said
    archives: tuple[str, ...] = ()

    @property
    def kept(self) -> LabelTable:
        """[n] rows that would be trained on or judged."""
        return self.table.select(self.rows)

    @property
    def people(self) -> "pd.Series[str]":
        """[N] patients, by an id that is the same wherever it means the same person; blank where there is none."""
        ids = self.table.rows["patient_id"]
        return ids.where(
            ids.str.strip() == "", joint.id_space(self.table.source, self.config.data.name) + "/" + ids
        )

    @property
    def fold(self) -> Fold:
        """[n] their splits."""
        return self.split.fold[self.rows]

    @property
    def folds(self) -> tuple[str, ...]:
        """What cells are counted in: the splits, or all rows together."""
        return FOLDS if self.has_split else (ALL,)


def look_at(config: Config, name: str, place: int, exact: bool, quick: bool, skip: Sequence[Path]) -> Look:
    """One archive looked through; what is wrong with it is noted under its own keys.

    Args:
        config: As if the archive were alone.
        name: What it is called where there are several.
        place: 0, or its place in data.also from 1 on.
        exact: Whether every finding in data.findings must be labelled, as where it is the only one.
        quick: Look whether files are there, and decode none.
        skip: Folders below data.root that hold no images of the archive.
    """
    said = Said(place)
    was_read = said.attempt(lambda: sources.read(config.data, exact))
    table = was_read or LabelTable(
        config.data.source, config.data.root, make_rows({"image": []}), (), np.empty((0, 0), np.float32)
    )
    known = was_read and refusals.try_split(table, config.data, said)
    split = known or Split("none", "none could be made", np.full(len(table), ALL), dict.fromkeys(FOLDS, ""))
    found = np.flatnonzero((table.rows["path"] != "").to_numpy())
    notes = Notes()
    read = reader(table.root, config.image.intensity, table.read_pixels, notes)
    paths = list(table.rows["path"].iloc[found])
    what = f"check {name}" if name else "check"
    facts = [] if quick else inspect(table.root, paths, read, config.store.workers, what)
    facts = [_with_notes(one, notes.of(path)) for one, path in zip(facts, paths, strict=False)]
    if was_read:
        refusals.judge_missing(config, table, split.absent, said)
    readable, to_pack = _judge_readable(config, table, found, facts, said)
    rows, dropped = keep_rows(config, table, split, readable)
    return Look(
        name=name,
        config=config,
        table=table,
        was_read=bool(was_read),
        split=split,
        has_split=bool(known),
        found=found,
        facts=facts,
        read=read,
        rows=rows,
        dropped=dropped,
        listings=tuple(_list_odd(config, table, rows, found, facts)),
        unnamed=_find_unnamed(config, table, skip),
        to_pack=to_pack,
        said=said,
    )


def _with_notes(facts: Facts, notes: Sequence[str]) -> Facts:
    return replace(facts, notes=tuple(note for note in notes if note != CONSTANT))  # of which there is a list


def _judge_readable(
    config: Config, table: LabelTable, found: Rows, facts: Sequence[Facts], said: Said
) -> tuple[npt.NDArray[np.bool_], int]:
    """([N] False where cxr train would find no pixels, bytes that its store will need).

    What has no pixels is as the store says where there is one, else as the files are.
    """
    readable = np.ones(len(table), bool)
    own = table.select(found)
    store, to_pack = refusals.try_store(config, own, said, not facts) if len(found) else (None, 0)
    if store is not None:
        readable[found] = store.readable
    else:
        refusals.judge_not_read(config, own, facts, said)
        if facts:
            readable[found] = [not one.reason or bool(one.hint) for one in facts]
    reasons = dict(zip(found, (f": {one.reason}" for one in facts), strict=False))
    lost = [f"{table.rows['path'][row]}{reasons.get(row, '')}" for row in np.flatnonzero(~readable)]
    refusals.judge_unreadable(config, lost, said)
    return readable, to_pack


def _list_odd(
    config: Config, table: LabelTable, kept: Rows, found: Rows, facts: Sequence[Facts]
) -> list[Listing]:
    lateral = odd.is_lateral(list(table.rows["view"]))
    without = (table.rows["path"] == "").to_numpy()
    names = [str(one.path or one.image) for one in table.rows.itertuples()]
    among = np.zeros(len(table), bool)
    among[kept] = lateral[kept]
    lists = [odd.listing("missing", "Missing files", "a row of the label table has no file", names, without)]
    lists += (
        odd.list_odd([names[row] for row in found], lateral[found], facts, config.image.size) if facts else []
    )
    if 0 < among.sum() < len(kept) / 2:
        rule = "the view column says lateral where most images are frontal; pixels were not asked"
        lists.append(odd.listing("lateral", "Lateral images among frontal ones", rule, names, among))
    return [one for one in lists if one.images]


def _find_unnamed(config: Config, table: LabelTable, skip: Sequence[Path]) -> tuple[int, tuple[str, ...]]:
    if table.read_pixels is not None:  # paths are then no files that could be looked for
        return 0, ()
    store = store_path(config)
    skipped = [*skip, config.out, store, *(store.with_name(store.name + end) for end in (".partial", ".old"))]
    return find_unnamed(table.root, set(table.rows["path"]), skipped)


def resolve(look: Look, findings: Sequence[str], exact: bool, said: Said) -> Targets | None:
    """The targets of an archive's rows, None once it is noted why there are none."""
    if not look.was_read or not findings:
        return None
    return said.attempt(lambda: joint.resolve_aligned(look.kept, findings, look.config.data, exact))
