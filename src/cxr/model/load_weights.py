"""First weights: torchvision's, torchxrayvision's, none, or a file; whole or not at all, every tensor accounted for."""

import contextlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from cxr.config.schema import Model
from cxr.console import count
from cxr.errors import CxrError
from cxr.findings import find
from cxr.model import xrv
from cxr.model.classifier import Classifier
from cxr.vision import get_model_weights
from cxr.weights.explain import match_backbone
from cxr.weights.files import WeightFile, open_weights
from cxr.weights.kinds import WeightsError, visible
from cxr.weights.layout import Layout, layout_of
from cxr.weights.match import Match, choose_head, suggest
from cxr.weights.values import read_value, read_values

_NAMED = 3


@dataclass(frozen=True)
class LoadReport:
    """What became of every tensor of a file: matched, of the head, or left out for a reason; they add up to `total`.

    Attributes:
        origin: What was loaded.
        total: Tensors in the file.
        matched: Those that are the backbone's.
        prefix: What stands before the backbone's names in the file.
        in_head: Those of linear layers on its features.
        left_out: How many others there are, by the reason for which they are left out.
        missing: Ours that the file lacks: counters of batch norms.
        head: What became of our head.
        notes: What was assumed.
    """

    origin: str
    total: int = 0
    matched: int = 0
    prefix: str = ""
    in_head: int = 0
    left_out: tuple[tuple[str, int], ...] = ()
    missing: tuple[str, ...] = ()
    head: str = "new"
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        if self.origin == "none":
            return "weights none: every tensor is random"
        under = f" (under {visible(self.prefix)})" if self.prefix else ""
        parts = [f"{self.matched} matched{under}", f"{self.in_head} in the head"]
        parts += [f"{num} left out ({reason})" for reason, num in self.left_out]
        lacking = f"; {count(len(self.missing), 'counter')} of batch norms missing" if self.missing else ""
        return "; ".join([f"weights {self.origin}: {count(self.total, 'tensor')}: {', '.join(parts)}{lacking}",
                          f"head {self.head}", *self.notes])  # fmt: skip


def load_weights(
    classifier: Classifier, weights: str, findings: Sequence[str], head_findings: Sequence[str] | None = None
) -> LoadReport:
    """Fill the classifier from `imagenet`, `xrv:NAME`, `none`, a file or a run, whole backbone or not at all.

    Args:
        classifier: What is filled.
        weights: As model.weights.
        findings: Of the classifier's head.
        head_findings: Of the outputs of the file's head, which does not name them.

    Raises:
        CxrError: Weights that cannot be downloaded; a file that is missing, unsafe, damaged or of another model.
    """
    _check_names(weights, head_findings)
    if weights == "none":
        return LoadReport("none")
    match = match_weights(weights, classifier.name)
    with _said_of(weights):
        return fill(classifier, match, findings, _names_of(match, head_findings))


def check_weights(model: Model, download: bool = False) -> None:
    """Refuse now what `load_weights` would refuse after hours of packing.

    Args:
        model: The section of the config.
        download: Whether weights that are not here yet are fetched, and then checked too.

    Raises:
        CxrError: As `load_weights`.
    """
    weights = model.weights
    _check_names(weights, model.head_findings)
    if weights == "none" or not (download or _is_here(weights, model.backbone)):
        return
    match = match_weights(weights, model.backbone)
    with _said_of(weights):
        read_values(match, choose_head(match, _names_of(match, model.head_findings)))
        if match.fit.has_bias and model.stem == "rgb":
            raise WeightsError("has a grey stem", "set model.stem=grey")


def match_weights(weights: str, backbone: str) -> Match:
    """A file's tensors matched with a backbone; none of them is read yet.

    Raises:
        CxrError: It is no file of weights, or of another network.
    """
    with _said_of(weights):
        if xrv.is_named(weights):
            file = _open_xrv(weights, layout_of(backbone))
        else:
            file = _download(backbone) if weights == "imagenet" else open_weights(weights)
        return match_backbone(file, backbone)


@contextlib.contextmanager
def _said_of(weights: str) -> Iterator[None]:
    """Turn what is wrong with weights into an error of the key that named them."""
    try:
        yield
    except WeightsError as error:
        raise error.at("model.weights" if weights == "imagenet" else f"model.weights: {weights}") from None


