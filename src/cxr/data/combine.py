"""Several datasets in one training: findings aligned by concept, and rows joined, one dataset after another.

Each dataset is read as if it were the only one.
Names of images and patients then begin with `name/`, since two datasets may use the same names, and the
column `source` holds the dataset's name. A finding that a dataset does not label is masked in all its rows,
whatever data.blank says.
"""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from cxr.config.schema import Config, Data, OneDataset, Policy
from cxr.errors import CxrError
from cxr.findings import NO_FINDING, canonical, find
from cxr.labels.split_lists import hash_names
from cxr.labels.splits import SPLITS, Split
from cxr.labels.table import LabelTable
from cxr.labels.targets import Targets, resolve
from cxr.text import short_name

SOURCE = "source"
"""Column of the rows that holds the name of their dataset, where there are several."""
OWN_IDS = ("table", "folder", "torchxrayvision")
"""Sources whose patient ids mean something within one dataset only; data.name says which."""


def separate(config: Config) -> list[Config]:
    """A config for each dataset as if it were the only one: its keys of `data`, its store's folder."""
    datasets: tuple[OneDataset, ...] = (config.data, *config.data.also)
    if len(datasets) == 1:
        return [config]
    configs: list[Config] = []
    for dataset, name in zip(datasets, names(config.data), strict=True):
        # without `also`: each dataset is read as if it were the only one
        keys = {key: getattr(dataset, key) for key in OneDataset.model_fields}
        data = Data.model_construct(**keys, findings=config.data.findings)
        path = store_path(config, data)
        taken = [earlier.store.path for earlier in configs]
        # two datasets never share a store, neither at store.path nor at a default path of the same name
        if configs and (config.store.path or path in taken):
            path = path.with_name(f"{path.name}-{name}")
        store = config.store.model_copy(update={"path": path})
        configs.append(config.model_copy(update={"data": data, "store": store}))
    return configs


def names(data: Data) -> list[str]:
    """The datasets' names: as given, else the source, numbered from the second of the same source on."""
    datasets = (data, *data.also)
    # names that the config gives come first: a default never takes one of them
    taken = [dataset.name for dataset in datasets if dataset.name]
    chosen: list[str] = []
    for dataset in datasets:
        name, number = dataset.name or dataset.source, 1
        while not dataset.name and name in taken:
            number += 1
            name = f"{dataset.source}_{number}"
        chosen.append(name)
        taken.append(name)
    return chosen


def id_space(source: str, name: str | None) -> str:
    """Scope in which equal patient ids are one person: a public dataset, or a user's table with a name."""
    return f"{source}:{name}" if source in OWN_IDS and name else source


def store_path(config: Config, data: Data) -> Path:
    """The folder of a dataset's store: store.path, or one named by source, root folder and size."""
    if config.store.path:
        return config.store.path
    # the real folder's name, as `.` or a link would name every dataset alike
    root = re.sub(r"[^\w.-]+", "_", os.path.basename(os.path.realpath(data.root))) or "root"
    return Path("stores") / f"{data.source}-{short_name(root)}-{config.image.store_size}"


def choose_findings(
    tables: Sequence[LabelTable], asked: Sequence[str] | None, partly: bool = False
) -> tuple[str, ...]:
    """The targets: those asked for, else what the main dataset labels, then what only further ones do.

    Args:
        tables: The label table of each dataset.
        asked: data.findings.
        partly: Whether it is enough that one of those asked for is labelled anywhere.

    Raises:
        CxrError: Findings that no dataset labels.
    """
    if asked is None:
        # No Finding is what is left when all others are absent; it is a target only where it is asked
        # for
        chosen: list[str] = []
        for table in tables:
            chosen += [name for name in table.findings if name != NO_FINDING and find(name, chosen) is None]
        return tuple(chosen)
    nowhere = [name for name in asked if all(find(name, table.findings) is None for table in tables)]
    if nowhere and not (partly and len(nowhere) < len(asked)):
        labelled = "; ".join(f"{table.root} labels {', '.join(table.findings)}" for table in tables)
        raise CxrError([f"data.findings: no dataset has labels for {name!r}" for name in nowhere], labelled)
    return tuple(asked)


