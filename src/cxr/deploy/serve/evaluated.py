"""What an evaluation report of a run says of each finding's operating point."""

import json
import math
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cxr.deploy.runtime import Facts

_MAX_BYTES = 50_000_000
_DIGITS = 16  # of a checksum in a report
_REPORT = Path("eval_test") / "report.json"


class Measured(BaseModel):
    """A metric of one finding with its 95 % interval; None where it is not defined."""

    value: float | None
    low: float | None
    high: float | None


class Evaluated(BaseModel):
    """One finding on the test set, at the operating point of the model."""

    num: int = Field(description="Test images with a known label.")
    num_positive: int
    sensitivity: Measured
    specificity: Measured
    ppv: Measured
    npv: Measured


class Evaluation(BaseModel):
    """What is known of the model on its test set.

    Attributes:
        rows: On which images it was evaluated, in words; empty where there is no report.
        findings: By name; a finding without labels, or with another operating point, is left out.
        missing: Why there is none; empty where there is.
    """

    rows: str = ""
    findings: dict[str, Evaluated] = {}
    missing: str = ""


class _Row(BaseModel):
    """A line of a report's metrics, as far as it is used."""

    model_config = ConfigDict(extra="ignore")
    finding: str
    num: int
    num_positive: int | None = None
    threshold: float | None = None
    sensitivity: float | None = None
    sensitivity_low: float | None = None
    sensitivity_high: float | None = None
    specificity: float | None = None
    specificity_low: float | None = None
    specificity_high: float | None = None
    ppv: float | None = None
    ppv_low: float | None = None
    ppv_high: float | None = None
    npv: float | None = None
    npv_low: float | None = None
    npv_high: float | None = None


class _Thresholds(BaseModel):
    evaluated_on: str = ""


class _Report(BaseModel):
    about: dict[str, str | None]
    thresholds: _Thresholds
    metrics: list[_Row]


def read_evaluation(run: Path, facts: Facts) -> Evaluation:
    """The report that `cxr eval RUN` wrote into the run's folder, where it is of this very checkpoint."""
    folder = run if run.is_dir() else run.parent
    path = folder / _REPORT
    if not path.is_file() or path.stat().st_size > _MAX_BYTES:
        return Evaluation(missing="There is no evaluation report in the run's folder: cxr eval writes one.")
    try:
        report = _Report.model_validate(json.loads(path.read_bytes()))
    except (OSError, ValueError, ValidationError, RecursionError):
        return Evaluation(missing="The evaluation report in the run's folder cannot be read.")
    if not facts.checkpoint or facts.checkpoint[:_DIGITS] not in (report.about.get("checkpoint") or ""):
        return Evaluation(missing="The evaluation report in the run's folder is of another checkpoint.")
    points = dict(zip(facts.findings, facts.thresholds.values, strict=True))
    rows = {row.finding: row for row in report.metrics if row.num_positive}
    found = {
        name: _evaluated(rows[name])
        for name, point in points.items()
        if name in rows and math.isclose(rows[name].threshold or -1, point, rel_tol=1e-6)
    }
    missing = "" if found else "The evaluation report has other operating points than the model."
    return Evaluation(rows=report.thresholds.evaluated_on, findings=found, missing=missing)


def _evaluated(row: _Row) -> Evaluated:
    return Evaluated(
        num=row.num,
        num_positive=row.num_positive or 0,
        sensitivity=Measured(value=row.sensitivity, low=row.sensitivity_low, high=row.sensitivity_high),
        specificity=Measured(value=row.specificity, low=row.specificity_low, high=row.specificity_high),
        ppv=Measured(value=row.ppv, low=row.ppv_low, high=row.ppv_high),
        npv=Measured(value=row.npv, low=row.npv_low, high=row.npv_high),
    )
