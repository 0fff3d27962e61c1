"""report.html: one page that opens from the disk and asks no network, with its pictures also as SVG and PNG files."""

import base64
import re
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from cxr.evaluation.predictions import Predictions
from cxr.evaluation.report import Report
from cxr.evaluation.thresholds import origin
from cxr.files import write_bytes, write_text
from cxr.report import cells, render
from cxr.report.figures import Picture, draw
from cxr.report.run_files import Cells, Training
from cxr.report.run_files import read_training as read_training  # here for whoever writes a page
from cxr.text import DISCLAIMER, visible, visible_lines

_WIDE = ("roc", "precision_recall", "reliability")


def write(report: Report, judged: Predictions, folder: Path, training: Training | None = None) -> None:
    """Writes `report.html` and `figures/*.svg` and `*.png` into the folder.

    Args:
        report: The report.
        judged: The rows that it is about.
        folder: Where to.
        training: The run that made the model, if it is at hand.

    Raises:
        CxrError: The disk is full or the folder cannot be written; no file is half-written.
    """
    training = training or Training()
    pictures = draw(report, judged, training.history)
    for picture in pictures:
        write_bytes(folder / "figures" / f"{picture.name}.svg", picture.svg)
        write_bytes(folder / "figures" / f"{picture.name}.png", picture.png)
    write_text(folder / "report.html", render_html(report, pictures, training))


def render_html(report: Report, pictures: Sequence[Picture], training: Training) -> str:
    """The page."""
    environment = Environment(
        loader=PackageLoader("cxr.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        finalize=show,
    )  # fmt: skip
    environment.filters |= {"bounds": _with_bounds, "base64": lambda data: base64.b64encode(data).decode()}
    about = [*report.about, ("thresholds", origin(report.thresholds))]
    about.append(("figures by", ", ".join(f"{name} {number}" for name, number in render.versions().items())))
    has_groups = report.subgroups is not None and len(report.subgroups.groups) > 0
    return environment.get_template("report.html").render(
        report=report,
        title=next((value for name, value in report.about if name in ("run", "predictions")), "Evaluation"),
        disclaimer=DISCLAIMER,
        key=_key(report),
        thresholds=f"threshold: {origin(report.thresholds)}",
        headings=list(cells.HEADINGS.values()),
        cells=cells.metrics_cells(report),
        bold_from=len(report.table),
        calibration=cells.calibration_cells(report) if report.calibration is not None else [],
        calibration_headings=list(cells.CALIBRATION_HEADINGS.values()),
        groups=cells.subgroup_cells(report) if has_groups else [],
        subgroup_note=cells.SUBGROUP_NOTE,
        published=cells.published_cells(report) if report.published is not None else [],
        pictures={picture.name: picture for picture in pictures},
        wide=_WIDE,
        counts=_counts(training),
        about=[list(pair) for pair in about],
        config=escape(training.config),  # which has lines
    )


def show(value: object) -> object:
    """What a page shows of a value: text without what could not be seen or would turn the direction of writing."""
    if not isinstance(value, str):
        return value
    return Markup(visible_lines(value)) if isinstance(value, Markup) else visible(value)


def _key(report: Report) -> list[tuple[str, str]]:
    """The figures at the top."""
    mean = cells.records(report.summary)[0]
    pairs = [("mean AUROC", "auroc"), ("mean average precision", "average_precision"), ("mean F1", "f1")]
    key = [(label, cells.number(mean[name])) for label, name in pairs]
    low, high = mean["auroc_low"], mean["auroc_high"]
    if isinstance(low, float) and isinstance(high, float):
        key.insert(1, ("95 % interval of the mean AUROC", f"{low:.3f}-{high:.3f}"))
    return key


def _counts(training: Training) -> tuple[list[str], list[list[str]], str] | None:
    """(headings, rows, rows left out) of the images and cells of each split."""
    if training.counts is None:
        return None
    counts = training.counts
    folds = list(counts.images)
    rows = [
        ["images", *(f"{counts.images[fold]:,}" for fold in folds)],
        ["patients", *(f"{counts.patients[fold]:,}" for fold in folds)],
    ]
    labels = [{row.finding: row for row in counts.cells[fold]} for fold in folds]
    for finding in labels[0] if labels else ():
        rows.append([finding, *(_cell(own[finding]) for own in labels)])
    dropped = ", ".join(f"{num:,} {why}" for why, num in counts.dropped.items() if num)
    return ["", *folds], rows, dropped


def _cell(row: Cells) -> str:
    """As `213 positive, 1,263 negative`, the rest only where there is some."""
    rest = {"soft": row.soft, "masked": row.masked}
    more = "".join(f", {num:,} {name}" for name, num in rest.items() if num)
    return f"{row.positive:,} positive, {row.negative:,} negative{more}"


def _with_bounds(cell: str) -> str:
    """A figure with its interval below it in small print."""
    found = re.fullmatch(r"(\S+) \((\d\.\d+-\d\.\d+)\)(.*)", visible(cell))
    if not found:
        return cell
    return Markup("{}<small>{}{}</small>").format(found[1], found[2], escape(found[3]))
