"""Images of one study -> one answer, by the rule that the run was evaluated by."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cxr.fields.views import KNOWN, LATERAL

if TYPE_CHECKING:  # they import pandas, which an exported file needs nowhere
    from cxr.evaluation.study_rows import Unit
    from cxr.evaluation.units import Combine

LATERAL_WARNING = "lateral view: this model was trained on other views, and its result means nothing"
ANY_LATERAL = "lateral view: check that the model's training held such images"


@dataclass(frozen=True)
class Rule:
    """How a study is answered.

    Attributes:
        unit: What the run was evaluated by: image, study or patient.
        combine: Whether the largest or the mean probability of its images counts.
        views: Those that the model was trained on; None for all that its dataset has.
    """

    unit: "Unit" = "image"
    combine: "Combine" = "max"
    views: tuple[str, ...] | None = None

    def describe(self) -> str:
        """The rule in words."""
        which = {"max": "the largest", "mean": "the mean"}[self.combine]
        text = f"A study's probability is {which} of its images'."
        if self.unit == "image":
            return f"{text} The operating points are those of single images."
        return f"{text} The operating points were chosen by {self.unit}."

    def is_trained_on(self, view: str) -> bool:
        """Whether images of this view count; those of an unknown view do."""
        return self.views is None or view not in KNOWN or view in self.views

    def warn_of_view(self, view: str) -> str:
        """The warning about a view, or nothing."""
        if not self.is_trained_on(view):
            return LATERAL_WARNING if view == LATERAL else f"{view} view: this model was not trained on it"
        return ANY_LATERAL if view == LATERAL and self.views is None else ""


@dataclass(frozen=True)
class Study:
    """Images that belong together.

    Attributes:
        name: Of the study.
        images: Their places in the request or the call.
        left_out: Those of them that do not count.
        probabilities: [C] combined; empty where no image counts.
    """

    name: str
    images: tuple[int, ...]
    left_out: tuple[int, ...]
    probabilities: tuple[float, ...]


def combine_studies(
    studies: Mapping[int, tuple[str, str]], probabilities: Mapping[int, Sequence[float]], rule: Rule
) -> list[Study]:
    """The studies of a request or a call, in the order of their first images.

    Args:
        studies: (study, view) of each image by its place; a study of no name is left out.
        probabilities: [C] by the same places.
        rule: How they become one.
    """
    members: dict[str, list[int]] = defaultdict(list)
    for index, (study, _) in studies.items():
        if study:
            members[study].append(index)
    return [_combine(name, indices, studies, probabilities, rule) for name, indices in members.items()]


def _combine(
    name: str,
    indices: Sequence[int],
    studies: Mapping[int, tuple[str, str]],
    probabilities: Mapping[int, Sequence[float]],
    rule: Rule,
) -> Study:
    counted = [index for index in indices if rule.is_trained_on(studies[index][1])]
    left_out = tuple(index for index in indices if index not in counted)
    if not counted:
        return Study(name, tuple(indices), left_out, ())
    rows = np.array([probabilities[index] for index in counted])  # [n, C]
    combined = rows.max(axis=0) if rule.combine == "max" else rows.mean(axis=0)
    return Study(name, tuple(indices), left_out, tuple(combined.tolist()))
