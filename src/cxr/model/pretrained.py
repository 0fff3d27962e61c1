"""Models that cxr did not train, as they are, in the place of a checkpoint: `cxr eval MODEL CONFIG`, `cxr predict`.

A model is one of torchxrayvision (`xrv:NAME`), or a file of weights such as an old CheXNet checkpoint. A file says
neither what its outputs are nor on whom it was trained: the first is asked for, the second is said in the report.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from cxr.config.load import override
from cxr.config.schema import Config, Data, Image, Model
from cxr.console import count, say
from cxr.data.dataset import Dataset, preprocess
from cxr.errors import CxrError
from cxr.evaluation import calibration
from cxr.evaluation import thresholds as operating_points
from cxr.evaluation.calibration import Temperatures
from cxr.findings import GROUPS, NO_FINDING, canonical, concept
from cxr.model import checkpoint as checkpoints
from cxr.model import xrv
from cxr.model.checkpoint import Checkpoint, Metadata, SplitIdentity, versions
from cxr.model.classifier import Classifier
from cxr.model.load_weights import check_weights, describe_normalisation, fill, is_of_xrv, load_weights
from cxr.weights.explain import find_backbone
from cxr.weights.files import open_weights
from cxr.weights.kinds import WeightsError, check_there, is_from_elsewhere, visible
from cxr.weights.match import HARMLESS, Match, choose_head, suggest
from cxr.weights.modules import check_alone, check_modules
from cxr.weights.values import read_values

PROBABILITIES = "sigmoid of the raw logits; torchxrayvision's op_norm is not applied, which changes no AUROC"
"""What the probabilities of torchxrayvision's models are, for a report."""

_KNOWN_LAYERS = {
    "Conv2d", "BatchNorm2d", "ReLU", "MaxPool2d", "AvgPool2d", "AdaptiveAvgPool2d", "Linear", "Sigmoid", "Dropout",
    "Dropout2d", "Flatten", "Identity", "Sequential", "ModuleList", "ModuleDict",
}  # fmt: skip
"""Layers of torch.nn that a torchvision network with a linear head and a sigmoid has."""
_NO_FINDING = {"normal", "negative", "healthy", "none"}


@dataclass(frozen=True)
class Guest:
    """A model that cxr did not train.

    Attributes:
        name: As it stands on the command line.
        backbone: Its architecture in torchvision.
        trained: Findings that its outputs were trained for, in their order.
        published: Where it is one of torchxrayvision.
        match: Where it is a file: its tensors.
        own_classes: Classes of a pickled network that are of no library, which may compute anything.
    """

    name: str
    backbone: str
    trained: tuple[str, ...]
    published: xrv.Pretrained | None = None
    match: Match | None = field(default=None, repr=False)
    own_classes: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.name


def is_guest(run: str | Path) -> bool:
    """Whether a model on the command line is none of cxr's."""
    return xrv.is_named(run) or is_from_elsewhere(run)


def open_guest(name: str, head_findings: Sequence[str] | None, key: str = "model.head_findings=") -> Guest:
    """A model of torchxrayvision, or the one in a file, whose outputs are `head_findings`.

    Args:
        name: `xrv:NAME`, FILE or FILE#NETWORK.
        head_findings: What the outputs of a file are, in their order.
        key: How the user says so.

    Raises:
        CxrError: There is no such model; the file holds none, or more than cxr can run; its outputs are not told.
    """
    if xrv.is_named(name):
        published = xrv.find(name)
        return Guest(name, published.backbone, published.trained, published)
    match = find_network(name)
    try:
        _check_whole(match)
        if not match.heads:
            raise WeightsError(
                "has no linear head, so that it finds nothing", "train from it: model.weights=FILE"
            )
        if not head_findings:
            heads = "; ".join(str(head) for head in match.heads[:3])
            hint = f"add {suggest(match, key)}, in their order"
            if is_of_xrv(match.file):
                hint = f"give a model of torchxrayvision by its name, such as {_xrv_name(name)}, or {hint}"
            raise WeightsError(f"does not say what its outputs are ({heads})", hint)
        head = choose_head(match, head_findings, key)
        check_alone(match, head)
        own = check_modules(match, head)
        _check_sigmoid(head_findings)
        read_values(match, head)  # whose bytes the file keeps for `as_checkpoint`
    except WeightsError as error:
        raise error.at(name) from None
    return Guest(name, match.layout.name, tuple(head_findings), None, match, own)


def _xrv_name(name: str) -> str:
    """What torchxrayvision's file is called here; the first model where its name says nothing."""
    known = [str(model) for model in xrv.PRETRAINED.values() if model.file == Path(name).name]
    return (known or [str(next(iter(xrv.PRETRAINED.values())))])[0]


def find_network(name: str) -> Match:
    """The network in a file, matched with its backbone.

    Raises:
        CxrError: It is no file of weights, or of no network that cxr has.
    """
    try:
        return find_backbone(open_weights(name))
    except WeightsError as error:
        raise error.at(name) from None


