"""The bar charts of a check."""

from collections.abc import Sequence

from cxr.check.result import Check
from cxr.check.summary import label_cells, splits
from cxr.report.document import Figure
from cxr.report.plots import draw_bars, drawing


def draw(check: Check) -> dict[str, Figure]:
    """Every figure that there is something to show in, by name."""
    names = [*check.plan.findings, *(group.group for group in check.groups)]
    with drawing(names):  # browsers have fonts for the letters that matplotlib has none for
        figures = [
            _prevalence(check),
            _patients(check),
            *(_group(check, column) for column in ("view", "sex", "age")),
        ]
    return {figure.name: figure for figure in figures if figure is not None}


def _prevalence(check: Check) -> Figure | None:
    """Share of positive cells by finding and split."""
    # a split without images would be a row of empty bars; `all` is a split of no plan
    filled = [split for split in splits(check) if check.plan.images.get(split, 1)]
    rows, shares = [], []
    for finding in check.plan.findings:
        cells = label_cells(check, finding)
        by_split = [
            _share(cells[split].positive, cells[split].positive + cells[split].negative) for split in filled
        ]
        rows.append((finding, [(share, f"{100 * share:.1f} %") for share in by_split]))
        shares += [(share, finding) for share in by_split]
    if not shares:
        return None
    # for readers who cannot see the figure: both ends of what it shows
    (low, rare), (high, frequent) = min(shares), max(shares)
    range_text = f"From {100 * low:.1f} % ({rare}) to {100 * high:.1f} % ({frequent})"
    title = "Share of positive cells among positive and negative ones, by split"
    return draw_bars("prevalence", title, f"{range_text}; the table of labels has the numbers.", rows, filled)


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def _patients(check: Check) -> Figure | None:
    counts = [(label, num) for label, num in check.patients.images_each if num]
    if not counts:
        return None
    most = check.patients.most_images
    alt = f"Patients by number of images, {most:,} at most: {_in_words(counts)}"
    named = [(f"{label} image{'' if label == '1' else 's'}", num) for label, num in counts]
    return draw_bars("patients", "Patients by number of images", alt, _count_rows(named))


def _group(check: Check, column: str) -> Figure | None:
    counts = [(group.group, group.images["all"]) for group in check.groups if group.column == column]
    if not counts:
        return None
    alt = f"Images by {column}: {_in_words(counts)}"
    return draw_bars(column, f"Images by {column}", alt, _count_rows(counts))


def _count_rows(counts: Sequence[tuple[str, int]]) -> list[tuple[str, list[tuple[float, str]]]]:
    return [(name, [(num, f"{num:,}")]) for name, num in counts]


def _in_words(counts: Sequence[tuple[str, int]]) -> str:
    return ", ".join(f"{name} {num:,}" for name, num in counts) + "."
