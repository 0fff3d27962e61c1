"""Several archives in one training: each read as if it were alone, then aligned by concept and laid one after another.

Image and patient names are written `name/...` there, since two archives may use the same ones, and the column `source`
holds the archive's name. What an archive does not label is masked in all its rows, whatever data.blank says.
"""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from cxr.config.schema import Config, Data, OneDataset, Policy
from cxr.errors import CxrError
from cxr.findings import NO_FINDING, canonical, find
from cxr.labels.problems import MAX_NAMED
from cxr.labels.split_lists import hash_names
from cxr.labels.splits import SPLITS, Split, check_leak
from cxr.labels.table import LabelTable
from cxr.labels.targets import Targets, resolve
from cxr.text import short_name

SOURCE = "source"
"""Column of the rows that holds the name of their archive, where there are several."""
OWN_IDS = ("table", "folder", "torchxrayvision")
"""Sources whose patients' ids mean something within one archive only; data.name says which."""

_KEY = re.compile(rf"(?<![\w./-])data\.(?=(?:{'|'.join(OneDataset.model_fields)})\b)")


def separate(config: Config) -> list[Config]:
    """A config for each archive, as if it were alone: its keys of `data` and the folder of its store."""
    archives: tuple[OneDataset, ...] = (config.data, *config.data.also)
    if len(archives) == 1:
        return [config]
    configs: list[Config] = []
    for one, name in zip(archives, names(config.data), strict=True):
        said = {key: getattr(one, key) for key in OneDataset.model_fields}
        data = Data.model_construct(**said, findings=config.data.findings)
        path = store_path(config, data)
        if configs and (config.store.path or path in [own.store.path for own in configs]):
            path = (config.store.path or path).with_name(f"{(config.store.path or path).name}-{name}")
        configs.append(
            config.model_copy(update={"data": data, "store": config.store.model_copy(update={"path": path})})
        )
    return configs


def names(data: Data) -> list[str]:
    """The archives' names: as given, else the source, numbered from the second of the same name on."""
    every = (data, *data.also)
    taken = [one.name for one in every if one.name]
    chosen = []
    for one in every:
        free = (
            one.source if number == 1 else f"{one.source}_{number}" for number in range(1, len(every) + 2)
        )
        chosen.append(one.name or next(name for name in free if name not in taken))
        taken.append(chosen[-1])
    return chosen


def id_space(source: str, name: str | None) -> str:
    """Where a patient's id means the same person: an archive of the world, or one of OWN_IDS that was given a name."""
    return f"{source}:{name}" if source in OWN_IDS and name else source


def check_across(
    id_spaces: Sequence[str], rows: Sequence[pd.DataFrame], folds: Sequence[npt.NDArray[np.str_]]
) -> None:
    """Refuse a patient who is in two folds of archives that share their patients, as two parts of one archive do.

    Raises:
        CxrError: Naming the first such patients.
    """
    for space in dict.fromkeys(space for space in id_spaces if id_spaces.count(space) > 1):
        same = [place for place, other in enumerate(id_spaces) if other == space]
        try:
            check_leak(
                pd.concat([rows[place]["patient_id"] for place in same]),
                np.concatenate([folds[p] for p in same]),
            )
        except CxrError as error:
            hint = "two archives hold the same patients; give both the same split"
            own = (
                f", or if equal ids are other people, give each {space} a data.name"
                if space in OWN_IDS
                else ""
            )
            raise CxrError(error.problems, hint + own) from None


def check_files(tables: Sequence[LabelTable], folds: Sequence[npt.NDArray[np.str_]]) -> None:
    """Refuse an image file that is in two splits of the archives, whatever they call it.

    Raises:
        CxrError: Naming the first such files.
    """
    files = [_files_of(table, fold) for table, fold in zip(tables, folds, strict=True)]
    both = [(path, fold) for place, some in enumerate(files) for path, fold in some.items()
            if any(other.get(path, fold) != fold for other in files[:place])]  # fmt: skip
    if both:
        problems = [
            f"data.also: {path} is in two archives, in another split of each" for path, _ in both[:MAX_NAMED]
        ]
        more = (
            [f"data.also: {len(both) - MAX_NAMED:,} more image files are in two splits"]
            if len(both) > MAX_NAMED
            else []
        )
        raise CxrError([*problems, *more], "give both archives the same split, or leave one of them out")


def _files_of(table: LabelTable, fold: npt.NDArray[np.str_]) -> dict[str, str]:
    """The fold of each image file, by its path."""
    top, both = os.path.realpath(table.root), zip(table.rows["path"], fold, strict=True)
    return {os.path.normpath(os.path.join(top, path)): str(name) for path, name in both if path and name}


def store_path(config: Config, data: Data) -> Path:
    """The folder of an archive's store: store.path, or one named by the source, the root folder and the size."""
    name = re.sub(r"[^\w.-]+", "_", os.path.basename(os.path.realpath(data.root))) or "root"
    return config.store.path or Path("stores") / f"{data.source}-{short_name(name)}-{config.image.store_size}"


@contextmanager
def naming(place: int) -> Iterator[None]:
    """Errors about keys of a further archive, which is read as if it were alone, name its place in data.also."""
    try:
        yield
    except CxrError as error:
        raise CxrError(
            [name_key(text, place) for text in error.problems], name_key(error.hint, place)
        ) from None


