"""What a proposed dataset holds, read by its reader: findings by count, images and patients by split."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

from cxr.config.schema import Data
from cxr.errors import CxrError
from cxr.fields.views import LATERAL, read_views
from cxr.findings import find_spelling
from cxr.labels import sources
from cxr.labels.splits import SPLITS, Split, assign
from cxr.labels.table import LabelTable


@dataclass(frozen=True)
class Labels:
    """The cells of one finding.

    Attributes:
        finding: Its name.
        positive: Images of which the dataset says that it is present.
        negative: Images of which it says that it is absent.
        uncertain: Images of which it says that it may be present.
        blank: Images of which it says nothing.
        by_split: Positive images in train, val and test.
    """

    finding: str
    positive: int
    negative: int
    uncertain: int
    blank: int
    by_split: tuple[int, int, int]

    @property
    def has_both(self) -> bool:
        """Whether there are images with it and images without; blank cells count as without."""
        return self.positive > 0 and self.negative + self.blank > 0


@dataclass(frozen=True)
class Facts:
    """A dataset, read and split.

    Attributes:
        data: Its section of the config.
        table: Its rows.
        split: The split of each.
    """

    data: Data
    table: LabelTable
    split: Split

    @cached_property
    def kept(self) -> npt.NDArray[np.bool_]:
        """[N] rows with a file and of a view that data.views keeps."""
        rows = self.table.rows
        has_file = (rows["path"] != "").to_numpy()
        if self.data.views is None:
            return has_file
        return has_file & rows["view"].isin(read_views(self.data.views)).to_numpy()

    @cached_property
    def labels(self) -> tuple[Labels, ...]:
        """Every finding that the dataset labels, counted over the rows that are kept."""
        counted = []
        assigned = self.split.assigned[self.kept]
        for column, finding in enumerate(self.table.findings):
            # [kept rows]; a soft label counts as positive here, as it is above 0
            cells = self.table.raw[self.kept, column]
            train, val, test = (int(((cells > 0) & (assigned == split)).sum()) for split in SPLITS)
            kinds = (cells > 0, cells == 0, cells == -1, np.isnan(cells))
            positive, negative, uncertain, blank = (int(kind.sum()) for kind in kinds)
            counted.append(Labels(finding, positive, negative, uncertain, blank, (train, val, test)))
        return tuple(counted)

    def labels_of(self, findings: Sequence[str]) -> list[Labels]:
        """Those of some findings, in the order of their names there."""
        by_name = {label.finding: label for label in self.labels}
        names = [find_spelling(finding, list(by_name)) for finding in findings]
        return [by_name[name] for name in names if name is not None]

    @cached_property
    def images(self) -> dict[str, int]:
        """Images that are kept, by split."""
        return {split: int((self.kept & (self.split.assigned == split)).sum()) for split in SPLITS}

    @property
    def num_patients(self) -> int:
        """Patients of the whole table."""
        return int(self.table.rows["patient_id"].nunique())

    @property
    def num_missing(self) -> int:
        """Images without a file, and listed names without a row."""
        return int((self.table.rows["path"] == "").sum()) + len(self.split.absent)

    @property
    def num_lateral(self) -> int:
        """Lateral images that are kept."""
        return int((self.kept & (self.table.rows["view"] == LATERAL).to_numpy()).sum())

    def has_auroc(self, findings: Sequence[str]) -> bool:
        """Whether the validation images hold both classes of any finding, as train.select=auroc needs."""
        is_val = self.kept & (self.split.assigned == "val")
        names = {label.finding for label in self.labels_of(findings)}
        for column, finding in enumerate(self.table.findings):
            cells = self.table.raw[is_val, column]
            # blank cells are taken for negative, which is the default of data.blank
            if finding in names and (cells == 1).any() and ((cells == 0) | np.isnan(cells)).any():
                return True
        return False


def expand_findings(value: object) -> tuple[str, ...]:
    """The names of data.findings, where it may be a word such as nih14.

    Raises:
        CxrError: The config refuses it.
    """
    # a section that is valid otherwise: only its findings are asked for
    data = _validate({"source": "folder", "root": Path(), "findings": value})
    assert not isinstance(data.findings, str)  # the config has expanded it
    return data.findings or ()


def read_facts(tree: dict[str, object]) -> Facts:
    """The dataset of a section `data`, read and split.

    Raises:
        CxrError: A key or a value that the config refuses, a dataset that cannot be read or split so.
    """
    data = _validate(tree)
    table = sources.read(data)
    return Facts(data, table, assign(table, data))


def _validate(tree: dict[str, object]) -> Data:
    try:
        return Data.model_validate(tree)
    except ValidationError as error:
        problems = [
            f"data.{'.'.join(map(str, item['loc']))}: {item['msg'].removeprefix('Value error, ')}"
            for item in error.errors()
        ]
        raise CxrError(problems, "cxr config demo data prints every key with its meaning") from None
