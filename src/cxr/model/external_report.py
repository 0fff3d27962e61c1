"""What a report says about a model that cxr did not train: its data, its outputs, what was assumed."""

from collections.abc import Sequence

from cxr.console import count
from cxr.data.dataset import Dataset
from cxr.model import xrv
from cxr.model.external import ExternalModel
from cxr.model.load_weights import describe_normalisation
from cxr.weights.errors import visible
from cxr.weights.match import MAX_LISTED

OF_XRV = "sigmoid of the raw logits; torchxrayvision's op_norm is not applied, which changes no AUROC"
"""What the probabilities of torchxrayvision's models are."""


def about(model: ExternalModel) -> list[tuple[str, str]]:
    """(key, value) pairs of a report."""
    published = model.published
    if published:
        num_trained = len(published.trained)
        name = f"{published.backbone} of torchxrayvision, {published.name}, {num_trained} trained outputs"
        trained_on = f"{', '.join(published.datasets)} ({xrv.path_of(published).name})"
    else:
        outputs = count(len(model.findings), "output")
        name = f"{model.backbone} of {model}, {outputs} named by model.head_findings"
        trained_on = "unknown: the file does not say"
    return [("model", name), ("trained on", trained_on), ("probabilities", describe_probabilities(model))]


def describe_probabilities(model: ExternalModel) -> str:
    """How the probabilities come from the outputs."""
    return OF_XRV if model.published else "sigmoid of each output of its linear head"


def describe_outputs(model: ExternalModel, key: str) -> str:
    """Which findings the outputs of a file are assumed to be, as `key` says."""
    names = ", ".join(model.findings)
    order = f"in the order of {key}; in another order every metric is wrong"
    return f"its outputs are assumed to be {names}, {order}"


def describe_assumptions(model: ExternalModel) -> str:
    """What a file does not say of its network and its pixels."""
    assert model.match
    network = f"torchvision's {model.backbone} with average pooling"
    if model.unknown_classes:
        classes = ", ".join(visible(name) for name in model.unknown_classes[:MAX_LISTED])
        network += f" (its classes {classes} are assumed to compute the same)"
    return f"{network}, {describe_normalisation(model.match)}"


def notes(
    model: ExternalModel, sources: Sequence[str], fit: str, before: Dataset, kept: Dataset
) -> tuple[str, ...]:
    """Notes for the reader of a report: patients it may have seen, findings left out, what was assumed.

    Args:
        model: The model.
        sources: Of the datasets that it is evaluated on.
        fit: How the images are made square, as image.fit.
        before: The dataset with all findings of the config.
        kept: The same with the findings of the model.
    """
    left_out = [name for name in before.targets.findings if name not in kept.targets.findings]
    dropped = [f"{model} was never trained for {', '.join(left_out)}: left out"] if left_out else []
    if model.published:
        found = [xrv.note_on_patients(model.published, source) for source in dict.fromkeys(sources)]
        found += dropped
        if fit != "crop":
            found.append(f"{model} was trained on images cropped to squares; here image.fit={fit}")
        return tuple(found)
    found = [
        f"{model}: what it was trained on is unknown, so the check for patients of its training is off: "
        "it may have been trained on these patients",
        f"{model}: {describe_outputs(model, 'model.head_findings')}",
        f"{model}: assumed: {describe_assumptions(model)}, images prepared as the config says",
        *dropped,
    ]
    if not len(kept.rows("val")):
        found.append(f"{model}: thresholds of 0.5, chosen on no images: none is for validation")
    return tuple(found)
