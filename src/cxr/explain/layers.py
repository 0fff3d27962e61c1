"""What a network's layers hold: filters of the first one, activations of any for an image."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from cxr.arrays import Float32
from cxr.errors import CxrError
from cxr.model.classifier import Classifier
from cxr.model.predict import prediction


def first_filters(classifier: Classifier) -> Float32:
    """Filters [K, h, w] of the first convolution as they act on a grey value, per grey level of 255.

    The three channels of an RGB stem hold the same grey value, each divided by its deviation, so that the
    filters are summed over the channels after that division.
    """
    convolution = next(part for part in classifier.backbone.modules() if isinstance(part, nn.Conv2d))
    # [K, 3, h, w] divided by channel; the sum over channels is what acts on one grey value
    scaled = convolution.weight / classifier.std.view(1, -1, 1, 1)
    return np.asarray(scaled.sum(dim=1).detach().cpu().numpy(), np.float32)


def default_layers(classifier: Classifier) -> tuple[str, ...]:
    """The stem and each block."""
    if classifier.name.startswith("densenet"):
        return ("features.relu0", *(f"features.denseblock{number}" for number in range(1, 5)))
    return ("relu", *(f"layer{number}" for number in range(1, 5)))


def check_layers(classifier: Classifier, names: Sequence[str]) -> None:
    """Refuse layers that the network lacks.

    Raises:
        CxrError: With those that can be named first.
    """
    known = {name for name, _ in classifier.backbone.named_modules() if name}
    unknown = [name for name in names if name not in known]
    if unknown:
        problems = [f"--layers {name}: no such layer of {classifier.name}" for name in unknown]
        raise CxrError(problems, f"such as {', '.join(default_layers(classifier))}, or a layer in them")


def activations(classifier: Classifier, image: Tensor, names: Sequence[str]) -> dict[str, Float32]:
    """The output [D, h, w] of each layer for one image float [1, 1, S, S] of the model's input size.

    Raises:
        CxrError: A layer whose output is no map of channels.
    """
    found: dict[str, Tensor] = {}

    def keep(name: str, output: object) -> None:
        if isinstance(output, Tensor):
            found[name] = output.detach().clone()  # a ReLU that works in place would change it

    handles = [
        classifier.backbone.get_submodule(name).register_forward_hook(
            lambda _module, _inputs, output, name=name: keep(name, output)
        )
        for name in names
    ]
    try:
        # float32, so that pictures of activations do not depend on the machine's half precision
        with prediction(), torch.autocast(image.device.type, enabled=False):
            classifier.feature_map(image)
    finally:
        for handle in handles:
            handle.remove()
    flat = [name for name in names if name not in found or found[name].ndim != 4]
    if flat:
        raise CxrError(
            [f"--layers {name}: its output is no map" for name in flat], "name a convolution or a block"
        )
    return {name: np.asarray(found[name][0].float().cpu().numpy(), np.float32) for name in names}


def most_active(maps: Float32, num: int) -> list[int]:
    """Numbers of the channels of maps [D, h, w] with the highest mean, highest first."""
    # stable, so that equal channels come in their order
    order = np.argsort(-maps.mean(axis=(1, 2)), kind="stable")
    return [int(number) for number in order[:num]]
