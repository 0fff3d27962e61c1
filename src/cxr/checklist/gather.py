"""A run folder -> Facts: its checkpoint, the label tables of its datasets, and the reports beside it."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pydantic import BaseModel, Field

from cxr.checklist.facts import Data, Evaluation, Facts, Kind
from cxr.config.schema import Config
from cxr.console import warn
from cxr.data.dataset import list_dataset
from cxr.errors import CxrError
from cxr.labels.splits import SPLITS
from cxr.model import checkpoint as checkpoints
from cxr.model import provenance
from cxr.model.candidate import check_unchanged, evaluation_config
from cxr.model.checkpoint import Checkpoint, Metadata
from cxr.paths import is_folder

_MAX_BYTES = 50_000_000
_MAX_REPORTS = 50
_ABSENT = "listed but not in the label table"
_SHA_DIGITS = 16


class _Thresholds(BaseModel):
    rule: str = ""
    chosen_on: str | None = None
    evaluated_on: str = ""
    optimistic: bool = False


class _ReportFile(BaseModel):
    """What is read of a report.json; everything else in it is left alone."""

    about: dict[str, str] = Field(default_factory=dict)
    thresholds: _Thresholds
    intervals: str = ""
    summary: list[dict[str, str | float | None]] = Field(default_factory=list)
    metrics: list[dict[str, str | float | None]] = Field(default_factory=list)
    subgroups: dict[str, list[dict[str, Any]]] = Field(default_factory=dict)
    calibration: dict[str, Any] = Field(default_factory=dict)
    notes: list[str] = Field(default_factory=list)


def gather(run: Path, overrides: Sequence[str] = ()) -> Facts:
    """Everything that is known of a run; a dataset that is not there leaves `data` None.

    Args:
        run: Run folder or checkpoint of cxr.
        overrides: KEY=VALUE texts, such as data.root=FOLDER where the dataset was moved.

    Raises:
        CxrError: No checkpoint, a damaged one, an unknown key, or another value of what training fixed.
    """
    checkpoint = checkpoints.load(run)
    trained = checkpoint.metadata
    config = evaluation_config(trained.config, trained.findings, overrides)
    check_unchanged(config, trained, run)
    # 1. rows of the datasets, 2. reports beside the checkpoint
    data = _read_data(config, trained)
    folder = run if is_folder(run) else run.parent
    evaluations, notes = _read_evaluations(folder, checkpoint)
    return Facts(
        run=str(run),
        config=config,
        findings=trained.findings,
        preprocess=trained.preprocess,
        split_name=trained.split.name,
        thresholds=checkpoint.thresholds,
        recalibration=checkpoint.recalibration,
        epoch=trained.epoch,
        step=trained.step,
        validation=trained.validation,
        versions=trained.versions,
        sha256=checkpoint.sha256,
        num_parameters=sum(weight.numel() for weight in checkpoint.classifier.parameters()),
        has_ood=checkpoint.ood is not None,
        unfinished="; ".join(provenance.note_unfinished(run, checkpoint)),
        data=data,
        evaluations=evaluations,
        explained=tuple(sorted(path.parent.name for path in folder.glob("explain_*/explain.json"))),
        examined=tuple(
            sorted(
                path.parent.name
                for pattern in ("shortcuts*/shortcuts.json", "inspect*/inspect.html")
                for path in folder.glob(pattern)
            )
        ),
        notes=tuple(notes),
        num_hashed=sum(len(hashes) for hashes in checkpoint.patients.values()),
    )


def _read_data(config: Config, trained: Metadata) -> Data | None:
    """The rows of the datasets; None, with a warning, where they cannot be read. No image is decoded."""
    try:
        # Only tables are read: nothing is generated, packed or decoded for a checklist.
        for section in (config.data, *config.data.also):
            if not section.root.is_dir():  # a phantom would be generated there
                raise CxrError(f"{section.root}: no such folder", "data.root=FOLDER")
        listed = list_dataset(config, partly=True)
        dataset = listed.plan()
    except CxrError as error:
        # the reason may name patients, so that it goes to the terminal and into no file
        warn(f"Table 1 and the flow diagram are left out: {error.problems[0]}")
        return None
    tables = [each.table for each in listed.tables.datasets]
    rows = dataset.table.rows[["patient_id", "view", "sex", "age"]].reset_index(drop=True)
    known = dataset.targets.mask & ((dataset.targets.y == 0) | (dataset.targets.y == 1))
    # names without a row are no images of the tables, and would make the numbers of the diagram not add up
    dropped = {reason: num for reason, num in dataset.dropped.items() if not reason.endswith(_ABSENT)}
    # a table that has changed since the training has another split: its numbers would be of other images
    today = {split: dataset.split.hashes.get(split) for split in SPLITS}
    return Data(
        rows=rows.assign(split=dataset.assigned),
        y=np.where(known, dataset.targets.y, np.nan).astype(np.float64),
        num_images=sum(len(table) for table in tables),
        num_patients=sum(_count_patients(table.rows) for table in tables),
        dropped=dropped,
        num_absent=sum(num for reason, num in dataset.dropped.items() if reason.endswith(_ABSENT)),
        names_patients=all(table.names_patients for table in tables),
        is_changed=any(today[split] != trained.split.hashes.get(split) for split in SPLITS),
    )


def _count_patients(rows: pd.DataFrame) -> int:
    return int(rows["patient_id"].nunique())


def _read_evaluations(folder: Path, checkpoint: Checkpoint) -> tuple[tuple[Evaluation, ...], list[str]]:
    """(the reports of this checkpoint, notes on those of another one or that cannot be read)."""
    found, notes = [], []
    for path in sorted(folder.glob("eval_*/report.json"))[:_MAX_REPORTS]:
        try:
            evaluation = _read_evaluation(path)
        except (OSError, ValueError, RecursionError):
            notes.append(f"{path.parent.name}/report.json cannot be read and is left out")
            continue
        of = evaluation.about.get(provenance.KEY, "")
        # an evaluation of an earlier best epoch would be told of as that of this checkpoint
        if of and checkpoint.sha256[:_SHA_DIGITS] not in of:
            notes.append(f"{path.parent.name} is of another checkpoint and is left out")
        else:
            found.append(evaluation)
    return tuple(found), notes


def _read_evaluation(path: Path) -> Evaluation:
    """What a report.json says.

    Raises:
        OSError or ValueError: It cannot be read, or is no report.
    """
    if not path.is_file() or path.stat().st_size > _MAX_BYTES:
        raise ValueError("is no report")
    report = _ReportFile.model_validate(json.loads(path.read_bytes()))
    # a report of an earlier version may lack any of these
    groups = report.subgroups.get("auroc", [])
    findings = report.calibration.get("findings") or []
    return Evaluation(
        folder=path.parent.name,
        kind=_tell_kind(path.parent.name),
        about=report.about,
        evaluated_on=report.thresholds.evaluated_on,
        rule=report.thresholds.rule,
        chosen_on=report.thresholds.chosen_on or "",
        optimistic=report.thresholds.optimistic,
        intervals=report.intervals,
        mean=report.summary[0] if report.summary else {},
        attributes=tuple(dict.fromkeys(str(row.get("attribute", "")) for row in groups)),
        is_recalibrated=any(row.get("brier_after") is not None for row in findings if isinstance(row, dict)),
        tables=tuple(sorted(table.name for table in path.parent.glob("*.csv"))),
        notes=tuple(report.notes),
        findings=tuple(report.metrics),
        groups=tuple(row for row in groups if row.get("finding") == "mean"),
        calibration=tuple(row for row in findings if isinstance(row, dict)),
    )


def _tell_kind(folder: str) -> Kind:
    """By the name that cxr eval gives a report's folder."""
    # first: an ensemble on another dataset has both in its name
    if "_with_" in folder:
        return "ensemble"
    if "_on_" in folder:
        return "external"
    return "test" if folder == "eval_test" else "other"
