"""What the datasets of a config hold, found out before any file is decoded.

Four stages, each for all datasets before the next:
1. list: read each label table,
2. split: train, val or test for every row, before any is dropped: it must not depend on missing files,
3. locate: which rows have a file,
4. resolve: which findings are learned, and whether the policies for their labels make sense.

Opening or packing stores is the fifth, in `open_stores`. Problems go into `Stages`: training and packing end
at the first stage that has some, a check continues and shows them all.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cxr.config.schema import Config, Data
from cxr.data import combine as joint
from cxr.data.manifest import Manifest, make_manifest
from cxr.data.problems import Problems, Stages
from cxr.data.shared_patients import check_shared_patients, split_rows
from cxr.data.store_files import StoreFiles, list_files
from cxr.errors import CxrError
from cxr.findings import find
from cxr.images.prepare import Preprocess
from cxr.labels import sources
from cxr.labels.lookup import say_nearest
from cxr.labels.problems import MAX_NAMED
from cxr.labels.reading import make_rows
from cxr.labels.splits import SPLITS, Split
from cxr.labels.table import LabelTable
from cxr.labels.targets import Targets

ALL = "all"
"""The split of every row where none could be made."""

_NO_ROWS = np.array([], np.intp)


@dataclass(frozen=True)
class ListedDataset:
    """A dataset before its pixels are read.

    Attributes:
        config: As if it were the only one.
        name: Its name where there are several, else empty.
        key: The section of the config that it is in: data, or data.also.0 and so on.
        table: [N] every row; none where the table could not be read.
        was_read: Whether the table could be read.
        split: [N] the split of every row.
        has_split: Whether one could be made; else every row is in ALL.
        found: Rows with a file.
    """

    config: Config
    name: str
    key: str
    table: LabelTable = field(repr=False)
    was_read: bool
    split: Split = field(repr=False)
    has_split: bool
    found: npt.NDArray[np.intp] = field(repr=False)

    @property
    def missing(self) -> list[tuple[str, str]]:
        """(image, reason) of each image without a file, then of each listed name without a row."""
        without_file = self.table.rows["image"][self.table.rows["path"] == ""]
        missing = [(name, "no file") for name in without_file]
        return missing + [(name, "no row in the label table") for name in self.split.absent]

    @property
    def store_path(self) -> Path:
        """The folder of its store."""
        return joint.store_path(self.config, self.config.data)

    @cached_property
    def wanted(self) -> Manifest:
        """What its store must hold."""
        return make_manifest(self.config.data.source, self.images, preprocess(self.config))

    @cached_property
    def images(self) -> list[str]:
        """Names of the images with a file."""
        return list(self.table.rows["image"].iloc[self.found])

    @cached_property
    def paths(self) -> list[str]:
        """Their files."""
        return list(self.table.rows["path"].iloc[self.found])

    @property
    def files(self) -> StoreFiles:
        """The files of its store's rows."""
        table, intensity = self.table, self.config.image.intensity
        return list_files(table.root, self.paths, self.images, intensity, table.read_pixels)

    @property
    def id_space(self) -> str:
        """Where its patients' ids mean the same person."""
        return joint.id_space(self.table.source, self.config.data.name)


@dataclass(frozen=True)
class ListedDatasets:
    """All datasets of a config before their pixels are read.

    Attributes:
        datasets: Tables, splits and files.
        findings: The targets.
        by_concept: Whether a dataset's findings are matched with them by concept, and may be lacking.
    """

    datasets: tuple[ListedDataset, ...]
    findings: tuple[str, ...]
    by_concept: bool


def preprocess(config: Config) -> Preprocess:
    """How the config asks for files to become pixels."""
    image = config.image
    return Preprocess(image.store_size, image.fit, intensity=image.intensity, borders=image.borders)


def list_datasets(config: Config, stages: Stages, partly: bool = False) -> ListedDatasets:
    """The datasets of a config after the stages list, split, locate and resolve.

    Args:
        config: The recipe.
        stages: Collects the problems of each dataset.
        partly: Whether targets that no dataset labels are masked rather than refused, as for another
            hospital's data.

    Raises:
        CxrError: All problems of a stage, unless `stages` only gathers them.
    """
    configs = joint.separate(config)
    named = joint.names(config.data) if len(configs) > 1 else [""]
    by_concept = len(configs) > 1 or partly

    # 1. list; a table that cannot be read leaves no rows, so that a check can continue with the others
    tables = [
        read_table(alone.data, by_concept, problems)
        for alone, problems in zip(configs, stages.datasets, strict=True)
    ]
    stages.end_stage()

    # 2. split each dataset as if it were the only one, then search for patients and files that two share
    datasets = []
    for alone, name, table, problems in zip(configs, named, tables, stages.datasets, strict=True):
        made = split_rows(table, alone.data, problems) if table is not None else None
        datasets.append(_make_listed(alone, name, problems.key, table, made))
    split = [dataset for dataset in datasets if dataset.has_split]
    check_shared_patients(
        [dataset.id_space for dataset in split],
        [dataset.table for dataset in split],
        [dataset.split.assigned for dataset in split],
        stages.together,
    )
    stages.end_stage()

    # 3. locate: the readers have looked for the files already, and whether that is enough is decided here
    for dataset, problems in zip(datasets, stages.datasets, strict=True):
        if dataset.was_read:
            check_missing(dataset, problems)
    stages.end_stage()

    # 4. resolve, on no rows: what is wrong shows before hours of packing. Policies are not checked where a
    # table could not be read: they may name a finding that only this table labels.
    findings = choose_findings(config.data, datasets, by_concept, partly, stages.together)
    all_read = all(dataset.was_read for dataset in datasets)
    for dataset, problems in zip(datasets, stages.datasets, strict=True):
        if all_read and findings:
            resolve_rows(dataset, _NO_ROWS, findings, by_concept, problems)
    if len(datasets) > 1:
        stages.together.attempt(lambda: joint.check_columns([dataset.table for dataset in datasets]))
    stages.end_stage()
    return ListedDatasets(tuple(datasets), findings, by_concept)