def name_key(text: str, place: int) -> str:
    """The text with keys of `data` written as keys of the archive at that place: itself at 0, else data.also.0 on."""
    return _KEY.sub(f"data.also.{place - 1}.", text) if place else text


def choose_findings(
    tables: Sequence[LabelTable], asked: Sequence[str] | None, partly: bool = False
) -> tuple[str, ...]:
    """The targets: those asked for, else what the first table labels and then what only further ones do.

    Args:
        tables: What each archive says.
        asked: data.findings.
        partly: Whether it is enough that one of those asked for is labelled anywhere.

    Raises:
        CxrError: Findings that no archive labels.
    """
    if asked is None:
        chosen: list[str] = []
        for table in tables:
            chosen += [name for name in table.findings if name != NO_FINDING and find(name, chosen) is None]
        return tuple(chosen)
    nowhere = [name for name in asked if all(find(name, table.findings) is None for table in tables)]
    if len(nowhere) > (len(asked) - 1 if partly else 0):
        labelled = "; ".join(f"{table.root} labels {', '.join(table.findings)}" for table in tables)
        raise CxrError([f"data.findings: no archive has labels for {name!r}" for name in nowhere], labelled)
    return tuple(asked)


def resolve_aligned(table: LabelTable, findings: Sequence[str], data: OneDataset, exact: bool) -> Targets:
    """Targets [n, C] of one archive under its own policies; what it does not label is masked in every row.

    Args:
        table: What the archive says, under its own names.
        findings: Targets, under the names of the training.
        data: The archive's policies.
        exact: Whether every target must be labelled, under this very name.

    Raises:
        CxrError: A policy for what is no target; with `exact`, a target that is not labelled.
    """
    own = {name: name if exact else find(name, table.findings) for name in findings}
    labelled = {target: name for target, name in own.items() if name is not None}
    uncertain = _policies(data.uncertain, labelled, findings)
    said = resolve(table, list(labelled.values()), uncertain, data.blank, seed=data.split_seed)
    y, mask = (
        np.zeros((len(table), len(findings)), np.float32),
        np.zeros((len(table), len(findings)), np.bool_),
    )
    columns = [place for place, target in enumerate(findings) if target in labelled]
    y[:, columns], mask[:, columns] = said.y, said.mask
    return Targets(tuple(findings), y, mask)


def _policies(
    uncertain: Policy | dict[str, Policy], labelled: Mapping[str, str], findings: Sequence[str]
) -> Policy | dict[str, Policy]:
    """The policies under the archive's own names, whichever name of a finding the config gives them to."""
    if not isinstance(uncertain, dict):
        return uncertain
    unknown = sorted(name for name in map(canonical, uncertain) if find(name, [*findings, "default"]) is None)
    if unknown:
        problems = [f"data.uncertain: {name!r} is no finding here" for name in unknown]
        raise CxrError(problems, f"findings are {', '.join(findings)}")
    policies: dict[str, Policy] = {}
    for name, policy in uncertain.items():
        target = find(canonical(name), list(labelled))
        policies |= {labelled[target]: policy} if target else {}
    return policies | ({"default": uncertain["default"]} if "default" in uncertain else {})


def join_tables(tables: Sequence[LabelTable], named: Sequence[str], findings: Sequence[str]) -> LabelTable:
    """One table of all rows; a cell is nan where its archive does not label the finding.

    Raises:
        CxrError: An archive that has a column of its own called `source`.
    """
    taken = [str(table.root) for table in tables if SOURCE in table.rows.columns]
    if taken:
        problems = [f"{root}: has a column {SOURCE!r}, the name of the archive's own where there are several"
                    for root in taken]  # fmt: skip
        raise CxrError(problems, "leave it out of data.columns.others, or rename it in the CSV")
    rows = [_prefix(table.rows, name) for table, name in zip(tables, named, strict=True)]
    joined = pd.concat(rows, ignore_index=True)
    text = [column for column in joined.columns if column != "age"]
    joined[text] = joined[text].fillna("")
    raw = np.concatenate([align(table, findings).raw for table in tables])
    return LabelTable("+".join(dict.fromkeys(table.source for table in tables)), tables[0].root, joined,
                      tuple(findings), raw)  # fmt: skip


def _prefix(rows: pd.DataFrame, name: str) -> pd.DataFrame:
    ids = {column: name + "/" + rows[column] for column in ("image", "patient_id")}
    return rows.assign(**ids, **{SOURCE: name})


def align(table: LabelTable, findings: Sequence[str]) -> LabelTable:
    """The same rows under the training's findings; a cell is nan where the archive does not label one."""
    raw = np.full((len(table), len(findings)), np.nan, np.float32)
    for place, target in enumerate(findings):
        own = find(target, table.findings)
        if own is not None:
            raw[:, place] = table.raw[:, table.findings.index(own)]
    return replace(table, findings=tuple(findings), raw=raw)


def join_splits(splits: Sequence[Split], named: Sequence[str]) -> Split:
    """The archives' own splits side by side: each is made as if its archive were alone."""
    both = list(zip(named, splits, strict=True))
    hashes = {fold: hash_names(f"{name}/{split.hashes[fold]}" for name, split in both) for fold in SPLITS}
    absent = tuple(f"{name}/{image}" for name, split in both for image in split.absent)
    fold = np.concatenate([split.assigned for split in splits])
    return Split("several", "; ".join(f"{name}: {split.name}" for name, split in both), fold, hashes, absent)