def _check_whole(match: Match) -> None:
    """Refuse a file that holds more than a backbone and a linear head: without the rest it computes something else."""
    unknown = [(reason, names) for reason, names in match.left_out.items() if reason not in HARMLESS]
    layers = sorted(name for name in match.file.classes if name.startswith("torch.nn.modules.")
                    and not name.startswith("torch.nn.modules.loss.")
                    and name.rpartition(".")[2] not in _KNOWN_LAYERS)  # fmt: skip
    reasons = [f"holds {count(len(names), 'tensor')} that a {match.layout.name} with a linear head does not have, such "
               f"as {visible(names[0])} ({reason})" for reason, names in unknown]  # fmt: skip
    reasons += [f"holds a layer of another kind: {visible(name)}" for name in layers]
    if reasons:
        hint = f"it cannot be run here as it is; train from it with model.weights={match.file.origin}"
        raise WeightsError(reasons, hint)


def _assumed(guest: Guest) -> str:
    """What a file does not say of its network and its pixels."""
    assert guest.match
    own = ", ".join(visible(name) for name in guest.own_classes[:3])
    classes = f" (its own classes {own} are taken to compute the same)" if own else ""
    network = f"torchvision's {guest.backbone} with average pooling{classes}"
    return f"{network}, {describe_normalisation(guest.match)}"


def _check_sigmoid(names: Sequence[str]) -> None:
    """Refuse two outputs of which one means that nothing was found: they share one softmax."""
    nothing = [name for name in names if canonical(name) == NO_FINDING or name.strip().lower() in _NO_FINDING]
    if len(names) == 2 and nothing:
        what = f"has two outputs, of which one is {nothing[0]}: that is a softmax of two classes"
        hint = (
            "cxr gives each output its own sigmoid; run it in its own program, then cxr eval predictions.csv"
        )
        raise WeightsError(what, hint)


def as_checkpoint(guest: Guest, config: Config, findings: Sequence[str], device: torch.device) -> Checkpoint:
    """The model with its outputs for these findings, fixed thresholds of 0.5 and no patients that it would recognise.

    Raises:
        CxrError: Its weights cannot be had, or are no finite numbers.
    """
    classifier = Classifier(guest.backbone, len(findings))
    if guest.match:
        try:
            fill(classifier, guest.match, findings, guest.trained)
        except WeightsError as error:
            raise error.at(guest.name) from None
    else:
        load_weights(classifier, guest.name, findings)
        classifier.fold_stem()
    classifier.to(device).to(memory_format=torch.channels_last)
    names = tuple(findings)
    points = operating_points.fixed(names)
    temperatures = Temperatures(names, (np.nan,) * len(names), "")
    metadata = Metadata(
        config=config,
        findings=names,
        preprocess=preprocess(config),
        split=SplitIdentity(kind="", name="unknown", hashes={}, num_images={}),
        thresholds=operating_points.to_json(points),
        temperatures=calibration.to_json(temperatures),
        epoch=0,
        step=0,
        validation={},
        versions=versions(),
    )
    return Checkpoint(classifier.eval(), metadata, points, temperatures, {})


def open_any(run: str, device: torch.device, head_findings: str | None = None) -> Checkpoint:
    """The checkpoint of a run, or a model that cxr did not train with all its outputs.

    Args:
        run: Run folder, checkpoint, `xrv:NAME`, or a file of weights.
        device: Where it computes.
        head_findings: What the outputs of a file of weights are: a group or names with commas between.

    Raises:
        CxrError: There is no such model, or what its outputs are is not told, or told of one that says it itself.
    """
    check_there(run)
    if head_findings is not None and not is_guest(run):
        checkpoints.find(Path(run))  # a folder without a run is told so first
    if head_findings is not None and not is_from_elsewhere(run):
        raise CxrError(f"--head-findings: {run} names its findings itself", "leave --head-findings out")
    return open_alone(run, device, head_findings) if is_guest(run) else checkpoints.load(Path(run), device)


def open_alone(name: str, device: torch.device, head_findings: str | None = None) -> Checkpoint:
    """The model with all its outputs, for single images.

    Those of torchxrayvision are cropped square, as it does; for a file images are prepared as a config does by default.
    What its probabilities and thresholds are, and what was assumed, is printed to stderr.

    Raises:
        CxrError: As `open_guest`.
    """
    data = Data.model_validate({"source": "table", "root": ".", "split": "random"})  # none is read
    config = Config(data=data)
    if head_findings is not None:
        config = _name_outputs(config, head_findings)
    guest = open_guest(name, config.model.head_findings, "--head-findings ")
    if guest.published:
        size = guest.published.size
        config = config.model_copy(update={"image": Image(size=size, store_size=size, fit="crop")})
    config = _with_model(guest, config)
    checkpoint = as_checkpoint(guest, config, guest.trained, device)
    say(f"{name}: thresholds of 0.5, chosen on no rows; probabilities: {_probabilities(guest)}")
    if guest.match:
        say(f"{name}: {_said_of_outputs(guest, '--head-findings')}")
        prepared = f"images padded to squares of {config.image.size} pixels"
        say(f"{name}: assumed: {_assumed(guest)}, {prepared}; what it was trained on is unknown")
    return checkpoint