def read_table(data: Data, by_concept: bool, problems: Problems) -> LabelTable | None:
    """The label table of a dataset, or None once it is noted why it cannot be read."""
    return problems.attempt(lambda: sources.read(data, not by_concept))


def _make_listed(
    config: Config, name: str, key: str, table: LabelTable | None, split: Split | None
) -> ListedDataset:
    """The dataset: no rows where there is no table, all rows in one split where none could be made."""
    data = config.data
    nothing = LabelTable(data.source, data.root, make_rows({"image": []}), (), np.empty((0, 0), np.float32))
    # no rows, so that the stages that follow need no exception
    kept = nothing if table is None else table
    no_split = Split("none", "none could be made", np.full(len(kept), ALL), dict.fromkeys(SPLITS, ""))
    # rows of the store are these, in the order of the table
    found = np.flatnonzero((kept.rows["path"] != "").to_numpy())
    return ListedDataset(
        config=config,
        name=name,
        key=key,
        table=kept,
        was_read=table is not None,
        split=split or no_split,
        has_split=split is not None,
        found=found,
    )


def check_missing(dataset: ListedDataset, problems: Problems) -> None:
    """Note images without a file and names without a row, by data.missing, and folders without images."""
    table, key = dataset.table, problems.key
    total = len(table) + len(dataset.split.absent)
    texts = []
    for reason in ("no file", "no row in the label table"):
        names = [name for name, why in dataset.missing if why == reason]
        if names:
            first = ", ".join(names[:MAX_NAMED]) + (", ..." if len(names) > MAX_NAMED else "")
            texts.append(f"{table.root}: {len(names):,} of {total:,} listed images have {reason}: {first}")
    if dataset.config.data.missing == "skip":
        problems.warnings += texts
        texts = []

    # files below root whose names are like those of rows without one; keys of a package are no names of files
    without_file = list(table.rows["image"][table.rows["path"] == ""])
    near = say_nearest(table.root, without_file) if without_file and table.read_pixels is None else ""
    if not len(dataset.found):  # refused whatever data.missing says, since nothing is left
        texts.append(f"{table.root}: none of its {len(table):,} images has a file")
        hint = f"{near}; correct the names or {key}.root" if near else f"is {key}.root the right folder?"
        problems.add(texts, hint)
    elif texts:
        hint = f"unpack the rest of the dataset there, or {key}.missing=skip to continue without them"
        hint += " (listed in missing.csv)"
        problems.add(texts, f"{near}; {hint}" if near else hint)


def choose_findings(
    data: Data, datasets: Sequence[ListedDataset], by_concept: bool, partly: bool, problems: Problems
) -> tuple[str, ...]:
    """The targets: those that the config asks for, else what any dataset labels.

    A name that no dataset labels is noted and left out; nothing is noted where a table could not be read: it
    may label that name. For a single dataset, `resolve_rows` notes what it does not label.
    """
    asked = data.findings
    assert not isinstance(asked, str)
    if asked and not by_concept:
        return asked
    tables = [dataset.table for dataset in datasets if dataset.was_read]
    if len(tables) == len(datasets):
        chosen = problems.attempt(lambda: joint.choose_findings(tables, asked, partly))
        if chosen is not None:
            return chosen
    wanted = asked or joint.choose_findings(tables, None)
    return tuple(name for name in wanted if any(find(name, table.findings) for table in tables))


def resolve_rows(
    dataset: ListedDataset,
    rows: npt.NDArray[np.intp],
    findings: Sequence[str],
    by_concept: bool,
    problems: Problems,
) -> Targets | None:
    """Targets of some rows of a dataset, or None once it is noted why there are none."""
    data, key = dataset.config.data, dataset.key
    table = dataset.table.select(rows)
    try:
        return joint.resolve_aligned(table, findings, data, by_concept, key)
    except CxrError as error:
        problems.add_error(error)
        return None
