"""What a model says of one image, and where it looked."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from cxr.arrays import Float32
from cxr.deploy.runtime import Predicted, Runtime
from cxr.errors import CxrError
from cxr.images.grey import Grey
from cxr.images.prepare import prepare, undo_prepare


@dataclass(frozen=True)
class Explanation:
    """Probabilities and maps of one image, as `Model.explain` gives them.

    Attributes:
        table: A row per finding: `finding`, `probability`, `threshold`, `called`, and `x` and `y`, the pixel
            in which its map is largest (the first one of several).
        maps: By finding float32 [H, W] on the pixels of the image; docs/explain.md says what a value is.
        method: How the maps were made.
    """

    table: pd.DataFrame
    maps: dict[str, Float32] = field(repr=False)
    method: str


def explain_prediction(
    runtime: Runtime, grey: Grey, predicted: Predicted, numbers: Sequence[int], method: str
) -> Explanation:
    """The explanation of an image [H, W] for the findings of these numbers.

    Raises:
        CxrError: No such method, or one that an exported file cannot compute.
    """
    facts = runtime.facts
    if method == "cam":
        cells = predicted.maps
    elif facts.program == "torch":
        cells = _compute_cells(runtime, grey, predicted, numbers, method)
    else:
        raise CxrError(f"method={method!r}: {facts.name} is an exported file, which has cam", "load the run")
    maps: dict[str, Float32] = {}
    rows = []
    for number in numbers:
        finding = facts.findings[number]
        maps[finding] = undo_prepare(cells[number], grey, facts.preprocess)
        # the first of the largest pixels, row by row
        y, x = np.unravel_index(int(maps[finding].argmax()), grey.shape)
        probability, threshold = predicted.probabilities[number], facts.thresholds.values[number]
        rows.append((finding, probability, threshold, probability >= threshold, int(x), int(y)))
    columns = ["finding", "probability", "threshold", "called", "x", "y"]
    return Explanation(pd.DataFrame(rows, columns=columns), maps, method)


def _compute_cells(
    runtime: Runtime, grey: Grey, predicted: Predicted, numbers: Sequence[int], method: str
) -> Float32:
    """Maps [C, h, w] by another method than CAM, in PyTorch.

    Raises:
        CxrError: No such method.
    """
    import torch

    from cxr.deploy.torch_runtime import TorchAnswers, TorchRuntime
    from cxr.explain.maps import METHODS, OF_FEATURES, compute_maps, map_features
    from cxr.model.predict import autocast_dtype

    assert isinstance(runtime, TorchRuntime) and isinstance(predicted.answers, TorchAnswers)
    chosen = next((name for name in METHODS if name == method), None)
    if chosen is None:
        raise CxrError(f"method={method!r}: no such method", f"it is one of {', '.join(METHODS)}")
    classifier, config = runtime.checkpoint.classifier, runtime.checkpoint.metadata.config
    if chosen in OF_FEATURES:  # from the forward pass of the prediction
        features = predicted.answers.features[predicted.number]
        maps = map_features(classifier, features[None], chosen)
        return np.asarray(maps[0], np.float32)
    device = classifier.head.weight.device
    square = torch.from_numpy(prepare(grey, runtime.facts.preprocess))[None].to(device)
    dtype = autocast_dtype(config.train.precision, device)
    maps = compute_maps(classifier, square, config.image.size, chosen, dtype, [numbers])
    return np.asarray(maps[0], np.float32)
