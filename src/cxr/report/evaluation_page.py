"""The page of an evaluation: a Report with its figures and the run that made the model -> Document."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date

import pandas as pd

from cxr.evaluation.metric_tables import AT_THRESHOLD, MICRO
from cxr.evaluation.published import LABEL_TABLE, Published
from cxr.evaluation.report import Report
from cxr.evaluation.statistics.bootstrap import RESAMPLED
from cxr.evaluation.study_rows import PLURALS, Unit
from cxr.evaluation.thresholds import origin
from cxr.report import second_reference
from cxr.report.calibration import calibration_parts
from cxr.report.cooccurrence import cooccurrence_parts
from cxr.report.document import (
    Cell,
    Code,
    Document,
    Figure,
    Items,
    KeyNumbers,
    Part,
    Section,
    Table,
    Text,
    two_columns,
)
from cxr.report.further import NO_FURTHER, Further
from cxr.report.json_file import versions
from cxr.report.operating import decision_parts, operating_parts, planned_parts, set_parts
from cxr.report.records import Record, estimate, records
from cxr.report.run_files import Cells, Counts, Training
from cxr.report.subgroups import subgroup_parts

COLUMNS = {
    "finding": "Finding",
    "num": "Images",
    "num_positive": "Positive",
    "auroc": "AUROC",
    "average_precision": "Average precision",
    "f1": "F1",
    "threshold": "Threshold",
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "ppv": "PPV",
    "npv": "NPV",
    "brier": "Brier",
    "ece": "ECE",
}
"""Columns of the metrics; those of RESAMPLED have an interval in each cell."""
_KEY_METRICS = {
    "auroc": "AUROC",
    "average_precision": "average precision",
    "f1": "F1",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
}
MICRO_PAIRS = "micro (pairs)"
"""Name of the row MICRO, where `Images` are none."""
_METRICS_NOTE = (
    "AUROC, average precision and Brier score need no threshold. "
    "ECE is the expected calibration error over 15 bins. PPV and NPV hold for the prevalence of these images "
    "alone. The row of micro counts "
)


def page(
    report: Report,
    figures: Sequence[Figure],
    training: Training,
    examples: Sequence[Part] = (),
    further: Further = NO_FURTHER,
) -> Document:
    """The whole report; `examples` are images of right and wrong calls, `further` other reports."""
    about = dict(report.about)
    name = about.get("run") or about.get("predictions", "")
    drawn = {figure.name: figure for figure in figures}
    intervals = f"Intervals: 95 %, {report.intervals}. " if report.intervals else ""
    warnings = [Items(further.warnings, "Warnings", "bad")] if further.warnings else []
    notes = [*warnings, *([Items(report.notes, "Notes", "note")] if report.notes else [])]
    sections = [
        Section("Findings", (*_pick(drawn, "auroc"), metrics(report))),
        Section("Single images", _by_image(report)),
        Section("Curves", _pick(drawn, "roc", "precision_recall")),
        Section("Operating points", operating_parts(report)),
        Section("Decision curves", decision_parts(report, _pick(drawn, "decision_curve"))),
        Section("Calibration", (*_pick(drawn, "reliability"), *calibration_parts(report))),
        Section("Prediction sets", set_parts(report)),
        Section("Planned test set", planned_parts(report)),
        Section("Subgroups", (*_pick(drawn, "subgroups"), *subgroup_parts(report))),
        Section("Findings that occur together", cooccurrence_parts(report)),
        Section("Second labels", second_reference.parts(report.second)),
        Section("Examples", tuple(examples)),
        Section(f"Published results{_on_dataset(report)}", _published(report)),
        Section("Further reports", further.parts()),
        Section("Training", _pick(drawn, "training")),
        Section("Images and labels of the run", counts(training.counts) if training.counts else ()),
        Section("About", _about(report, training)),
    ]
    return Document(
        f"Evaluation of {name}" if name else "Evaluation",
        (
            _key_numbers(report),
            Text(f"{intervals}Thresholds: {origin(report.thresholds)}.", "soft"),
            *notes,
            *(section for section in sections if section.parts),  # sections without content are left out
        ),
        facts=tuple(_title_facts(report, about)),
    )


def _title_facts(report: Report, about: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Model, dataset, split and date, as far as they are known."""
    for name, keys in (("Model", ("model", "ensemble", "predictions")), ("Dataset", ("data", "labels of"))):
        value = next((about[key] for key in keys if key in about), "")
        if value:
            yield name, value
    if about.get("split"):
        yield "Split", about["split"]
    yield "Evaluated on", report.evaluated_on
    yield "Date", date.today().isoformat()


