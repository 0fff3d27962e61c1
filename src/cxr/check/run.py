"""Config -> Checked: the stages of training, continued after every fault, then files, outliers and counts."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cxr.check import counts, outliers
from cxr.check.examine import ExaminedDataset, examine, join
from cxr.check.plan import make_plan
from cxr.check.problems import check_disks, check_generated, warn_of_images, warn_of_table
from cxr.check.result import Cells, Check, Plan, Twins
from cxr.config.schema import Config
from cxr.data import combine as joint
from cxr.data.listing import list_datasets, preprocess, resolve_rows
from cxr.data.problems import Problems, new_stages
from cxr.data.store_files import Read
from cxr.findings import find
from cxr.images.prepare import Preprocess
from cxr.labels.table import LabelTable
from cxr.labels.targets import Targets


@dataclass(frozen=True)
class Checked:
    """The Check, and the rows that thumbnails are drawn from.

    Attributes:
        check: What was found.
        kept: [n] rows that would be trained on or evaluated.
        assigned: [n] their splits.
        read: Grey pixels of one of their files.
        how: How packing prepares them.
        parts: Each dataset alone, where there are several.
        private: Lines that name patients, for the terminal alone.
    """

    check: Check
    kept: LabelTable
    assigned: npt.NDArray[np.str_]
    read: Read
    how: Preprocess
    parts: tuple["Checked", ...] = ()
    private: tuple[str, ...] = ()


def run_check(config: Config, quick: bool = False, skip: Sequence[Path] = ()) -> Checked:
    """One pass over everything that the config would train on; nothing is written.

    Args:
        config: The recipe.
        quick: Look whether files are there, and decode none.
        skip: Folders below data.root that hold no images of the dataset.

    Raises:
        CxrError: A phantom that is not generated yet, so that there is nothing to check.
    """
    for alone in joint.separate(config):
        check_generated(alone.data)
    stages = new_stages(1 + len(config.data.also), stop=False)
    tables = list_datasets(config, stages)
    findings = tables.findings

    # Files and stores, then the targets of the rows that are left. What is wrong with policies was noted
    # by `list_datasets`; such a dataset has no targets.
    datasets, targets = [], []
    for listed, problems in zip(tables.datasets, stages.datasets, strict=True):
        dataset = examine(listed, quick, skip, problems)
        known = None
        if listed.was_read and findings:
            known = resolve_rows(listed, dataset.rows, findings, tables.by_concept, Problems())
        datasets.append(dataset)
        targets.append(known or _no_targets(len(dataset.rows), ()))

    # What is asked of all datasets together: the disk, steps of an epoch, weights, the run folder.
    together = stages.together
    check_disks({dataset.listed.store_path: dataset.bytes_to_pack for dataset in datasets}, together)
    # none are known where every dataset has a problem with its labels
    named = next((known.findings for known in targets if known.findings), ())
    plan = make_plan(config, datasets, targets, named, together)
    joined = _join_problems([*stages.datasets, together])
    if len(datasets) == 1:
        return _conclude(datasets[0], targets[0], plan, quick, joined)

    # Several datasets: a Check of each, then one of all rows joined.
    parts = [
        _conclude_part(dataset, known, quick, problems)
        for dataset, known, problems in zip(datasets, targets, stages.datasets, strict=True)
    ]
    joined.private = together.private  # those of each dataset are shown with it
    all_targets = _join_targets(targets, findings)
    # Cells are counted per dataset and added: in the joined table blank and unlabelled cells are both nan.
    cells = counts.add_cells(
        [
            counts.count_cells(dataset.kept, findings, dataset.splits, dataset.split_names)
            for dataset in datasets
        ]
    )
    return _conclude(join(config, datasets, findings), all_targets, plan, quick, joined, cells, parts)


def _no_targets(num_rows: int, findings: Sequence[str]) -> Targets:
    """Targets that are all masked."""
    shape = (num_rows, len(findings))
    return Targets(tuple(findings), np.zeros(shape, np.float32), np.zeros(shape, bool))


def _join_targets(targets: Sequence[Targets], findings: Sequence[str]) -> Targets:
    """The targets of all rows kept; all masked in a dataset that has none."""
    parts = [known if known.findings else _no_targets(len(known.y), findings) for known in targets]
    y = np.concatenate([part.y for part in parts])
    mask = np.concatenate([part.mask for part in parts])
    return Targets(tuple(findings), y, mask)


def _join_problems(problems: Sequence[Problems]) -> Problems:
    """The problems of each dataset, then those of all together."""
    joined = Problems()
    for part in problems:
        joined.errors += part.errors
        joined.for_report += part.for_report
        joined.private += part.private
        joined.warnings += part.warnings
        joined.hints += [hint for hint in part.hints if hint not in joined.hints]
    return joined


def _conclude_part(dataset: ExaminedDataset, targets: Targets, quick: bool, problems: Problems) -> Checked:
    """One dataset of several: for the targets that it labels, without the problems of all together."""
    labels = dataset.listed.table.findings
    # the targets that this dataset labels: the others are masked in it, and no fault of it
    columns = [column for column, name in enumerate(targets.findings) if find(name, labels)]
    findings = tuple(targets.findings[column] for column in columns)
    labelled = Targets(findings, targets.y[:, columns], targets.mask[:, columns])
    # without problems: a dataset of several is not trained on alone
    plan = make_plan(dataset.listed.config, [dataset], [labelled], findings)
    return _conclude(dataset, labelled, plan, quick, problems)


def _conclude(
    dataset: ExaminedDataset,
    targets: Targets,
    plan: Plan,
    quick: bool,
    problems: Problems,
    cells: Sequence[Cells] | None = None,
    parts: Sequence[Checked] = (),
) -> Checked:
    """The Check of everything, or of one dataset of several."""
    listed, findings, splits = dataset.listed, targets.findings, dataset.splits
    kept = joint.align(dataset.kept, findings)
    if cells is None:
        cells = counts.count_cells(kept, findings, splits, dataset.split_names)
    num_rows, num_found, num_absent = len(listed.table), len(listed.found), len(listed.split.absent)
    files = counts.count_files(num_rows, num_found, num_absent, dataset.facts, dataset.unnamed)
    duplicates = _find_duplicates(dataset)
    chooses = isinstance(listed.config.eval.threshold, str)
    warnings = [
        *problems.warnings,
        *warn_of_table(listed.table, is_joined=bool(parts)),
        *warn_of_images(dataset.listings, duplicates, files),
        # one class in a dataset of several says nothing of the training
        *([] if listed.name else counts.find_one_class(targets, splits)),
        *(counts.find_few_positive(targets, splits) if chooses and not listed.name else []),
    ]
    check = Check(
        about=_describe(dataset),
        quick=quick,
        problems=tuple(problems.for_report),
        hints=tuple(problems.hints),
        warnings=tuple(warnings),
        files=files,
        listings=dataset.listings,
        twins=tuple(duplicates),
        cells=tuple(cells),
        together=counts.count_together(kept, findings),
        groups=tuple(counts.count_groups(kept.rows, splits)),
        patients=counts.count_patients(list(listed.table.rows["patient_id"]), listed.split.assigned),
        split_hashes=dict(listed.split.hashes),
        plan=plan,
        part=listed.name,
        columns=listed.table.columns,
    )
    return Checked(
        check, kept, splits, dataset.read, preprocess(listed.config), tuple(parts), tuple(problems.private)
    )


def _find_duplicates(dataset: ExaminedDataset) -> list[Twins]:
    if not dataset.facts:
        return []
    found = dataset.listed.found
    rows = dataset.listed.table.rows.iloc[found]
    return outliers.find_duplicates(
        names=list(rows["path"]),
        patients=list(rows["patient_id"]),
        splits=list(dataset.listed.split.assigned[found]),
        facts=dataset.facts,
        datasets=[dataset.datasets[row] for row in found] if dataset.datasets else (),
    )


def _describe(dataset: ExaminedDataset) -> tuple[tuple[str, str], ...]:
    """(what, value) of the lines that a report opens with."""
    data, pixels = dataset.listed.config.data, preprocess(dataset.listed.config)
    sections = (data, *(data.also if dataset.datasets else ()))
    how_packed = f"fit {pixels.fit}, intensity {pixels.intensity}, borders {pixels.borders}"
    return (
        ("source", ", ".join(section.source for section in sections)),
        ("folder", ", ".join(str(section.root) for section in sections)),
        ("rows", f"{len(dataset.listed.table):,}"),
        ("pixels", f"{pixels.size} x {pixels.size}, {how_packed}"),
        ("split", dataset.listed.split.name),
    )
