"""First weights: torchvision's, torchxrayvision's, none, or a checkpoint file; every tensor is accounted for."""

import contextlib
import pickle
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor
from torchvision.models import get_model_weights

from cxr.data.findings import NIH_14, concept
from cxr.errors import CxrError
from cxr.model import xrv
from cxr.model.checksums import check_safetensors
from cxr.model.classifier import Classifier

_PREFIXES = ("module.", "backbone.", "model.", "densenet121.", "densenet169.", "densenet201.", "resnet18.", "resnet34.",
             "resnet50.", "resnet101.")  # fmt: skip
_HEADS = {"classifier.0.": "head.", "classifier.": "head.", "fc.": "head.", "head.": "head."}
_OLD_NAME = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.([12])\.")
_OURS = ("mean", "std", "logit_shift", "patients.", "images.", "familiarity.")  # of our checkpoints, not weights
_STEMS = ("backbone.features.conv0.weight", "backbone.conv1.weight")
_WRAPPERS = ("state_dict", "model_state_dict", "model")


@dataclass(frozen=True)
class LoadReport:
    """What became of every tensor: matched by name and shape, missing from the file, unexpected in it."""

    origin: str
    matched: int
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    head: str

    def __str__(self) -> str:
        if self.origin == "none":
            return "weights none: every tensor is random"
        lacking = ", ".join(_name(kind, names) for kind, names in
                            (("missing", self.missing), ("unexpected", self.unexpected)))  # fmt: skip
        return f"weights {self.origin}: {self.matched} tensors matched, {lacking}; head {self.head}"


def _name(kind: str, names: Sequence[str]) -> str:
    first = ", ".join(names[:2]) + (", ..." if len(names) > 2 else "")
    return f"{len(names)} {kind}{f' ({first})' if names else ''}"


def load_weights(classifier: Classifier, weights: str, findings: Sequence[str]) -> LoadReport:
    """Fill the classifier from `imagenet`, `xrv:NAME`, `none` or a file, whole backbone or not at all.

    Raises:
        CxrError: Weights that cannot be downloaded; a file that is missing, unsafe or of another model.
    """
    if weights == "none":
        return LoadReport("none", 0, (), (), "new")
    if xrv.is_named(weights):
        return _fill_from_xrv(classifier, xrv.find(weights), findings)
    if weights == "imagenet":
        return _fill(classifier, _download(classifier.name), f"imagenet ({classifier.name})", findings, None)
    path = Path(weights)
    state, names = read_state(path)
    return _fill(classifier, state, weights, findings, names)


def prefetch(weights: str, backbone: str) -> None:
    """Fetch or read first weights before hours of packing, so that what is wrong with them is known then.

    Raises:
        CxrError: As `load_weights`, but for tensors that do not fit.
    """
    if xrv.is_named(weights):
        model = xrv.find(weights)
        _check_backbone(model, backbone)
        xrv.fetch(model)
    elif weights == "imagenet":
        _download(backbone)
    elif weights != "none":
        read_state(Path(weights))


def _check_backbone(model: xrv.Pretrained, backbone: str) -> None:
    if backbone != model.backbone:
        what = f"model.weights: {model} is a {model.backbone}, model.backbone is {backbone}"
        raise CxrError(what, f"set model.backbone={model.backbone}")


def _download(name: str) -> dict[str, Tensor]:
    weights = get_model_weights(name).DEFAULT
    try:
        with contextlib.redirect_stdout(sys.stderr):  # where torch says what it downloads
            state: dict[str, Tensor] = weights.get_state_dict(progress=True, check_hash=True, weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:  # no network; a damaged file
        folder = Path(torch.hub.get_dir()) / "checkpoints"
        raise CxrError(
            f"model.weights: ImageNet weights of {name} cannot be downloaded or read: {_first_line(error)}",
            f"download {weights.url} elsewhere into {folder}, or train from scratch with model.weights=none",
        ) from None
    return state


@torch.no_grad()
def _fill_from_xrv(classifier: Classifier, model: xrv.Pretrained, findings: Sequence[str]) -> LoadReport:
    """The model as torchxrayvision runs it, input range included: the same logits of the same grey pixels."""
    assert classifier.stem == "rgb"  # fold_stem then keeps the results exactly, borders included
    _check_backbone(model, classifier.name)
    state = xrv.read(model, classifier)
    report = _fill(classifier, state, str(model), findings, model.outputs)
    classifier.mean.fill_(xrv.MEAN)
    classifier.std.fill_(xrv.STD)
    return report


def _first_line(error: Exception) -> str:
    text = str(getattr(error, "reason", error)).strip() or type(error).__name__
    return text.splitlines()[0][:200]


def read_state(path: Path) -> tuple[dict[str, Tensor], tuple[str, ...] | None]:
    """Tensors of a checkpoint file by name, and the findings of its head when the file says; nothing is unpickled.

    Raises:
        CxrError: No such file, not a checkpoint, or one that holds more than tensors.
    """
    if not path.is_file():
        raise CxrError(f"model.weights: {path}: no such file", "give imagenet, xrv:NAME, none, or a checkpoint file")
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for a broken or an unsafe file
        raise CxrError(
            f"model.weights: {path}: is no checkpoint of tensors: {_first_line(error)}",
            "files are read with weights_only=True; save just the state_dict from code you trust",
        ) from None
    for key in _WRAPPERS:
        if isinstance(loaded, Mapping) and isinstance(loaded.get(key), Mapping):
            loaded = loaded[key]
    if not isinstance(loaded, Mapping):
        raise CxrError(f"model.weights: {path}: holds no state_dict", "save model.state_dict() to the file")
    return {str(key): value for key, value in loaded.items() if isinstance(value, Tensor)}, None


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], tuple[str, ...] | None]:
    import json

    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
        state = load_file(path)
        check_safetensors(path)
    except (SafetensorError, OSError) as error:
        raise CxrError(f"model.weights: {path}: is no safetensors file: {error}", "is the download complete?") from None
    names = json.loads(metadata["cxr"])["findings"] if "cxr" in metadata else None
    return state, tuple(names) if names else None


