"""A model that cxr did not train as a Checkpoint, with a config and the findings of its outputs."""

from collections.abc import Sequence
from pathlib import Path

import torch

from cxr.config.load import override
from cxr.config.schema import Config, Data, Image, Model
from cxr.console import say
from cxr.data.dataset import Dataset, preprocess
from cxr.environment import versions
from cxr.errors import CxrError
from cxr.evaluation import recalibration as calibrated
from cxr.evaluation import thresholds as operating_points
from cxr.findings import GROUPS, concept
from cxr.model import checkpoint as checkpoints
from cxr.model.checkpoint import Checkpoint, Metadata, SplitIdentity
from cxr.model.classifier import Classifier
from cxr.model.external import ExternalModel, is_external, open_external
from cxr.model.external_report import describe_assumptions, describe_outputs, describe_probabilities
from cxr.model.load_weights import check_weights, fill, load_weights
from cxr.weights.errors import WeightsError
from cxr.weights.locate import check_there, is_from_elsewhere


def open_any(run: str, device: torch.device, head_findings: str | None = None) -> Checkpoint:
    """The checkpoint of a run, or a model that cxr did not train with all its outputs.

    Args:
        run: Run folder, checkpoint, `xrv:NAME`, or a file of weights.
        device: Where it computes.
        head_findings: The findings of the outputs of a file: a group or names with commas between.

    Raises:
        CxrError: There is no such model; its outputs are not named, or named although the model names them.
    """
    check_there(run)
    if head_findings is not None and not is_external(run):
        checkpoints.find(Path(run))  # a folder without a run has another error
    if head_findings is not None and not is_from_elsewhere(run):
        raise CxrError(f"--head-findings: {run} names its findings already", "leave --head-findings out")
    if is_external(run):
        return open_for_images(run, device, head_findings)
    return checkpoints.load(Path(run), device)


def open_for_images(name: str, device: torch.device, head_findings: str | None = None) -> Checkpoint:
    """The model with all its outputs, for single images.

    Those of torchxrayvision are cropped square, as it does; for a file images are prepared as a config does
    by default. What its probabilities and thresholds are, and what was assumed, is printed to stderr.

    Raises:
        CxrError: As `open_external`.
    """
    data = Data.model_validate({"source": "table", "root": ".", "split": "random"})  # none is read
    config = Config(data=data)
    if head_findings is not None:
        config = _set_head_findings(config, head_findings)
    model = open_external(name, config.model.head_findings, "--head-findings ")
    if model.published:
        size = model.published.size
        config = config.model_copy(update={"image": Image(size=size, store_size=size, fit="crop")})
    config = _with_model(config, model)
    checkpoint = build_checkpoint(model, config, model.findings, device)
    say(f"{name}: thresholds of 0.5, chosen on no images; probabilities: {describe_probabilities(model)}")
    if model.match:
        say(f"{name}: {describe_outputs(model, '--head-findings')}")
        prepared = f"images padded to squares of {config.image.size} pixels"
        say(f"{name}: assumed: {describe_assumptions(model)}, {prepared}; what it was trained on is unknown")
    return checkpoint


def build_checkpoint(
    model: ExternalModel, config: Config, findings: Sequence[str], device: torch.device
) -> Checkpoint:
    """The model with its outputs for these findings, thresholds of 0.5 and no patients that it recognises.

    Raises:
        CxrError: Its weights cannot be downloaded, or are no finite numbers.
    """
    classifier = Classifier(model.backbone, len(findings))
    if model.match:
        try:
            fill(classifier, model.match, findings, model.findings)
        except WeightsError as error:
            raise error.at(model.name) from None
    else:
        load_weights(classifier, model.name, findings)
        classifier.fold_stem()
    # channels last, as for our own checkpoints: another order of the sums would change the last bits
    classifier.to(device).to(memory_format=torch.channels_last)
    names = tuple(findings)
    # nothing was chosen or fitted: there are no validation images of this model
    thresholds = operating_points.fixed(names)
    recalibration = calibrated.no_recalibration(names)
    metadata = Metadata(
        config=config,
        findings=names,
        preprocess=preprocess(config),
        split=SplitIdentity(kind="", name="unknown", hashes={}, num_images={}),
        thresholds=operating_points.to_json(thresholds),
        temperatures=calibrated.to_json(recalibration),
        epoch=0,
        step=0,
        validation={},
        versions=versions(),
    )
    return Checkpoint(classifier.eval(), metadata, thresholds, recalibration, patients={})


def _set_head_findings(config: Config, head_findings: str) -> Config:
    """The config with what --head-findings says: a group of findings, or names with commas between."""
    names: list[str] = [] if head_findings.lstrip().startswith("[") else head_findings.split(",")
    is_group = len(names) == 1 and names[0].strip().lower() in GROUPS
    try:
        if names and not is_group:
            # as a value and not as YAML, which has no letters such as DEL
            values = {"model": {"head_findings": [name.strip() for name in names]}}
            return override(config, [], values=values)
        return override(config, [f"model.head_findings={head_findings}"])
    except CxrError as error:
        problems = [problem.replace("model.head_findings", "--head-findings") for problem in error.problems]
        raise CxrError(problems, f"give {', '.join(GROUPS)}, or names with commas between") from None


def fetch(model: ExternalModel, section: Model) -> None:
    """Download and check a model of torchxrayvision before hours of packing; a file is read when opened.

    Raises:
        CxrError: It cannot be downloaded.
    """
    if model.published:
        check_weights(section, download=True)


def fit_config(model: ExternalModel, config: Config, recipe: str) -> Config:
    """The recipe with the model's architecture and in float32.

    Raises:
        CxrError: The recipe's images are not of the model's size.
    """
    published = model.published
    if published and config.image.size != published.size:
        sizes = f"image.size is {config.image.size}, {model} takes images of {published.size} pixels"
        raise CxrError(f"{recipe}: {sizes}", f"image.size={published.size}")
    return _with_model(config, model)


def _with_model(config: Config, model: ExternalModel) -> Config:
    section = {
        "backbone": model.backbone,
        "weights": model.name,
        "stem": "grey" if model.published else "rgb",
        "head_findings": None if model.published else model.findings,
    }
    changed = config.model_copy(update={"model": Model.model_validate(section)})
    # half precision would give other probabilities than the model's own
    return override(changed, ["train.precision=fp32"])


def keep_trained(model: ExternalModel, dataset: Dataset) -> Dataset:
    """The dataset with the findings that the model was trained for.

    Raises:
        CxrError: It was trained for none of them.
    """
    findings = dataset.targets.findings
    # by concept: Effusion and Pleural Effusion are one
    trained = {concept(name) for name in model.findings}
    kept = [position for position, name in enumerate(findings) if concept(name) in trained]
    if not kept:
        raise CxrError(
            f"{model}: was trained for none of the findings of this recipe: {', '.join(findings)}",
            f"it was trained for {', '.join(model.findings)}",
        )
    return dataset.keep_findings(kept)