def _check_names(weights: str, head_findings: Sequence[str] | None) -> None:
    if head_findings and (weights in ("none", "imagenet") or xrv.is_named(weights)):
        what = f"model.head_findings: names the outputs of a file's head, and model.weights is {weights}"
        raise CxrError(what, "leave it out, or give the file")


def _is_here(weights: str, backbone: str) -> bool:
    """Whether weights can be looked at without a network."""
    if xrv.is_named(weights):
        return xrv.path_of(_published(weights, backbone)).is_file()
    return weights != "imagenet" or _imagenet_file(backbone).is_file()


def _published(weights: str, backbone: str) -> xrv.Pretrained:
    """The model of torchxrayvision of that name, if it is of that backbone."""
    model = xrv.find(weights)
    if backbone != model.backbone:
        what = f"is a {model.backbone}, model.backbone is {backbone}"
        raise CxrError(f"model.weights: {weights}: {what}", f"set model.backbone={model.backbone}")
    return model


def _open_xrv(weights: str, layout: Layout) -> WeightFile:
    """The file of torchxrayvision, which says nothing of its outputs, with their names."""
    model = _published(weights, layout.name)
    return replace(xrv.open_file(model, layout.width), origin=weights, findings=model.outputs)


def _imagenet_file(backbone: str) -> Path:
    """Where torchvision keeps its weights."""
    url = str(get_model_weights(backbone).DEFAULT.url)
    return Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]


def _download(backbone: str) -> WeightFile:
    """The ImageNet weights of torchvision, downloaded if they are not in its cache folder yet."""
    path, url = _imagenet_file(backbone), get_model_weights(backbone).DEFAULT.url
    hint = f"download {url} elsewhere into {path.parent}, or train from scratch with model.weights=none"
    try:
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            digest = path.stem.rpartition("-")[2]  # in the file's name; torch compares
            with contextlib.redirect_stdout(sys.stderr):  # where torch says what it downloads
                torch.hub.download_url_to_file(url, str(path), digest)
        file = open_weights(str(path))
    except (OSError, RuntimeError, EOFError) as error:  # no network
        why = visible(str(getattr(error, "reason", error)).strip() or type(error).__name__, 200)
        raise WeightsError(f"ImageNet weights of {backbone} cannot be downloaded: {why}", hint) from None
    except WeightsError as error:
        raise WeightsError(
            [f"{path}: {reason}" for reason in error.reasons], f"delete it, then {hint}"
        ) from None
    return replace(file, origin=f"imagenet ({backbone})")


def _names_of(match: Match, head_findings: Sequence[str] | None) -> Sequence[str] | None:
    """The findings of the outputs of the file's head: as the file says, else as model.head_findings says.

    Raises:
        WeightsError: Both say it.
    """
    if match.file.findings is not None and head_findings:
        raise WeightsError("names the findings of its head itself", "leave model.head_findings out")
    return match.file.findings or head_findings


@torch.no_grad()
def fill(
    classifier: Classifier, match: Match, findings: Sequence[str], names: Sequence[str] | None = None
) -> LoadReport:
    """Put a file's tensors into the classifier; a head row for each finding that `names` has.

    Raises:
        WeightsError: A tensor without finite numbers; nothing is changed then.
    """
    head = choose_head(match, names)
    values = read_values(match, head)
    notes = _fit_stem(classifier, match, values)
    ours = {match.layout.ours + name: value for name, value in values.items() if not name.startswith("head.")}
    classifier.load_state_dict(ours, strict=False)
    rows = match_rows(findings, names or ())
    for place, row in rows.items():
        classifier.head.weight[place] = values["head.weight"][row]
        classifier.head.bias[place] = values["head.bias"][row] if "head.bias" in values else 0
    others = [str(one) for one in match.heads if one != head]
    if head and others:  # two linear layers in a row look like two heads
        beside = f"{'; '.join(others[:_NAMED])} beside {visible(head.name)}"
        notes += (
            f"further layers on its features: {beside}, which means nothing here if it sees their outputs",
        )
    return _report(match, _describe_head(match, findings, names, rows), notes)


