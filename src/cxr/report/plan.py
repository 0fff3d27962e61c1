"""A planned test set for the terminal: expected intervals, and the power of a paired comparison."""

from collections.abc import Sequence

from cxr.evaluation.statistics import power
from cxr.evaluation.statistics.intervals import Interval
from cxr.evaluation.statistics.power import Design
from cxr.report.document import Cell, Estimate, Table, Text
from cxr.text import DISCLAIMER

_POWERS = (0.8, 0.9)


def summary(
    design: Design, auroc: float, other: float | None, correlation: float, shares: Sequence[tuple[str, float]]
) -> tuple[Text | Table, ...]:
    """What a test set may be expected to give.

    Args:
        design: The test set.
        auroc: The AUROC that is expected.
        other: That of a second model on the same images, if one is compared.
        correlation: Of both models' scores, within positive and within negative images.
        shares: (sensitivity or specificity, the value that is expected).
    """
    rows: list[tuple[Cell, ...]] = [
        _interval_row("AUROC", auroc, power.expected_auroc_interval(auroc, design))
    ]
    for name, share in shares:
        # sensitivity is a share of positive images, specificity one of negative ones
        num = design.num_positive if name == "sensitivity" else design.num_negative
        rows.append(_interval_row(name.capitalize(), share, power.expected_share_interval(share, num)))
    return (
        Text(f"A test set of {_describe(design)}", "strong"),
        Text(""),
        Table("", ("Expected 95 % interval", "Value and interval", "Width"), tuple(rows), "lrr"),
        Text(""),
        *(_comparison(design, auroc, other, correlation) if other is not None else ()),
        *map(Text, _assumptions(design, other is not None)),
        Text(DISCLAIMER, "soft"),
    )


def _describe(design: Design) -> str:
    each = "1 image" if design.images == 1 else f"{design.images:g} images"
    positive = f"{design.num_patients * design.images * design.prevalence:,.0f} positive images"
    text = f"{design.num_patients:,} patients with {each} each, {positive}"
    if design.num_effective == design.num_patients * design.images:
        return text
    return f"{text}; worth {design.num_effective:,.0f} independent images"


def _interval_row(name: str, value: float, bounds: Interval) -> tuple[Cell, ...]:
    return name, Estimate(value, bounds.low, bounds.high), bounds.high - bounds.low


def _comparison(design: Design, auroc: float, other: float, correlation: float) -> tuple[Text | Table, ...]:
    """Power for the difference, and what would reach 80 and 90 %."""
    found = power.power(auroc, other, correlation, design)
    error = power.difference_error(auroc, other, correlation, design)
    rows: list[tuple[Cell, ...]] = [
        ("Standard error of the difference", f"{error:.4f}"),
        (f"Power to tell {other:g} from {auroc:g}", f"{found:.0%}"),
    ]
    for target in _POWERS:
        least = power.smallest_difference(auroc, correlation, design, target)
        rows.append((f"Smallest rise found in {target:.0%}", "none" if least is None else f"{least:.4f}"))
    for target in _POWERS:
        num = power.num_patients_needed(auroc, other, correlation, design, target)
        rows.append((f"Patients for a power of {target:.0%}", "over 10,000,000" if num is None else num))
    return Table("", ("Paired comparison of AUROC, two-sided at 5 %", ""), tuple(rows), "lr"), Text("")


def _assumptions(design: Design, is_compared: bool) -> list[str]:
    lines = [
        "Scores are taken to be binormal with equal variances (Hanley and McNeil 1982; "
        "Obuchowski and McClish 1997)."
    ]
    if is_compared:
        lines.append(
            "The correlation is that of the models' scores within positive and within negative images."
        )
    if design.images > 1:
        lines.append(
            "Images of a patient count by the design effect 1 + (m - 1) r (Kish 1965), an approximation."
        )
    return lines