def _pick(figures: Mapping[str, Figure], *names: str) -> tuple[Figure, ...]:
    return tuple(figures[name] for name in names if name in figures)


def _key_numbers(report: Report) -> KeyNumbers:
    """Means over the findings, each with its interval."""
    mean = records(report.summary)[0]  # the macro mean is the first of the summary rows
    numbers = [
        (f"mean {label}", estimate(mean, name, f"{name}_low", f"{name}_high"))
        for name, label in _KEY_METRICS.items()
    ]
    return KeyNumbers(tuple(numbers))


def metrics(report: Report) -> Table:
    """A row per finding, then the summary rows."""
    rows = records(pd.concat([report.table, report.summary], ignore_index=True))
    return Table(
        f"Metrics of each finding; threshold: {origin(report.thresholds)}",
        _columns_of(report.unit),
        tuple(tuple(metric_cell(report, row, name) for name in COLUMNS) for row in rows),
        "l" + "r" * (len(COLUMNS) - 1),
        notes=(f"{_METRICS_NOTE}{describe_pairs(report.unit)}.",),
        num_summary=len(report.summary),
    )


def _columns_of(unit: Unit) -> tuple[str, ...]:
    """The headings; the second says what a row is."""
    return tuple((COLUMNS | {"num": PLURALS[unit].capitalize()}).values())


def describe_pairs(unit: Unit) -> str:
    """What the row of micro counts, as `pairs of an image and a finding, not images`."""
    article = "an" if unit == "image" else "a"
    return f"pairs of {article} {unit} and a finding, not {PLURALS[unit]}"


def _by_image(report: Report) -> tuple[Part, ...]:
    """The metrics of single images, where the report is about studies or patients."""
    found = report.by_image
    if found is None:
        return ()
    of_images = replace(
        report,
        table=found.table,
        summary=found.summary,
        thresholds=found.thresholds,
        optimistic=found.optimistic,
        unit="image",
    )
    return Text(f"The same model on {found.evaluated_on}, each image alone.", "soft"), metrics(of_images)


def metric_cell(report: Report, row: Record, name: str, with_interval: bool = True) -> Cell:
    """One cell of the metrics, empty where a summary row has none."""
    value = row[name]
    if name in ("num_positive", "threshold") and value is None and row["threshold"] is None:
        return ""  # of a summary row
    if name == "finding" and value == MICRO:
        return MICRO_PAIRS
    if name in ("finding", "num", "num_positive"):
        return value
    if name == "threshold" and isinstance(value, float) and 0 < value < 0.01:
        return f"{value:.2g}"  # three digits would show 0.000
    mark = "*" if report.optimistic and name in AT_THRESHOLD and value is not None else ""
    ends = (f"{name}_low", f"{name}_high") if name in RESAMPLED and with_interval else ("", "")
    return estimate(row, name, *ends, mark=mark)


