"""What is told of one image, in plain values."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from cxr.deploy.runtime import Facts
from cxr.explain.lettering import Colour


@dataclass(frozen=True)
class Model:
    """Which model it was.

    Attributes:
        facts: Of the model, with the thresholds that were used.
        version: The version of cxr that predicts.
        calibrated: The findings whose probabilities are calibrated.
    """

    facts: Facts
    version: str
    calibrated: frozenset[str] = frozenset()

    @property
    def software(self) -> str:
        """The program and its version."""
        return f"cxr {self.version}"


@dataclass(frozen=True)
class Result:
    """What a model says of one image.

    Attributes:
        probabilities: C numbers.
        score: The out-of-distribution score; None where the model has none.
        warning: The out-of-distribution warning; empty where there is none.
        notes: What is remarkable about the file.
        overlays: The overlay, BGR [H, W, 3], of each finding that is drawn.
    """

    probabilities: tuple[float, ...]
    score: float | None
    warning: str
    notes: tuple[str, ...] = ()
    overlays: Mapping[str, Colour] = field(default_factory=dict)
