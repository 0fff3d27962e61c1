"""All that a run knows about itself, as plain values."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from cxr.config.schema import Config
from cxr.evaluation.recalibration import Recalibration
from cxr.evaluation.thresholds import Thresholds
from cxr.images.prepare import Preprocess
from cxr.report.records import Record

Kind = Literal["test", "external", "ensemble", "other"]
"""Its own test images; another dataset; several models; validation or training images."""


@dataclass(frozen=True)
class Evaluation:
    """What a report.json of the run's folder says.

    Attributes:
        folder: Its name, such as eval_test.
        kind: What was evaluated.
        about: What was evaluated, by key.
        evaluated_on: As `test rows (560 images, 97 patients)`.
        rule: Of the thresholds.
        chosen_on: What thresholds were chosen on; empty for fixed ones.
        optimistic: Whether they were chosen on images that are evaluated.
        intervals: How intervals were made; empty without.
        mean: The row `mean` of the summary.
        attributes: Of the subgroups.
        is_recalibrated: Whether calibration before and after recalibration is given for any finding.
        tables: Names of the CSV files beside it.
        notes: Of the report.
        findings: Rows of the table of metrics, one a finding.
        groups: Rows of the means of subgroups.
        calibration: Rows of the table of calibration.
    """

    folder: str
    kind: Kind
    about: Mapping[str, str]
    evaluated_on: str
    rule: str
    chosen_on: str
    optimistic: bool
    intervals: str
    mean: Record
    attributes: tuple[str, ...]
    is_recalibrated: bool
    tables: tuple[str, ...]
    notes: tuple[str, ...]
    findings: tuple[Record, ...] = ()
    groups: tuple[Record, ...] = ()
    calibration: tuple[Record, ...] = ()


@dataclass(frozen=True)
class Data:
    """The rows of the run's datasets, from their label tables.

    Attributes:
        rows: [N] `patient_id`, `view`, `sex` (text, empty when unknown), `age` (nan when unknown) and `split`
            of each image that is in a split.
        y: [N, C] 1, 0, or nan where the label is unknown or masked.
        num_images: Rows of the label tables.
        num_patients: Patients of these.
        dropped: Images that are left out, by reason; each counts once.
        num_absent: Names in lists of the split without a row in a label table.
        names_patients: Whether the datasets name patients.
        is_changed: Whether the split of today is another than that of the training.
    """

    rows: pd.DataFrame
    y: npt.NDArray[np.float64]
    num_images: int
    num_patients: int
    dropped: Mapping[str, int]
    num_absent: int
    names_patients: bool
    is_changed: bool

    @property
    def num_shared_patients(self) -> int:
        """Patients with images in more than one split."""
        return int((self.rows.groupby("patient_id")["split"].nunique() > 1).sum())


@dataclass(frozen=True)
class Facts:
    """All that a run knows about itself.

    Attributes:
        run: As named on the command line.
        config: The recipe.
        findings: C names.
        preprocess: How files become pixels.
        split_name: As reports call it.
        thresholds: Of the checkpoint.
        recalibration: Of the checkpoint.
        epoch: Of the checkpoint, which is the best one.
        step: The same.
        validation: Metrics of the validation images at that epoch.
        versions: Of the software.
        sha256: Of the checkpoint's file.
        num_parameters: Of the network.
        has_ood: Whether the checkpoint can tell images unlike its validation images.
        unfinished: Why the run has not ended; empty where it has.
        data: Rows of the datasets; None where they cannot be read.
        evaluations: Reports of this checkpoint.
        explained: Names of the folders of `cxr explain`.
        examined: Names of the folders of `cxr shortcuts` and `cxr inspect`.
        notes: What a reader of the checklist must know.
        num_hashed: Patients whose hashes the checkpoint holds.
    """

    run: str
    config: Config
    findings: tuple[str, ...]
    preprocess: Preprocess
    split_name: str
    thresholds: Thresholds
    recalibration: Recalibration
    epoch: int
    step: int
    validation: Mapping[str, float | None]
    versions: Mapping[str, str]
    sha256: str
    num_parameters: int
    has_ood: bool
    unfinished: str
    data: Data | None
    evaluations: tuple[Evaluation, ...]
    explained: tuple[str, ...]
    examined: tuple[str, ...]
    notes: tuple[str, ...] = ()
    num_hashed: int = 0

    def evaluation(self, kind: Kind) -> Evaluation | None:
        """The first evaluation of a kind."""
        return next((found for found in self.evaluations if found.kind == kind), None)

    def has_table(self, name: str) -> bool:
        """Whether the evaluation on its own test images wrote this CSV file."""
        test = self.evaluation("test")
        return test is not None and name in test.tables

    @property
    def sources(self) -> tuple[str, ...]:
        """The readers of the datasets."""
        return (self.config.data.source, *(section.source for section in self.config.data.also))
