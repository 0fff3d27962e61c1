"""Several Looks -> one, whose rows are theirs one after another, and what is asked of all archives at once."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate

import numpy as np

from cxr.check import refusals
from cxr.check.look import Look
from cxr.check.refusals import Said
from cxr.check.result import Listing
from cxr.config.schema import Config
from cxr.data import combine as joint
from cxr.data.dataset import choose_findings
from cxr.findings import find
from cxr.images.grey import Grey
from cxr.labels.table import LabelTable, Targets


def choose(config: Config, looks: Sequence[Look], exact: bool, said: Said) -> tuple[str, ...]:
    """The targets; a name that no archive labels is noted and left out.

    Where an archive could not be read it might have labelled such a name, so nothing is noted.
    """
    tables = [look.table for look in looks if look.was_read]
    chosen = (
        said.attempt(lambda: choose_findings(config, tables, exact)) if len(tables) == len(looks) else None
    )
    asked = chosen or config.data.findings or joint.choose_findings(tables, None)
    return chosen or tuple(name for name in asked if any(find(name, table.findings) for table in tables))


def judge(looks: Sequence[Look], said: Said) -> None:
    """What cxr train refuses of archives that are each fine: shared patients in two splits, a column of our own."""
    split = [look for look in looks if look.has_split]
    spaces = [joint.id_space(look.table.source, look.config.data.name) for look in split]
    refusals.judge_across(spaces, [look.table for look in split], [look.split.fold for look in split], said)
    said.attempt(lambda: joint.join_tables([look.kept for look in looks], [look.name for look in looks], ()))


def merge(config: Config, looks: Sequence[Look], findings: Sequence[str], said: Said) -> Look:
    """One Look at all of them: names begin with their archive's, patients with where their id means the same person."""
    named, starts = [look.name for look in looks], [0, *accumulate(len(look.table) for look in looks)]
    also = [(look, start) for look, start in zip(looks, starts, strict=False)]
    listings = _join_listings(looks)
    unnamed = [f"{look.name}/{path}" for look in looks for path in look.unnamed[1]]
    return Look(
        name="",
        config=config,
        table=_join_tables(looks, findings),
        was_read=all(look.was_read for look in looks),
        split=joint.join_splits([look.split for look in looks], named),
        has_split=all(look.has_split for look in looks),
        found=np.concatenate([start + look.found for look, start in also]),
        facts=[one for look in looks for one in look.facts],
        read=_Reader(looks),
        rows=np.concatenate([start + look.rows for look, start in also]),
        dropped={f"{look.name}: {why}": num for look in looks for why, num in look.dropped.items()},
        listings=listings,
        unnamed=(sum(look.unnamed[0] for look in looks), tuple(unnamed)),
        to_pack=sum(look.to_pack for look in looks),
        said=_join_said(looks, said),
        archives=tuple(look.name for look in looks for _ in range(len(look.table))),
    )


def join_targets(
    targets: Sequence[Targets | None], looks: Sequence[Look], findings: Sequence[str]
) -> Targets:
    """The targets of all rows kept; all masked in an archive that has none."""
    shapes = [(len(look.rows), len(findings)) for look in looks]
    y = [one.y if one else np.zeros(shape, np.float32) for one, shape in zip(targets, shapes, strict=True)]
    mask = [one.mask if one else np.zeros(shape, bool) for one, shape in zip(targets, shapes, strict=True)]
    return Targets(tuple(findings), np.concatenate(y), np.concatenate(mask))


def _join_tables(looks: Sequence[Look], findings: Sequence[str]) -> LabelTable:
    named, tables = [look.name for look in looks], []
    for look in looks:
        rows = look.table.rows.drop(columns=joint.SOURCE, errors="ignore")
        paths = (look.name + "/" + rows["path"]).where(rows["path"] != "", "")
        tables.append(replace(look.table, rows=rows.assign(path=paths)))
    joined = joint.join_tables(tables, named, findings)
    return replace(
        joined, rows=joined.rows.assign(patient_id=np.concatenate([look.people for look in looks]))
    )


def _join_listings(looks: Sequence[Look]) -> tuple[Listing, ...]:
    """Each kind once; its rule was applied in each archive by itself."""
    kinds: dict[str, Listing] = {}
    for look in looks:
        for one in look.listings:
            images = tuple(f"{look.name}/{image}" for image in one.images)
            before = kinds.get(one.kind)
            kinds[one.kind] = replace(
                one,
                images=(before.images if before else ()) + images,
                notes=(before.notes if before else ()) + one.notes,
            )
    return tuple(kinds.values())


def _join_said(looks: Sequence[Look], said: Said) -> Said:
    """What was found in each archive, then what was found in all."""
    every = [*(look.said for look in looks), said]
    return Said(
        problems=[problem for one in every for problem in one.problems],
        hints=list(dict.fromkeys(hint for one in every for hint in one.hints)),
        warnings=[warning for one in every for warning in one.warnings],
        private=said.private,  # those of each archive are shown with it
    )


class _Reader:
    """Grey pixels of `archive/path`."""

    def __init__(self, looks: Sequence[Look]) -> None:
        self.reads = {look.name: look.read for look in looks}

    def __call__(self, path: str) -> Grey:
        name, own = path.split("/", 1)
        return self.reads[name](own)
