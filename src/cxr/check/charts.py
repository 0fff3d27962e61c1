"""Bar charts as numbers that the template draws as inline SVG."""

from collections.abc import Sequence
from dataclasses import dataclass

from cxr.check.render import folds as folds_of
from cxr.check.result import Check
from cxr.text import shorten_all, width

_LONGEST, _NUMBER = (
    200,
    56,
)  # the longest bar, and room for the number beside it, in units that the page scales
_LETTER, _MOST = 7.0, 190  # width of a letter, and of the widest label
_THICK, _GAP = 12, 7


@dataclass(frozen=True)
class Bar:
    """One bar: its top, length and thickness, the number beside it, and which series it is of."""

    top: float
    length: float
    thick: float
    text: str
    series: int


@dataclass(frozen=True)
class Chart:
    """Labelled groups of horizontal bars.

    Attributes:
        name: A word for it.
        heading: What is shown.
        alt: The same in words with its range.
        series: Names of the series, none where there is only one.
        labels: (middle, text) of each group.
        bars: All bars.
        start: Where bars begin.
        width: Of the drawing.
        height: Of the drawing.
    """

    name: str
    heading: str
    alt: str
    series: tuple[str, ...]
    labels: tuple[tuple[float, str], ...]
    bars: tuple[Bar, ...]
    start: float
    width: float
    height: float


def draw(check: Check) -> dict[str, Chart]:
    """Every chart that there is something to show in, by name."""
    charts = [
        _prevalence(check),
        _patients(check),
        *(_group(check, column) for column in ("view", "sex", "age")),
    ]
    return {chart.name: chart for chart in charts if chart is not None}


def _prevalence(check: Check) -> Chart | None:
    rows, folds = [], [fold for fold in folds_of(check) if check.plan.images.get(fold, 1)]
    for finding in check.plan.findings:
        own = {one.split: one for one in check.cells if one.finding == finding}
        shares = [_share(own[fold].positive, own[fold].positive + own[fold].negative) for fold in folds]
        rows.append((finding, [(share, f"{100 * share:.1f} %") for share in shares]))
    every = [(share, name) for name, bars in rows for share, _ in bars]
    if not every:
        return None
    (low, rare), (high, often) = min(every), max(every)
    alt = f"From {100 * low:.1f} % ({rare}) to {100 * high:.1f} % ({often}); the table of labels has the numbers."
    heading = "Share of positive cells among positive and negative ones, by split"
    return _chart("prevalence", heading, alt, rows, tuple(folds))


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def _patients(check: Check) -> Chart | None:
    counts = [(label, num) for label, num in check.patients.images_each if num]
    if not counts:
        return None
    rows = [
        (f"{label} image{'' if label == '1' else 's'}", [(float(num), f"{num:,}")]) for label, num in counts
    ]
    alt = f"Patients by number of images, {check.patients.most_images:,} at most: " + _in_words(counts)
    return _chart("patients", "Patients by number of images", alt, rows)


def _group(check: Check, column: str) -> Chart | None:
    counts = [(one.group, one.images["all"]) for one in check.groups if one.column == column]
    if not counts:
        return None
    rows = [(name, [(float(num), f"{num:,}")]) for name, num in counts]
    return _chart(column, f"Images by {column}", f"Images by {column}: {_in_words(counts)}", rows)


def _in_words(counts: Sequence[tuple[str, int]]) -> str:
    return ", ".join(f"{name} {num:,}" for name, num in counts) + "."


def _chart(
    name: str,
    heading: str,
    alt: str,
    rows: Sequence[tuple[str, Sequence[tuple[float, str]]]],
    series: tuple[str, ...] = (),
) -> Chart:
    """The drawing of (label, (value, text) of each bar) a group."""
    most = max(value for _, bars in rows for value, _ in bars) or 1
    thick = _THICK if series else 18.0
    labels, drawn, top = [], [], 4.0 + (18 if series else 0)
    names = shorten_all([label for label, _ in rows], int((_MOST - 14) / _LETTER))
    for label, (_, bars) in zip(names, rows, strict=True):
        labels.append((top + thick * len(bars) / 2, label))
        for place, (value, text) in enumerate(bars):
            drawn.append(Bar(top + place * thick, _LONGEST * value / most, thick - 1, text, place))
        top += thick * len(bars) + _GAP
    start = 14 + _LETTER * max(map(width, names))
    return Chart(
        name, heading, alt, series, tuple(labels), tuple(drawn), start, start + _LONGEST + _NUMBER, top
    )
