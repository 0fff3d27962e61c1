"""Models that cxr did not train: `cxr eval MODEL CONFIG`, `cxr predict` use them in place of a checkpoint.

A model is one of torchxrayvision (`xrv:NAME`), or a file of weights such as an old CheXNet checkpoint. A file
says neither what its outputs are nor which patients it was trained on: the user names the outputs, and the
report says that the training is unknown.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cxr.console import count
from cxr.findings import NO_FINDING, canonical
from cxr.model import xrv
from cxr.model.load_weights import is_of_xrv
from cxr.weights.backbone import find_backbone
from cxr.weights.errors import WeightsError, visible
from cxr.weights.files import open_weights
from cxr.weights.locate import is_from_elsewhere
from cxr.weights.match import HARMLESS, MAX_LISTED, Match, choose_head, suggest
from cxr.weights.modules import check_alone, check_modules
from cxr.weights.values import read_values

_KNOWN_LAYERS = {
    "Conv2d", "BatchNorm2d", "ReLU", "MaxPool2d", "AvgPool2d", "AdaptiveAvgPool2d", "Linear", "Sigmoid",
    "Dropout", "Dropout2d", "Flatten", "Identity", "Sequential", "ModuleList", "ModuleDict",
}  # fmt: skip
"""Layers of torch.nn that a torchvision network with a linear head and a sigmoid has."""
_NO_FINDING = {"normal", "negative", "healthy", "none"}


@dataclass(frozen=True)
class ExternalModel:
    """A model that cxr did not train.

    Attributes:
        name: As it stands on the command line.
        backbone: Its architecture in torchvision.
        findings: Those that its outputs were trained for, in their order.
        published: Where it is one of torchxrayvision.
        match: Where it is a file: its tensors.
        unknown_classes: Classes of a pickled network that are of no library, which may compute anything.
    """

    name: str
    backbone: str
    findings: tuple[str, ...]
    published: xrv.Pretrained | None = None
    match: Match | None = field(default=None, repr=False)
    unknown_classes: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.name


def is_external(run: str | Path) -> bool:
    """Whether a model on the command line was not trained by cxr."""
    return xrv.is_named(run) or is_from_elsewhere(run)


def open_external(
    name: str, head_findings: Sequence[str] | None, key: str = "model.head_findings="
) -> ExternalModel:
    """A model of torchxrayvision, or the one in a file, whose outputs are `head_findings`.

    Args:
        name: `xrv:NAME`, FILE or FILE#NETWORK.
        head_findings: The findings of a file's outputs, in their order.
        key: How the user says so.

    Raises:
        CxrError: There is no such model; the file holds none, or more than cxr can run; its outputs are not
            named.
    """
    if xrv.is_named(name):
        published = xrv.find(name)
        return ExternalModel(name, published.backbone, published.trained, published)
    match = find_network(name)
    try:
        _check_whole(match)
        if not match.heads:
            hint = "train from it: model.weights=FILE"
            raise WeightsError("has no linear head, so it predicts no finding", hint)
        if not head_findings:
            raise _unnamed_outputs(name, match, key)
        head = choose_head(match, head_findings, key)
        check_alone(match, head)
        unknown_classes = check_modules(match, head)
        _check_sigmoid(head_findings)
        read_values(match, head)  # the file keeps the bytes for `build_checkpoint`
    except WeightsError as error:
        raise error.at(name) from None
    return ExternalModel(name, match.layout.name, tuple(head_findings), None, match, unknown_classes)


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
    """Refuse a file with more than a backbone and a linear head: without it the result is another."""
    problems = []
    for reason, names in match.left_out.items():
        if reason not in HARMLESS:
            problems.append(
                f"holds {count(len(names), 'tensor')} that a {match.layout.name} with a linear head "
                f"does not have, such as {visible(names[0])} ({reason})"
            )
    # a layer without weights leaves no tensor, but changes what is computed
    for name in sorted(match.file.classes):
        is_layer = name.startswith("torch.nn.modules.") and not name.startswith("torch.nn.modules.loss.")
        if is_layer and name.rpartition(".")[2] not in _KNOWN_LAYERS:
            problems.append(f"holds a layer of another kind: {visible(name)}")
    if problems:
        hint = f"it cannot be run here as it is; train from it with model.weights={match.file.origin}"
        raise WeightsError(problems, hint)


def _unnamed_outputs(name: str, match: Match, key: str) -> WeightsError:
    """The error for a file whose outputs the user did not name."""
    heads = "; ".join(str(head) for head in match.heads[:MAX_LISTED])
    hint = f"add {suggest(match, key)}, in their order"
    if is_of_xrv(match.file):
        # the model whose file this is by its name, else any of them as an example
        same_file = [model for model in xrv.PRETRAINED.values() if model.file == Path(name).name]
        example = [*same_file, *xrv.PRETRAINED.values()][0]
        hint = f"give a model of torchxrayvision by its name, such as {example}, or {hint}"
    return WeightsError(f"does not say what its outputs are ({heads})", hint)


def _check_sigmoid(names: Sequence[str]) -> None:
    """Refuse two outputs of which one means that nothing was found: they share one softmax."""
    normal = [name for name in names if canonical(name) == NO_FINDING or name.strip().lower() in _NO_FINDING]
    if len(names) == 2 and normal:
        raise WeightsError(
            f"has two outputs, of which one is {normal[0]}: that is a softmax of two classes",
            "cxr gives each output its own sigmoid; run it in its own program, then cxr eval predictions.csv",
        )