def resolve_aligned(
    table: LabelTable, findings: Sequence[str], data: OneDataset, by_concept: bool, key: str
) -> Targets:
    """Targets [n, C] of one dataset under its policies; what it does not label is masked in every row.

    Args:
        table: Its label table, under its own names of findings.
        findings: C targets, under the names of the training.
        data: The dataset's policies.
        by_concept: Whether findings are matched by concept, and may be lacking; else each must be labelled,
            under this very name.
        key: The section of the config that `data` is.

    Raises:
        CxrError: A policy for what is no target; a target that is not labelled, unless matched by concept.
    """
    named = {name: find(name, table.findings) if by_concept else name for name in findings}
    labelled = {target: name for target, name in named.items() if name is not None}
    uncertain = _policies(data.uncertain, labelled, findings, key)
    known = resolve(table, list(labelled.values()), uncertain, data.blank, seed=data.split_seed)
    # [n, C] all masked, then the columns that the dataset labels
    y = np.zeros((len(table), len(findings)), np.float32)
    mask = np.zeros((len(table), len(findings)), np.bool_)
    # numbers of the targets that this dataset labels, in the order of `known`'s columns
    columns = [column for column, target in enumerate(findings) if target in labelled]
    y[:, columns], mask[:, columns] = known.y, known.mask
    return Targets(tuple(findings), y, mask)


def _policies(
    uncertain: Policy | dict[str, Policy], labelled: Mapping[str, str], findings: Sequence[str], key: str
) -> Policy | dict[str, Policy]:
    """The policies under the dataset's names of findings, by whichever name the config calls a finding."""
    if not isinstance(uncertain, dict):
        return uncertain
    # "default" is the policy of all findings that have none of their own
    known = [*findings, "default"]
    unknown = sorted(name for name in map(canonical, uncertain) if find(name, known) is None)
    if unknown:
        problems = [f"{key}.uncertain: {name!r} is no finding here" for name in unknown]
        raise CxrError(problems, f"findings are {', '.join(findings)}")
    # by the dataset's names, since its table is resolved under them; a finding that it lacks needs no policy
    policies: dict[str, Policy] = {}
    for name, policy in uncertain.items():
        target = find(canonical(name), list(labelled))
        if target:
            policies[labelled[target]] = policy
    if "default" in uncertain:
        policies["default"] = uncertain["default"]
    return policies


def check_columns(tables: Sequence[LabelTable]) -> None:
    """Refuse columns that `join_tables` would write over.

    Raises:
        CxrError: A dataset that has a column called `source`.
    """
    taken = [table.root for table in tables if SOURCE in table.rows.columns]
    if taken:
        problem = f"has a column {SOURCE!r}, which holds the dataset's name where there are several"
        hint = "leave it out of data.columns.others, or rename it in the CSV"
        raise CxrError([f"{root}: {problem}" for root in taken], hint)


def join_tables(tables: Sequence[LabelTable], named: Sequence[str], findings: Sequence[str]) -> LabelTable:
    """One table of all rows; a cell is nan where its dataset does not label the finding."""
    rows = []
    for table, name in zip(tables, named, strict=True):
        ids = {column: name + "/" + table.rows[column] for column in ("image", "patient_id")}
        rows.append(table.rows.assign(**ids, **{SOURCE: name}))
    # numbered again: rows of the second dataset follow those of the first
    joined = pd.concat(rows, ignore_index=True)
    # a column that only some datasets have is blank in the rows of the others; an unknown age stays nan
    text = [column for column in joined.columns if column != "age"]
    joined[text] = joined[text].fillna("")
    # [sum of N, C], findings in the order of the training
    raw = np.concatenate([align(table, findings).raw for table in tables])
    source = "+".join(dict.fromkeys(table.source for table in tables))
    return LabelTable(source, tables[0].root, joined, tuple(findings), raw)


def align(table: LabelTable, findings: Sequence[str]) -> LabelTable:
    """The same rows under the training's findings; nan where the dataset does not label the finding."""
    raw = np.full((len(table), len(findings)), np.nan, np.float32)
    for column, target in enumerate(findings):
        name = find(target, table.findings)
        if name is not None:
            raw[:, column] = table.raw[:, table.findings.index(name)]
    return replace(table, findings=tuple(findings), raw=raw)


def join_splits(splits: Sequence[Split], named: Sequence[str]) -> Split:
    """The splits of the datasets side by side: each is made as if its dataset were the only one."""
    pairs = list(zip(named, splits, strict=True))
    # of hashes: the same images under another dataset's name are another split
    hashes = {part: hash_names(f"{name}/{split.hashes[part]}" for name, split in pairs) for part in SPLITS}
    absent = tuple(f"{name}/{image}" for name, split in pairs for image in split.absent)
    title = "; ".join(f"{name}: {split.name}" for name, split in pairs)
    return Split("several", title, np.concatenate([split.assigned for split in splits]), hashes, absent)
