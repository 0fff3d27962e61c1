"""What a model says of one image, and where it looked."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import torch

from cxr.arrays import Float32
from cxr.deploy.predict_files import Predicted
from cxr.errors import CxrError
from cxr.explain.maps import METHODS, OF_FEATURES, compute_maps, map_features
from cxr.images.grey import Grey
from cxr.images.prepare import prepare, undo_prepare
from cxr.model.checkpoint import Checkpoint
from cxr.model.predict import autocast_dtype


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
    checkpoint: Checkpoint, grey: Grey, predicted: Predicted, numbers: Sequence[int], method: str
) -> Explanation:
    """The explanation of an image [H, W] for the findings of these numbers.

    Raises:
        CxrError: No such method.
    """
    chosen = next((name for name in METHODS if name == method), None)
    if chosen is None:
        raise CxrError(f"method={method!r}: no such method", f"it is one of {', '.join(METHODS)}")
    classifier, metadata = checkpoint.classifier, checkpoint.metadata
    if chosen in OF_FEATURES:  # from the forward pass of the prediction
        cells = map_features(classifier, predicted.features[None], chosen)[0]
    else:
        device = classifier.head.weight.device
        square = torch.from_numpy(prepare(grey, metadata.preprocess))[None].to(device)
        dtype = autocast_dtype(metadata.config.train.precision, device)
        cells = compute_maps(classifier, square, metadata.config.image.size, chosen, dtype, [numbers])[0]
    maps: dict[str, Float32] = {}
    rows = []
    for number in numbers:
        finding = metadata.findings[number]
        maps[finding] = undo_prepare(cells[number], grey, metadata.preprocess)
        # the first of the largest pixels, row by row
        y, x = np.unravel_index(int(maps[finding].argmax()), grey.shape)
        probability, threshold = predicted.probabilities[number], checkpoint.thresholds.values[number]
        rows.append((finding, probability, threshold, probability >= threshold, int(x), int(y)))
    columns = ["finding", "probability", "threshold", "called", "x", "y"]
    return Explanation(pd.DataFrame(rows, columns=columns), maps, chosen)
