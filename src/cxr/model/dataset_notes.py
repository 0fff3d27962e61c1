"""What a report says about the datasets that a model is evaluated on, beside those that it was trained on."""

from cxr.config.schema import Data
from cxr.data import combine as joint
from cxr.data.dataset import Dataset
from cxr.findings import find
from cxr.labels.table import NO_PATIENTS
from cxr.model.checkpoint import Checkpoint
from cxr.model.leak_check import is_other, unknown_training


def describe(dataset: Dataset, data: Data) -> list[tuple[str, str]]:
    """(key, value) pairs of a report: where each dataset is, its split, its policies, its findings."""
    sections, parts = (data, *data.also), dataset.datasets
    policies = [f"uncertain cells: {part.uncertain}; blank cells: {part.blank}" for part in sections]
    pairs = [
        ("data", _join(dataset, [f"{part.source}, {part.root}" for part in sections])),
        ("split", _join(dataset, [part.split.name for part in parts])),
        ("labels", _join(dataset, policies)),
    ]
    findings = _join(dataset, [_describe_findings(part) for part in parts])
    return [*pairs, ("findings", findings)] if findings else pairs


def _join(dataset: Dataset, texts: list[str]) -> str:
    """The texts of the datasets that are not empty, each with its dataset's name where there are several."""
    names = [f"{part.name}: " if part.name else "" for part in dataset.datasets]
    return "; ".join(f"{name}{text}" for name, text in zip(names, texts, strict=True) if text)


def _describe_findings(dataset: Dataset) -> str:
    """Findings that the dataset has under another name, and those that it does not label."""
    columns = {name: find(name, dataset.table.findings) for name in dataset.targets.findings}
    texts = [f"{name} is its {column}" for name, column in columns.items() if column not in (name, None)]
    not_labelled = [name for name, column in columns.items() if column is None]
    if not_labelled:
        texts.append(f"not labelled: {', '.join(not_labelled)}")
    return ", ".join(texts)


def note_patients(dataset: Dataset) -> list[str]:
    """A note on each dataset that names no patient."""
    without_patient = [part for part in dataset.datasets if not part.table.names_patients]
    return [f"{part.name}: {NO_PATIENTS}" if dataset.parts else NO_PATIENTS for part in without_patient]


def note_others(dataset: Dataset, checkpoint: Checkpoint) -> list[str]:
    """A note where a dataset is another than those of the training."""
    others = [part for part in dataset.datasets if is_other(part, checkpoint)]
    if not others:
        return []
    evaluated = ", ".join(part.name or part.table.source for part in others)
    trained = ", ".join(joint.names(checkpoint.metadata.config.data))
    if unknown_training(checkpoint):
        patients = "its patients may be the same"
    else:
        patients = "other patients, as far as their ids and the names of their images tell"
    return [
        f"{evaluated} is another dataset than the model was trained on ({trained}): {patients}, "
        "and it has its own labels"
    ]
