"""A model card in the form of Hugging Face: what a run knows; what it cannot know is named for the author."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from cxr.checklist import about_data, about_model, about_results, methods, references, table_one
from cxr.checklist.facts import Evaluation, Facts
from cxr.checklist.methods import gap
from cxr.files import write_bytes, write_text
from cxr.report import markdown
from cxr.report.document import Cell, Code, Document, Items, Part, Section, Table, Text, two_columns
from cxr.report.records import Record, estimate
from cxr.text import visible

CARD, WEIGHTS = "README.md", "best.safetensors"
_TAGS = (
    "chest-x-ray",
    "radiology",
    "medical-imaging",
    "multi-label-classification",
    "pytorch",
    "torchvision",
)
_METRICS = {"auroc": "AUROC", "average_precision": "Avg. precision", "f1": "F1", "sensitivity": "Sensitivity",
            "specificity": "Specificity"}  # fmt: skip
_CALIBRATION = {"slope": "Slope", "in_the_large": "In the large", "observed_expected": "Observed / expected"}
_USE = (
    "Research and teaching: to compare methods, to look at a dataset, to start another training from these "
    "weights. The model reads frontal chest radiographs prepared as below."
)
_MISUSE = (
    "Diagnosis, triage or any decision about a patient. Images of other body parts or modalities, lateral "
    "views unless the training had them, and populations or scanners that the evaluation does not cover."
)


def write(facts: Facts, seconds: float | None, weights: bytes, folder: Path) -> list[str]:
    """Write the card and the weights into the folder, each atomically, ready to be uploaded.

    Args:
        facts: Of the run.
        seconds: That its epochs took; None if unknown.
        weights: The checkpoint's file.
        folder: Where to.

    Returns:
        What the author must add.

    Raises:
        CxrError: A file cannot be written.
    """
    text, gaps = render(facts, seconds)
    write_bytes(folder / WEIGHTS, weights)
    write_text(folder / CARD, text)
    return gaps


def render(facts: Facts, seconds: float | None) -> tuple[str, list[str]]:
    """(the card; what the author must add)."""
    gaps = [
        "licence of the weights (`license` above), which the dataset's terms may restrict",
        _sharing(facts),
        "who developed, funded and shares the model",
        "populations and equipment that it should be used on",
        "energy and carbon: not measured",
        *(
            []
            if facts.evaluation("test")
            else ["results: cxr eval has not written a report of the test images"]
        ),
        *([] if facts.evaluation("external") else ["results on another hospital's images"]),
        *([] if facts.data else ["numbers of images and patients: the dataset could not be read"]),
    ]
    body = markdown.render(_page(facts, seconds, gaps))
    # between two lines of dashes Hugging Face reads YAML, below them people read Markdown
    head = yaml.safe_dump(_metadata(facts), sort_keys=False, allow_unicode=True, width=100)
    return f"---\n{head}---\n\n{body}", gaps


def _sharing(facts: Facts) -> str:
    hashed = f"hashes of {facts.num_hashed:,} patients and " if facts.num_hashed else ""
    return f"whether {WEIGHTS} may be shared: it holds {hashed}the paths of its recipe"


def _metadata(facts: Facts) -> dict[str, Any]:
    """What Hugging Face reads of a card: names, tags, and the results of the test images."""
    # names come from folders and tables: nothing in them may hide
    name = visible(Path(facts.run).name or "model")
    metadata: dict[str, Any] = {
        "license": "unknown",
        "library_name": "cxr",
        "pipeline_tag": "image-classification",
        "tags": list(_TAGS),
        "metrics": ["roc_auc"],
    }
    results = [
        _result(facts, found)
        for kind in ("test", "external")
        if (found := facts.evaluation(kind)) is not None
    ]
    if results:
        metadata["model-index"] = [{"name": name, "results": results}]
    return metadata


def _result(facts: Facts, found: Evaluation) -> dict[str, Any]:
    values = [
        {"type": "roc_auc", "name": f"AUROC, {label}", "value": round(float(value), 4)}
        for label, value in (("mean over the findings", found.mean.get("auroc")),)
        if isinstance(value, (int, float))
    ]
    # a source and its folder; the folder is nobody's business
    source = found.about.get("data", ", ".join(facts.sources)).partition(",")[0]
    data = visible(references.NAMES.get(source, source))
    return {
        "task": {"type": "image-classification", "name": "findings on chest radiographs"},
        "dataset": {"type": visible(source), "name": data, "split": "test"},
        "metrics": values,
    }


def _page(facts: Facts, seconds: float | None, gaps: Sequence[str]) -> Document:
    texts = methods.write_methods(facts)
    # only what the texts name
    cited = [key for key, _ in references.listed(text for _, text in texts)]
    limits = about_results.list_limits(facts)
    sections = (
        Section("Uses", (Text(_USE, label="Intended"), Text(_MISUSE, label="Not intended"))),
        Section("Limits", (Items((*limits, *_UNIVERSAL)),)),
        Section(
            "How to start", (Code(f"cxr predict {WEIGHTS} chest.png --heatmaps overlays"), Code(_PYTHON))
        ),
        Section("Training data", _training_data(facts)),
        Section("Training procedure", _training_procedure(facts, seconds)),
        Section("Evaluation", _evaluation(facts)),
        Section("What the author must add", (Items(tuple(gap(each) for each in gaps)),)),
        *([Section("References", (_references(cited),))] if cited else []),
    )
    return Document(f"Model card of {Path(facts.run).name or facts.run}", (_details(facts), *sections))


_PYTHON = f"""import cxr