def _fit_stem(classifier: Classifier, match: Match, values: dict[str, Tensor]) -> tuple[str, ...]:
    """Bring first convolution and normalisation of classifier and file together; notes on what was assumed.

    A checkpoint of ours says how its pixels were normalised, and torchxrayvision has its own way. Of any other file
    ImageNet's mean and deviation are assumed: over one channel, the means of these.
    """
    file, stem = match.file, match.layout.stem
    if match.fit.has_bias:  # a stem of ours that was folded
        classifier.fold_stem()
    elif match.is_grey:  # the grey channel, and two that are not looked at: exactly the same network
        grey = values[stem]
        values[stem] = torch.cat([grey, torch.zeros_like(grey).repeat(1, 2, 1, 1)], dim=1)
        imagenet = float(classifier.mean.mean()), float(classifier.std.mean())
        centre, spread = (xrv.MEAN, xrv.STD) if is_of_xrv(file) else imagenet
        classifier.mean.fill_(centre)
        classifier.std.fill_(spread)
    if file.is_ours:
        mean, std = (_read_normalisation(file, name, classifier.mean.shape) for name in ("mean", "std"))
        classifier.mean.copy_(mean)
        classifier.std.copy_(std)
    if file.is_ours or not match.is_grey or xrv.is_named(file.origin):
        return ()
    return (f"its first convolution sees one channel; assumed: {describe_normalisation(match)}",)


def _read_normalisation(file: WeightFile, name: str, shape: torch.Size) -> Tensor:
    """The mean or the deviation of a checkpoint of ours."""
    flaw, value = read_value(file, name, name) if name in file.tensors else ("missing", torch.empty(0))
    if flaw or value.shape != shape or (name == "std" and (value <= 0).any()):
        raise WeightsError(f"its {name} is no normalisation of pixels: it is damaged")
    return value


def is_of_xrv(file: WeightFile) -> bool:
    """Whether a file is of torchxrayvision, by its name, its classes or the thresholds that only it keeps."""
    return (
        xrv.is_named(file.origin)
        or any(name.startswith("torchxrayvision.") for name in file.classes)
        or any(name.rpartition(".")[2] == "op_threshs" for name in file.tensors)
    )


def describe_normalisation(match: Match) -> str:
    """How the pixels of a file from elsewhere are normalised, for a report."""
    if match.is_grey and is_of_xrv(match.file):
        return "pixels from -1024 to 1024, as torchxrayvision's models take them"
    return "pixels normalised by ImageNet's mean and deviation"


def match_rows(findings: Sequence[str], names: Sequence[str]) -> dict[int, int]:
    """The file's head row for the place of each finding that has one; outputs without a name are no finding."""
    named = [name for name in names if name]
    found = {place: find(name, named) for place, name in enumerate(findings)}
    return {place: list(names).index(name) for place, name in found.items() if name is not None}


def _describe_head(
    match: Match, findings: Sequence[str], names: Sequence[str] | None, rows: Mapping[int, int]
) -> str:
    """What became of the head, and why it is new where it is."""
    new = [name for place, name in enumerate(findings) if place not in rows]
    if rows:
        loaded = f"loaded for {count(len(rows), 'finding')}"
        return f"{loaded}, new for {len(new)}: {', '.join(new)}" if new else loaded
    if names is not None:
        return f"new: none of its findings is meant ({', '.join(name for name in names if name)})"
    if not match.heads or match.file.origin.startswith("imagenet ("):
        return "new"
    if len(match.heads) > 1:
        heads = "; ".join(str(head) for head in match.heads[:_NAMED])
        return f"new: {len(match.heads)} heads without names of findings ({heads})"
    outputs = count(match.heads[0].num_outputs, "output")
    return f"new: the file does not name its {outputs}; {suggest(match)} says what they are"


def _report(match: Match, head: str, notes: tuple[str, ...]) -> LoadReport:
    fit = match.fit
    missing = tuple(name for name in match.layout.shapes if name not in fit.names)
    in_head = sum(1 + (head.bias is not None) for head in match.heads)
    if match.twin:
        twin = f"a network and its momentum twin: the one that learns is taken, {match.file.path}#{visible(match.twin)}"
        notes += (f"{twin} takes the other",)
    left_out = tuple((reason, len(names)) for reason, names in match.left_out.items())
    return LoadReport(
        match.file.origin,
        len(match.file.tensors),
        len(fit.names),
        fit.prefix,
        in_head,
        left_out,
        missing,
        head,
        notes,
    )