def _name_outputs(config: Config, head_findings: str) -> Config:
    """The config with what --head-findings says: a group of findings, or names with commas between."""
    named: list[str] = [] if head_findings.lstrip().startswith("[") else head_findings.split(",")
    is_group = len(named) == 1 and named[0].strip().lower() in GROUPS
    values = {"model": {"head_findings": [name.strip() for name in named]}} if named and not is_group else {}
    try:
        return override(config, [] if values else [f"model.head_findings={head_findings}"], values=values)
    except CxrError as error:
        problems = [text.replace("model.head_findings", "--head-findings") for text in error.problems]
        raise CxrError(problems, f"give {', '.join(GROUPS)}, or names with commas between") from None


def fetch(guest: Guest, config: Config) -> None:
    """Have a model of torchxrayvision here and whole before hours of packing; a file was read when it was opened.

    Raises:
        CxrError: It cannot be had.
    """
    if guest.published:
        check_weights(config.model, download=True)


def fit_config(guest: Guest, config: Config, recipe: str) -> Config:
    """The recipe with the model's architecture and in float32, so that its figures are its own.

    Raises:
        CxrError: The recipe's images are not of the model's size.
    """
    published = guest.published
    if published and config.image.size != published.size:
        what = f"{recipe}: image.size is {config.image.size}, {guest} takes images of {published.size} pixels"
        raise CxrError(what, f"image.size={published.size}")
    return _with_model(guest, config)


def _with_model(guest: Guest, config: Config) -> Config:
    names = None if guest.published else guest.trained
    stem = "grey" if guest.published else "rgb"
    model = {"backbone": guest.backbone, "weights": guest.name, "stem": stem, "head_findings": names}
    changed = config.model_copy(update={"model": Model.model_validate(model)})
    return override(changed, ["train.precision=fp32"])


def keep_trained(guest: Guest, dataset: Dataset) -> Dataset:
    """The dataset with the findings that the model was trained for.

    Raises:
        CxrError: It was trained for none of them.
    """
    findings, known = dataset.targets.findings, {concept(name) for name in guest.trained}
    kept = [place for place, name in enumerate(findings) if concept(name) in known]
    if not kept:
        what = f"{guest}: was trained for none of the findings of this recipe: {', '.join(findings)}"
        raise CxrError(what, f"it was trained for {', '.join(guest.trained)}")
    return dataset.keep_findings(kept)


def notes(guest: Guest, config: Config, before: Dataset, kept: Dataset) -> tuple[str, ...]:
    """What a reader must know: patients it may have seen, findings left out, what was assumed."""
    left_out = [name for name in before.targets.findings if name not in kept.targets.findings]
    dropped = [f"{guest} was never trained for {', '.join(left_out)}: left out"] if left_out else []
    if guest.match:
        return (
            f"{guest}: what it was trained on is unknown, so the check for patients of its training is off: it may "
            "have been trained on these patients",
            f"{guest}: {_said_of_outputs(guest, 'model.head_findings')}",
            f"{guest}: assumed: {_assumed(guest)}, images prepared as the config says",
            *dropped,
            *(
                []
                if len(kept.rows("val"))
                else [f"{guest}: thresholds of 0.5, chosen on no rows: none is for validation"]
            ),
        )
    assert guest.published
    sources = dict.fromkeys(one.source for one in (config.data, *config.data.also))
    found = [xrv.note_on_patients(guest.published, source) for source in sources]
    if config.image.fit != "crop":
        dropped.append(f"{guest} was trained on images cropped to squares; here image.fit={config.image.fit}")
    return tuple(found + dropped)


def _said_of_outputs(guest: Guest, key: str) -> str:
    names = ", ".join(guest.trained)
    return (
        f"its outputs are taken to be {names}, in the order of {key}; in another order every figure is wrong"
    )


def _probabilities(guest: Guest) -> str:
    return PROBABILITIES if guest.published else "sigmoid of each output of its linear head"


def about(guest: Guest) -> list[tuple[str, str]]:
    """(key, value) pairs of a report."""
    if guest.published:
        model = guest.published
        what = f"{model.backbone} of torchxrayvision, {model.name}, {len(model.trained)} trained outputs"
        trained = f"{', '.join(model.archives)} ({xrv.path_of(model).name})"
    else:
        what = (
            f"{guest.backbone} of {guest}, {count(len(guest.trained), 'output')} named by model.head_findings"
        )
        trained = "unknown: the file does not say"
    return [("model", what), ("trained on", trained), ("probabilities", _probabilities(guest))]