def _published(report: Report) -> tuple[Part, ...]:
    """Results on the same test images below this report's mean, then those on others."""
    if report.published is None:
        return ()
    if report.published.dataset == "CheXpert":
        return _published_chexpert(report.published)
    same, other = (
        [
            (f"{row['result']} ({row['year']})", str(row["views"]), _published_mean(row), str(row["source"]))
            for row in records(table)
        ]
        for table in (report.published.same, report.published.other)
    )
    columns = ("Result", "Views", "Mean AUROC", "Source")
    on_others = Table(
        "Measured on other patients or labels, so no metric of this report can be compared with them",
        columns,
        tuple(other),
        "llrl",
    )
    folded = Section("On other patients or labels: not comparable", (on_others,), is_folded=True)
    if report.published.relabelled:
        return (Text(f"Not comparable: {describe_relabelled(report.published)}."), folded)
    if not report.published.split:
        return (Text("No published result was measured on exactly these test images."), folded)
    views = next((value for key, value in report.about if key == "test-time augmentation"), "")
    mean = records(report.summary)[0]
    ours = ("this report", views, estimate(mean, "auroc", "auroc_low", "auroc_high"), "")
    title = f"On the same test images ({report.published.split})"
    return (Table(title, columns, (ours, *same), "llrl"), folded)


def _published_chexpert(published: Published) -> tuple[Part, ...]:
    """Results on CheXpert's test studies, none of which can be compared."""
    rows = tuple(
        (
            f"{row['result']} ({row['year']})",
            _published_mean(row),
            str(row["readers_below"]),
            str(row["source"]),
        )
        for row in records(published.other)
    )
    title = "On CheXpert's 500 test studies, mean over the five findings of its competition"
    columns = ("Result", "Mean AUROC", "Readers below, of 3", "Source")
    table = Table(title, columns, rows, "lrrl")
    text = (
        "Not comparable: which images these are is not known here. The leaderboard gives no intervals, and "
        "no views."
    )
    return Text(text), Section("On CheXpert's test studies: not comparable", (table,), is_folded=True)


def _published_mean(row: Record) -> Cell:
    return estimate(row, "mean", "mean_low", "mean_high")


def _on_dataset(report: Report) -> str:
    return f" on {report.published.dataset}" if report.published else ""


def describe_relabelled(published: Published) -> str:
    """Why results on the same test images cannot be compared."""
    images = f"the test images are those of {published.relabelled}"
    return f"{images}, and their labels are not those of {LABEL_TABLE}"


def counts(counts: Counts) -> tuple[Part, ...]:
    """Images, patients and cells of each finding by split, then the rows left out."""
    splits = list(counts.images)
    rows: list[tuple[Cell, ...]] = [
        ("images", *(counts.images[split] for split in splits)),
        ("patients", *(counts.patients[split] for split in splits)),
    ]
    cells = [{row.finding: row for row in counts.cells[split]} for split in splits]
    for finding in cells[0] if cells else ():
        rows.append((finding, *(_count_cell(by_finding[finding]) for by_finding in cells)))
    title = "Images, patients, and cells of each finding by split"
    table = Table(title, ("", *splits), tuple(rows), "l" + "r" * len(splits))
    dropped = ", ".join(f"{num:,} {why}" for why, num in counts.dropped.items() if num)
    return (table, Text(f"Left out: {dropped}.")) if dropped else (table,)


def _count_cell(row: Cells) -> str:
    """As `213 positive, 1,263 negative`, the rest only where there is some."""
    rest = {"soft": row.soft, "masked": row.masked}
    more = "".join(f", {num:,} {name}" for name, num in rest.items() if num)
    return f"{row.positive:,} positive, {row.negative:,} negative{more}"


def _about(report: Report, training: Training) -> tuple[Part, ...]:
    computed_with = ", ".join(f"{name} {number}" for name, number in versions().items())
    pairs = [*report.about, ("thresholds", origin(report.thresholds)), ("evaluated on", report.evaluated_on)]
    pairs += [("intervals", f"95 %, {report.intervals}")] if report.intervals else []
    pairs.append(("computed with", computed_with))
    table = two_columns("What was evaluated, and with what", pairs)
    if not training.config:
        return (table,)
    return (table, Section("The whole recipe", (Code(training.config),), is_folded=True))
