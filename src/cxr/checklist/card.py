"""A model card in the form of Hugging Face: what a run knows; what it cannot know is named for the author."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cxr.checklist import about_data, about_model, about_results, methods, references, table_one
from cxr.checklist.card_metadata import front_matter
from cxr.checklist.facts import Evaluation, Facts
from cxr.checklist.methods import gap
from cxr.config.redact import without_folders
from cxr.config.render import render as render_config
from cxr.download.manifest import CARD, MANIFEST, RECIPE, WEIGHTS, make_manifest
from cxr.environment import Environment
from cxr.files import write_bytes, write_text
from cxr.report import markdown
from cxr.report.document import Cell, Code, Document, Items, Part, Section, Table, Text, two_columns
from cxr.report.records import Record, estimate

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


@dataclass(frozen=True)
class Copy:
    """The checkpoint as it is handed on, and what the run folder knows of its making.

    Attributes:
        weights: The bytes of its file.
        sha256: Of these.
        has_hashes: Whether it holds hashes of patients and folders of the recipe, as the run's own file does.
        seconds: That the run's epochs took; None if unknown.
        environment: What it was trained on; None if unknown.
    """

    weights: bytes
    sha256: str
    has_hashes: bool = False
    seconds: float | None = None
    environment: Environment | None = None


def write(facts: Facts, copy: Copy, folder: Path) -> list[str]:
    """Write weights, recipe, manifest and card into the folder, each atomically, ready to be uploaded.

    Returns:
        What the author must add.

    Raises:
        CxrError: A file cannot be written.
    """
    text, gaps = render(facts, copy)
    recipe = render_config(without_folders(facts.config)).encode()
    card = text.encode(errors="backslashreplace")
    files = {WEIGHTS: copy.weights, RECIPE: recipe}
    for name, data in files.items():
        write_bytes(folder / name, data)
    write_bytes(folder / CARD, card)
    # last: until it is there, the command refuses to replace what it does not describe
    write_text(folder / MANIFEST, make_manifest(files, card))
    return gaps


def render(facts: Facts, copy: Copy) -> tuple[str, list[str]]:
    """(the card; what the author must add)."""
    facts = replace(facts, config=without_folders(facts.config))
    gaps = [
        "licence of the weights (`license` above), which the dataset's terms may restrict",
        *_name_sharing(facts, copy),
        "who developed, funded and shares the model",
        "populations and equipment that it should be used on",
        "energy and carbon: not measured",
        *(
            []
            if facts.evaluation("test")
            else ["results: cxr eval has not written a report of the test images"]
        ),
        *([] if facts.evaluation("external") else ["results on another hospital's images"]),
        *_name_unknown_data(facts),
    ]
    body = markdown.render(_page(facts, copy, gaps))
    # between two lines of dashes Hugging Face reads YAML, below them people read Markdown
    return front_matter(facts) + body, gaps


def _name_sharing(facts: Facts, copy: Copy) -> list[str]:
    if not copy.has_hashes:
        return []
    hashed = f"hashes of {facts.num_hashed:,} patients and " if facts.num_hashed else ""
    return [f"whether {WEIGHTS} may be shared: it holds {hashed}the paths of its recipe"]


def _name_unknown_data(facts: Facts) -> list[str]:
    if facts.data is None:
        return ["numbers of images and patients: the dataset could not be read"]
    if facts.data.is_changed:
        return ["numbers of images and patients: the split of the dataset is not that of the training now"]
    return []


def _page(facts: Facts, copy: Copy, gaps: Sequence[str]) -> Document:
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
        Section("Training procedure", _training_procedure(facts, copy)),
        Section("Evaluation", _evaluation(facts)),
        Section("What the author must add", (Items(tuple(gap(each) for each in gaps)),)),
        *([Section("References", (_references(cited),))] if cited else []),
    )
    return Document(f"Model card of {Path(facts.run).name or facts.run}", (_details(facts, copy), *sections))


_PYTHON = f"""import cxr

model = cxr.load("{WEIGHTS}")  # or "hub:OWNER/NAME@COMMIT"
table = model.predict(["chest.png"])  # one row per image"""
_UNIVERSAL = (
    "Probabilities hold for images and prevalences like those of the training; elsewhere they must be "
    "calibrated again.",
    "Labels of public datasets were mostly read from reports by a program, and are wrong for a part of them.",
)


