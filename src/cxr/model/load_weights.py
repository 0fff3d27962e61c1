"""First weights: torchvision's, torchxrayvision's, none, or a file's; whole or not at all."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from cxr.config.schema import Model
from cxr.download import hub
from cxr.errors import CxrError
from cxr.findings import find
from cxr.model import imagenet, xrv
from cxr.model.classifier import Classifier
from cxr.model.load_report import LoadReport, describe_head, make_report
from cxr.weights.backbone import match_backbone
from cxr.weights.errors import WeightsError, visible
from cxr.weights.files import WeightFile, open_weights
from cxr.weights.layout import layout_of
from cxr.weights.match import MAX_LISTED, Match, choose_head
from cxr.weights.values import read_value, read_values


def load_weights(
    classifier: Classifier, weights: str, findings: Sequence[str], head_findings: Sequence[str] | None = None
) -> LoadReport:
    """Fill the classifier from `imagenet`, `xrv:NAME`, `hub:NAME`, `none`, a file or a run: all or nothing.

    Args:
        classifier: What is filled.
        weights: As model.weights.
        findings: Of the classifier's head.
        head_findings: Of the outputs of the file's head, which does not name them.

    Raises:
        CxrError: Weights that cannot be downloaded; a file that is missing, unsafe, damaged or of another
            model.
    """
    _check_head_findings(weights, head_findings)
    if weights == "none":
        return LoadReport("none")
    match = match_weights(weights, classifier.name)
    with _errors_of_key(weights):
        return fill(classifier, match, findings, _name_outputs(match, head_findings))


def check_weights(model: Model, download: bool = False) -> None:
    """Refuse now what `load_weights` would refuse after hours of packing.

    Args:
        model: The section of the config.
        download: Whether weights that are not on the disk yet are downloaded, and then checked too.

    Raises:
        CxrError: As `load_weights`.
    """
    weights = model.weights
    _check_head_findings(weights, model.head_findings)
    if weights == "none" or not (download or _is_on_disk(weights, model.backbone)):
        return
    match = match_weights(weights, model.backbone)
    with _errors_of_key(weights):
        read_values(match, choose_head(match, _name_outputs(match, model.head_findings)))
        if match.fit.has_bias and model.stem == "rgb":
            raise WeightsError("has a grey stem", "set model.stem=grey")


def match_weights(weights: str, backbone: str) -> Match:
    """A file's tensors matched with a backbone; none of them is read yet.

    Raises:
        CxrError: It is no file of weights, or of another network.
    """
    with _errors_of_key(weights):
        if xrv.is_named(weights):
            # the file says nothing of its outputs, which torchxrayvision's code names
            published = _find_published(weights, backbone)
            file = xrv.open_file(published, layout_of(backbone).width)
            file = replace(file, origin=weights, findings=published.outputs)
        elif weights == "imagenet":
            file = imagenet.open_file(backbone)
        else:
            file = open_weights(weights)
        return match_backbone(file, backbone)


@contextlib.contextmanager
def _errors_of_key(weights: str) -> Iterator[None]:
    """Turn each WeightsError of the body into an error of the key model.weights."""
    try:
        yield
    except WeightsError as error:
        raise error.at("model.weights" if weights == "imagenet" else f"model.weights: {weights}") from None


def _check_head_findings(weights: str, head_findings: Sequence[str] | None) -> None:
    if head_findings and (weights in ("none", "imagenet") or xrv.is_named(weights)):
        problem = f"model.head_findings: names the outputs of a file's head, and model.weights is {weights}"
        raise CxrError(problem, "leave it out, or give the file")


def _is_on_disk(weights: str, backbone: str) -> bool:
    """Whether weights can be opened without a network."""
    if xrv.is_named(weights):
        return xrv.path_of(_find_published(weights, backbone)).is_file()
    if hub.is_named(weights):
        return hub.find(weights) is not None
    return weights != "imagenet" or imagenet.path_of(backbone).is_file()


def _find_published(weights: str, backbone: str) -> xrv.Pretrained:
    """The model of torchxrayvision of that name, if it is of that backbone."""
    model = xrv.find(weights)
    if backbone != model.backbone:
        problem = f"model.weights: {weights}: is a {model.backbone}, model.backbone is {backbone}"
        raise CxrError(problem, f"set model.backbone={model.backbone}")
    return model


def _name_outputs(match: Match, head_findings: Sequence[str] | None) -> Sequence[str] | None:
    """The findings of the outputs of the file's head: as the file says, else as model.head_findings says.

    Raises:
        WeightsError: Both say it.
    """
    if match.file.findings is not None and head_findings:
        raise WeightsError("names the findings of its head already", "leave model.head_findings out")
    return match.file.findings or head_findings


@torch.no_grad()
def fill(
    classifier: Classifier, match: Match, findings: Sequence[str], names: Sequence[str] | None = None
) -> LoadReport:
    """Put a file's tensors into the classifier; a head row for each finding that `names` has.

    Raises:
        WeightsError: A tensor without finite numbers; nothing is changed then.
    """
    # 1. read and check every tensor before the first is changed
    head = choose_head(match, names)
    # a dict by our names; a tensor that is not finite is an error here
    values = read_values(match, head)
    notes = _fit_stem(classifier, match, values)
    # 2. the backbone
    backbone = {f"{match.layout.ours}{name}": value for name, value in values.items()
                if not name.startswith("head.")}  # fmt: skip
    classifier.load_state_dict(backbone, strict=False)
    # 3. the head: [C, D] of ours from [C', D] of the file, row by row
    rows = match_rows(findings, names or ())
    for position, row in rows.items():
        classifier.head.weight[position] = values["head.weight"][row]
        classifier.head.bias[position] = values["head.bias"][row] if "head.bias" in values else 0
    # of the other heads nothing is loaded, which a user should know
    others = [str(other) for other in match.heads if other != head]
    if head and others:  # two linear layers in a row look like two heads
        beside = f"{'; '.join(others[:MAX_LISTED])} beside {visible(head.name)}"
        means_nothing = "which means nothing here if it sees their outputs"
        notes.append(f"further layers on its features: {beside}, {means_nothing}")
    return make_report(match, describe_head(match, findings, names, rows), notes)


def _fit_stem(classifier: Classifier, match: Match, values: dict[str, Tensor]) -> list[str]:
    """Bring first convolution and normalisation of classifier and file together; notes on what was assumed.

    A checkpoint of ours says how its pixels were normalised, and torchxrayvision has another range. For
    any other file ImageNet's mean and deviation are assumed: over one channel, the means of these.
    """
    file, stem = match.file, match.layout.stem
    if match.fit.has_bias:
        # a stem of ours that was folded, [64, 1, 7, 7] with a bias: fold the classifier's too, and it fits
        classifier.fold_stem()
    elif match.is_grey:
        # [64, 1, 7, 7] of the file to [64, 3, 7, 7] of ours: its weights see the first of three equal
        # channels, and zeros the other two, so that the sum is exactly the same
        grey = values[stem]
        values[stem] = torch.cat([grey, torch.zeros_like(grey).repeat(1, 2, 1, 1)], dim=1)
        mean, std = float(classifier.mean.mean()), float(classifier.std.mean())
        if is_of_xrv(file):
            mean, std = xrv.MEAN, xrv.STD
        classifier.mean.fill_(mean)
        classifier.std.fill_(std)
    if file.is_ours:
        shape = classifier.mean.shape  # [3], or [1] of a grey stem
        mean_of_file, std_of_file = (_read_normalisation(file, name, shape) for name in ("mean", "std"))
        classifier.mean.copy_(mean_of_file)
        classifier.std.copy_(std_of_file)
    if file.is_ours or not match.is_grey or xrv.is_named(file.origin):
        return []
    return [f"its first convolution sees one channel; assumed: {describe_normalisation(match)}"]


def _read_normalisation(file: WeightFile, name: str, shape: torch.Size) -> Tensor:
    """The mean or the deviation of a checkpoint of ours."""
    flaw, value = read_value(file, name, name) if name in file.tensors else ("missing", torch.empty(0))
    if flaw or value.shape != shape or (name == "std" and (value <= 0).any()):
        raise WeightsError(f"its {name} cannot normalise pixels: the file is damaged")
    return value


def is_of_xrv(file: WeightFile) -> bool:
    """Whether a file is of torchxrayvision, by its name, its classes or the thresholds that only it keeps."""
    return (
        xrv.is_named(file.origin)
        or any(name.startswith("torchxrayvision.") for name in file.classes)
        or any(name.rpartition(".")[2] == "op_threshs" for name in file.tensors)
    )


def describe_normalisation(match: Match) -> str:
    """How the pixels for a file from elsewhere are normalised, for a report."""
    if match.is_grey and is_of_xrv(match.file):
        return "pixels from -1024 to 1024, as torchxrayvision's models take them"
    return "pixels normalised by ImageNet's mean and deviation"


def match_rows(findings: Sequence[str], names: Sequence[str]) -> dict[int, int]:
    """{position of a finding: row of the file's head}; outputs without a name are no finding."""
    named = [name for name in names if name]
    # a name is empty where an output was never trained
    rows = {}
    for position, finding in enumerate(findings):
        name = find(finding, named)
        if name is not None:
            rows[position] = list(names).index(name)
    return rows
