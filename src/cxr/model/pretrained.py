"""torchxrayvision's models as they are, in the place of a checkpoint: `cxr eval xrv:NAME`, `cxr predict xrv:NAME`."""

from collections.abc import Sequence

import numpy as np
import torch

from cxr.config import Config, Data, Image, Model
from cxr.config_file import override
from cxr.console import say
from cxr.data.dataset import Dataset, preprocess
from cxr.data.findings import concept
from cxr.errors import CxrError
from cxr.evaluation import calibration
from cxr.evaluation import thresholds as operating_points
from cxr.evaluation.calibration import Temperatures
from cxr.model import xrv
from cxr.model.checkpoint import Checkpoint, Metadata, SplitIdentity, versions
from cxr.model.classifier import Classifier
from cxr.model.weights import load_weights
from cxr.model.xrv import Pretrained

PROBABILITIES = "sigmoid of the raw logits; torchxrayvision's op_norm is not applied, which changes no AUROC"
"""What its probabilities are, for a report."""


def as_checkpoint(model: Pretrained, config: Config, findings: Sequence[str], device: torch.device) -> Checkpoint:
    """The model with its outputs for these findings, fixed thresholds of 0.5 and no patients that it would recognise.

    Raises:
        CxrError: Its weights cannot be had.
    """
    classifier = Classifier(model.backbone, len(findings))
    load_weights(classifier, str(model), findings)
    classifier.fold_stem()
    classifier.to(device).to(memory_format=torch.channels_last)
    names = tuple(findings)
    points = operating_points.fixed(names)
    temperatures = Temperatures(names, (np.nan,) * len(names), "")
    metadata = Metadata(
        config=config,
        findings=names,
        preprocess=preprocess(config),
        split=SplitIdentity(kind="", name="torchxrayvision's own", hashes={}, num_images={}),
        thresholds=operating_points.to_json(points),
        temperatures=calibration.to_json(temperatures),
        epoch=0,
        step=0,
        validation={},
        versions=versions(),
    )
    return Checkpoint(classifier.eval(), metadata, points, temperatures, {})


def open_alone(weights: str, device: torch.device) -> Checkpoint:
    """The model with all its trained outputs, for images prepared as torchxrayvision prepares them: cropped square.

    What its probabilities and thresholds are is printed to stderr.

    Raises:
        CxrError: No such weights, or they cannot be had.
    """
    model = xrv.find(weights)
    config = Config(
        data=Data.model_validate({"source": "table", "root": ".", "split": "random"}),  # none is read
        image=Image(size=model.size, store_size=model.size, fit="crop"),
        model=_architecture(model),
    )
    checkpoint = as_checkpoint(model, override(config, ["train.precision=fp32"]), model.trained, device)
    say(f"{model}: thresholds of 0.5, chosen on no rows; probabilities: {PROBABILITIES}")
    return checkpoint


def fit_config(model: Pretrained, config: Config, recipe: str) -> Config:
    """The recipe with the model's architecture and in float32, so that its figures are its own.

    Raises:
        CxrError: The recipe's images are not of the model's size.
    """
    if config.image.size != model.size:
        what = f"{recipe}: image.size is {config.image.size}, {model} takes images of {model.size} pixels"
        raise CxrError(what, f"image.size={model.size}")
    changed = _architecture(model)
    return override(config.model_copy(update={"model": changed}), ["train.precision=fp32"])


def _architecture(model: Pretrained) -> Model:
    return Model.model_validate({"backbone": model.backbone, "weights": str(model), "stem": "grey"})


def keep_trained(model: Pretrained, dataset: Dataset) -> Dataset:
    """The dataset with the findings that the model was trained for.

    Raises:
        CxrError: It was trained for none of them.
    """
    findings, known = dataset.targets.findings, {concept(name) for name in model.trained}
    kept = [place for place, name in enumerate(findings) if concept(name) in known]
    if not kept:
        what = f"{model}: was trained for none of the findings of this recipe: {', '.join(findings)}"
        raise CxrError(what, f"it was trained for {', '.join(model.trained)}")
    return dataset.keep_findings(kept)


def notes(model: Pretrained, config: Config, before: Dataset, kept: Dataset) -> tuple[str, ...]:
    """What a reader must know: patients it may have seen, findings left out, pixels prepared in another way."""
    sources = dict.fromkeys(one.source for one in (config.data, *config.data.also))
    found = [xrv.note_on_patients(model, source) for source in sources]
    left_out = [name for name in before.targets.findings if name not in kept.targets.findings]
    if left_out:
        found.append(f"{model} was never trained for {', '.join(left_out)}: left out")
    if config.image.fit != "crop":
        found.append(f"{model} was trained on images cropped to squares; here image.fit={config.image.fit}")
    return tuple(found)


def about(model: Pretrained) -> list[tuple[str, str]]:
    """(key, value) pairs of a report."""
    return [
        ("model", f"{model.backbone} of torchxrayvision, {model.name}, {len(model.trained)} trained outputs"),
        ("trained on", f"{', '.join(model.archives)} ({xrv.path_of(model).name})"),
        ("probabilities", PROBABILITIES),
    ]