def rename(key: str) -> str:
    """Our name of a tensor: prefixes of wrappers gone, DenseNet's old `norm.1` as `norm1`, any head as `head`."""
    while prefix := next((one for one in _PREFIXES if key.startswith(one)), None):
        key = key.removeprefix(prefix)
    for old, new in _HEADS.items():
        if key.startswith(old):
            return new + key.removeprefix(old)
    return "backbone." + _OLD_NAME.sub(r"\1\2.", key)


def _fill(
    classifier: Classifier,
    state: Mapping[str, Tensor],
    origin: str,
    findings: Sequence[str],
    names: Sequence[str] | None,
) -> LoadReport:
    given = {rename(key): value for key, value in state.items() if not key.startswith(_OURS)}
    if any(given[key].shape[1] == 1 for key in _STEMS if key in given and given[key].ndim == 4):
        classifier.fold_stem()
    ours = classifier.state_dict()
    wanted = {key for key in ours if key.startswith("backbone.")}
    fits = {key for key in wanted & given.keys() if given[key].shape == ours[key].shape}
    missing = sorted(wanted - fits)
    unexpected = sorted(key for key in given if key.startswith("backbone.") and key not in fits)
    report = LoadReport(origin, len(fits), tuple(missing), tuple(unexpected), "new")
    if unexpected or any(not key.endswith("num_batches_tracked") for key in missing):
        raise CxrError(
            f"model.weights: {report}",
            f"the file is not of a {classifier.name}; set model.backbone to the file's, or give another file",
        )
    if names is not None and {"mean", "std"} <= state.keys() and state["mean"].shape == classifier.mean.shape:
        classifier.mean.copy_(state["mean"])  # of a run that began from other than ImageNet's weights
        classifier.std.copy_(state["std"])
    heads = _match_heads(given, findings, names)
    classifier.load_state_dict({key: given[key] for key in fits}, strict=False)
    with torch.no_grad():
        for place, row in heads.items():
            classifier.head.weight[place] = given["head.weight"][row]
            classifier.head.bias[place] = given["head.bias"][row]
    return LoadReport(origin, len(fits), tuple(missing), (), _describe_heads(findings, heads))


def _match_heads(given: Mapping[str, Tensor], findings: Sequence[str], names: Sequence[str] | None) -> dict[int, int]:
    """The file's head row for the place of each finding that has one; old CheXNet files list NIH's 14 in order."""
    if names is None and given.get("head.weight", torch.empty(0)).shape[0] == len(NIH_14):
        names = NIH_14
    if names is None or "head.weight" not in given or "head.bias" not in given:
        return {}
    rows = {concept(name): row for row, name in enumerate(names) if name}
    rows |= {name: row for row, name in enumerate(names) if name}  # its own name goes before another archive's
    found = {place: rows.get(name, rows.get(concept(name))) for place, name in enumerate(findings)}
    return {place: row for place, row in found.items() if row is not None}


def _describe_heads(findings: Sequence[str], heads: Mapping[int, int]) -> str:
    new = [name for place, name in enumerate(findings) if place not in heads]
    if not heads:
        return "new"
    loaded = f"loaded for {len(heads)} finding{'s' if len(heads) > 1 else ''}"
    return f"{loaded}, new for {len(new)}: {', '.join(new)}" if new else loaded
