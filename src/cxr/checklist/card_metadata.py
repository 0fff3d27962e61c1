"""The YAML at the head of a model card, which Hugging Face reads: names, tags, and results of test images."""

from pathlib import Path
from typing import Any

import yaml

from cxr.checklist import references
from cxr.checklist.facts import Evaluation, Facts
from cxr.text import visible

_TAGS = (
    "chest-x-ray",
    "radiology",
    "medical-imaging",
    "multi-label-classification",
    "pytorch",
    "torchvision",
)


def front_matter(facts: Facts) -> str:
    """The YAML at the head of the card, between lines of three hyphens."""
    head = yaml.safe_dump(_metadata(facts), sort_keys=False, allow_unicode=True, width=100)
    return f"---\n{head}---\n\n"


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
        if (found := facts.evaluation(kind)) is not None and found.mean.get("auroc") is not None
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
