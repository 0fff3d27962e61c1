"""The calibration of a report: its tables on the page, and its line on the terminal."""

import pandas as pd

from cxr.evaluation.report import Report
from cxr.report.document import Cell, Estimate, Part, Table
from cxr.report.records import Record, estimate, records

_MEASURED = {
    "observed_expected": "Observed / expected",
    "in_the_large": "In the large",
    "intercept": "Intercept",
    "slope": "Slope",
    "brier_skill": "Brier skill",
    "log_loss": "Log loss",
}
"""Columns with an interval in each cell."""
_ERRORS = {
    "ece": "ECE",
    "ece_perfect": "of a perfect model",
    "ece_debiased": "ECE, debiased",
    "ece_debiased_perfect": "of a perfect model",
}
_BEFORE_AND_AFTER = {
    "fitted_intercept": "Intercept",
    "fitted_slope": "Slope",
    "observed_expected": "Observed / expected",
    "observed_expected_after": "after",
    "brier": "Brier",
    "brier_after": "after",
    "log_loss": "Log loss",
    "log_loss_after": "after",
    "ece": "ECE",
    "ece_after": "after",
}
_DIGITS = 4
"""Rare findings have Brier scores and calibration errors of some thousandths."""
_MEASURED_NOTE = (
    "Right probabilities have observed / expected 1, in the large 0, intercept 0 and slope 1. Observed / "
    "expected is the number of positive images over the sum of probabilities; in the large, the intercept "
    "where the slope is 1. A slope below 1: probabilities are too extreme. Brier skill is 1 less the Brier "
    "score over that of the share of positive images. The ECE of a perfect model is what luck alone gives; "
    "the debiased one is the root of a mean square over bins of equally many images (Kumar et al. 2019)."
)
_RECALIBRATED_NOTE = (
    "Calibrated probabilities have the logit intercept + slope times the logit of the model, and end at 1 / "
    "(n + 2) and 1 less that for n validation images. They are shown here and by cxr predict "
    "--calibrated; every other metric of this report is of the model's own probabilities."
)


def calibration_parts(report: Report) -> tuple[Part, ...]:
    """The table of the evaluated images, then that before and after recalibration."""
    if report.calibration is None:
        return ()
    rows = records(report.calibration)
    measured = Table(
        "Calibration of each finding",
        ("Finding", *_MEASURED.values(), *_ERRORS.values()),
        tuple((row["finding"], *_measured_cells(row)) for row in rows),
        "l" + "r" * (len(_MEASURED) + len(_ERRORS)),
        notes=(_MEASURED_NOTE,),
    )
    return measured, _before_and_after(report, rows)


def _measured_cells(row: Record) -> list[Cell]:
    cells: list[Cell] = [estimate(row, name, f"{name}_low", f"{name}_high") for name in _MEASURED]
    return [*cells, *(Estimate(estimate(row, name).value, digits=_DIGITS) for name in _ERRORS)]


def _before_and_after(report: Report, rows: list[Record]) -> Table:
    """A row per finding; a column of reasons where any finding has no recalibration."""
    gives_reasons = any(row["not_fitted"] for row in rows)
    columns = ["Finding", *_BEFORE_AND_AFTER.values(), *(["Not fitted"] if gives_reasons else [])]
    cells = []
    for row in rows:
        numbers = [_cell(report, row, name) for name in _BEFORE_AND_AFTER]
        cells.append((row["finding"], *numbers, *([row["not_fitted"]] if gives_reasons else [])))
    fitted = f" fitted on {report.calibrated_on}"
    if not report.calibrated_on:
        fitted = ": there were no validation rows to fit intercept and slope on"
    kind = "temperature scaling of an earlier version" if _is_old(report) else "recalibration"
    align = "l" + "r" * len(_BEFORE_AND_AFTER) + "l" * gives_reasons
    return Table(
        f"Before and after {kind}{fitted}", tuple(columns), tuple(cells), align, (_RECALIBRATED_NOTE,)
    )


def _cell(report: Report, row: Record, name: str) -> Estimate:
    value = estimate(row, name).value
    # fitted on images that are evaluated here, as thresholds were
    mark = "*" if report.optimistic and name.endswith("_after") and value is not None else ""
    # of rare findings they are some thousandths, which three digits would cut to one
    is_small = name.startswith(("brier", "log_loss", "ece"))
    return Estimate(value, digits=_DIGITS if is_small else 3, mark=mark)


def _is_old(report: Report) -> bool:
    return report.calibration is not None and bool(report.calibration["temperature"].notna().any())


def calibration_lines(report: Report) -> list[str]:
    """Mean calibration errors, and the range of observed / expected, before and after recalibration."""
    table = report.calibration
    if table is None or table["ece"].isna().all():
        return []
    luck = f"of which luck alone gives {table['ece_perfect'].mean():.4f}"
    ratios = f"observed / expected {_range(table['observed_expected'])}"
    lines = [f"Calibration: mean ECE {table['ece'].mean():.4f}, {luck}; {ratios}."]
    fitted = table[table["ece_after"].notna()]
    if len(fitted):
        kind = "a temperature" if _is_old(report) else "intercept and slope"
        over = f" of {len(fitted)} of {len(table)} findings" if len(fitted) < len(table) else ""
        ece = f"mean ECE{over} {fitted['ece'].mean():.4f}, then {fitted['ece_after'].mean():.4f}"
        before, after = (_range(fitted[name]) for name in ("observed_expected", "observed_expected_after"))
        lines.append(
            f"Recalibrated by {kind} fitted on {report.calibrated_on}: {ece}; "
            f"observed / expected {before}, then {after}."
        )
    return lines


def _range(ratios: "pd.Series[float]") -> str:
    """As `0.91 to 1.12`, over the findings; `1.02` of one."""
    ends = [f"{end:.2f}" for end in (ratios.min(), ratios.max())]
    return " to ".join(dict.fromkeys(ends))