def _details(facts: Facts, copy: Copy) -> Table:
    run = "" if copy.has_hashes else f"; made from the run's file with SHA-256 {facts.sha256}"
    return two_columns(
        "Model",
        [
            ("Network", about_model.describe_model(facts)),
            ("First weights", about_model.describe_weights(facts)),
            ("Findings", ", ".join(facts.findings)),
            (
                "Checkpoint",
                f"{WEIGHTS}: epoch {facts.epoch}, step {facts.step:,}; SHA-256 {copy.sha256}{run}",
            ),
            ("Leak check", _describe_leak_check(copy)),
            ("Split", facts.split_name),
            ("Software", about_model.describe_software(facts)),
        ],
    )


def _describe_leak_check(copy: Copy) -> str:
    if copy.has_hashes:
        return "cxr eval refuses patients of the training, whose hashes are in the checkpoint."
    return "Hashes of patients are left out: cxr eval cannot tell whether patients were in the training."


def _training_data(facts: Facts) -> tuple[Part, ...]:
    labels = about_data.reference_standard(facts).said
    parts: list[Part] = [
        Text(about_data.describe_sources(facts), label="Datasets"),
        Text(" ".join(filter(None, [labels, about_data.describe_policies(facts)])), label="Labels"),
    ]
    if facts.data is None or facts.data.is_changed:
        parts.append(Text(gap("numbers of images and patients in each split")))
        return tuple(parts)
    parts.append(Text(about_data.describe_splits(facts), label="Splits"))
    parts.append(Text(about_data.describe_dropped(facts), label="Left out"))
    return (*parts, table_one.as_table(table_one.count_rows(facts.data, facts.findings)))


def _training_procedure(facts: Facts, copy: Copy) -> tuple[Part, ...]:
    return (
        Text(about_data.describe_preprocessing(facts), label="Images"),
        Text(about_model.describe_training(facts), label="Training"),
        Text(about_model.describe_selection(facts), label="Selection"),
        Text(f"Seed {facts.config.seed}; every key is in {RECIPE}.", label="Recipe"),
        Text(_describe_machine(copy.environment), label="Machine"),
        Text(_describe_time(copy.seconds), label="Time"),
    )


def _describe_machine(environment: Environment | None) -> str:
    """Device and processor; what run.json does not say is said to be unknown."""
    if environment is None:
        return "not known: the run has no run.json."
    processes = f", {environment.num_processes} processes" if environment.num_processes > 1 else ""
    cores = f"{environment.processor or 'a CPU'}, {environment.num_cores} cores"
    versions = ", ".join(f"{name} {environment.versions[name]}" for name in ("CUDA", "cuDNN", "driver")
                         if name in environment.versions)  # fmt: skip
    device = "" if environment.device == "cpu" else f"{environment.device}; "
    memory = f", {environment.memory_gb:g} GB of memory" if environment.memory_gb else ""
    return f"{device}{cores}{memory}{processes}; {environment.system}{f'; {versions}' if versions else ''}."


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
            _table("Metrics", _with_mean(found), _METRICS, threshold=True),
        ]
        if found.intervals:
            rows.append(Text(f"In brackets: 95 % intervals, {found.intervals}.", "soft"))
        if found.groups:
            rows.append(_groups(found))
        if any(row.get("slope") is not None for row in found.calibration):
            rows.append(_table("Calibration", found.calibration, _CALIBRATION))
        parts.append(Section(title, tuple(rows)))
    return tuple(parts) or (Text(gap("results of cxr eval")),)


def _with_mean(found: Evaluation) -> list[Record]:
    """A row a finding, and their mean last, where the report has it."""
    return [*found.findings, *([found.mean] if found.mean.get("finding") == "mean" else [])]


def _table(title: str, rows: Sequence[Record], columns: Mapping[str, str], threshold: bool = False) -> Table:
    """A row for each record; with its threshold last where that is asked for."""
    headings = ("Finding", *columns.values(), *(["Threshold"] if threshold else []))
    cells: list[tuple[Cell, ...]] = []
    for row in rows:
        last = [_estimate(row, "threshold") if row.get("threshold") is not None else ""] if threshold else []
        cells.append((str(row["finding"]), *(_estimate(row, name) for name in columns), *last))
    return Table(title, headings, tuple(cells), "l" + "r" * (len(headings) - 1))


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
