"""Config -> Survey: one pass that goes on after every fault, in the order in which cxr train would meet them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cxr.check import odd, refusals, tally
from cxr.check.disk import find_unnamed
from cxr.check.inspect import Facts, Read, inspect
from cxr.check.refusals import Said
from cxr.check.result import Check, Files, Listing, Plan, Twins
from cxr.config import Config
from cxr.data import sources
from cxr.data.dataset import choose_targets, keep_rows, store_path
from cxr.data.image import read_file
from cxr.data.labels import LabelTable, Targets
from cxr.data.sources.files import make_rows
from cxr.data.splits import FOLDS, Split

_ALL = "all"  # the fold of every row where no split could be made
_SIZES = 8
_JUDGED = ("missing", "truncated", "unreadable")  # listings that the config's policies refuse or let pass

Rows = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Survey:
    """The Check, and what samples are drawn from.

    Attributes:
        check: What was found.
        kept: [n] rows that would be trained on or judged.
        fold: [n] their splits.
        read: Grey pixels of one of their files.
    """

    check: Check
    kept: LabelTable
    fold: npt.NDArray[np.str_]
    read: Read


def survey(config: Config, quick: bool = False, skip: Sequence[Path] = ()) -> Survey:
    """One pass over everything that the config would train on; nothing is written.

    Args:
        config: The recipe.
        quick: Look whether files are there, and decode none.
        skip: Folders below data.root that hold no images of the archive.

    Raises:
        CxrError: A phantom that is not generated yet, so that there is nothing to look at.
    """
    refusals.check_generated(config.data)
    said = Said()
    was_read = said.attempt(lambda: sources.read(config.data))
    table = was_read or _nothing(config)
    known = was_read and refusals.try_split(table, config.data, said)
    split = known or _no_split(table)
    found = np.flatnonzero((table.rows["path"] != "").to_numpy())
    read: Read = table.read_pixels or (lambda path: read_file(table.root / path))
    facts = [] if quick else inspect(table.root, list(table.rows["path"].iloc[found]), read, config.store.workers)
    if was_read:
        refusals.judge_missing(config, table, split.absent, said)
    readable = _judge_readable(config, table, found, facts, said)
    rows, dropped = keep_rows(config, table, split, readable)
    kept, fold = table.select(rows), split.fold[rows]
    targets = (was_read and said.attempt(lambda: choose_targets(config, kept))) or _no_targets(len(rows))
    files = _count_files(config, table, split, found, facts, skip)
    listings, twins = _list_odd(config, table, rows, found, facts), _find_twins(table, split, found, facts)
    patients = tally.count_patients(list(table.rows["patient_id"]), split.fold)
    if known:
        refusals.judge_training(config, refusals.count_folds(fold), said)
    check = Check(
        about=_about(config, table, split),
        quick=quick,
        problems=tuple(said.problems),
        hints=tuple(said.hints),
        warnings=(*said.warnings, *_warnings(listings, twins, files), *tally.find_one_class(targets, fold)),
        files=files,
        listings=tuple(listings),
        twins=tuple(twins),
        cells=tuple(tally.count_cells(kept, targets.findings, fold, FOLDS if known else (_ALL,))),
        together=tally.count_together(kept, targets.findings),
        groups=tuple(tally.count_groups(kept.rows, fold)),
        patients=patients,
        split_hashes=dict(split.hashes),
        plan=_plan(config, kept, fold, targets, dropped, len(found)),
    )
    return Survey(check, kept, fold, read)


def _nothing(config: Config) -> LabelTable:
    """What stands for a label table that could not be read."""
    return LabelTable(config.data.source, config.data.root, make_rows({"image": []}), (), np.empty((0, 0), np.float32))


def _no_split(table: LabelTable) -> Split:
    return Split("none", "none could be made", np.full(len(table), _ALL), {})


def _no_targets(num: int) -> Targets:
    return Targets((), np.empty((num, 0), np.float32), np.empty((num, 0), bool))


def _judge_readable(
    config: Config, table: LabelTable, found: Rows, facts: Sequence[Facts], said: Said
) -> npt.NDArray[np.bool_]:
    """[N] False where cxr train would find no pixels: as its store says where there is one, else as the files are."""
    readable = np.ones(len(table), bool)
    store = refusals.try_store(config, table.select(found), said) if len(found) else None
    if store is not None:
        readable[found] = store.readable
    elif facts:
        readable[found] = [not one.reason for one in facts]
    reasons = dict(zip(found, (f": {one.reason}" for one in facts), strict=False))
    lost = [f"{table.rows['path'][row]}{reasons.get(row, '')}" for row in np.flatnonzero(~readable)]
    refusals.judge_unreadable(config, lost, said)
    return readable


def _list_odd(config: Config, table: LabelTable, kept: Rows, found: Rows, facts: Sequence[Facts]) -> list[Listing]:
    lateral = odd.is_lateral(list(table.rows["view"]))
    without = (table.rows["path"] == "").to_numpy()
    names = [str(one.path or one.image) for one in table.rows.itertuples()]
    among = np.zeros(len(table), bool)
    among[kept] = lateral[kept]
    lists = [odd.listing("missing", "Missing files", "a row of the label table has no file", names, without)]
    lists += odd.list_odd([names[row] for row in found], lateral[found], facts, config.image.size) if facts else []
    if 0 < among.sum() < len(kept) / 2:
        rule = "the view column says lateral where most images are frontal; pixels were not asked"
        lists.append(odd.listing("lateral", "Lateral images among frontal ones", rule, names, among))
    return [one for one in lists if one.images]


def _find_twins(table: LabelTable, split: Split, found: Rows, facts: Sequence[Facts]) -> list[Twins]:
    own = table.rows.iloc[found]
    return odd.find_twins(list(own["path"]), list(own["patient_id"]), list(split.fold[found]), facts) if facts else []


def _count_files(
    config: Config, table: LabelTable, split: Split, found: Rows, facts: Sequence[Facts], skip: Sequence[Path]
) -> Files:
    good = [one for one in facts if not one.reason]
    sizes = Counter((one.width, one.height) for one in good).most_common(_SIZES)
    store = store_path(config)
    skipped = [*skip, config.out, store, *(store.with_name(store.name + end) for end in (".partial", ".old"))]
    by_key = table.read_pixels is not None  # paths are then no files that could be looked for
    unnamed = (0, ()) if by_key else find_unnamed(table.root, set(table.rows["path"]), skipped)
    return Files(
        named=len(table),
        missing=len(table) - len(found),
        absent=len(split.absent),
        read=len(good) if facts else None,
        unreadable=len(facts) - len(good) if facts else None,
        num_bytes=sum(one.num_bytes for one in good) if facts else None,
        median_size=_median([one.width for one in good], [one.height for one in good]) if good else None,
        sizes=tuple((width, height, num) for (width, height), num in sizes),
        grey_as_colour=sum(one.kind == "grey as colour" for one in good) if facts else None,
        unnamed=unnamed[0],
        first_unnamed=unnamed[1],
    )


def _median(widths: Sequence[int], heights: Sequence[int]) -> tuple[int, int]:
    return round(float(np.median(widths))), round(float(np.median(heights)))


def _warnings(listings: Sequence[Listing], twins: Sequence[Twins], files: Files) -> list[str]:
    """A line for each kind of oddity; missing and unreadable files are judged by the config's policies."""
    leaks = [one for one in twins if len(one.folds) > 1]
    across = [one for one in twins if one.num_patients > 1]
    lines = []
    for what, groups in (("leak: equal pictures in more than one split", leaks),
                         ("equal pictures under several patients", across),
                         ("pictures that are there more than once", twins)):  # fmt: skip
        if groups:
            names = " = ".join(groups[0].images[:3])
            lines.append(f"{what}: {len(groups):,}: {names}" + (", ..." if len(groups) > 1 else ""))
    for one in listings:
        if one.kind not in _JUDGED:
            first = refusals.name_first(one.images)
            lines.append(f"{one.title[0].lower()}{one.title[1:]}: {len(one.images):,}: {first}")
    if files.unnamed:
        first = refusals.name_first(files.first_unnamed)
        lines.append(f"image files that no row names: {files.unnamed:,}: {first}")
    return lines


def _about(config: Config, table: LabelTable, split: Split) -> tuple[tuple[str, str], ...]:
    return (
        ("source", config.data.source),
        ("folder", str(config.data.root)),
        ("rows", f"{len(table):,}"),
        ("split", split.name),
    )


def _plan(
    config: Config, kept: LabelTable, fold: npt.NDArray[np.str_], targets: Targets, dropped: dict[str, int], packed: int
) -> Plan:
    images = refusals.count_folds(fold)
    return Plan(
        images=images,
        patients={name: int(kept.rows["patient_id"][fold == name].nunique()) for name in FOLDS},
        findings=targets.findings,
        dropped={reason: num for reason, num in dropped.items() if num},
        batch_size=config.train.batch_size,
        epochs=config.train.epochs,
        steps_per_epoch=-(-images["train"] // config.train.batch_size),
        store=str(store_path(config)),
        store_bytes=packed * config.image.store_size**2,
        where=config.store.where,
    )