model = cxr.load("{WEIGHTS}")
table = model.predict(["chest.png"])  # one row per image"""
_UNIVERSAL = (
    "Probabilities hold for images and prevalences like those of the training; elsewhere they must be "
    "calibrated again.",
    "Labels of public datasets were mostly read from reports by a program, and are wrong for a part of them.",
)


def _details(facts: Facts) -> Table:
    return two_columns(
        "Model",
        [
            ("Network", about_model.describe_model(facts)),
            ("First weights", about_model.describe_weights(facts)),
            ("Findings", ", ".join(facts.findings)),
            ("Checkpoint", f"epoch {facts.epoch}, step {facts.step:,}; SHA-256 {facts.sha256}"),
            ("Split", facts.split_name),
            ("Software", about_model.describe_software(facts)),
        ],
    )


def _training_data(facts: Facts) -> tuple[Part, ...]:
    parts: list[Part] = [
        Text(about_data.describe_sources(facts), label="Datasets"),
        Text(about_data.describe_policies(facts), label="Labels"),
    ]
    if facts.data is None:
        return tuple(parts)
    parts.append(Text(about_data.describe_splits(facts), label="Splits"))
    parts.append(Text(about_data.describe_dropped(facts), label="Left out"))
    return (*parts, table_one.as_table(table_one.count_rows(facts.data, facts.findings)))


def _training_procedure(facts: Facts, seconds: float | None) -> tuple[Part, ...]:
    return (
        Text(about_data.describe_preprocessing(facts), label="Images"),
        Text(about_model.describe_training(facts), label="Training"),
        Text(about_model.describe_selection(facts), label="Selection"),
        Text(_describe_time(seconds), label="Time"),
    )


def _describe_time(seconds: float | None) -> str:
    """Measured time; what the log does not say is said to be unknown."""
    measured = "not known: the run has no log" if seconds is None else f"{seconds / 60:.1f} minutes"
    return f"Training and validation: {measured}. Energy was not measured."


def _evaluation(facts: Facts) -> tuple[Part, ...]:
    parts: list[Part] = []
    for found, title in (
        (facts.evaluation("test"), "Test images"),
        (facts.evaluation("external"), "Another dataset"),
    ):
        if found is None:
            continue
        chosen = f", chosen on {found.chosen_on}" if found.chosen_on else ""
        rows: list[Part] = [
            Text(f"Evaluated on {found.evaluated_on}. Thresholds: {found.rule}{chosen}."),
            _table("Metrics", found.findings, _METRICS),
        ]
        if found.intervals:
            rows.append(Text(f"In brackets: 95 % intervals, {found.intervals}.", "soft"))
        if found.groups:
            rows.append(_groups(found))
        if any(row.get("slope") is not None for row in found.calibration):
            rows.append(_table("Calibration", found.calibration, _CALIBRATION))
        parts.append(Section(title, tuple(rows)))
    return tuple(parts) or (Text(gap("results of cxr eval")),)


def _table(title: str, rows: Sequence[Record], columns: Mapping[str, str]) -> Table:
    cells = tuple((str(row["finding"]), *(_estimate(row, name) for name in columns)) for row in rows)
    return Table(title, ("Finding", *columns.values()), cells, "l" + "r" * len(columns))


def _estimate(row: Record, name: str) -> Cell:
    """A metric with its interval; undefined where an older report does not have it."""
    return estimate({name: None, f"{name}_low": None, f"{name}_high": None} | dict(row), name, f"{name}_low",
                    f"{name}_high")  # fmt: skip


def _groups(found: Evaluation) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for row in found.groups:
        num = row.get("num")
        name = f"{row.get('attribute')} {row.get('group')}"
        rows.append((name, int(num) if isinstance(num, (int, float)) else None, _estimate(row, "auroc")))
    return Table("Mean AUROC of subgroups", ("Group", "Images", "AUROC"), tuple(rows), "lrr")


def _references(keys: Sequence[str]) -> Table:
    return two_columns("References", [(key, references.REFERENCES[key]) for key in keys])
