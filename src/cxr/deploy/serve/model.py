"""A model as it is served: its facts, the rule of its studies, and what is known of it on its test set."""

from dataclasses import dataclass
from pathlib import Path

from cxr.deploy.calibrated import calibrate_thresholds
from cxr.deploy.runtime import Facts
from cxr.deploy.serve.evaluated import Evaluation, read_evaluation
from cxr.deploy.studies import Rule


@dataclass(frozen=True)
class Model:
    """A model as it is served.

    Attributes:
        facts: With thresholds of calibrated probabilities, where `calibrated`.
        rule: How studies are answered.
        evaluation: What is known of it on its test set.
        calibrated: Whether probabilities are calibrated.
    """

    facts: Facts
    rule: Rule
    evaluation: Evaluation
    calibrated: bool = False


def describe_model(run: str, facts: Facts, calibrated: bool = False) -> Model:
    """The model of `cxr serve RUN`.

    Args:
        run: As it was given.
        facts: With thresholds of its own probabilities.
        calibrated: Whether probabilities and thresholds shall be calibrated.

    Raises:
        CxrError: Nothing is calibrated in this model.
    """
    evaluation = read_evaluation(
        Path(run), facts
    )  # by the thresholds of the report, which are not calibrated
    rule = Rule(facts.unit, facts.combine, facts.views)
    shown = calibrate_thresholds(run, facts) if calibrated else facts
    return Model(shown, rule, evaluation, calibrated)
