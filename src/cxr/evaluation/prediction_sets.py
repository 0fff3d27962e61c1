"""Prediction sets: present, absent, both or neither, with a coverage that was fixed on validation rows."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field, model_validator

from cxr.evaluation.statistics.conformal import fit_limits

if TYPE_CHECKING:  # prediction without torch needs no tables either
    from cxr.evaluation.predictions import Predictions


@dataclass(frozen=True)
class PredictionSets:
    """Limits of every finding's sets (`conformal.Limits`).

    Attributes:
        level: The coverage that they were fitted for, within the positive and within the negative images.
        lowest: C probabilities from which `present` is in the set.
        highest: C probabilities up to which `absent` is in the set.
        num_positive: C times, positive images that they were fitted on.
        num_negative: C times, negative ones.
    """

    level: float
    lowest: tuple[float, ...]
    highest: tuple[float, ...]
    num_positive: tuple[int, ...]
    num_negative: tuple[int, ...]


class WrittenSets(BaseModel):
    """The sets in a checkpoint."""

    model_config = ConfigDict(strict=True)
    level: float = Field(gt=0, lt=1)
    lowest: tuple[float, ...]
    highest: tuple[float, ...]
    num_positive: tuple[int, ...]
    num_negative: tuple[int, ...]

    @model_validator(mode="after")
    def _are_as_many(self) -> "WrittenSets":
        if len({len(each) for each in (self.lowest, self.highest, self.num_positive, self.num_negative)}) > 1:
            raise ValueError("prediction sets of different numbers of findings")
        return self


def fit_sets(predictions: "Predictions", level: float) -> PredictionSets:
    """The sets of these validation rows, for each finding alone."""
    y, p = predictions.y, predictions.p
    limits = [fit_limits(y[:, c], p[:, c], level) for c in range(y.shape[1])]
    return PredictionSets(
        level,
        tuple(each.lowest for each in limits),
        tuple(each.highest for each in limits),
        tuple(int(num) for num in (y == 1).sum(axis=0)),
        tuple(int(num) for num in (y == 0).sum(axis=0)),
    )
